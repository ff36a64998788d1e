"""The line that says what is damaged in the section that is shown, and what guides its repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QLabel

from ...core.repair_options import RepairRequest
from ...viewer.tasks import one_section
from .jobs import JobRunner
from .wording import counted, listed

if TYPE_CHECKING:
    from ...viewer.session import Session

#: Milliseconds without a change until the damage is counted.
_PAUSE = 200


class DamageLine(QLabel):
    """Counts the damage as soon as nothing changes any more.

    Parameters
    ----------
    session, jobs
        State and threads of the dock.

    Attributes
    ----------
    counted
        Signal (str): which method ``auto`` takes for the damage, and why; empty where that is not
        known, or a method was chosen.
    """

    counted = Signal(str)

    def __init__(self, session: Session, jobs: JobRunner) -> None:
        super().__init__()
        self.session, self.jobs = session, jobs
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self._count)

    def showEvent(self, event: QShowEvent) -> None:
        """Have room for two lines from the first on: what is below stays where it is."""
        self.setMinimumHeight(2 * self.fontMetrics().lineSpacing())
        super().showEvent(event)

    def refresh(self) -> None:
        """Count again, a little later."""
        if self.session.mask is None:
            self.setText("No mask yet.")
        self._timer.start()

    def stop(self) -> None:
        """Count no more."""
        self._timer.stop()

    def _count(self) -> None:
        mask, z, settings = self.session.mask, self.session.section, self.session.settings
        if mask is None or z is None:
            self.counted.emit("")
            return
        self.jobs.start(
            "count",
            one_section.mask_status,
            self.session.stack,
            mask.frozen(),
            RepairRequest(z, settings.method, settings.device, settings.options),
            done=self._show,
            failed=self._fail,
        )

    def _show(self, status: one_section.MaskStatus) -> None:
        self.counted.emit(status.methods)
        if not status.pixels:
            self.setText(f"Section {status.z}: nothing is masked.")
            return
        text = (
            f"Section {status.z}: {counted(status.components, 'damaged component')}, "
            f"{counted(status.pixels, 'pixel')}"
        )
        if status.neighbours is not None:
            usable = sorted({z for pair in status.neighbours for z in pair if z is not None})
            lost = status.neighbours.count((None, None))
            if usable:
                noun = "neighbour" if len(usable) == 1 else "neighbours"
                text += f"; {noun} {listed(usable)}"
            if lost:
                text += "; no usable neighbour"
                text += f" for {lost} of {len(status.neighbours)} parts" if usable else ""
        self.setText(text + ".")

    def _fail(self, error: Exception) -> None:
        """Say nothing: Repair meets the same error and tells it."""
        self.counted.emit("")
