"""Carry out a plan: repair its sections side by side, each into a file of its own.

Nothing here touches the stack. What is staged and up to date is not computed again, so running
the same plan once more continues after a crash, a kill or a cancel.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from .. import folders
from ..errors import Cancelled, InputError, StoreError, counted
from ..names import printable
from ..types import Progress, no_progress
from .batch_workers import ClusterWorkers, Control, Events, ThreadWorkers, Workers
from .edits import StagedEdits, with_edits
from .plan import BatchPlan, Rate, SectionPlan, duration, reach_of
from .records import FAILED, FORMAT, REPAIRED, StackIdentity
from .staging_folder import StagingFolder
from .task import CANCELLED, SectionOutcome, SectionTask

#: Seconds between two looks whether a batch was cancelled.
_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch.

    Parameters
    ----------
    sections
        One outcome per section of the plan, ascending.
    seconds
        How long it took.
    workers
        How many worked.
    rate
        How long repairs take on this machine, for the next plan.
    """

    sections: tuple[SectionOutcome, ...]
    seconds: float
    workers: int
    rate: Rate

    @property
    def repaired(self) -> tuple[int, ...]:
        """Sections that are staged."""
        return tuple(s.z for s in self.sections if s.status == REPAIRED)

    @property
    def computed(self) -> tuple[int, ...]:
        """Sections that were repaired or refused now; the others were staged already."""
        return tuple(s.z for s in self.sections if s.computed)

    @property
    def unrepaired(self) -> tuple[SectionOutcome, ...]:
        """Sections that were refused or failed."""
        return tuple(s for s in self.sections if s.status != REPAIRED)

    @property
    def incomplete(self) -> tuple[SectionOutcome, ...]:
        """Sections that were repaired, but not all windows of them."""
        return tuple(s for s in self.sections if s.status == REPAIRED and s.refused)

    @property
    def complete(self) -> bool:
        """Whether every section was repaired, and every window of it."""
        return not self.unrepaired and not self.incomplete


def run_batch(
    plan: BatchPlan,
    staging: Path | str,
    *,
    workers: int | None = None,
    scheduler: Any = None,
    control: Control | None = None,
    progress: Progress = no_progress,
    on_section: Callable[[SectionOutcome], None] | None = None,
) -> BatchReport:
    """Repair the sections of a plan into a staging folder; the stack is not touched.

    Parameters
    ----------
    plan
        From :func:`~.plan.plan_batch`.
    staging
        Folder for the repairs; created if necessary. One that holds repairs of this stack is
        continued: sections whose pixels, mask and options are the same are not computed again.
    workers
        How many threads; None for one per core, or one per GPU where the method uses them.
    scheduler
        Address of a running dask.distributed scheduler (``tcp://host:8786``), or a
        ``distributed.Client``, instead of threads. Stack and staging folder must be reachable by
        the same paths on all its workers.
    control
        Pauses and cancels from another thread.
    progress
        Called in this thread, several times a second, with (fraction, message with the time left).
        May raise ``Cancelled``.
    on_section
        Called in this thread with the outcome of every section, as soon as it is known.

    Returns
    -------
    BatchReport

    Raises
    ------
    InputError
        If the staging folder belongs to another stack, or the scheduler does not answer.
    StoreError
        If the staging folder cannot be written to, or another batch is using it.
    Cancelled
        If it was cancelled; what is staged stays, and running the plan again continues from there.
    """
    started = time.perf_counter()
    control, stage = control or Control(), StagingFolder(staging)
    on_section = on_section or (lambda outcome: None)
    if stage.foreign:
        raise InputError(f"{stage.path} is not a staging folder; choose another one.")
    stage.check_kinds()
    if stage.exists:
        check_fits(stage, plan)
        plan = with_edits(plan, StagedEdits.of(stage))
    known = [SectionOutcome(s.z, s.status, s.reason) for s in plan.unplanned]
    for outcome in known:
        on_section(outcome)
    if not plan.planned:
        return BatchReport(tuple(known), time.perf_counter() - started, 0, Rate())
    methods = sorted({name for section in plan.planned for name in section.methods})
    pool: Workers
    if scheduler is not None:
        _check_reachable(plan)
        pool = ClusterWorkers(scheduler)
    else:
        pool = ThreadWorkers(workers, methods, plan.device)
    run = _BatchRun(plan, stage, control, progress, on_section)
    outcomes = run.carry_out(pool)
    return BatchReport(
        tuple(sorted([*known, *outcomes], key=lambda outcome: outcome.z)),
        time.perf_counter() - started,
        pool.count,
        Rate().corrected(run.clock.factor),
    )


