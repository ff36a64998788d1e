"""The repair of many sections, as plain functions that run in a thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.batch import (
    BatchPlan,
    BatchReport,
    Control,
    SectionOutcome,
    StagedSection,
    Staging,
    commit,
    plan_batch,
    run_batch,
)
from ...core.batch.records import ACCEPTED, REJECTED, REPAIRED, UNDECIDED, WRITTEN
from ...core.batch.staging_folder import StagingFolder
from ...core.detection.flag_table import Flagged
from ...core.errors import FlowInpaintError, InputError
from ...core.masks.sparse_mask import SectionTiles, SparseMask
from ...core.masks.stack_mask import StackMask
from ...core.notes import Notes
from ...core.repair_options import RepairOptions
from ...core.types import AnyImage, BoolImage, Box, Progress, no_progress
from . import loading, stack_repairs
from .find_damage import decided_mask
from .follow import without
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


# ---- writing


@dataclass(frozen=True, eq=False)
class BatchChange:
    """What has become of a stack and its mask.

    Parameters
    ----------
    history
        The repairs in the stack.
    sections
        Sections that were written or reverted.
    tiles
        What the mask becomes there.
    mask
        The frozen mask from which ``tiles`` were made; None without one.
    staged
        What is staged, the worst first.
    error
        Why not all was done; None where it was.
    """

    history: stack_repairs.StackHistory
    sections: tuple[int, ...]
    tiles: Mapping[int, SectionTiles]
    mask: SparseMask | None
    staged: tuple[StagedSection, ...]
    error: FlowInpaintError | None = None


def write(
    stack: Stack, staging: Path, mask: SparseMask | None, *, progress: Progress
) -> BatchChange:
    """Write all accepted repairs into the stack; their pixels leave the mask.

    Raises
    ------
    InputError
        If none is accepted.
    FlowInpaintError
        If nothing could be written. Where something was, the result has the error.
    """
    found = Staging(staging)
    todo = {section.z for section in found.sections if section.decision == ACCEPTED}
    if not todo:
        raise InputError("no repair is accepted yet; review them and press Accept first.")
    error: FlowInpaintError | None = None
    notes = Notes()
    target = stack_repairs.to_write(stack)
    try:
        commit(target, found, progress=progress, note=notes)
    except FlowInpaintError as raised:
        error = raised
    done = [s.z for s in found.get(sorted(todo)) if s.decision == WRITTEN]
    if error is not None and not done:
        raise error
    tiles = {} if mask is None else {z: without(mask, found.accepted_repair(z)) for z in done}
    change = _changed(target, staging, done, tiles, mask, error, notes)
    kept = None if target is stack else target
    return replace(change, history=replace(change.history, kept=kept))


def revert(
    stack: Stack,
    staging: Path,
    sections: Iterable[int] | None,
    mask: SparseMask | None,
    labels: Mapping[int, int],
    *,
    progress: Progress,
) -> BatchChange:
    """Take back written repairs, all of them where ``sections`` is None.

    Parameters
    ----------
    labels
        By section the kind that the mask gets back, where no search knows it.
    """
    from ...core.writing import writeback

    found = Staging(staging)
    chosen = found.sections if sections is None else found.get(sorted(sections))
    todo = {s.z: s.repair_id for s in chosen if s.decision == WRITTEN}
    if not todo:
        raise InputError("there is nothing to revert: none of these repairs has been written.")
    done: list[int] = []
    error: FlowInpaintError | None = None
    notes = Notes()
    for number, (z, repair_id) in enumerate(todo.items()):
        try:
            progress(number / len(todo), f"section {z}: reverting")
            writeback.revert(stack, repair_id=repair_id, note=notes)
            found.undecide([z])
        except FlowInpaintError as raised:
            error = raised
            break
        done.append(z)
    if error is not None and not done:
        raise error
    tiles = {}
    if mask is not None:
        tiles = {z: _brought_back(mask, found, z, labels.get(z, 1)) for z in done}
    return _changed(stack, staging, done, tiles, mask, error, notes)


def _changed(
    stack: Stack,
    staging: Path,
    done: list[int],
    tiles: Mapping[int, SectionTiles],
    mask: SparseMask | None,
    error: FlowInpaintError | None,
    notes: Notes,
) -> BatchChange:
    # not empty: the layer is read again
    history = replace(
        stack_repairs.read_history(stack), changed=tuple(done), notes=tuple(notes.texts)
    )
    return BatchChange(history, tuple(done), tiles, mask, read_staged(stack, staging), error)


def _brought_back(mask: SparseMask, found: Staging, z: int, label: int) -> SectionTiles:
    """Return the tiles of a section with what was repaired from."""
    known = found.mask(z)
    if known is None:
        return {}
    box, damage = known
    pixels = mask[(z, *box.slices)]
    kinds = np.full_like(pixels, label)
    if mask.base is not None and mask.has_labels:
        of_search = np.asarray(mask.base[(slice(z, z + 1), *box.slices)])[0]
        kinds = np.where(of_search > 0, of_search, kinds)
    return mask.paste(z, box, np.where(damage & (pixels == 0), kinds, pixels))


def save_copy(
    stack: Stack,
    staging: Path,
    path: Path,
    rows: tuple[Flagged, ...] = (),
    mask: SparseMask | None = None,
    *,
    progress: Progress,
) -> loading.LoadedStack:
    """Save a stack with its accepted repairs as OME-Zarr and open the result.

    Raises
    ------
    InputError
        If none is accepted, or it cannot be saved there.
    """
    found = Staging(staging)
    accepted = tuple(section.z for section in found.sections if section.decision == ACCEPTED)
    if not accepted:
        raise InputError("no repair is accepted yet; review them and press Accept first.")
    repairs = found.repairs(accepted)
    return stack_repairs.save(stack, path, repairs, rows, mask, progress=progress)
