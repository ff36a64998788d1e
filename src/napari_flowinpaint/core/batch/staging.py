"""Look at what is staged, decide, repair again.

Decisions are kept in the staging folder and survive a restart. Each belongs to one repair: when the
section is repaired again, from another mask or by another method, it has to be decided anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import folders
from ..errors import Cancelled, InputError, RepairRefused, StoreError
from ..io.folder import open_root
from ..io.lock import locked
from ..masks.stack_mask import StackMask
from ..methods import check_method
from ..refusal import Refusal
from ..types import (
    AnyImage,
    BoolImage,
    Box,
    Patch,
    Progress,
    RepairOptions,
    SectionRepair,
    no_progress,
)
from .batch_workers import threads_given_back
from .edits import EditedMask, StagedEdits, plan_edited, store_edit
from .plan import FAILED, PLANNED, BatchPlan
from .records import (
    ACCEPTED,
    REJECTED,
    REPAIRED,
    UNDECIDED,
    WRITTEN,
    Decision,
    StagedRecord,
)
from .run_batch import check_fits, log_line, make_task
from .staging_folder import StagingFolder
from .task import CANCELLED, SectionOutcome, run_task

if TYPE_CHECKING:
    from ..io.stack import Stack


@dataclass(frozen=True, slots=True)
class StagedSection:
    """One staged section, without its pixels.

    Parameters
    ----------
    z
        Section number.
    status
        ``"repaired"`` or ``"refused"``.
    message
        Why it was refused.
    decision
        ``"undecided"``, ``"accepted"``, ``"rejected"`` or ``"written"``.
    repair_id
        Number in the journal of the stack, where written.
    method
        Name of the method; "" where refused.
    neighbours
        Every section that guided a window.
    pixels
        How many pixels are replaced.
    scores
        What the method measured on the way, averaged over the windows.
    flags
        What was doubtful about it, where the gate only flags.
    expected_structure
        Predicted structure PSNR in dB; None where nobody predicted it.
    expected_ssim
        Predicted SSIM; likewise.
    key
        Digest of all the repair was made from.
    refused
        Windows that were left as they were, and why.
    """

    z: int
    status: str
    message: str
    decision: str
    repair_id: int | None
    method: str
    neighbours: tuple[int, ...]
    pixels: int
    scores: Mapping[str, float]
    flags: tuple[str, ...]
    expected_structure: float | None
    expected_ssim: float | None
    key: str
    refused: tuple[Refusal, ...] = ()

    @property
    def quality(self) -> float:
        """What repairs are sorted by: predicted where possible, else the rehearsed PSNR; dB.

        Minus infinity where neither is known, so that such repairs are looked at first: so are
        those of folds.
        """
        if self.expected_structure is not None:
            return self.expected_structure
        if "unfold" in self.method:  # what was rehearsed is the line, which is little of it
            return -np.inf
        return self.scores.get("rehearsal_psnr", -np.inf)


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
            raise InputError(f"{self.path} is no staging folder of a batch; check the path")

    @property
    def sections(self) -> tuple[StagedSection, ...]:
        """All staged sections, ascending, as they are on disk now."""
        return self.get(self._stage.sections)

    def get(self, sections: Iterable[int]) -> tuple[StagedSection, ...]:
        """Return those of ``sections`` that are staged."""
        decisions = self._stage.decisions()
        records = (self._stage.get_record(z) for z in sections)
        return tuple(_staged_section(record, decisions) for record in records if record)

    def worst_first(self) -> tuple[StagedSection, ...]:
        """Return the repaired sections sorted by quality, the worst first."""
        repaired = [section for section in self.sections if section.status == REPAIRED]
        return tuple(sorted(repaired, key=lambda section: (section.quality, section.z)))

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

    def accept(self, sections: Iterable[int]) -> None:
        """Let these be written by :func:`commit`."""
        self._decide(sections, ACCEPTED)

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
        self._decide(numbers, WRITTEN, numbers)

    def _decide(
        self, sections: Iterable[int], decision: str, numbers: Mapping[int, int] | None = None
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
            raise InputError(f"section {z} is not staged in {self.path}; repair it first")
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
            raise InputError(f"the mask of section {z} is empty or not {stack.shape[1:]}")
        stage = self._stage
        with stage.writing():
            plan = self._plan(stack, device)
            check_fits(stage, plan)
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
        repair = self._staging.repair(z)
        if self._within is not None:
            outside = sum(
                _pixels_outside(patch, self._within.read(z, patch.box)) for patch in repair.patches
            )
            if outside:
                raise StoreError(
                    f"the repair of section {z} in {self._staging.path} replaces {outside} pixels "
                    "outside of the mask, and was not written; name the mask that it was made "
                    "from, or begin anew with --no-resume or another --staging."
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
        If it is none.
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
        raise InputError(f"section {z} has no mask in {stage.path}; give one")
    section = plan_edited(plan, z, edits)
    if section.status != PLANNED:
        stage.discard(z)
        return SectionOutcome(z, section.status, section.reason)
    with stage.token("redo") as token, threads_given_back():
        outcome = run_task(make_task(plan, section, edits, stage, token), progress)
    if outcome.status == CANCELLED:
        raise Cancelled(f"cancelled; the repair of section {z} is as it was")
    if outcome.computed:
        stage.log(log_line(outcome))
    return outcome


def _staged_section(record: StagedRecord, decisions: Mapping[str, Decision]) -> StagedSection:
    """Return what is known of a section; a decision about another repair of it does not count."""
    decided = decisions.get(str(record.z))
    if decided is None or decided.key != record.key:
        decided = Decision(key=record.key, decision="undecided")
    provenance = None if record.repair is None else record.repair.provenance
    patches = () if record.repair is None else record.repair.patches
    scores = {} if provenance is None else provenance.scores
    return StagedSection(
        z=record.z,
        status=record.status,
        message=record.message,
        decision=decided.decision,
        repair_id=decided.repair_id,
        method="" if provenance is None else provenance.method,
        neighbours=() if provenance is None else provenance.neighbours,
        pixels=0 if provenance is None else provenance.mask_pixels,
        scores=scores,
        flags=tuple(dict.fromkeys(flag for patch in patches for flag in patch.flags)),
        expected_structure=scores.get("expected_structure"),
        expected_ssim=scores.get("expected_ssim"),
        key=record.key,
        refused=record.refused,
    )
