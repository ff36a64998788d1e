"""Write accepted repairs of a batch into the stack, take them back, or save a copy with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.batch import StagedSection, Staging, commit
from ...core.batch.commit_staged import groups_of
from ...core.batch.records import ACCEPTED, WRITTEN
from ...core.detection.flag_table import Flagged
from ...core.disk.lock import StoreBusy
from ...core.errors import Cancelled, FlowInpaintError, InputError, StackGone
from ...core.masks.sparse_mask import SectionTiles, SparseMask
from ...core.notes import Note, Notes
from ...core.types import Progress
from . import loading, stack_repairs
from .follow import without
from .many_sections import read_staged

if TYPE_CHECKING:
    from ...core.io.stack import Stack

#: What keeps all that is left from being written as well.
_FOR_ALL = (Cancelled, StackGone, StoreBusy)


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
    failed
        Sections that were not, and why.
    """

    history: stack_repairs.StackHistory
    sections: tuple[int, ...]
    tiles: Mapping[int, SectionTiles]
    mask: SparseMask | None
    staged: tuple[StagedSection, ...]
    failed: Mapping[int, FlowInpaintError] = field(default_factory=dict)


def write(
    stack: Stack, staging: Path, mask: SparseMask | None, *, progress: Progress
) -> BatchChange:
    """Write all accepted repairs into the stack; their pixels leave the mask.

    What is wrong with one section does not keep the others from being written.

    Raises
    ------
    InputError
        If none is accepted.
    FlowInpaintError
        If nothing could be written, for one reason. Else the result says of each section why.
    """
    found = Staging(staging)
    todo = sorted(section.z for section in found.sections if section.decision == ACCEPTED)
    failed: dict[int, FlowInpaintError] = dict(found.unreadable)
    if not todo and not failed:
        raise InputError("no repair is accepted yet; review them and press Accept first.")
    notes = Notes()
    target = stack_repairs.to_write(stack)
    groups = list(groups_of(target, todo)) if todo else []
    for number, group in enumerate(groups):

        def report(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(groups), message)

        failed |= _write_group(target, found, group, report, notes)
        if any(isinstance(error, _FOR_ALL) for error in failed.values()):
            why = next(error for error in failed.values() if isinstance(error, _FOR_ALL))
            failed |= {z: why for later in groups[number + 1 :] for z in later}
            break
    done = [s.z for s in found.get(todo) if s.decision == WRITTEN]
    _raise_if_all(done, failed)
    tiles = {} if mask is None else {z: without(mask, found.accepted_repair(z)) for z in done}
    change = _changed(target, staging, done, tiles, mask, failed, notes)
    kept = None if target is stack else target
    return replace(change, history=replace(change.history, kept=kept))


def _write_group(
    stack: Stack, found: Staging, group: list[int], progress: Progress, note: Note
) -> dict[int, FlowInpaintError]:
    """Write sections that share chunks, if need be one by one; return which were not, and why."""
    try:
        commit(stack, found, group, progress=progress, note=note)
    except _FOR_ALL as error:
        return dict.fromkeys(group, error)
    except FlowInpaintError as error:
        if len(group) == 1:
            return {group[0]: error}
        failed: dict[int, FlowInpaintError] = {}
        for z in group:
            failed |= _write_group(stack, found, [z], progress, note)
        return failed
    return {}


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
    failed: dict[int, FlowInpaintError] = {}
    notes = Notes()
    for number, (z, repair_id) in enumerate(todo.items()):
        try:
            progress(number / len(todo), f"section {z}: reverting")
            writeback.revert(stack, repair_id=repair_id, note=notes)
            found.undecide([z])
        except _FOR_ALL as error:
            failed |= dict.fromkeys(list(todo)[number:], error)
            break
        except FlowInpaintError as error:
            failed[z] = error
        else:
            done.append(z)
    _raise_if_all(done, failed)
    tiles = {}
    if mask is not None:
        tiles = {z: _brought_back(mask, found, z, labels.get(z, 1)) for z in done}
    return _changed(stack, staging, done, tiles, mask, failed, notes)


def _raise_if_all(done: list[int], failed: Mapping[int, FlowInpaintError]) -> None:
    """Raise what has kept every section from being written or reverted, if that is one thing."""
    if not done and len({str(error) for error in failed.values()}) == 1:
        raise next(iter(failed.values()))


def _changed(
    stack: Stack,
    staging: Path,
    done: list[int],
    tiles: Mapping[int, SectionTiles],
    mask: SparseMask | None,
    failed: Mapping[int, FlowInpaintError],
    notes: Notes,
) -> BatchChange:
    # not empty: the layer is read again
    history = replace(
        stack_repairs.read_history(stack), changed=tuple(done), notes=tuple(notes.texts)
    )
    return BatchChange(history, tuple(done), tiles, mask, read_staged(stack, staging), failed)


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
