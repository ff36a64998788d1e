"""Adapt to this stack: the button, and the window that it opens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QLayout,
    QMessageBox,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import ended
from ...core.names import printable
from ...viewer.tasks import adapting
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded, spoken_of
from ..parts.questions import ask_to_remove_adapted
from ..parts.wording import in_window, listed
from .progress_panel import ProgressRow

if TYPE_CHECKING:
    from ...core.training.adapt import AdaptOutcome
    from ...viewer.session import Session
    from ...viewer.tasks.adapting import AdaptedFile, AdaptRequest

#: The most that can be asked for, and what is proposed, minutes.
_MOST, _PROPOSED = 120, 10
#: Width of the texts, pixels.
_WIDTH = 440

_WHAT = (
    "Learns from the intact sections of this stack how to repair it better. Sections that are "
    "flagged, and what is masked, are left out.\n\n"
    "Some intact sections are held back: they are damaged on purpose and repaired with and "
    "without what was learned. It is kept only if it repairs them better, in a file beside the "
    "stack, and every repair of this stack uses it from then on. The stack is not changed.\n\n"
    "You can close this window and keep working meanwhile."
)


class AdaptButton(QPushButton):
    """Opens the window; shows how far it is.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__()
        self.session, self.jobs, self.messages = session, jobs, messages
        self.dialog = AdaptWindow(self, session, jobs)
        self.setToolTip("Learn from the intact sections of this stack; takes some minutes.")
        self.clicked.connect(self.open)
        jobs.changed.connect(self.refresh)
        jobs.progressed.connect(self._show_progress)
        session.target_changed.connect(self.refresh)
        self.refresh()

    @guarded
    def open(self) -> None:
        """Open the window."""
        self.session.require_stack()
        self.dialog.look()
        self.dialog.show()
        self.dialog.raise_()

    def refresh(self) -> None:
        """Say what the button does."""
        if not self.jobs.is_running("adapt"):
            self.setText("Adapt to this stack…")
        self.setEnabled(self.session.image is not None or self.jobs.is_running("adapt"))

    def _show_progress(self, name: str, fraction: float, message: str) -> None:
        if name == "adapt":
            self.setText(f"Adapting… {round(100 * fraction)} %")

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.session.target_changed.disconnect(self.refresh)
        self.dialog.disconnect_session()


