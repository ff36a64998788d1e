"""Carry out ``flowinpaint repair``: stage, accept, write; one section and many alike.

With ``--in-place`` and ``--output`` every repair counts as accepted, unless it stays below
``--accept-above`` or was rejected in a review of the staging folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.notes import Note, no_note
from ..core.types import Progress, no_progress
from ._console import uninterrupted
from ._request import PlannedRepair, RepairOutcome
from ._staging import start_over, tidy

if TYPE_CHECKING:
    from ..core.batch import SectionOutcome, StagedSection, Staging
    from ..core.io.stack import Stack

#: Of the time it takes to write a new store: the rest is the repairs'.
_SAVING = 0.2


def run_repair(
    request: PlannedRepair,
    report: Callable[[RepairOutcome], None],
    progress: Progress = no_progress,
    note: Note = no_note,
) -> None:
    """Carry out a request.

    Parameters
    ----------
    request
        From :func:`~._plan.plan_repair`.
    report
        Called with the outcome of every section.
    progress
        Called with a fraction and a message.
    note
        Told what was taken for granted, or done otherwise.

    Raises
    ------
    StoreError
        If writing failed; sections reported as written in place before that stay written.
    """
    from ..core.batch import run_batch

    command = request.command
    if command.batch.resume is False:
        start_over(request.staging, note)
    writer = _OutcomeWriter(request, report, note)
    share = 1.0 if command.output is None else 1 - _SAVING
    complete = False
    try:
        run_batch(
            request.plan,
            request.staging,
            workers=command.batch.workers,
            scheduler=command.batch.scheduler,
            progress=lambda fraction, message: progress(share * fraction, message),
            on_section=writer.take,
        )
        if command.output is not None:
            writer.save(lambda f, message: progress(share + (1 - share) * f, message))
        complete = True
    except KeyboardInterrupt:
        if command.in_place:
            writer.catch_up()  # it may have come while a section was being written
        raise
    finally:
        tidy(request.staging, complete and command.batch.staging is None, writer.accepted)


class _OutcomeWriter:
    """Decides about outcomes as they come, writes what is accepted, and reports.

    Attributes
    ----------
    accepted
        Sections that are written, or going to be.
    """

    def __init__(
        self, request: PlannedRepair, report: Callable[[RepairOutcome], None], note: Note
    ) -> None:
        from ..core.batch.commit_staged import groups_of

        self._note = note

        self._command, self._stack = request.command, request.plan.stack
        self._mask, self._path, self._report = request.plan.damage, request.staging, report
        self._groups = groups_of(self._stack, [section.z for section in request.plan.sections])
        self._known: dict[int, SectionOutcome] = {}
        self.accepted: list[int] = []

    def take(self, outcome: SectionOutcome) -> None:
        """Take the outcome of a section; sections are written in order, with their chunks."""
        with uninterrupted():
            self._known[outcome.z] = outcome
            if self._command.in_place:
                self.catch_up()
            else:
                self._decide([outcome.z])

    def catch_up(self) -> None:
        """Write all that is known, if that was not done yet."""
        while self._groups and all(z in self._known for z in self._groups[0]):
            self._decide(self._groups[0])
            self._groups.pop(0)

    def save(self, progress: Progress) -> None:
        """Write the new store with everything that was accepted; nothing where nothing was."""
        from ..core.export import save_ome_zarr

        if not self.accepted:
            return
        assert self._command.output is not None
        save_ome_zarr(
            self._stack,
            self._command.output,
            repairs=self._staging.repairs(sorted(self.accepted), self._mask),
            overwrite=self._command.overwrite,
            progress=progress,
            note=self._note,
        )

    def _decide(self, sections: list[int]) -> None:
        """Accept, write and report some sections."""
        from ..core.batch import commit

        repaired = [z for z in sections if self._known[z].status == "repaired"]
        decided = self._accept(repaired) if repaired else {}
        chosen = [z for z in repaired if decided[z] == "written"]
        numbers: dict[int, int] = {}
        if self._command.in_place and chosen:
            stack = self._to_write()
            numbers = commit(stack, self._staging, chosen, within=self._mask, note=self._note)
        self.accepted += chosen
        for z in sections:
            known = self._known[z]
            outcome = RepairOutcome(
                z=z,
                status=known.status,
                message=known.message,
                repair=self._staging.repair(z) if known.status == "repaired" else None,
                repair_id=numbers.get(z),
                seconds=known.seconds,
                decision=decided.get(z, "undecided"),
                computed=known.computed,
            )
            self._report(outcome)

    def _to_write(self) -> Stack:
        """Return the stack; of a file that cannot be written to, what is kept beside it."""
        from ..core.writing.kept import keep_beside

        if not self._stack.writable:
            self._stack = keep_beside(self._stack)
            assert self._stack.group_path is not None
            self._note(
                f"{self._command.stack} stays as it is; its repairs are kept in "
                f"{self._stack.group_path.parent}, and shown over it from now on"
            )
        return self._stack

    @property
    def _staging(self) -> Staging:
        from ..core.batch import load_staged

        return load_staged(self._path)

    def _accept(self, sections: list[int]) -> dict[int, str]:
        """Accept what may be written; return what becomes of each section."""
        staging, threshold = self._staging, self._command.batch.accept_above
        if not self._command.writes:
            return {section.z: section.decision for section in staging.get(sections)}
        staging.accept(s.z for s in staging.get(sections) if _may_be_written(s, threshold))
        decided = {s.z: s.decision for s in staging.get(sections)}
        return {z: "written" if d == "accepted" else d for z, d in decided.items()}


def _may_be_written(section: StagedSection, threshold: float | None) -> bool:
    """Return whether nobody has rejected a repair, and it is good enough."""
    if section.decision == "rejected":
        return False
    if section.decision != "undecided" or threshold is None:
        return True  # somebody has accepted it, or nobody is asked
    return section.quality >= threshold
