"""The dock *Repair section*: mask, repair, review, accept, revert."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from .. import layers as napari_layers
from .. import work
from ..core.stack import Stack
from ..session import session_of
from ._closing import WindowWatch
from ._jobs import JobRunner
from ._keys import Keys
from ._ledger_panel import LedgerPanel
from ._mask_panel import MaskPanel
from ._messages import Messages, guarded
from ._repair_panel import RepairPanel
from ._review_panel import ReviewPanel

#: Jobs whose progress is shown and which Cancel stops, with what is said while they run.
_SHOWN = ("repair", "accept", "revert", "save", "open", "mask")


class RepairSection(QWidget):
    """The dock. It forwards: state is in the session, work is in :mod:`..work`.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.session = session_of(napari_viewer)
        self.jobs = JobRunner(self)
        self.messages = Messages()
        parts = (self.session, self.jobs, self.messages)
        self.target = QLabel()
        self.mask_panel = MaskPanel(*parts)
        self.repair_panel = RepairPanel(*parts)
        self.review_panel = ReviewPanel(*parts)
        self.ledger_panel = LedgerPanel(*parts)
        self.progress = QProgressBar()
        self.cancel_button = QPushButton("Cancel")
        self.keys = Keys(self.session.viewer)
        self._lay_out()
        self._connect()
        self._bind_keys()
        self._watch = WindowWatch(self, self.close_session)
        self._on_target()

    def _lay_out(self) -> None:
        self.target.setWordWrap(True)
        self.target.setTextFormat(Qt.TextFormat.PlainText)
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.cancel_button.setToolTip("Stop; a cancelled job changes nothing")
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 4, 0)
        for widget in (
            self.target,
            self.mask_panel,
            self.repair_panel,
            self.review_panel,
            self.ledger_panel,
        ):
            column.addWidget(widget)
        column.addStretch()
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setMinimumWidth(340)
        row = QHBoxLayout()
        row.addWidget(self.progress, stretch=1)
        row.addWidget(self.cancel_button)
        box = QVBoxLayout(self)
        box.addWidget(scroll, stretch=1)
        box.addLayout(row)
        box.addWidget(self.messages)

    def _connect(self) -> None:
        self.session.target_changed.connect(self._on_target)
        self.session.section_changed.connect(self._show_target)
        self.jobs.changed.connect(self._show_jobs)
        self.jobs.progressed.connect(self._show_progress)
        self.cancel_button.clicked.connect(self.cancel)
        self._show_jobs()

    def _bind_keys(self) -> None:
        """Bind the keys; the ones napari has are left to it."""
        review = self.session.review

        def repair(viewer: Any) -> None:
            if self.repair_panel.repair_button.isEnabled():
                self.repair_panel.repair()

        def next_stage(viewer: Any) -> None:
            review.show_next()

        def hold_original(viewer: Any) -> Iterator[None]:
            shown = review.shown
            review.show(None)
            yield
            review.show(shown)

        self.keys.bind("Shift+R", repair)
        self.keys.bind("N", next_stage)
        self.keys.bind("H", hold_original)

    # ---- what is worked on

    def _on_target(self) -> None:
        """Open the stack behind a layer that was selected, if nobody did yet."""
        image = self.session.image
        if image is not None and self.session.stack is None:

            def done(stack: Stack) -> None:
                self.session.set_stack(image, stack)
                if stack.messages:
                    self.messages.tell(" ".join(stack.messages))
                else:
                    self.messages.say("")

            self.jobs.start(
                "open",
                work.open_layer,
                napari_layers.source_of(image),
                done=done,
                failed=self.messages.fail,
            )
        self._show_target()

    def _show_target(self) -> None:
        image, stack, z = self.session.image, self.session.stack, self.session.section
        if image is None:
            self.target.setText("Load a stack, or select an image layer with the axes z, y, x.")
            return
        depth = napari_layers.full_resolution(image).shape[0]
        where = "no section is shown" if z is None else f"section {z} of 0–{depth - 1}"
        access = (
            "opening…" if stack is None else "can be written to" if stack.writable else "read-only"
        )
        self.target.setText(f"{image.name}: {where} ({access})")

    # ---- jobs

    @guarded
    def cancel(self) -> None:
        """Stop what runs."""
        self.jobs.cancel(*_SHOWN)
        self.messages.say("cancelling…")

    def _show_jobs(self) -> None:
        running = self.jobs.is_running(*_SHOWN)
        self.cancel_button.setEnabled(running)
        if not running:
            self.progress.setValue(0)

    def _show_progress(self, name: str, fraction: float, message: str) -> None:
        if name in _SHOWN:
            self.progress.setValue(round(1000 * fraction))
            self.messages.say(message)

    # ---- closing

    def close_session(self) -> None:
        """Stop and wait for the threads, unbind the keys, stop listening."""
        self.jobs.stop()
        self.keys.release()
        for panel in (self.mask_panel, self.repair_panel, self.review_panel, self.ledger_panel):
            panel.disconnect_session()
        self.session.target_changed.disconnect(self._on_target)
        self.session.section_changed.disconnect(self._show_target)
