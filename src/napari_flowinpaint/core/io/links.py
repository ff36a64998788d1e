"""Links inside a zarr store, told by name before anything in it is used.

Reading and writing follow none anyway (:mod:`~..disk.folder`); but what lies behind a link counts
as absent for zarr in some places, and in others is noticed only in the middle of the work.

Not responsible for: chunks, of which there may be millions; they are looked at when one is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import folders
from ..disk.folder import Folder
from ..disk.open_root import open_root
from .codecs import METADATA

_JOURNAL = (folders.LOCK, folders.README, folders.ENTRIES, folders.SCRATCH)
#: The folder of all chunks in zarr 3.
_CHUNKS = "c"


def check_links_of_store(root: Path, levels: Sequence[str]) -> None:
    """Refuse a link in place of metadata, a level, the label image or the journal.

    Parameters
    ----------
    root
        The OME-Zarr group, or the directory of a bare array; may be reached through links.
    levels
        Paths of the levels within it, full resolution first; "" for a bare array.

    Raises
    ------
    LinkFound
        If there is one; the message names it.
    """
    with open_root(root) as folder:
        for parts, names in _places([tuple(filter(None, level.split("/"))) for level in levels]):
            _check(folder, parts, names)


def _places(
    levels: Sequence[tuple[str, ...]],
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield folders of a store, and names in them that are looked at."""
    within = (*METADATA, _CHUNKS)
    for level in levels:
        for number in range(len(level)):
            yield level[:number], METADATA
        yield level, within
    journal = (*levels[0], folders.JOURNAL)
    yield journal, _JOURNAL
    home = () if levels[0] else journal
    for labels in ((*home, folders.LABELS), (*home, folders.LABELS, folders.SYNTHETIC)):
        yield labels, METADATA
    for number in range(len(levels)):
        yield (*labels, str(number)), within


def _check(root: Folder, parts: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Refuse a link on the way to a folder, or among some names in it."""
    try:
        folder = root.folder(*parts)
    except (FileNotFoundError, NotADirectoryError):
        return
    with folder:
        for name in names:
            folder.is_file(name)  # a link is refused
