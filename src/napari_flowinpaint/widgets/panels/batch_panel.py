"""Plan the repair of many sections, look at the plan, carry it out in staging."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...core.batch import BatchReport, Control, SectionOutcome, StagedSection
from ...core.batch.plan import FAILED, duration
from ...core.errors import Cancelled, InputError, name_sections
from ...viewer.state.batches import BatchRow
from ...viewer.tasks import many_sections
from ...viewer.tasks.as_command import CommandRequest
from ...viewer.tasks.flag_list import DAMAGED, UNDECIDED
from ...viewer.tasks.many_sections import RedoRequest
from ..parts.copy_command import CopyCommand
from ..parts.jobs import JobRunner
from ..parts.marking import mark_damaged
from ..parts.messages import Messages, as_sentence, guarded
from ..parts.refusal_box import RefusalBox
from ..parts.rows_table import Column, RowsTable
from ..parts.wording import counted, in_window
from .settings_form import SettingsForm

if TYPE_CHECKING:
    from napari.layers import Image

    from ...viewer.session import Session
    from ...viewer.tasks.many_sections import BatchRequest, PlannedBatch

_WHICH = {
    "marked as damaged": (DAMAGED,),
    "damaged or undecided": (DAMAGED, UNDECIDED),
}


def _guides(row: BatchRow) -> str:
    """Return the sections that guide a repair."""
    sections = {z for window in row.plan.windows for z in window.neighbours if z is not None}
    return " ".join(map(str, sorted(sections)))


def _explain(row: BatchRow) -> str:
    planned = row.plan.windows and row.outcome is None
    return as_sentence(str(row.plan) if planned else row.reason or str(row.plan))


_COLUMNS = (
    Column("z", "Section.", lambda r: str(r.plan.z), lambda r: r.plan.z, number=True, width=52),
    Column(
        "guides",
        "Neighbouring sections that guide the repair.",
        _guides,
        explain=_explain,
        width=78,
    ),
    Column("method", "Method.", lambda r: "+".join(r.plan.methods), explain=_explain, width=80),
    Column(
        "time",
        "Estimated time on one core.",
        lambda r: duration(r.plan.seconds) if r.plan.windows else "",
        lambda r: r.plan.seconds,
        number=True,
    ),
    Column(
        "state",
        "Outcome, and the reason for it.",
        lambda r: f"{r.status}: {in_window(r.reason)}" if r.reason else r.status,
        explain=_explain,
        width=86,
    ),
)


class _Relay(QObject):
    """Passes outcomes from a thread to the GUI thread.

    Attributes
    ----------
    received
        Signal (image, outcome).
    """

    received = Signal(object, object)


class BatchPanel(QWidget):
    """Settings, Plan, the plan, Run and Pause.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.

    Attributes
    ----------
    finished
        Signal (image): the batch of a stack has ended.
    """

    finished = Signal(object)

    def __init__(self, session: Session, jobs: JobRunner, messages: Messages) -> None:
        super().__init__()
        self.session, self.jobs, self.messages = session, jobs, messages
        self.form = SettingsForm(session, jobs, messages)
        self.which = QComboBox()
        self.plan_button = QPushButton("Plan")
        self.summary = QLabel()
        self.table = RowsTable(_COLUMNS, lambda row: row.plan.z)
        self.refusal = RefusalBox()
        self.run_button = QPushButton("Run")
        self.pause_button = QPushButton("Pause")
        self.copy_button = CopyCommand(jobs, messages, self._command)
        self.control = Control()
        self._relay = _Relay(self)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.which.addItems(list(_WHICH))
        self.which.setToolTip("Which of the flagged sections to repair.")
        self.plan_button.setToolTip(
            "Work out neighbours, methods and times; nothing is repaired yet."
        )
        self.run_button.setToolTip(
            "Repair in the background, for review; the stack is not changed. Run resumes a "
            "cancelled batch."
        )
        self.pause_button.setToolTip("Finish the sections that are under way and start no others.")
        self.pause_button.setCheckable(True)
        self.summary.setWordWrap(True)
        self.summary.setTextFormat(Qt.TextFormat.PlainText)
        self.form.insertRow(0, "sections", self.which)
        row = QHBoxLayout()
        row.addWidget(self.run_button, stretch=1)
        row.addWidget(self.pause_button, stretch=1)
        row.addWidget(self.copy_button, stretch=1)
        box = QVBoxLayout(self)
        box.addLayout(self.form)
        box.addWidget(self.plan_button)
        box.addWidget(self.table, stretch=1)
        box.addWidget(self.refusal)
        box.addWidget(self.summary)
        box.addLayout(row)

    def _connect(self) -> None:
        self.plan_button.clicked.connect(self.plan)
        self.run_button.clicked.connect(self.run)
        self.pause_button.toggled.connect(self._pause)
        self.table.picked.connect(self._on_picked)
        self.refusal.anyway.connect(self.repair_anyway)
        self.refusal.marked.connect(self._mark)
        self._relay.received.connect(self._on_outcome)
        self.jobs.changed.connect(self.refresh)
        self.session.batch.changed.connect(self.refresh)
        self.session.flags.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)

    # ---- planning

    @guarded
    def plan(self) -> None:
        """Plan the repair of the flagged sections, in a thread."""
        image = self.session.require_image()
        request = self.session.request_batch(_WHICH[self.which.currentText()])
        self.jobs.start(
            "plan",
            many_sections.plan,
            request,
            done=partial(self._show_plan, image, request),
            failed=self.messages.fail,
        )

    def _show_plan(self, image: Any, request: BatchRequest, planned: PlannedBatch) -> None:
        self.session.batch.set_plan(image, planned, request.mask)
        count = len(planned.plan.planned)
        if count:
            it = "it" if count == 1 else "them"
            self.messages.say(f"{counted(count, 'section')} planned; press Run to repair {it}")
        else:
            self.messages.say("nothing can be repaired; the table gives the reasons")

    def _on_picked(self, row: BatchRow) -> None:
        from ...viewer import camera

        if self.session.image is not None:
            camera.go_to_section(self.session.viewer, self.session.image, row.plan.z)
        self.messages.say(_explain(row))
        self._show_refusal(row)

    def _show_refusal(self, row: BatchRow | None) -> None:
        """Say what of a section was refused, and offer what can be done."""
        if row is None or not row.reason or row.status == FAILED:
            self.refusal.show_reason("", "")
            return
        left = row.plan.refused if row.outcome is None else row.outcome.refused
        subject = f"{counted(len(left), 'part')} of section" if left else "Section"
        reason = left[0].reason if left else row.reason
        self.refusal.show_reason(f"{subject} {row.plan.z}", reason)

    # ---- what was refused

    @guarded
    def repair_anyway(self) -> None:
        """Repair the section of the current row although no neighbour fits; it is flagged."""
        row: BatchRow | None = self.table.current
        if row is None:
            raise InputError("no section is selected; click one.")
        image = self.session.require_image()
        request = RedoRequest(
            self.session.require_stack(),
            self.session.require_flags().store.staging,
            row.plan.z,
            None,
            None,
            {},
            self.session.settings.device,
            "flag",
        )

        def done(section: StagedSection) -> None:
            outcome = SectionOutcome(section.z, section.status, refused=section.refused)
            self.session.batch.update(image, [section])
            self.session.batch.add_outcome(image, outcome)
            self.messages.notify(f"section {section.z} was repaired anyway; see Review")

        failed = self.messages.fail
        self.jobs.start("redo", many_sections.redo, request, done=done, failed=failed, waits=True)

    def _mark(self, sections: tuple[int, ...]) -> None:
        try:
            mark_damaged(self.session, self.jobs, self.messages, sections, "press Plan again")
        except Exception as error:
            self.messages.fail(error)

    def _command(self) -> CommandRequest:
        """Return what Plan, Run and Write would do, for a command."""
        asked = self.session.request_batch(_WHICH[self.which.currentText()])
        return CommandRequest(
            asked.stack,
            asked.mask,
            asked.sections,
            asked.method,
            asked.device,
            asked.options,
            asked.intact,
        )

    # ---- running

    @guarded
    def run(self) -> None:
        """Carry out the plan, in threads."""
        image, flags = self.session.require_image(), self.session.require_flags()
        plan = self.session.batch.of(image).require_plan(self.session.mask)
        self.control = Control()
        self.pause_button.setChecked(False)
        self.jobs.start(
            "batch",
            many_sections.run,
            plan,
            flags.store.staging,
            self.control,
            lambda outcome: self._relay.received.emit(image, outcome),
            done=partial(self._on_done, image),
            failed=partial(self._on_failed, image),
            waits=True,
        )

    def _on_outcome(self, image: Any, outcome: SectionOutcome) -> None:
        self.session.batch.add_outcome(image, outcome)

    def _on_done(self, image: Image, report: BatchReport) -> None:
        text = f"{counted(len(report.repaired), 'section')} repaired and ready for review"
        if report.unrepaired:
            text += f"; {len(report.unrepaired):,} not repaired"
        if report.incomplete:
            text += f"; {len(report.incomplete):,} repaired only in part"
        if report.unrepaired or report.incomplete:
            text += " (the table gives the reasons)"
        self.messages.notify(text)
        self.finished.emit(image)

    def _on_failed(self, image: Image, error: Exception) -> None:
        if isinstance(error, Cancelled):
            there = image in self.session.viewer.layers
            again = "press Run" if there else "open the stack again"
            self.messages.say(f"cancelled; finished repairs are kept, {again} to resume")
        else:
            self.messages.fail(error)
        self.finished.emit(image)

    def _pause(self, paused: bool) -> None:
        """Pause or resume."""
        if paused:
            self.control.pause()
        else:
            self.control.resume()
        self.pause_button.setText("Resume" if paused else "Pause")

    # ---- state

    def refresh(self) -> None:
        """Show the plan, and enable what can be done."""
        batch = self.session.batch.of(self.session.image)
        flags = self.session.flags.of(self.session.image)
        self.table.show_rows(batch.rows)
        self._show_refusal(self.table.current)
        running = self.jobs.is_running("batch")
        busy = self.jobs.is_running("plan", "batch", "write", "revert", "redo")
        self.plan_button.setEnabled(flags is not None and not busy)
        self.run_button.setEnabled(batch.plan is not None and bool(batch.plan.planned) and not busy)
        self.pause_button.setEnabled(running)
        self.copy_button.setEnabled(flags is not None)
        self.refusal.set_free(not busy)
        if not running and self.pause_button.isChecked():
            self.pause_button.setChecked(False)
        if batch.plan is None:
            self.summary.setText(
                "Press Plan to see which sections will be repaired, from which neighbours, by "
                "which method, and how long it will take."
            )
            return
        done = sum(1 for row in batch.rows if row.outcome is not None)
        text = batch.plan.summary() if not done else f"{done} of {len(batch.rows)} sections done"
        if batch.empty:
            text += f"; no mask in {name_sections(batch.empty, most=8)}"
        if flags is not None:
            where = f"kept in {flags.store.staging}"
            text += f"\n{where if flags.store.lasting else 'not kept: the stack has no file'}"
        self.summary.setText(as_sentence(text))

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.form.disconnect_session()
        self.session.batch.changed.disconnect(self.refresh)
        self.session.flags.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
