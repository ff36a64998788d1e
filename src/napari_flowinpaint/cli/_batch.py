"""``flowinpaint repair`` with many sections: plan, stage, accept, write.

With ``--in-place`` and ``--output`` every repair counts as accepted, unless it stays below
``--accept-above`` or was rejected in a review of the staging folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core.types import Progress, SectionRepair
from ._console import tell, uninterrupted
from ._repair import NothingRepaired, Outcome, Plan, Report
from ._staging import start_anew, tidy

if TYPE_CHECKING:
    from ..core.batch import BatchPlan, SectionOutcome, StagedSection, Staging

#: Of the time it takes to write a new store: the rest is the repairs'.
_SAVING = 0.2


def plan_many(plan: Plan, progress: Progress) -> BatchPlan:
    """Plan all sections of a command."""
    from ..core.batch import plan_batch

    command = plan.command
    return plan_batch(
        plan.stack,
        plan.damage,
        plan.sections,
        options=command.options,
        method=command.method,
        device=plan.device,
        progress=progress,
    )


def show_plan(plan: Plan, batch: BatchPlan) -> None:
    """Print what is going to happen."""
    from ..core.batch.workers import cores

    for section in batch.sections:
        tell(f"plan: {section}")
    workers = plan.command.batch.workers or min(cores(), max(len(batch.planned), 1))
    tell(f"plan: {batch.summary(workers)}; staged in {plan.staging}")


def repair_batch(plan: Plan, report: Report, progress: Progress) -> None:
    """Carry out a plan of many sections.

    Parameters
    ----------
    plan
        From :func:`~._repair.plan_repair`.
    report
        Called with the outcome of every section.
    progress
        Called with a fraction and a message.
    """
    from ..core.batch import run_batch
    from ..core.batch.stage import Stage

    command = plan.command
    assert plan.staging is not None
    batch = plan_many(plan, lambda _, message: progress(0.0, message))
    show_plan(plan, batch)
    stage = Stage(plan.staging)
    if command.batch.resume is False:
        start_anew(stage)
    keeper = _Keeper(plan, report)
    share = 1.0 if command.output is None else 1 - _SAVING
    complete = False
    try:
        run_batch(
            batch,
            plan.staging,
            workers=command.batch.workers,
            scheduler=command.batch.scheduler,
            progress=lambda fraction, message: progress(share * fraction, message),
            on_section=keeper.take,
        )
        if command.output is not None:
            keeper.save(lambda f, message: progress(share + (1 - share) * f, message))
        complete = True
    except KeyboardInterrupt:
        if command.in_place:
            keeper.catch_up()  # it may have come while a section was being written
        raise
    finally:
        tidy(stage, command.batch.staging is None, complete and keeper.nothing_waits)


class _Keeper:
    """Decides about outcomes as they come, writes what is accepted, and reports."""

    def __init__(self, plan: Plan, report: Report) -> None:
        from ..core.batch.writing import groups_of

        self._plan, self._report = plan, report
        self._groups = groups_of(plan.stack, plan.sections)
        self._known: dict[int, SectionOutcome] = {}
        self._accepted: list[int] = []
        self._waiting = 0

    @property
    def nothing_waits(self) -> bool:
        """Whether all that is staged was written."""
        return self._waiting == 0

    def take(self, outcome: SectionOutcome) -> None:
        """Take the outcome of a section; sections are written in order, with their chunks."""
        with uninterrupted():
            self._known[outcome.z] = outcome
            self._waiting += outcome.status == "repaired"
            if self._plan.command.in_place:
                self.catch_up()
            else:
                self._decide([outcome.z])

    def catch_up(self) -> None:
        """Write all that is known, if that was not done yet."""
        while self._groups and all(z in self._known for z in self._groups[0]):
            self._decide(self._groups[0])
            self._groups.pop(0)

    def _decide(self, sections: list[int]) -> None:
        """Accept, write and report some sections."""
        from ..core.batch import commit

        command = self._plan.command
        repaired = [z for z in sections if self._known[z].status == "repaired"]
        decided = self._accept(repaired) if repaired else {}
        chosen = [z for z in repaired if decided[z] == "written"]
        numbers: dict[int, int] = {}
        if command.in_place and chosen:
            numbers = commit(self._plan.stack, self._staging, chosen)
            self._waiting -= len(numbers)
        self._accepted += chosen
        for z in sections:
            self._tell(z, decided.get(z, "undecided"), numbers.get(z))

    def _tell(self, z: int, decision: str, number: int | None) -> None:
        known = self._known[z]
        repair = self._staging.repair(z) if known.status == "repaired" else None
        self._report(
            Outcome(
                z,
                known.status,
                known.message,
                repair,
                number,
                known.seconds,
                decision,
                known.computed,
            )
        )

    @property
    def _staging(self) -> Staging:
        from ..core.batch import load_staged

        assert self._plan.staging is not None
        return load_staged(self._plan.staging)

    def _accept(self, sections: list[int]) -> dict[int, str]:
        """Accept what may be written; return what becomes of each section."""
        command, staging = self._plan.command, self._staging
        if not command.in_place and command.output is None:
            return {section.z: section.decision for section in staging.get(sections)}
        chosen = [s for s in staging.get(sections) if _good(s, command.batch.accept_above)]
        staging.accept(s.z for s in chosen)
        decided = {s.z: s.decision for s in staging.get(sections)}
        return {z: "written" if d == "accepted" else d for z, d in decided.items()}

    def save(self, progress: Progress) -> None:
        """Write the new store with everything that was accepted."""
        from ..core.export import save_ome_zarr

        command = self._plan.command
        if not self._accepted:
            raise NothingRepaired("no section could be repaired; nothing was written.")
        assert command.output is not None
        save_ome_zarr(
            self._plan.stack,
            command.output,
            repairs=_Repairs(self._staging, sorted(self._accepted)),
            overwrite=command.overwrite,
            progress=progress,
        )
        self._waiting -= len(self._accepted)


class _Repairs:
    """Staged repairs, read one by one when they are written."""

    def __init__(self, staging: Staging, sections: list[int]) -> None:
        self._staging, self._sections = staging, sections

    def __len__(self) -> int:
        return len(self._sections)

    def __iter__(self) -> Iterator[SectionRepair]:
        return map(self._staging.repair, self._sections)


def _good(section: StagedSection, threshold: float | None) -> bool:
    """Return whether a repair is to be written."""
    if section.decision == "rejected":
        return False
    if section.decision != "undecided" or threshold is None:
        return True  # somebody has accepted it, or nobody is asked
    return section.quality >= threshold
