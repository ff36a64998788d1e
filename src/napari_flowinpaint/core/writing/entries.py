"""What the journal keeps of one repair; how it looks on disk is in :mod:`.entry_format`.

An entry is a folder ``<id>-z<section>.<state>`` with two files:

``entry.json``
    ``format`` (1), ``id``, ``z``, ``time``, ``provenance``, the ``axes``, ``dtype`` and
    ``levels`` of the stack it was written to (with the rule each was made by), per piece (one
    per repaired window) and level the section and the box of the pixels that were changed, and
    ``digests`` (SHA-256): of ``pixels.npz``, and of ``entry.json`` itself, without the digests, as
    JSON with sorted keys. Entries of older versions have none.
``pixels.npz``
    Per piece ``new-<piece>``, the repaired pixels, and per piece and level
    ``mask-<piece>-<level>`` (packed bits, which pixels of the box were changed) and
    ``original-<piece>-<level>`` (the pixels of the box as they were *before any repair*). Where
    the pixels were marked by repairs that the journal does not know, ``marks-<piece>-<level>`` has
    these marks. Where an unfolding has moved the section's own pixels, ``moved-<piece>`` (packed
    bits) tells which, and ``flow-<piece>`` (2, H, W, float16, compressed) from where:
    ``new(x) = original(x + flow(x))``, (dy, dx) in pixels.

The state is part of the folder's name, so that it changes by one atomic rename that needs no disk
space. Nothing that is read here is trusted: numbers are checked against the stack, files against
their digests, sizes before anything is allocated, and nothing is ever unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ..disk.folder import Folder
from ..errors import FlowInpaintError, StoreError, first_line
from ..names import printable
from ..types import BoolImage, Box
from .entry_format import read_header, read_masks, read_pieces
from .pieces import ChangedPixels, Header, Piece, SectionRegion

PREPARED, COMMITTED, REVERTING, REVERTED, ABORTING = (
    "prepared",  # all is in the journal, the pixels may be old, new or mixed: to be finished
    "committed",  # the pixels are the new ones
    "reverting",  # the user asked for the original pixels: to be finished
    "reverted",  # the pixels are the original ones; only the record is kept
    "aborting",  # cancelled, or the disk was full: original pixels, then forgotten
)
#: States in which the repaired pixels are what the stack should show.
LIVE = (PREPARED, COMMITTED)
#: States in which the pixels may be anything in between.
UNFINISHED = (PREPARED, REVERTING, ABORTING)
#: Largest number that an entry may have: that of a pixel of the label image.
LARGEST_ID = 2**32 - 1

#: Added to the number of a repair: the mark of pixels that it has moved, not made.
DISPLACED = 2**31

_NAME = re.compile(r"(\d{8,10})-z(\d{1,10})\.([a-z]+)")
#: Of two folders of one entry, which a merge of two copies leaves, the first of these counts:
#: pixels that may be synthetic stay marked.
_STATES = (COMMITTED, PREPARED, REVERTING, ABORTING, REVERTED)

_Read = TypeVar("_Read")


class Moved(StoreError):
    """Another process has changed the state of an entry while it was read."""


class Entry:
    """One repair in the journal; read from disk when it is asked for.

    Parameters
    ----------
    home
        Folder of the entries.
    name
        Of its folder there.
    id, z, state
        As in the name.
    """

    def __init__(self, home: Folder, name: str, id: int, z: int, state: str) -> None:
        self.home = home
        self.name = name
        self.id = id
        self.z = z
        self.state = state

    @classmethod
    def of(cls, home: Folder, name: str) -> Entry | None:
        """Return the entry in the folder ``name``, None if that is not the name of an entry."""
        match = _NAME.fullmatch(name)
        if match is None or match[3] not in _STATES or not 0 < int(match[1]) <= LARGEST_ID:
            return None
        return cls(home, name, int(match[1]), int(match[2]), match[3])

    @staticmethod
    def name_of(id: int, z: int, state: str) -> str:
        """Return the name of an entry's folder."""
        return f"{id:08d}-z{z}.{state}"

    @property
    def key(self) -> tuple[int, int]:
        """Number and section; in a merged journal two sections may have one number."""
        return self.id, self.z

    @property
    def rank(self) -> int:
        """Which of two folders of one entry counts: the one of the lower rank."""
        return _STATES.index(self.state)

    @property
    def path(self) -> Path:
        """Its folder, for messages."""
        return self.home.path / self.name

    @property
    def live(self) -> bool:
        """Whether the stack should show the repaired pixels."""
        return self.state in LIVE

    @property
    def unfinished(self) -> bool:
        """Whether the pixels may be in between."""
        return self.state in UNFINISHED

    @property
    def is_there(self) -> bool:
        """Whether it is still in this state on disk."""
        return self.home.stat(self.name) is not None

    @cached_property
    def header(self) -> Header:
        """What was repaired, where and how."""
        header = self._read(read_header)
        if (header.id, header.z) != self.key:
            raise self.damaged("its number or section is not that of its folder")
        return header

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Masks, original and repaired pixels; compared with the digests."""
        header = self.header
        return self._read(lambda folder: read_pieces(folder, header))

    @cached_property
    def masks(self) -> tuple[tuple[SectionRegion, BoolImage], ...]:
        """Which pixels of the full resolution are replaced, per piece; they alone are read."""
        header = self.header
        return self._read(lambda folder: read_masks(folder, header))

    def _read(self, read: Callable[[Folder], _Read]) -> _Read:
        """Read something of the entry; say what is the matter if that is not possible."""
        try:
            with self.home.folder(self.name) as folder:
                return read(folder)
        except FlowInpaintError:
            raise
        except Exception as error:  # damaged archives and JSON have many ways to fail
            if not self.is_there:
                raise Moved(
                    f"repair {self.id} (section {self.z}) was changed by another process while it "
                    "was read; try again when that has finished."
                ) from error
            reason: object = error
            if isinstance(error, FileNotFoundError) and error.filename:
                reason = f"it has no {Path(error.filename).name}"
            raise self.damaged(reason) from error

    def changed_pixels(self, level: int) -> Iterator[tuple[Piece, ChangedPixels]]:
        """Yield the pieces that change pixels of ``level``, with these pixels."""
        for piece in self.pieces:
            changed = piece.changed_pixels[level]
            if changed is not None:
                yield piece, changed

    def touches(self, level: int, z: int, box: Box) -> bool:
        """Return whether the entry may change pixels of ``box``; reads no pixels."""
        return any(
            region is not None and region.z == z and region.box.overlaps(box)
            for region in (regions[level] for regions in self.header.regions)
        )

    def forget_pixels(self) -> None:
        """Free the memory of :attr:`pieces` and :attr:`masks`."""
        self.__dict__.pop("pieces", None)
        self.__dict__.pop("masks", None)

    def damaged(self, reason: object) -> StoreError:
        """Return the error that says that the entry cannot be used."""
        return StoreError(
            f"the journal entry {printable(self.path)} is damaged "
            f"({printable(first_line(reason))}); nothing was changed: restore this folder from a "
            "copy, or move it away to give up the originals it holds."
        )