def _check_reachable(plan: BatchPlan) -> None:
    """Refuse to send a stack that only this process has."""
    if plan.stack.kind == "array":
        raise InputError(
            "the stack is an array of this process, which a cluster cannot read; save it to a file "
            "and open that."
        )


class _BatchRun:
    """One run of a plan."""

    def __init__(
        self,
        plan: BatchPlan,
        stage: StagingFolder,
        control: Control,
        progress: Progress,
        on_section: Callable[[SectionOutcome], None],
    ) -> None:
        self.plan, self.stage, self.control = plan, stage, control
        self.progress, self.on_section = progress, on_section
        self.clock = _Clock(plan.planned)
        self.events: Events = Queue()

    def carry_out(self, pool: Workers) -> list[SectionOutcome]:
        """Repair all sections; return the outcomes in the order in which they came."""
        try:
            with self.stage.writing(), self.stage.token(_new_token()) as token:
                prepare(self.stage, self.plan)
                pool.start(self._tasks(token), self.events, self.control)
                outcomes = self._collect(pool)
                with self.stage.explained():
                    self.stage.sync_log()
                return outcomes
        except BaseException as error:
            self.control.cancel()
            if not isinstance(error, Cancelled):
                raise
            done = counted(len(self.stage.sections), "section")
            raise Cancelled(f"cancelled; {done} staged in {self.stage.path}") from None
        finally:
            pool.stop()

    def _tasks(self, token: Path) -> list[SectionTask]:
        edits = StagedEdits.of(self.stage)
        return [
            make_task(self.plan, section, edits, self.stage, token) for section in self.plan.planned
        ]

    def _collect(self, pool: Workers) -> list[SectionOutcome]:
        """Take what the workers send until all sections are done."""
        outcomes: list[SectionOutcome] = []
        while len(outcomes) < len(self.plan.planned):
            pool.advance()
            if self.control.cancelled:
                raise Cancelled("cancelled")
            try:
                event = self.events.get(timeout=_INTERVAL)
            except Empty:
                self.clock.paused(self.control.paused)
            else:
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, SectionOutcome):
                    self._finished(event)
                    outcomes.append(event)
                else:
                    self.clock.advanced(*event)
            self.progress(*self.clock.report(pool.count))
        return outcomes

    def _finished(self, outcome: SectionOutcome) -> None:
        """Note an outcome; give up where none of the others could be staged either."""
        if outcome.status == CANCELLED:
            raise Cancelled("cancelled")
        if outcome.fatal:
            raise StoreError(outcome.message)
        self.clock.finished(outcome)
        if outcome.computed or outcome.status == FAILED:
            with self.stage.explained():
                self.stage.log(log_line(outcome))
        self.on_section(outcome)


def _new_token() -> str:
    """Return the name of a file that tells the workers of a run that they are wanted."""
    return f"run-{uuid.uuid4().hex[:12]}"


def log_line(outcome: SectionOutcome) -> dict[str, Any]:
    """Return an outcome as the log of the staging folder has it."""
    stored = {**asdict(outcome), "refused": [refusal.to_dict() for refusal in outcome.refused]}
    stored["section"] = stored.pop("z")
    return stored


