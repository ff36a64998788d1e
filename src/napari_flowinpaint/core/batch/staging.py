"""Look at what is staged, decide, repair again.

Decisions are kept in the staging folder and survive a restart. Each belongs to one repair: when the
section is repaired again, from another mask or by another method, it has to be decided again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import folders
from ..disk.lock import locked
from ..disk.open_root import open_root
from ..errors import Cancelled, InputError, RepairRefused, StoreError
from ..masks.stack_mask import StackMask
from ..methods import check_method
from ..repair_options import RepairOptions
from ..section_repair import Patch, SectionRepair
from ..types import AnyImage, BoolImage, Box, Progress, no_progress
from .batch_workers import threads_given_back
from .edits import EditedMask, StagedEdits, plan_edited, store_edit
from .plan import FAILED, PLANNED, BatchPlan
from .records import ACCEPTED, REJECTED, REPAIRED, UNDECIDED, WRITTEN, StagedRecord
from .run_batch import check_fits, log_line, make_task
from .staging_folder import StagingFolder
from .task import CANCELLED, SectionOutcome, run_task

if TYPE_CHECKING:
    from ..io.stack import Stack
from .staged_section import StagedSection, staged_section


class Staging:
    """The repairs in a staging folder, with the decisions about them.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path | str) -> None:
        self._stage = StagingFolder(path)
        self.path = self._stage.path
        if not self._stage.exists or self._stage.foreign:
            raise InputError(f"{self.path} is not a staging folder of a batch; check the path.")

    @property
    def sections(self) -> tuple[StagedSection, ...]:
        """All staged sections, ascending, as they are on disk now."""
        return self.get(self._stage.sections)

    def get(self, sections: Iterable[int]) -> tuple[StagedSection, ...]:
        """Return those of ``sections`` that are staged."""
        decisions = self._stage.decisions()
        records = (self._stage.get_record(z) for z in sections)
        return tuple(staged_section(record, decisions) for record in records if record)

    def worst_first(self) -> tuple[StagedSection, ...]:
        """Return the repaired sections sorted by quality, the worst first."""
        repaired = [section for section in self.sections if section.status == REPAIRED]
        return tuple(sorted(repaired, key=lambda section: (section.quality, section.z)))

    @property
    def unreadable(self) -> dict[int, StoreError]:
        """The accepted sections whose repairs cannot be read, and why."""
        found: dict[int, StoreError] = {}
        staged = set(self._stage.sections)
        for name, decided in self._stage.decisions().items():
            z = int(name)
            if decided.decision == ACCEPTED and z in staged and self._stage.get_record(z) is None:
                try:
                    self.repair(z)
                except StoreError as error:
                    found[z] = error
        return found

    def repair(self, z: int) -> SectionRepair:
        """Return the repair of a section with its pixels: the three stages and the confidence.

        Raises
        ------
        StoreError
            If there is none, or it cannot be read.
        """
        return self._stage.get_repair(z)

    def repairs(self, sections: Sequence[int], within: StackMask | None = None) -> StagedRepairs:
        """Return the repairs of sections, each read when it is asked for.

        One that replaces pixels outside of the mask ``within`` is refused then.
        """
        return StagedRepairs(self, sections, within)

    def mask(self, z: int) -> tuple[Box, BoolImage] | None:
        """Return a box and the damage in it, from which a section was repaired; None without."""
        return self._stage.get_mask(z)

    # ---- decisions

    def accept(
        self, sections: Iterable[int], components: Mapping[int, Collection[int]] | None = None
    ) -> None:
        """Let these be written by :func:`commit`.

        Parameters
        ----------
        sections
            Section numbers.
        components
            By section the components of its repair that are to be written, where that is not all
            of them.

        Raises
        ------
        InputError
            If a section was not repaired, or none of its components is to be written.
        """
        chosen = {z: tuple(sorted(numbers)) for z, numbers in (components or {}).items()}
        empty = [z for z, numbers in chosen.items() if not numbers]
        if empty:
            raise InputError(
                f"no component of section {empty[0]} is ticked; tick at least one, or press Reject"
            )
        self._decide(sections, ACCEPTED, components=chosen)

    def chosen(self, z: int) -> tuple[int, ...] | None:
        """Return the components of a section that are to be written; None for all of them."""
        decided = self._stage.decisions().get(str(z))
        record = self._stage.get_record(z)
        if decided is None or record is None or decided.key != record.key:
            return None
        components: tuple[int, ...] | None = decided.components
        return components

    def accepted_repair(self, z: int) -> SectionRepair:
        """Return what is to be written of a section, or was; else as :meth:`repair`."""
        repair, components = self.repair(z), self.chosen(z)
        return repair if components is None else repair.select(set(components))

    def reject(self, sections: Iterable[int]) -> None:
        """Keep these from being written."""
        self._decide(sections, REJECTED)

    def undecide(self, sections: Iterable[int]) -> None:
        """Take decisions back."""
        self._decide(sections, UNDECIDED)

    def accept_above(self, threshold: float) -> tuple[int, ...]:
        """Accept all undecided repairs whose :attr:`StagedSection.quality` reaches a threshold.

        Parameters
        ----------
        threshold
            In dB.

        Returns
        -------
        tuple of int
            The sections that were accepted.
        """
        chosen = tuple(
            section.z
            for section in self.worst_first()
            if section.decision == UNDECIDED and section.quality >= threshold
        )
        self.accept(chosen)
        return tuple(sorted(chosen))

    def note_written(self, numbers: Mapping[int, int]) -> None:
        """Keep that sections were written, with their numbers in the journal."""
        chosen = {z: found for z in numbers if (found := self.chosen(z)) is not None}
        self._decide(numbers, WRITTEN, numbers, chosen)

    def _decide(
        self,
        sections: Iterable[int],
        decision: str,
        numbers: Mapping[int, int] | None = None,
        components: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        """Keep a decision about sections."""
        stored: dict[int, dict[str, Any]] = {}
        for z in sections:
            record = self._record(z)
            if record.status != REPAIRED:
                raise InputError(f"section {z} was not repaired: {record.message}")
            stored[z] = {"key": record.key, "decision": decision}
            if numbers is not None:
                stored[z]["repair_id"] = numbers[z]
            if components and z in components:
                stored[z]["components"] = list(components[z])
        if stored:
            self._keep(stored)

    def _keep(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change decisions; others may be changing them, too."""
        stage = self._stage
        with stage.explained(), open_root(self.path) as root, locked(root, self.path):
            known = stage.decisions().items()
            content = {z: d.model_dump(mode="json", exclude_none=True) for z, d in known}
            content |= {str(z): dict(stored) for z, stored in changes.items()}
            stage.put_json(folders.DECISIONS, content)

    def _record(self, z: int) -> StagedRecord:
        record = self._stage.get_record(z)
        if record is None:
            raise InputError(f"section {z} is not staged in {self.path}; repair it first.")
        return record

    # ---- again

    def redo(
        self,
        stack: Stack,
        z: int,
        *,
        method: str | None = None,
        mask: BoolImage | None = None,
        kinds: AnyImage | None = None,
        options: RepairOptions | None = None,
        gate: str | None = None,
        device: str = "auto",
        progress: Progress = no_progress,
    ) -> StagedSection:
        """Repair one section again, by another method or from an edited mask.

        What is chosen is kept, also when the batch is run again.

        Parameters
        ----------
        stack
            The stack the repairs belong to.
        z
            Section number.
        method, options, device
            As for :func:`~..repair.repair_section.repair_section`; None leaves it as it was.
        mask
            (Y, X) bool, True = damaged; None leaves it as it was.
        kinds
            (Y, X) labels of the kinds of damage in ``mask``, where they are known.
        gate
            What happens where no neighbour fits, see
            :class:`~napari_flowinpaint.core.repair_options.RepairOptions`; None leaves it as it
            was.
        progress
            Called with (fraction, message); may raise ``Cancelled``, which leaves the old repair.

        Raises
        ------
        InputError, StoreError
            As for :func:`~napari_flowinpaint.core.repair.repair_section.repair_section`.
        RepairRefused
            If it would have to be made up; it is staged as refused then.
        """
        if method is not None:
            check_method(method)
        if mask is not None and (mask.shape != stack.shape[1:] or not mask.any()):
            raise InputError(f"the mask of section {z} is empty or not of shape {stack.shape[1:]}")
        stage = self._stage
        with stage.writing():
            plan = self._plan(stack, device)
            check_fits(stage, plan)
            if gate is not None:
                known = options or StagedEdits.of(stage).options.get(z, plan.options)
                options = replace(known, gate=gate)
            store_edit(stage, z, mask, method, options, kinds)
            outcome = _repair_one(plan, z, stage, progress)
        if outcome.status == FAILED:
            raise StoreError(outcome.message)
        if outcome.status != REPAIRED:
            raise RepairRefused(outcome.message)
        return self.get([z])[0]

    def _plan(self, stack: Stack, device: str) -> BatchPlan:
        """Return the plan that the folder was made by, without its sections."""
        stored = self._stage.plan()
        found = {z: mask for z in self._stage.masks() if (mask := self._stage.get_mask(z))}
        kinds = {z: known for z in found if (known := self._stage.get_kinds(z))}
        damage = EditedMask(StackMask({}, stack.shape), StagedEdits(found, kinds=kinds))
        boxes = {z: box for z, (box, _) in found.items()}
        return BatchPlan(
            stack, damage, (), boxes, stored.method, device, stored.options, stored.thickness
        )


class StagedRepairs:
    """Staged repairs, of which one is in memory at a time.

    Parameters
    ----------
    staging
        Where they are.
    sections
        Numbers, in the order of the repairs.
    within
        Mask that they must lie in; None for any.
    """

    def __init__(
        self, staging: Staging, sections: Sequence[int], within: StackMask | None = None
    ) -> None:
        self._staging, self._sections, self._within = staging, sections, within

    def __len__(self) -> int:
        return len(self._sections)

    def __iter__(self) -> Iterator[SectionRepair]:
        return map(self._read, self._sections)

    def _read(self, z: int) -> SectionRepair:
        repair = self._staging.accepted_repair(z)
        if self._within is not None:
            outside = sum(
                _pixels_outside(patch, self._within.read(z, patch.box)) for patch in repair.patches
            )
            if outside:
                raise StoreError(
                    f"the repair of section {z} in {self._staging.path} replaces {outside} pixels "
                    "outside the mask, so it was not written; give the mask that it was made "
                    "from, or start over with --no-resume or another --staging."
                )
        return repair


def _pixels_outside(patch: Patch, mask: BoolImage) -> int:
    """Return how many pixels a patch replaces that a mask does not allow.

    An unfolding replaces its zone as well, around a line that must be in the mask.
    """
    outside = patch.mask & ~mask
    if patch.displaced is not None and (patch.mask & mask).any():
        outside &= ~patch.displaced.zone
    return int(np.count_nonzero(outside))


def load_staged(staging: Path | str) -> Staging:
    """Open a staging folder to look at repairs and to decide about them.

    Raises
    ------
    InputError
        If it is not a staging folder.
    """
    return Staging(staging)


def _repair_one(
    plan: BatchPlan, z: int, stage: StagingFolder, progress: Progress
) -> SectionOutcome:
    """Repair one section here and stage it."""
    edits = StagedEdits.of(stage)
    if z in edits.masks:
        box, mask = edits.masks[z]
        labels = edits.kinds[z][1] if z in edits.kinds else None
        stage.put_mask(z, box, mask, kinds=labels)
        plan = replace(plan, damage=EditedMask(plan.damage, edits), boxes={**plan.boxes, z: box})
    if z not in plan.boxes:
        raise InputError(f"section {z} has no mask in {stage.path}; give one.")
    section = plan_edited(plan, z, edits)
    if section.status != PLANNED:
        stage.discard(z)
        return SectionOutcome(z, section.status, section.reason)
    with stage.token("redo") as token, threads_given_back():
        outcome = run_task(make_task(plan, section, edits, stage, token), progress)
    if outcome.status == CANCELLED:
        raise Cancelled(f"cancelled; the repair of section {z} is unchanged")
    if outcome.computed:
        stage.log(log_line(outcome))
    return outcome
