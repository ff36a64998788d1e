"""The journal of a stack: what was repaired, and what is needed to undo it or to finish it.

It lies in the folder ``.flowinpaint`` within the directory of the full-resolution array::

    sample.zarr/                    OME-Zarr group
      0/                            full resolution
        .flowinpaint/
          README.txt                what this folder is
          lock                      held by the one process that writes
          entries/
            00000001-z17.committed/ one folder per repair: number, section, state
              entry.json            provenance; which pixels of which level
              pixels.npz            masks, original and repaired pixels
          scratch/                  unfinished files; empty unless somebody writes
      1/ ...                        reduced levels
      labels/synthetic/             which pixels are synthetic, see :mod:`.synthetic`

So it travels with the data, no reader of zarr or NGFF lists it (a folder in the group itself
would make zarr warn of an unknown object), and there is one journal and one lock however the
stack is opened. The format of an entry is described in :mod:`.entries`.

An entry becomes part of the journal by one rename, complete, with all that is needed to finish
the write or to undo it; only then pixels change. After a crash at any moment whatever writes
brings every unfinished entry to its end first, and so does :func:`recover`: a write or a revert
that had begun is finished, one that was being undone is undone. Nothing is ever half of both. Who
only looks is shown what will be (:mod:`.shown`), and nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..disk.open_root import open_root
from ..io.zarr_node import is_zarr_node
from ..section_repair import Provenance
from ..types import Box
from .journal import Journal, pyramids
from .target import parts_of
from .writing_journal import WritingJournal

if TYPE_CHECKING:
    from ..io.stack import Stack


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One repair as :func:`~napari_flowinpaint.core.writing.writeback.history` lists it.

    Parameters
    ----------
    id
        Number of the repair; the value of its pixels in ``labels/synthetic``.
    z
        Section number.
    boxes
        Where the replaced pixels lie in the section, one box per repaired window.
    mask_pixels
        How many pixels were replaced.
    state
        ``"committed"`` (the pixels are in the stack), ``"reverted"`` (the originals are back) or
        ``"unfinished"`` (being written, or interrupted).
    time
        When it was written: UTC, ISO 8601.
    provenance
        Where the pixels come from.
    """

    id: int
    z: int
    boxes: tuple[Box, ...]
    mask_pixels: int
    state: str
    time: str
    provenance: Provenance


def needs_recovery(stack: Stack | Path | str) -> bool:
    """Return whether a write to a stack was interrupted, or is under way; nothing is written.

    Parameters
    ----------
    stack
        A stack, or the path of an OME-Zarr group or a zarr array.
    """
    journals = [Journal(*where) for where in _arrays(stack)]
    for journal in journals:
        journal.scan()
    return any(journal.unfinished for journal in journals)


def recover(stack: Stack | Path | str, *, force: bool = False) -> tuple[str, ...]:
    """Finish interrupted writes and reverts of a stack, and restore lost marks.

    Writes nothing to a stack that was never repaired.

    Parameters
    ----------
    stack
        A stack, or the path of an OME-Zarr group or a zarr array; local.
    force
        Whether pixels that another program has changed since are overwritten in doing so.

    Returns
    -------
    tuple of str
        What was done, in plain words; nothing where nothing was to be done.

    Raises
    ------
    StoreError
        If another process is writing; the journal is damaged; another program has changed pixels
        that would be overwritten; the disk is full or may not be written to.
    """
    messages: list[str] = []
    for where in _arrays(stack):
        journal = WritingJournal(*where)
        if not journal.exists:
            continue
        with journal.writing(force=force) as done:
            messages += done
            messages += [
                f"The marks of repair {entry.id} (section {entry.z}) were restored."
                for entry in journal.check_marks()
            ]
    return tuple(messages)


def finish_interrupted(stack: Stack, *, wait: bool = True) -> tuple[str, ...]:
    """Do what :func:`recover` does, before something else is written: with a glance at the marks.

    Parameters
    ----------
    stack
        That is going to be written to.
    wait
        Whether a process that is writing is waited for, and refused at last; if not, it is only
        told of.

    Returns
    -------
    tuple of str
        What was done, in plain words.

    Raises
    ------
    StoreError
        As for :func:`recover`.
    """
    journal = WritingJournal.of(stack)
    if journal is None or not journal.exists:
        return ()
    if not wait and journal.busy:
        return (f"Another process is writing to {journal.shown} right now.",)
    journal.elsewhere = True
    with journal.writing() as done:
        if journal.entries:
            journal.target(journal.layout_of(stack))
        return tuple(done)


def _arrays(stack: Stack | Path | str) -> list[tuple[Path, str]]:
    """Return the full-resolution arrays at a path, each as a group and the path within."""
    if not isinstance(stack, (Path, str)):
        return [] if stack.group_path is None else [(stack.group_path, stack.levels[0].path)]
    path = Path(stack).absolute()
    for parent in filter(is_zarr_node, (path, *path.parents)):
        with open_root(parent) as root:
            named = [levels[0] for levels in pyramids(root) if levels]
        within = path.relative_to(parent).parts
        found = [(parent, name) for name in named if not within or parts_of(name) == within]
        if found:
            return found
    return [(path, "")]
