"""How to repair: method, device, few options; and the button that does it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QGroupBox, QPushButton, QVBoxLayout

from ...core.errors import RepairRefused
from ...core.refusal import ANYWAY, describe_refused
from ...viewer.tasks import one_section
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.steps import Steps
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
        self.repair_button = QPushButton("Repair")
        self.anyway_button = QPushButton("Repair anyway")
        self._steps = Steps(messages.fail, self)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.repair_button.setToolTip("Repair the masked pixels of the current section (Shift+R)")
        self.anyway_button.setToolTip(
            "Repair what was refused all the same; the reason is kept with the repair"
        )
        self.anyway_button.hide()
        box = QVBoxLayout(self)
        box.addLayout(self.form)
        box.addWidget(self.repair_button)
        box.addWidget(self.anyway_button)

    def _connect(self) -> None:
        self.repair_button.clicked.connect(self.repair)
        self.anyway_button.clicked.connect(self.repair_anyway)
        self.jobs.changed.connect(self.refresh)
        self.session.masks.changed.connect(self.refresh)
        self.session.target_changed.connect(self._forget_refusal)

    @guarded
    def repair(self) -> None:
        """Repair the section that is shown; the answer is shown unless it is stale by then."""
        self._start(self.session.request_repair())

    @guarded
    def repair_anyway(self) -> None:
        """Repair also what was refused because no neighbour fits; it is flagged."""
        self._start(self.session.request_repair(gate="flag"))

    def _start(self, job: SectionJob) -> None:
        self.messages.say("")
        self.anyway_button.hide()
        self.jobs.start(
            "repair",
            one_section.repair,
            job,
            done=partial(self.show_repair, job),
            failed=self._fail,
        )

    def _fail(self, error: Exception) -> None:
        """Say why there is no repair; offer one that is flagged, if only the gate refused it."""
        self.messages.fail(error)
        self.anyway_button.setVisible(isinstance(error, RepairRefused) and ANYWAY in str(error))

    def _forget_refusal(self) -> None:
        self.anyway_button.hide()
        self.refresh()

    def show_repair(self, job: SectionJob, review: Review) -> None:
        """Show a finished repair, and say what was left of the section."""
        steps = self.session.open_review(job, review)
        if self.session.where_shown(job) is None:
            self.messages.notify(
                f"section {review.z} is repaired; you find it under Review, in the list of "
                "waiting repairs"
            )
        self._steps.start(self._shown(steps, review))

    def _shown(self, steps: Iterator[Any], review: Review) -> Iterator[None]:
        """Show the layers, the result first, and then say what was left of the section."""
        for number, _ in enumerate(steps):
            if number == 0:
                self._say(review)
            yield

    def _say(self, review: Review) -> None:
        left = review.repair.refused
        self.messages.say(
            f"section {review.z} is repaired{' in part' if left else ''} ({review.summary()}); "
            "compare the stages, untick any component that looks wrong, then press Accept"
        )
        if left:
            self.messages.warn(describe_refused(left))
        self.anyway_button.setVisible(any(ANYWAY in refusal.reason for refusal in left))
        for flag in review.repair.flags:
            self.messages.warn(flag)

    @property
    def is_showing(self) -> bool:
        """Whether layers of the last repair are still being added."""
        return self._steps.running

    def refresh(self) -> None:
        """Enable the button when there is something to repair and nothing is being written."""
        ready = self.session.mask is not None
        free = not self.jobs.is_running("repair", "accept", "revert", "save")
        self.repair_button.setEnabled(ready and free)
        self.anyway_button.setEnabled(ready and free)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self._steps.stop()
        self.form.disconnect_session()
        self.session.masks.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self._forget_refusal)
