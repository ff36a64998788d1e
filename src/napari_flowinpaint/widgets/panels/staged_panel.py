"""Look at staged repairs, the worst first; accept, reject, repair again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtGui import QShowEvent
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
from ...viewer.tasks import many_sections
from ...viewer.tasks.many_sections import ACCEPTED, REJECTED, UNDECIDED, WRITTEN, RedoRequest
from ...viewer.tasks.review import Review
from ..parts.component_window import open_component
from ..parts.deciding import Deciding
from ..parts.jobs import JobRunner
from ..parts.marking import mark_damaged
from ..parts.messages import Messages, guarded
from ..parts.refusal_box import RefusalBox
from ..parts.repair_table import Pending, RepairTable, key_of
from ..parts.stage_buttons import StageButtons
from ..parts.wording import counted
from .write_panel import WritePanel

if TYPE_CHECKING:
    from napari.layers import Image

    from ...viewer.session import Session

_SAME = "same method"


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
        self.table = RepairTable()
        self.stages = StageButtons(session.review)
        self.accept_button = QPushButton("Accept")
        self.reject_button = QPushButton("Reject")
        self.undecide_button = QPushButton("Undecided")
        self.above_button = QPushButton("Accept above")
        self.components_button = QPushButton("Components…")
        self.threshold = QDoubleSpinBox()
        self.method = QComboBox()
        self.new_mask = QCheckBox("painted mask")
        self.mask_button = QPushButton("Paint mask")
        self.redo_button = QPushButton("Repair again")
        self.writing = WritePanel(session, jobs, messages, self._current)
        self.summary = QLabel()
        self.refusal = RefusalBox()
        self.deciding = Deciding(self, session, jobs, messages)
        self._loaded: Callable[[], Any] = lambda: None
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
            self.accept_button: "Accept this repair, to be written by Write accepted (Shift+A).",
            self.reject_button: "Reject this repair; it is not written (Shift+X).",
            self.undecide_button: "Clear the decision.",
            self.components_button: (
                "Look at each component closely, and untick those that are not to be written."
            ),
            self.above_button: "Accept every undecided repair expected to be at least this good.",
            self.threshold: "Expected structure PSNR.",
            self.method: "Method for Repair again.",
            self.new_mask: "Repair what is painted now instead of what was masked before.",
            self.mask_button: "Show the mask of this section and pick up the brush.",
            self.redo_button: "Repair this section again; you then decide again.",
        }
        for widget, tip in tips.items():
            widget.setToolTip(tip)
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        grid = QGridLayout()
        rows: tuple[tuple[QWidget, ...], ...] = (
            (self.accept_button, self.reject_button, self.undecide_button),
            (self.above_button, self.threshold, self.components_button),
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
        box.addWidget(self.refusal)
        box.addWidget(self.summary)
        box.addWidget(self.writing)

    def _connect(self) -> None:
        self.table.picked.connect(self._on_picked)
        self.accept_button.clicked.connect(self.accept)
        self.reject_button.clicked.connect(self.reject)
        self.undecide_button.clicked.connect(self.undecide)
        self.components_button.clicked.connect(self.show_components)
        self.above_button.clicked.connect(self.accept_above)
        self.mask_button.clicked.connect(self.paint_mask)
        self.redo_button.clicked.connect(self.redo)
        self.jobs.changed.connect(self.refresh)
        self.refusal.anyway.connect(self.repair_anyway)
        self.refusal.marked.connect(self._mark)
        self.session.batch.changed.connect(self.refresh)
        self.session.review.changed.connect(self.refresh)
        self.session.flags.changed.connect(self.load_once)
        self.session.target_changed.connect(self.load_once)

    # ---- what is staged

    def load_once(self) -> None:
        """Look at what is staged as soon as the stack's folder is known."""
        image = self.session.image
        known = self.session.flags.of(image)
        if image is not None and known is not None and image is not self._loaded():
            self._loaded = ref(image)
            self.load()

    def load_again(self, image: Image) -> None:
        """Look again at what is staged of a stack; at once, or when it is meant again."""
        if image is self._loaded():
            self._loaded = lambda: None
        self.load_once()

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

    def _row(self) -> Pending:
        row: Pending | None = self.table.current
        if row is None:
            raise InputError("no repair is selected; click one.")
        return row

    def _current(self) -> StagedSection:
        row = self._row()
        if not isinstance(row, StagedSection):
            raise InputError(
                f"the repair of section {row.z} does not belong to the batch; accept or discard it "
                "first."
            )
        return row

    # ---- looking

    def showEvent(self, event: QShowEvent) -> None:
        """Begin with the first repair where none has been looked at."""
        super().showEvent(event)
        if not event.spontaneous() and self.table.current is None:
            self.table.step(1)

    def _on_picked(self, row: Pending) -> None:
        """Go to a repair."""
        self.messages.release()
        self._open(row)

    def _open(self, row: Pending) -> None:
        """Show the stages of a repair as layers."""
        try:
            self.deciding.open(row, self._is_picked)
        except Exception as error:
            self.messages.fail(error)
        self._show_refusal()

    def _is_picked(self, z: int) -> bool:
        return self.table.current is not None and bool(self.table.current.z == z)

    @property
    def is_showing(self) -> bool:
        """Whether layers of a repair are still being added."""
        return self.deciding.is_showing

    def _show_refusal(self) -> None:
        """Say what the repair that is selected has left."""
        row: Pending | None = self.table.current
        left = row.refused if isinstance(row, StagedSection) else ()
        if row is None or not left:
            self.refusal.show_reason("", "")
        else:
            subject = f"{counted(len(left), 'part')} of section {row.z}"
            self.refusal.show_reason(subject, left[0].reason)

    # ---- deciding

    @guarded
    def accept(self) -> None:
        """Accept the current repair and go on to the next; one of a single section is written."""
        self._decide(ACCEPTED)

    @guarded
    def reject(self) -> None:
        """Reject the current repair and go on to the next; one of a single section is dropped."""
        self._decide(REJECTED)

    @guarded
    def undecide(self) -> None:
        """Take the decision about the current repair back."""
        self._decide(UNDECIDED)

    def show_components(self) -> None:
        """Open the components of the repair that is shown, magnified."""
        open_component(self, self.session)

    def _decide(self, decision: str) -> None:
        row = self._row()
        if not isinstance(row, StagedSection):
            self._decide_waiting(row, decision)
            return
        after = self.table.rows.find(key_of(row)) + 1
        following = self.table.rows.rows[after : after + 1]
        self.deciding.decide(self.session.require_image(), row, decision)
        if following and decision != UNDECIDED:
            self.table.select(key_of(following[0]))

    def _decide_waiting(self, row: Review, decision: str) -> None:
        """Write or drop a repair of one section, which is shown."""
        if self.session.review.current is not row:
            raise InputError(f"the repair of section {row.z} is not shown; click it first.")
        if decision == ACCEPTED:
            self.deciding.accept()
        elif decision == REJECTED:
            self.deciding.discard()

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
        self.deciding.stop()
        self.session.close_review()
        self.session.masks.brush(image)
        self.new_mask.setChecked(True)
        self.messages.say(f"section {row.z}: paint over the damage, then press Repair again")

    @guarded
    def redo(self) -> None:
        """Repair the current section again, in a thread."""
        self._redo(None)

    @guarded
    def repair_anyway(self) -> None:
        """Repair also what no neighbour fits; it is flagged."""
        self._redo("flag")

    def _redo(self, gate: str | None) -> None:
        row, image = self._current(), self.session.require_image()
        if row.decision == WRITTEN:
            raise InputError(f"the repair of section {row.z} is in the stack; revert it first.")
        decided = self.session.flags.decided(image) if self.new_mask.isChecked() else None
        if self.new_mask.isChecked() and decided is None:
            raise InputError("there is no mask; press Paint mask.")
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
            gate,
        )

        def done(section: StagedSection) -> None:
            self.session.batch.update(image, [section])
            self.new_mask.setChecked(False)
            self.messages.notify(f"section {section.z} was repaired again by {section.method}")
            if self.session.image is image and self._is_picked(section.z):
                self._open(section)

        failed = partial(self._redo_failed, image)
        self.jobs.start("redo", many_sections.redo, request, done=done, failed=failed, waits=True)

    def _redo_failed(self, image: Image, error: Exception) -> None:
        self.messages.fail(error)
        self.load_again(image)  # a refused section is not among the repairs any more

    def _mark(self, sections: tuple[int, ...]) -> None:
        try:
            mark_damaged(self.session, self.jobs, self.messages, sections, "press Repair again")
        except Exception as error:
            self.messages.fail(error)

    # ---- state

    def refresh(self) -> None:
        """Show what is staged, and enable what can be done."""
        batch = self.session.batch.of(self.session.image)
        self.table.show_rows(self.session.pending(self.session.image))
        self._show_refusal()
        busy = self.jobs.is_running("batch", "redo", "write", "revert", "save", "accept")
        decisions = [section.decision for section in batch.staged]
        for button in (
            self.undecide_button,
            self.above_button,
            self.mask_button,
            self.redo_button,
        ):
            button.setEnabled(bool(decisions) and not busy)
        for button in (self.accept_button, self.reject_button):
            button.setEnabled(bool(self.table.rows.rows) and not busy)
        self.components_button.setEnabled(self.session.review.current is not None)
        self.threshold.setEnabled(bool(decisions))
        self.refusal.set_free(not busy)
        if not decisions:
            self.summary.setText("No repairs to review; plan and run a batch first.")
            return
        counts = ", ".join(
            f"{decisions.count(d)} {d}"
            for d in (UNDECIDED, ACCEPTED, REJECTED, WRITTEN)
            if d in decisions
        )
        self.summary.setText(f"{counts}. Hold H: original; N: next stage; B: a line to drag.")

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.deciding.stop()
        self.writing.disconnect_session()
        self.stages.disconnect_session()
        self.session.batch.changed.disconnect(self.refresh)
        self.session.review.changed.disconnect(self.refresh)
        self.session.flags.changed.disconnect(self.load_once)
        self.session.target_changed.disconnect(self.load_once)
