"""The repair of many sections, as plain functions that run in a thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.batch import (
    BatchPlan,
    BatchReport,
    Control,
    SectionOutcome,
    StagedSection,
    Staging,
    plan_batch,
    run_batch,
)
from ...core.batch.records import ACCEPTED, REJECTED, REPAIRED, UNDECIDED, WRITTEN
from ...core.batch.staging_folder import StagingFolder
from ...core.errors import InputError
from ...core.masks.sparse_mask import SparseMask
from ...core.masks.stack_mask import StackMask
from ...core.repair_options import RepairOptions
from ...core.types import AnyImage, BoolImage, Box, Progress, no_progress
from . import stack_repairs
from .find_damage import decided_mask
from .refusals import places_in
from .review import Review, find_components

if TYPE_CHECKING:
    from ...core.io.stack import Stack

__all__ = ["ACCEPTED", "REJECTED", "REPAIRED", "UNDECIDED", "WRITTEN"]

#: By section, the labels of the kinds that were decided not to be damage there.
Intact = Mapping[int, Sequence[int]]


@dataclass(frozen=True, eq=False)
class BatchRequest:
    """What is to be planned; it does not change while the user continues painting.

    Parameters
    ----------
    stack, mask
        The stack, and its mask, frozen.
    intact
        What of the mask is no damage.
    sections
        Sections to repair.
    method, device, options
        As for :func:`~.core.batch.plan_batch`.
    """

    stack: Stack
    mask: SparseMask
    intact: Intact
    sections: tuple[int, ...]
    method: str
    device: str
    options: RepairOptions


@dataclass(frozen=True, eq=False)
class PlannedBatch:
    """A plan, and the sections that were left out since nothing is masked there."""

    plan: BatchPlan
    empty: tuple[int, ...]


def plan(request: BatchRequest, *, progress: Progress) -> PlannedBatch:
    """Plan a batch.

    Raises
    ------
    InputError
        If there is nothing to repair.
    """
    progress(0.0, "reading the masks")
    stack_repairs.check_acceptable(request.stack)
    mask = decided_mask(request.mask, request.intact)
    damaged = []
    for number, z in enumerate(request.sections):
        progress(0.3 * number / len(request.sections), f"reading the mask of section {z}")
        box = mask.damaged_box(z)
        if box is not None and mask.read(z, box).any():
            damaged.append(z)
    if not damaged:
        raise InputError(
            "nothing is masked in the chosen sections; find the damage or paint it, and mark the "
            "sections as damaged."
        )

    def later(fraction: float, message: str) -> None:
        progress(0.3 + 0.7 * fraction, message)

    found = plan_batch(
        request.stack,
        mask,
        damaged,
        options=request.options,
        method=request.method,
        device=request.device,
        progress=later,
    )
    return PlannedBatch(found, tuple(z for z in request.sections if z not in set(damaged)))


def run(
    plan: BatchPlan,
    staging: Path,
    control: Control,
    on_section: Callable[[SectionOutcome], None],
    *,
    progress: Progress,
) -> BatchReport:
    """Carry out a plan; what is staged already is not computed again."""
    from ...core.batch.batch_workers import cores, devices_for

    progress(0.0, "starting")
    stack_repairs.check_acceptable(plan.stack)
    methods = sorted({name for section in plan.planned for name in section.methods})
    on_gpu = devices_for(methods, plan.device)[0].startswith("cuda")
    workers = None if on_gpu else max(cores() - 1, 1)  # one core is left to the viewer
    return run_batch(
        plan, staging, workers=workers, control=control, progress=progress, on_section=on_section
    )


# ---- review


def read_staged(
    stack: Stack, staging: Path, *, progress: Progress = no_progress
) -> tuple[StagedSection, ...]:
    """Return what is staged, the worst first; empty where nothing is.

    Repairs that were written and have since been reverted, by any program, await a new decision.
    """
    folder = StagingFolder(staging)
    if not folder.exists or folder.foreign:
        return ()
    progress(0.0, "reading the staged repairs")
    found = Staging(staging)
    sections = found.worst_first()
    known = {entry.id for entry in stack_repairs.read_history(stack).entries}
    gone = [s.z for s in sections if s.decision == WRITTEN and s.repair_id not in known]
    if gone:
        found.undecide(gone)
        sections = found.worst_first()
    return sections


def open_review(stack: Stack, staging: Path, z: int, *, progress: Progress) -> Review:
    """Return the repair of a section with what is needed to look at it."""
    progress(0.0, f"section {z}: opening the repair")
    found = Staging(staging)
    repair, known, chosen = found.repair(z), found.mask(z), found.chosen(z)
    left = () if known is None else places_in(*known, repair.refused)
    review = Review(repair, stack.read(z, repair.box), find_components(repair), left)
    if chosen is not None:
        review.set_accepted({c.number for c in review.components} - set(chosen), False)
    return review


def decide(
    staging: Path,
    sections: Sequence[int],
    decision: str,
    components: Mapping[int, Collection[int]] | None = None,
    *,
    progress: Progress,
) -> tuple[StagedSection, ...]:
    """Accept or reject repairs, or take that back; return them as they are then.

    For sections in ``components``, only the components listed there are accepted.
    """
    found = Staging(staging)
    if decision == ACCEPTED:
        found.accept(sections, components)
    else:
        {REJECTED: found.reject, UNDECIDED: found.undecide}[decision](sections)
    return found.get(sections)


def accept_above(
    staging: Path, threshold: float, *, progress: Progress
) -> tuple[StagedSection, ...]:
    """Accept the undecided repairs of at least this quality; return them."""
    found = Staging(staging)
    return found.get(found.accept_above(threshold))


@dataclass(frozen=True, eq=False)
class RedoRequest:
    """A section that is to be repaired again.

    Parameters
    ----------
    stack, staging, z
        Which.
    method
        Name, or None for the one it had.
    mask
        Frozen, where the mask that is painted now is to be taken; else None.
    intact
        What of it is no damage.
    device
        As for :func:`~.core.repair.repair_section`.
    gate
        What happens where no neighbour fits; None for what was chosen before.
    """

    stack: Stack
    staging: Path
    z: int
    method: str | None
    mask: SparseMask | None
    intact: Intact
    device: str
    gate: str | None = None


def redo(request: RedoRequest, *, progress: Progress) -> StagedSection:
    """Repair a section again."""
    progress(0.0, f"section {request.z}: repairing again")
    stack_repairs.check_acceptable(request.stack)
    damage: BoolImage | None = None
    kinds: AnyImage | None = None
    if request.mask is not None:
        intact = {z: labels for z, labels in request.intact.items() if z == request.z}
        mask = decided_mask(request.mask, intact)
        damage = mask.read(request.z)
        whole = Box.whole(damage.shape)
        kinds = StackMask(mask, request.stack.shape).kinds(request.z, whole)
    return Staging(request.staging).redo(
        request.stack,
        request.z,
        method=request.method,
        mask=damage,
        kinds=kinds,
        gate=request.gate,
        device=request.device,
        progress=progress,
    )
