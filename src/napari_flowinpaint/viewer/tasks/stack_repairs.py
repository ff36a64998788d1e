"""The repairs in a stack: write one, take it back, list them, save a copy with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.detection.flag_table import Flagged
from ...core.notes import Notes
from ...core.section_repair import SectionRepair
from ...core.types import Progress, no_progress
from .loading import LoadedStack, load

if TYPE_CHECKING:
    from ...core.io.stack import Stack
    from ...core.masks.sparse_mask import SparseMask
    from ...core.writing.recovery import JournalEntry


@dataclass(frozen=True, eq=False)
class StackHistory:
    """The repairs in a stack.

    Parameters
    ----------
    changed
        Numbers of the repairs that were written or reverted just now.
    entries
        Every repair whose pixels are in the stack, oldest first.
    synthetic
        Arrays of ``labels/synthetic``, full resolution first; empty where there is none.
    notes
        What was done differently than expected when writing.
    kept
        The same stack, over whose file repairs are kept from now on; None where it is as it was.
    """

    changed: tuple[int, ...]
    entries: tuple[JournalEntry, ...]
    synthetic: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    kept: Stack | None = None


def check_acceptable(stack: Stack) -> None:
    """Refuse a stack whose repairs could not be accepted later, before any is computed.

    One that cannot be written to at all is not refused: its repairs go into a copy.

    Raises
    ------
    FlowInpaintError
        Something else is where the repairs, their journal or their marks go.
    """
    from ...core.writing.kept import can_keep, check_can_keep
    from ...core.writing.writeback import check_in_place

    if stack.writable:
        check_in_place(stack)
    elif can_keep(stack):
        check_can_keep(stack)


def accept(stack: Stack, selected: SectionRepair, *, progress: Progress) -> StackHistory:
    """Write a repair into the stack, or keep it beside a file that cannot be written to."""
    from ...core.writing.writeback import write_back

    notes = Notes()
    target = to_write(stack)
    ids = write_back(target, selected, progress=progress, note=notes)
    # from here on it is too late to cancel
    kept = None if target is stack else target
    return replace(read_history(target), changed=ids, notes=tuple(notes.texts), kept=kept)


def to_write(stack: Stack) -> Stack:
    """Return the stack to write to: itself, or the one kept beside its file."""
    from ...core.writing.kept import keep_beside

    return stack if stack.writable else keep_beside(stack)


def revert(stack: Stack, repair_id: int, *, progress: Progress) -> StackHistory:
    """Take a repair back."""
    from ...core.writing import writeback

    notes = Notes()
    ids = writeback.revert(stack, repair_id=repair_id, progress=progress, note=notes)
    return replace(read_history(stack), changed=ids, notes=tuple(notes.texts))


def read_history(stack: Stack, *, progress: Progress = no_progress) -> StackHistory:
    """Return the repairs that are in a stack; none where nothing can be written."""
    if not stack.writable or stack.group_path is None:
        return StackHistory((), (), ())
    from ...core.open import open_mask
    from ...core.writing.synthetic import label_folder
    from ...core.writing.writeback import history

    progress(1.0, "reading the history")
    entries = tuple(entry for entry in history(stack) if entry.state == "committed")
    marks = label_folder(stack.group_path, stack.levels)
    levels = open_mask(marks).levels if entries and marks.exists() else ()
    return StackHistory((), entries, tuple(level.array for level in levels))


def save(
    stack: Stack,
    path: Path,
    repairs: Iterable[SectionRepair],
    rows: tuple[Flagged, ...] = (),
    mask: SparseMask | None = None,
    *,
    progress: Progress,
) -> LoadedStack:
    """Save a stack with its accepted repairs as OME-Zarr, named so, and open the result.

    The list of flagged sections and the mask, which is frozen, are kept beside it.
    """
    from ...core.export import save_ome_zarr
    from .follow import follow

    if path.suffix != ".zarr":
        path = path.with_name(path.name + ".zarr")
    notes, repairs = Notes(), list(repairs)
    save_ome_zarr(stack, path, repairs=repairs, progress=progress, note=notes)
    # from here on it is too late to cancel
    loaded = load(str(path), progress=no_progress)
    follow(loaded.stack, rows, mask, repairs, progress=no_progress)
    return replace(loaded, notes=tuple(notes.texts))
