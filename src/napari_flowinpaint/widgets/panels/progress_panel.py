"""The row with the progress bar and Cancel."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded

#: Jobs that nobody asked for: a stack and what is kept beside it open as soon as it is chosen.
_ASIDE = ("open", "flags")


class ProgressBar(QProgressBar):
    """A progress bar that is painted with the rest of the window, not at once.

    Qt's own paints itself as soon as its value changes, and the whole window with it. In the middle
    of a removal of layers that takes the OpenGL context away from napari's canvas, see
    :mod:`..parts.canvas`.
    """

    def setValue(self, value: int) -> None:
        """Show another value, when the window is painted next."""
        self.setUpdatesEnabled(False)
        super().setValue(value)
        self.setUpdatesEnabled(True)


class ProgressRow(QWidget):
    """Shows how far jobs are, and stops them.

    Parameters
    ----------
    jobs, messages
        Threads and status line of the dock.
    shown
        Kinds of jobs that are shown and that Cancel stops.
    """

    def __init__(self, jobs: JobRunner, messages: Messages, shown: tuple[str, ...]) -> None:
        super().__init__()
        self.jobs, self.messages, self._shown = jobs, messages, shown
        self.bar = ProgressBar()
        self.cancel_button = QPushButton("Cancel")
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.cancel_button.setToolTip("Stop what is running; nothing is changed.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, stretch=1)
        row.addWidget(self.cancel_button)
        jobs.changed.connect(self._show_jobs)
        jobs.progressed.connect(self._show_progress)
        self.cancel_button.clicked.connect(self.cancel)
        self._show_jobs()

    @guarded
    def cancel(self) -> None:
        """Stop what runs."""
        self.messages.say("cancelling…")
        self.jobs.cancel(*self._shown)

    def _show_jobs(self) -> None:
        running = self.jobs.is_running(*self._shown)
        self.cancel_button.setEnabled(running)
        if not running:
            self.bar.setValue(0)
            self.messages.end_progress()

    def _show_progress(self, name: str, fraction: float, message: str) -> None:
        if name in self._shown:
            self.bar.setValue(round(1000 * fraction))
            self.messages.show_progress(message, aside=name in _ASIDE)