class AdaptWindow(QDialog):
    """What adapting does, for how long, how far it is, what it came to.

    Parameters
    ----------
    parent
        The widget it belongs to.
    session, jobs
        State and threads of the dock.
    """

    def __init__(self, parent: QWidget, session: Session, jobs: JobRunner) -> None:
        super().__init__(parent)
        self.session, self.jobs = session, jobs
        self.messages = Messages(True, partial(spoken_of, jobs))
        self.question: QMessageBox | None = None
        self.state = QLabel()
        self.minutes = QSpinBox()
        self.start_button = QPushButton("Adapt")
        self.remove_button = QPushButton("Remove")
        self.progress_row = ProgressRow(jobs, self.messages, ("adapt",))
        self._there = adapting.AdaptedFile(possible=False)
        self._lay_out()
        self.start_button.clicked.connect(self.start)
        self.remove_button.clicked.connect(self.ask_to_remove)
        jobs.changed.connect(self.refresh)
        session.target_changed.connect(self._on_target)
        self.refresh()

    def _lay_out(self) -> None:
        self.setWindowTitle("Adapt to this stack")
        what = QLabel(_WHAT)
        for label in (what, self.state):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.minutes.setRange(1, _MOST)
        self.minutes.setValue(_PROPOSED)
        self.minutes.setSuffix(" minutes")
        self.minutes.setToolTip("Ends sooner once nothing more is gained.")
        self.start_button.setDefault(True)
        self.start_button.setToolTip("Learn, and keep what was learned if it repairs better.")
        self.remove_button.setToolTip(
            "Remove what was learned: the released weights are used again."
        )
        self.progress_row.cancel_button.setToolTip("Stop; nothing is kept.")
        row = QHBoxLayout()
        row.addWidget(QLabel("at most"))
        row.addWidget(self.minutes)
        row.addStretch(1)
        row.addWidget(self.remove_button)
        row.addWidget(self.start_button)
        box = QVBoxLayout(self)
        box.addWidget(what)
        box.addWidget(self.state)
        box.addLayout(row)
        box.addWidget(self.progress_row)
        box.addWidget(self.messages)
        what.setFixedWidth(_WIDTH)
        box.setSizeConstraint(QLayout.SizeConstraint.SetFixedSize)  # as high as its texts

    # ---- what lies beside the stack

    def look(self) -> None:
        """Find out what lies beside the stack that is meant."""
        stack = self.session.stack
        self._there = adapting.AdaptedFile(possible=False)
        self.refresh()
        if stack is None:
            self.state.setText("")
            return
        self.state.setText("looking for adapted weights…")
        self.jobs.start(
            "adapted", adapting.look, stack, done=self._show_there, failed=self.messages.fail
        )

    def _on_target(self) -> None:
        if self.isVisible():
            self.look()

    def _show_there(self, there: AdaptedFile) -> None:
        """Say which weights repairs of the stack use."""
        self._there = there
        stack = self.session.stack
        name = "" if stack is None else printable(stack.name)
        if not there.possible:
            text = f"{name} is not a file on this computer; save it with Save as OME-Zarr… first."
        elif there.used:
            gain = f"they gained {there.gain:.2f} dB on sections held back"
            text = f"{name}: adapted weights are in use; {gain}."
        else:
            why = ended(in_window(there.note))
            text = f"{name}: the released weights are in use. {why}".strip()
        self.state.setText(text)
        self.refresh()

    @guarded
    def ask_to_remove(self) -> None:
        """Ask whether the adapted weights are to be removed."""
        stack = self.session.require_stack()

        def answered(agreed: bool) -> None:
            self.question = None
            if agreed:
                self.jobs.start(
                    "adapted",
                    adapting.remove,
                    stack,
                    done=self._on_removed,
                    failed=self.messages.fail,
                    lasting=True,
                )

        self.question = ask_to_remove_adapted(self, answered)

    def _on_removed(self, _: AdaptedFile) -> None:
        self.messages.notify("the adapted weights were removed")
        self.look()

    # ---- adapting

    @guarded
    def start(self) -> None:
        """Adapt to the stack that is meant."""
        request = self.session.request_adapt(self.minutes.value())
        self.messages.say("")
        self.jobs.start(
            "adapt",
            adapting.adapt,
            request,
            done=partial(self._on_adapted, request),
            failed=self.messages.fail,
            lasting=True,
        )

    def _on_adapted(self, request: AdaptRequest, outcome: AdaptOutcome) -> None:
        """Say what was gained on which sections."""
        held = f"held-back section{'s' * (len(outcome.sections) > 1)} {listed(outcome.sections)}"
        if outcome.kept is None:
            earlier = "; the weights adapted earlier stay in use" if outcome.stays else ""
            self.messages.notify(f"no gain: nothing new is kept ({held}){earlier}")
        else:
            self.messages.notify(
                f"adapted: {held} gain{'s' * (len(outcome.sections) == 1)} {outcome.gain:.2f} dB; "
                f"kept beside the stack, as {outcome.kept.name}"
            )
        if self.session.stack is request.stack:
            self.look()

    def refresh(self) -> None:
        """Enable what can be done now."""
        busy = self.jobs.is_running("adapt")
        self.start_button.setEnabled(self._there.possible and not busy)
        self.minutes.setEnabled(not busy)
        self.remove_button.setVisible(self._there.exists)
        self.remove_button.setEnabled(not busy and not self.jobs.is_running("adapted"))

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.session.target_changed.disconnect(self._on_target)
        self.close()
