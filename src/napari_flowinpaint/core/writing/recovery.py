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
the write or to undo it; only then pixels change. After a crash at any moment :func:`recover`
brings every unfinished entry to its end: a write or a revert that had begun is finished, one
that was being undone is undone. Nothing is ever half of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import folders
from ..io import durable
from ..types import Box, Provenance
from .journal import Journal, pyramids


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One repair as :func:`~napari_flowinpaint.core.writing.writeback.history` tells it.

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


def _journals(path: Path) -> list[Journal]:
    """Return the journals within a group or an array; nothing is read of them yet."""
    arrays = [path] + [path / levels[0] for levels in pyramids(path) if levels]
    return [Journal(folder) for folder in arrays if (folder / folders.JOURNAL).is_dir()]


def needs_recovery(path: Path | str) -> bool:
    """Return whether a write to a stack was interrupted, or is under way.

    Parameters
    ----------
    path
        OME-Zarr group, or zarr array.
    """
    journals = _journals(Path(path))
    for journal in journals:
        journal.scan()
    return any(journal.unfinished for journal in journals)


def recover(path: Path | str) -> tuple[str, ...]:
    """Bring interrupted writes and reverts of a stack to their end.

    Does nothing, and writes nothing, where nothing was interrupted. A write that is under way in
    a living process is left alone.

    Parameters
    ----------
    path
        OME-Zarr group, or zarr array; local.

    Returns
    -------
    tuple of str
        What was done, in plain words.

    Raises
    ------
    StoreError
        If the journal is damaged, or the disk is full or may not be written to.
    """
    messages: list[str] = []
    for journal in _journals(Path(path)):
        journal.scan()
        scratch = journal.scratch
        if not journal.unfinished and not (scratch.is_dir() and any(scratch.iterdir())):
            continue
        try:
            with journal.writing(timeout=0.5) as done:
                messages += done
        except durable.Busy:
            messages.append(f"Another process is writing to {path} right now.")
    return tuple(messages)
