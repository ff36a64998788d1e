"""Look at staged repairs, the worst first; accept, reject, repair again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...core.batch import StagedSection
from ...core.errors import InputError
from ...core.methods import available_methods
from ...core.refusal import describe_refused
from ...viewer.tasks import many_sections
from ...viewer.tasks.many_sections import ACCEPTED, REJECTED, UNDECIDED, WRITTEN, RedoRequest
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.rows_table import Column, RowsTable
from ..parts.stage_buttons import StageButtons
from ..parts.steps import Steps
from ..parts.wording import counted, in_window
from .write_panel import WritePanel

if TYPE_CHECKING:
    from ...viewer.session import Session
    from ...viewer.tasks.review import Review

_SAME = "same method"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _explain(row: StagedSection) -> str:
    scores = ", ".join(f"{name} {value:.3g}" for name, value in sorted(row.scores.items()))
    guides = ", ".join(map(str, row.neighbours)) or "no other section"
    left = f"; {in_window(describe_refused(row.refused))}" if row.refused else ""
    doubts = "".join(f"; {in_window(flag)}" for flag in row.flags)
    return f"{row.pixels:,} pixels, guided by {guides}{left}{doubts}; {scores}"


_COLUMNS = (
    Column("z", "Section", lambda r: str(r.z), lambda r: r.z, number=True, width=52),
    Column(
        "dB",
        "Expected structure PSNR inside the mask, worst first",
        lambda r: _number(r.quality, 1),
        lambda r: r.quality,
        number=True,
        explain=_explain,
    ),
    Column(
        "mean",
        "The same for the plain mean of the neighbours, dB",
        lambda r: _number(r.scores.get("expected_mean_structure"), 1),
        lambda r: r.scores.get("expected_mean_structure", -np.inf),
        number=True,
        explain=_explain,
    ),
    Column(
        "SSIM",
        "Expected SSIM inside the mask; empty without test repairs on intact tissue",
        lambda r: _number(r.expected_ssim, 2),
        lambda r: -np.inf if r.expected_ssim is None else r.expected_ssim,
        number=True,
        explain=_explain,
    ),
    Column("method", "Method", lambda r: r.method, explain=_explain, width=84),
    Column("decision", "Your decision", lambda r: r.decision, explain=_explain, width=78),
)


class StagedPanel(QWidget):
    """The table of staged repairs and what can be done with them.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__()
        self.session, self.jobs, self.messages = session, jobs, messages
        self.table = RowsTable(_COLUMNS, lambda row: row.z)
        self.stages = StageButtons(session.review)
        self.accept_button = QPushButton("Accept")
        self.reject_button = QPushButton("Reject")
        self.undecide_button = QPushButton("Undecided")
        self.above_button = QPushButton("Accept above")
        self.threshold = QDoubleSpinBox()
        self.method = QComboBox()
        self.new_mask = QCheckBox("use the painted mask")
        self.mask_button = QPushButton("Paint mask")
        self.redo_button = QPushButton("Repair again")
        self.writing = WritePanel(session, jobs, messages, self._current)
        self.summary = QLabel()
        self._steps = Steps(messages.fail, self)
        self._loaded: Any = None
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.method.addItems([_SAME, "auto", *available_methods()])
        self.threshold.setRange(0, 99)
        self.threshold.setDecimals(1)
        self.threshold.setValue(20)
        self.threshold.setSuffix(" dB")
        tips = {
            self.accept_button: "Accept this repair, to be written by Write accepted (Shift+A)",
            self.reject_button: "Reject this repair; it is not written (Shift+X)",
            self.undecide_button: "Clear the decision",
            self.above_button: "Accept every undecided repair expected to be at least this good",
            self.threshold: "Expected structure PSNR",
            self.method: "Method for Repair again",
            self.new_mask: "Repair what is painted now instead of what was masked before",
            self.mask_button: "Show the mask of this section and pick up the brush",
            self.redo_button: "Repair this section again; you then decide anew",
        }
        for widget, tip in tips.items():
            widget.setToolTip(tip)
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        grid = QGridLayout()
        rows: tuple[tuple[QWidget, ...], ...] = (
            (self.accept_button, self.reject_button, self.undecide_button),
            (self.above_button, self.threshold),
            (self.mask_button, self.new_mask),
            (self.method, self.redo_button),
        )
        for row, widgets in enumerate(rows):
            span = 6 // len(widgets)
            for place, widget in enumerate(widgets):
                grid.addWidget(widget, row, place * span, 1, span)
        for column in range(6):
            grid.setColumnStretch(column, 1)
        self.summary.setWordWrap(True)
        box = QVBoxLayout(self)
        box.addWidget(self.table, stretch=1)
        box.addWidget(self.stages)
        box.addLayout(grid)
        box.addWidget(self.summary)
        box.addWidget(self.writing)

    def _connect(self) -> None:
        self.table.picked.connect(self._on_picked)
        self.accept_button.clicked.connect(self.accept)
        self.reject_button.clicked.connect(self.reject)
        self.undecide_button.clicked.connect(self.undecide)
        self.above_button.clicked.connect(self.accept_above)
        self.mask_button.clicked.connect(self.paint_mask)
        self.redo_button.clicked.connect(self.redo)
        self.jobs.changed.connect(self.refresh)
        self.session.batch.changed.connect(self.refresh)
        self.session.flags.changed.connect(self.load_once)
        self.session.target_changed.connect(self.load_once)

    # ---- what is staged

    def load_once(self) -> None:
        """Look at what is staged as soon as the stack's folder is known."""
        image = self.session.image
        known = self.session.flags.of(image)
        if known is not None and image is not self._loaded:
            self._loaded = image
            self.load()

    @guarded
    def load(self) -> None:
        """Read what is staged, in a thread."""
        image, stack = self.session.require_image(), self.session.require_stack()
        self.jobs.start(
            "staged",
            many_sections.read_staged,
            stack,
            self._staging(),
            done=partial(self.session.batch.set_staged, image),
            failed=self.messages.fail,
        )

    def _staging(self) -> Path:
        return self.session.require_flags().store.staging

    def _current(self) -> StagedSection:
        row: StagedSection | None = self.table.current
        if row is None:
            raise InputError("no repair is selected; click one")
        return row

    # ---- looking

    def _on_picked(self, row: StagedSection) -> None:
        """Show the stages of a repair as layers."""
        try:
            image, stack, staging = (
                self.session.require_image(),
                self.session.require_stack(),
                self._staging(),
            )
        except Exception as error:
            self.messages.fail(error)
            return

        def done(review: Review) -> None:
            current = self.table.current
            if current is None or current.z != review.z:
                return
            self._steps.start(self.session.open_staged(image, review))
            self.messages.say(f"section {review.z}: {review.summary()}")
            for flag in review.repair.flags:
                self.messages.warn(flag)

        self.jobs.start(
            "review",
            many_sections.open_review,
            stack,
            staging,
            row.z,
            done=done,
            failed=self.messages.fail,
        )

    @property
    def is_showing(self) -> bool:
        """Whether layers of a repair are still being added."""
        return self._steps.running

    # ---- deciding

    @guarded
    def accept(self) -> None:
        """Accept the current repair and go on to the next."""
        self._decide(ACCEPTED)

    @guarded
    def reject(self) -> None:
        """Reject the current repair and go on to the next."""
        self._decide(REJECTED)

    @guarded
    def undecide(self) -> None:
        """Take the decision about the current repair back."""
        self._decide(UNDECIDED)

    def _decide(self, decision: str) -> None:
        row, image = self._current(), self.session.require_image()
        if row.decision == WRITTEN:
            raise InputError(f"the repair of section {row.z} is in the stack; revert it first")
        after = self.table.rows.find(row.z) + 1
        following = self.table.rows.rows[after : after + 1]
        self.jobs.start(
            f"decide {row.z}",
            many_sections.decide,
            self._staging(),
            [row.z],
            decision,
            done=partial(self.session.batch.update, image),
            failed=self.messages.fail,
            lasting=True,
        )
        if following and decision != UNDECIDED:
            self.table.select(following[0].z)

    @guarded
    def accept_above(self) -> None:
        """Accept all undecided repairs of at least some quality."""
        image, threshold = self.session.require_image(), self.threshold.value()

        def done(accepted: tuple[StagedSection, ...]) -> None:
            self.session.batch.update(image, accepted)
            self.messages.say(
                f"accepted {counted(len(accepted), 'repair')} of {threshold:g} dB or more"
            )

        self.jobs.start(
            "above",
            many_sections.accept_above,
            self._staging(),
            threshold,
            done=done,
            failed=self.messages.fail,
            lasting=True,
        )

    # ---- again

    @guarded
    def paint_mask(self) -> None:
        """Show the mask of the current section and take the brush."""
        row, image = self._current(), self.session.require_image()
        self._steps.stop()
        self.session.close_review()
        self.session.masks.brush(image)
        self.new_mask.setChecked(True)
        self.messages.say(f"section {row.z}: paint over the damage, then press Repair again")

    @guarded
    def redo(self) -> None:
        """Repair the current section again, in a thread."""
        row, image = self._current(), self.session.require_image()
        if row.decision == WRITTEN:
            raise InputError(f"the repair of section {row.z} is in the stack; revert it first")
        decided = self.session.flags.decided(image) if self.new_mask.isChecked() else None
        if self.new_mask.isChecked() and decided is None:
            raise InputError("there is no mask; press Paint mask")
        mask, intact = (None, {}) if decided is None else decided
        method = self.method.currentText()
        request = RedoRequest(
            self.session.require_stack(),
            self._staging(),
            row.z,
            None if method == _SAME else method,
            mask,
            intact,
            self.session.settings.device,
        )

        def done(section: StagedSection) -> None:
            self.session.batch.update(image, [section])
            self.new_mask.setChecked(False)
            self.messages.notify(f"section {section.z} was repaired again by {section.method}")
            if self.table.current is not None and self.table.current.z == section.z:
                self._on_picked(section)

        failed = self._redo_failed
        self.jobs.start("redo", many_sections.redo, request, done=done, failed=failed, waits=True)

    def _redo_failed(self, error: Exception) -> None:
        self.messages.fail(error)
        self.load()  # a refused section is not among the repairs any more

    # ---- state

    def refresh(self) -> None:
        """Show what is staged, and enable what can be done."""
        batch = self.session.batch.of(self.session.image)
        self.table.show_rows(batch.staged)
        busy = self.jobs.is_running("batch", "redo", "write", "revert", "save")
        decisions = [section.decision for section in batch.staged]
        for button in (
            self.accept_button,
            self.reject_button,
            self.undecide_button,
            self.above_button,
            self.mask_button,
            self.redo_button,
        ):
            button.setEnabled(bool(decisions) and not busy)
        if not decisions:
            self.summary.setText("No repairs to review; plan and run a batch first.")
            return
        counts = ", ".join(
            f"{decisions.count(d)} {d}"
            for d in (UNDECIDED, ACCEPTED, REJECTED, WRITTEN)
            if d in decisions
        )
        self.summary.setText(f"{counts}. Hold H for the original, press N for the next stage.")

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self._steps.stop()
        self.writing.disconnect_session()
        self.stages.disconnect_session()
        self.session.batch.changed.disconnect(self.refresh)
        self.session.flags.changed.disconnect(self.load_once)
        self.session.target_changed.disconnect(self.load_once)
