"""How to repair: method, device, few options; and the button that does it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
)

from ...core.refusal import describe_refused, in_short
from ...viewer.tasks import one_section
from ...viewer.tasks.as_command import CommandRequest
from ...viewer.tasks.refusals import SectionRefused
from ..parts.copy_command import CopyCommand
from ..parts.elided import ElidedLine
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.no_data_field import NoDataField, described
from ..parts.scrolling import ROW_SPACING
from ..parts.steps import Steps
from ..parts.wording import counted
from .adapt_window import AdaptButton
from .settings_form import SettingsForm

if TYPE_CHECKING:
    from ...viewer.session import Session
    from ...viewer.tasks.one_section import SectionJob
    from ...viewer.tasks.review import Review


class RepairPanel(QGroupBox):
    """The settings, and Repair.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__("Repair")
        self.session, self.jobs, self.messages = session, jobs, messages
        self.form = SettingsForm(session, jobs, messages)
        self.method, self.device = self.form.method, self.form.device
        self.max_gap, self.texture = self.form.max_gap, self.form.texture
        self.choice, self.no_data = ElidedLine(), NoDataField()
        self.adapt = AdaptButton(session, jobs, messages)
        self.repair_button = QPushButton("Repair")
        self.copy_button = CopyCommand(jobs, messages, self._command)
        self._steps = Steps(messages.fail, self)
        self._lay_out()
        self._connect()
        self._show_no_data()
        self.refresh()

    def _lay_out(self) -> None:
        self.repair_button.setToolTip("Repair the masked pixels of the current section (Shift+R).")
        self.show_choice("")
        box = QVBoxLayout(self)
        box.setSpacing(ROW_SPACING)
        box.addLayout(self.form)
        self.form.insertRow(1, self.choice)
        beside = QHBoxLayout()
        self.no_data.setPlaceholderText("automatic")
        ignored = (QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for widget, stretch in ((self.adapt, 11), (QLabel("no data"), 0), (self.no_data, 6)):
            if stretch:
                widget.setSizePolicy(*ignored)
            beside.addWidget(widget, stretch=stretch)
        self.form.addRow(beside)
        row = QHBoxLayout()
        for button, stretch in ((self.repair_button, 3), (self.copy_button, 2)):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            row.addWidget(button, stretch=stretch)
        box.addLayout(row)

    def _connect(self) -> None:
        self.no_data.editingFinished.connect(self.declare)
        self.session.target_changed.connect(self._show_no_data)
        self.repair_button.clicked.connect(self.repair)
        self.jobs.changed.connect(self.refresh)
        self.session.masks.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)
        self.session.section_changed.connect(self.refresh)

    @guarded
    def repair(self) -> None:
        """Repair the section that is shown; the answer is shown unless it is stale by then."""
        self._take_no_data()
        self._start(self.session.request_repair())

    @guarded
    def repair_anyway(self) -> None:
        """Repair also what was refused because no neighbour fits; it is flagged."""
        self._take_no_data()
        self._start(self.session.request_repair(gate="flag", z=self.session.refusals.z))

    @guarded
    def declare(self) -> None:
        """Take the grey value for no data in the stack that is meant, if it is another one."""
        self._take_no_data()

    def _take_no_data(self) -> None:
        stack, value = self.session.stack, self.no_data.value()
        if stack is not None and value != stack.no_data:
            self.session.declare_no_data(value)
            self.messages.say(described(value))

    def _show_no_data(self) -> None:
        """Show what is declared for the stack."""
        stack = self.session.stack
        self.no_data.setEnabled(stack is not None)
        self.no_data.show_value(None if stack is None else stack.no_data)

    def show_choice(self, methods: str) -> None:
        """Say which method "auto" takes for the damage that is shown, and why.

        The line keeps its place where there is nothing to say, so that Repair stays where it is.
        """
        self.choice.setText(f"takes {methods}" if methods else "\N{NO-BREAK SPACE}")
        tip = f"auto takes {methods} for what is masked in this section." if methods else ""
        self.choice.setToolTip(tip)

    def _command(self) -> CommandRequest:
        """Return what Repair would do, for a command."""
        job = self.session.request_repair()
        request = job.request
        return CommandRequest(
            job.stack, job.mask, (request.z,), request.method, request.device, request.options
        )

    def _start(self, job: SectionJob) -> None:
        self.messages.say("")
        self.session.refusals.clear()
        self.jobs.start(
            "repair",
            one_section.repair,
            job,
            done=partial(self.show_repair, job),
            failed=partial(self._fail, job),
        )

    def _fail(self, job: SectionJob, error: Exception) -> None:
        """Say why there is no repair, and show where."""
        if not isinstance(error, SectionRefused) or not error.places:
            self.messages.fail(error)
            return
        self.session.show_refused(job, error)
        reason = in_short(str(error))
        reason = reason if f"section {error.z} " in reason else f"section {error.z}: {reason}"
        self.messages.say(reason)
        refused = counted(len(error.places), "component")
        self.messages.toast(f"section {error.z}: {refused} refused")

    def show_repair(self, job: SectionJob, review: Review) -> None:
        """Show a finished repair, and say what was left of the section."""
        steps = self.session.open_review(job, review)
        if self.session.where_shown(job) is None:
            self.messages.notify(
                f"section {review.z} is repaired; it waits in the list under Review"
            )
        self._steps.start(self._shown(steps, review))

    def _shown(self, steps: Iterator[Any], review: Review) -> Iterator[None]:
        """Show the layers, the result first, and then say what was left of the section."""
        for number, _ in enumerate(steps):
            yield
            if number == 0:  # it is drawn now
                self._say(review)

    def _say(self, review: Review) -> None:
        left = review.repair.refused
        self.messages.say(
            f"section {review.z} is repaired{' in part' if left else ''}; untick any component "
            f"that looks wrong, then press Accept ({review.summary()})"
        )
        if left:
            self.messages.warn(
                describe_refused(left), f"section {review.z}: {counted(len(left), 'part')} refused"
            )
        for flag in review.repair.flags:
            self.messages.warn(flag)

    @property
    def is_showing(self) -> bool:
        """Whether layers of the last repair are still being added."""
        return self._steps.running

    def refresh(self) -> None:
        """Enable the button when there is something to repair and nothing is being written."""
        ready = self.session.mask is not None and self.session.section is not None
        free = not self.jobs.is_running("repair", "accept", "revert", "save")
        self.repair_button.setEnabled(ready and free)
        self.copy_button.setEnabled(ready)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self._steps.stop()
        self.form.disconnect_session()
        self.adapt.disconnect_session()
        self.session.target_changed.disconnect(self._show_no_data)
        self.session.masks.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
        self.session.section_changed.disconnect(self.refresh)