class _Clock:
    """How far a batch is, and how long it is going to take."""

    def __init__(self, sections: Iterable[SectionPlan]) -> None:
        self._expected = {section.z: section.seconds for section in sections}
        self._share: dict[int, float] = {}
        self._done: set[int] = set()
        self._disturbed: set[int] = set()
        self._took = self._foreseen = 0.0
        self._message = "starting"
        self._is_paused = False

    def advanced(self, z: int, fraction: float, message: str) -> None:
        """Note how far a section is."""
        self._share[z] = fraction
        self._message = message

    def paused(self, paused: bool) -> None:
        """Note a pause: sections that wait tell nothing about the time a repair takes."""
        self._is_paused = paused
        if paused:
            self._disturbed |= self._share.keys() - self._done

    def finished(self, outcome: SectionOutcome) -> None:
        """Note that a section is done, and learn from the time it took."""
        self._share[outcome.z] = 1.0
        self._done.add(outcome.z)
        if outcome.status == REPAIRED and outcome.computed and outcome.z not in self._disturbed:
            self._took += outcome.seconds
            self._foreseen += self._expected[outcome.z]

    @property
    def factor(self) -> float:
        """What sections took over what was expected of them."""
        return self._took / self._foreseen if self._foreseen else 1.0

    def report(self, workers: int) -> tuple[float, str]:
        """Return the share that is done, and a message with the time left."""
        total = sum(self._expected.values()) or 1.0
        done = sum(self._expected[z] * share for z, share in self._share.items())
        left = duration((total - done) * self.factor / max(workers, 1))
        state = "paused" if self._is_paused else f"about {left} left"
        message = f"{len(self._done)} of {len(self._expected)} sections, {state}; {self._message}"
        return min(done / total, 1.0), message


def make_task(
    plan: BatchPlan, section: SectionPlan, edits: StagedEdits, stage: StagingFolder, token: Path
) -> SectionTask:
    """Return the task of one section."""
    return SectionTask(
        plan.stack,
        stage.path,
        section,
        edits.methods.get(section.z, plan.method),
        plan.device,
        edits.options.get(section.z, plan.options),
        plan.thickness,
        token,
        stage.key,
    )


# ---- the staging folder of a plan


def identity(plan: BatchPlan) -> StackIdentity:
    """Return what tells one stack from another, wherever it lies."""
    stack = plan.stack
    (depth, height, width), fixed = stack.shape, stack.levels[0].axes.fixed
    return StackIdentity(
        name=printable(stack.name),
        shape=(int(depth), int(height), int(width)),
        dtype=str(stack.dtype),
        fixed=tuple((int(axis), int(index)) for axis, index in fixed),
    )


def check_fits(stage: StagingFolder, plan: BatchPlan) -> None:
    """Refuse a staging folder that belongs to another stack.

    Raises
    ------
    InputError
        If it does.
    """
    stored = stage.plan()
    if stored.stack != identity(plan):
        raise InputError(
            f"{stage.path} holds repairs of another stack ({stored.stack.name}); choose another "
            "folder for the staging."
        )


def prepare(stage: StagingFolder, plan: BatchPlan) -> None:
    """Put the plan and the masks into the staging folder; what no longer fits is removed."""
    method = plan.method_name
    stage.put_json(
        folders.PLAN,
        {
            "format": FORMAT,
            "stack": identity(plan).model_dump(mode="json"),
            "method": method,
            "options": asdict(plan.options),
            "thickness": plan.thickness,
        },
    )
    reach = reach_of(plan.stack, plan.method, plan.options)
    near = {z for s in plan.sections for z in range(s.z - reach, s.z + reach + 1)}
    for z in sorted(near):
        box = plan.boxes.get(z)
        if box is not None:
            stage.put_mask(z, box, plan.damage.read(z, box), kinds=plan.damage.kinds(z, box))
        else:  # it is not damaged, or no longer
            stage.discard(z, folders.MASKS)
            stage.discard(z)
    for section in plan.unplanned:
        stage.discard(section.z)
