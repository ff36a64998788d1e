"""What the journal keeps of one repair, and how it looks on disk.

An entry is a folder ``<id>-z<section>.<state>`` with two files:

``entry.json``
    ``format`` (1), ``id``, ``z``, ``time``, ``provenance``, the ``axes``, ``dtype`` and
    ``levels`` of the stack it was written to (with the rule each was made by), and per piece (one
    per repaired window) and level the section and the box of the pixels that were changed.
``pixels.npz``
    Per piece ``new-<piece>``, the repaired pixels, and per piece and level
    ``mask-<piece>-<level>`` (packed bits, which pixels of the box were changed) and
    ``original-<piece>-<level>`` (the pixels of the box as they were *before any repair*).

The state is part of the folder's name, so that it changes by one atomic rename that needs no disk
space. Nothing that is read here is trusted: numbers are checked against the stack, and
arrays are loaded without pickle.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..errors import StoreError, first_line
from ..io import durable
from ..io.axes import Axes
from ..io.levels import DTYPES
from ..io.pyramid import Rule, block_factors
from ..types import AnyImage, BoolImage, Box, Provenance

FORMAT = 1
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

_NAME = re.compile(r"(\d{8,10})-z(\d{1,10})\.([a-z]+)")
_STATES = (PREPARED, COMMITTED, REVERTING, REVERTED, ABORTING)
_LARGEST_ID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class LevelRecord:
    """One level of the pyramid as the journal knows it.

    Parameters
    ----------
    path
        Where the array lies within the group of the pyramid; "" for an array of its own.
    shape
        (Z, Y, X).
    scale
        Size of a voxel in voxels of the full resolution, (z, y, x).
    rule
        How the level is made of the next finer one; without meaning for the first level.
    """

    path: str
    shape: tuple[int, int, int]
    scale: tuple[float, float, float]
    rule: Rule


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays a repair was written to.

    Parameters
    ----------
    axes
        Where z, y and x are in the stored arrays, and the chosen channel and time.
    dtype
        Name of the type of the pixels.
    levels
        The pyramid, full resolution first.
    """

    axes: Axes
    dtype: str
    levels: tuple[LevelRecord, ...]

    @property
    def thickness(self) -> int:
        """How many sections share one section of the most reduced level."""
        thickness = 1
        for fine, coarse in pairwise(self.levels):
            ratio = [b / a for a, b in zip(fine.scale, coarse.scale, strict=True)]
            thickness *= block_factors(fine.shape, coarse.shape, ratio)[0]
        return thickness


@dataclass(frozen=True, slots=True)
class Place:
    """A box of one section of one level."""

    z: int
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """The pixels of one level that a piece changes.

    Parameters
    ----------
    place
        Section and box, in pixels of the level.
    mask
        (H, W) bool, True where a pixel is changed.
    original
        (H, W), the stack's dtype: the pixels before any repair.
    """

    place: Place
    mask: BoolImage
    original: AnyImage


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One repaired window in the journal.

    Parameters
    ----------
    footprints
        One per level; None where no pixel of the level depends on the piece.
    new
        (H, W) repaired pixels over the box of the first footprint.
    """

    footprints: tuple[Footprint | None, ...]
    new: AnyImage


@dataclass(frozen=True, slots=True)
class Header:
    """The content of ``entry.json``; see the module."""

    id: int
    z: int
    time: str
    provenance: Provenance
    layout: Layout
    places: tuple[tuple[Place | None, ...], ...]


class Entry:
    """One repair in the journal; read from disk when it is asked for.

    Parameters
    ----------
    folder
        Its folder.
    id, z, state
        As in the folder's name.
    """

    def __init__(self, folder: Path, id: int, z: int, state: str) -> None:
        self.folder = folder
        self.id = id
        self.z = z
        self.state = state

    @classmethod
    def at(cls, folder: Path) -> Entry | None:
        """Return the entry in ``folder``, None if its name is not that of an entry."""
        match = _NAME.fullmatch(folder.name)
        if match is None or match[3] not in _STATES or not 0 < int(match[1]) <= _LARGEST_ID:
            return None
        return cls(folder, int(match[1]), int(match[2]), match[3])

    @staticmethod
    def name(id: int, z: int, state: str) -> str:
        """Return the name of an entry's folder."""
        return f"{id:08d}-z{z}.{state}"

    @property
    def live(self) -> bool:
        """Whether the stack should show the repaired pixels."""
        return self.state in LIVE

    @cached_property
    def header(self) -> Header:
        """What was repaired, where and how."""
        try:
            record = json.loads((self.folder / "entry.json").read_bytes())
            if isinstance(record, dict) and record.get("format", 0) > FORMAT:
                raise StoreError(
                    f"the journal entry {self.folder} was written by a newer version of "
                    "napari-flowinpaint; update it."
                )
            header = _parse_header(record)
            if (header.id, header.z) != (self.id, self.z):
                raise ValueError("its number or section is not that of its folder")
        except FileNotFoundError as error:
            if not self.folder.exists():  # a writer has renamed it meanwhile
                raise
            raise self.damaged("it has no entry.json") from error
        except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError) as error:
            raise self.damaged(error) from error
        return header

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Masks, original and repaired pixels."""
        layout, all_places = self.header.layout, self.header.places
        try:
            with np.load(self.folder / "pixels.npz", allow_pickle=False) as arrays:
                return tuple(
                    _load_piece(arrays, number, places, layout.dtype)
                    for number, places in enumerate(all_places)
                )
        except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise self.damaged(error) from error

    def footprints(self, level: int) -> Iterator[tuple[Piece, Footprint]]:
        """Yield the pieces that change pixels of ``level``, with these pixels."""
        for piece in self.pieces:
            footprint = piece.footprints[level]
            if footprint is not None:
                yield piece, footprint

    def touches(self, level: int, z: int, box: Box) -> bool:
        """Return whether the entry may change pixels of ``box``; reads no pixels."""
        return any(
            place is not None and place.z == z and place.box.overlaps(box)
            for place in (places[level] for places in self.header.places)
        )

    def forget_pixels(self) -> None:
        """Free the memory of :attr:`pieces`."""
        self.__dict__.pop("pieces", None)

    def damaged(self, reason: object) -> StoreError:
        """Return the error that says that the entry cannot be used."""
        return StoreError(
            f"the journal entry {self.folder} is damaged ({first_line(reason)}); nothing "
            "was changed: restore this folder from a copy, or move it away to give up the "
            "originals it holds."
        )


def write_entry(folder: Path, header: Header, pieces: tuple[Piece, ...]) -> None:
    """Write an entry into the new folder ``folder``, durably.

    Raises
    ------
    ValueError, TypeError
        If the entry could not be read back: pixels must not depend on it.
    """
    record = json.dumps(_header_record(header), indent=1, default=_plain)
    _parse_header(json.loads(record))
    durable.make_folder(folder)
    with durable.new_file(folder / "entry.json") as file:
        file.write(record.encode())
    arrays: dict[str, AnyImage] = {}
    for number, piece in enumerate(pieces):
        arrays[f"new-{number}"] = piece.new
        for level, footprint in enumerate(piece.footprints):
            if footprint is not None:
                arrays[f"mask-{number}-{level}"] = np.packbits(footprint.mask)
                arrays[f"original-{number}-{level}"] = footprint.original
    with durable.new_file(folder / "pixels.npz") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    durable.sync_folder(folder)


def _header_record(header: Header) -> dict[str, Any]:
    """Return the JSON of a header."""

    def place_record(place: Place | None) -> dict[str, Any] | None:
        if place is None:
            return None
        box = place.box
        return {"z": place.z, "box": [box.y0, box.x0, box.y1, box.x1]}

    layout = header.layout
    return {
        "format": FORMAT,
        "id": header.id,
        "z": header.z,
        "time": header.time,
        "provenance": header.provenance.to_dict(),
        "axes": asdict(layout.axes),
        "dtype": layout.dtype,
        "levels": [asdict(level) | {"rule": str(level.rule)} for level in layout.levels],
        "pieces": [[place_record(place) for place in places] for places in header.places],
    }


def _plain(value: Any) -> Any:
    """Return a NumPy scalar, or whatever an option may be, as JSON has it."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _parse_header(record: Any) -> Header:
    """Check and convert the JSON of a header; raises ValueError, KeyError or TypeError."""
    if record["format"] != FORMAT:
        raise ValueError("it has no known format")
    axes = _parse_axes(record["axes"])
    levels = tuple(_parse_level(level) for level in record["levels"])
    if record["dtype"] not in DTYPES:
        raise ValueError(f"{record['dtype']!r} is no dtype of a stack")
    if not levels or not record["pieces"]:
        raise ValueError("it names no pixels")
    return Header(
        id=_integer(record["id"]),
        z=_integer(record["z"]),
        time=str(record["time"]),
        provenance=_parse_provenance(record["provenance"]),
        layout=Layout(axes, record["dtype"], levels),
        places=tuple(_parse_places(places, levels) for places in record["pieces"]),
    )


def _integer(value: Any) -> int:
    """Return ``value`` if it is a non-negative integer."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a number of pixels")
    return value


def _parse_axes(record: Any) -> Axes:
    """Check and convert the axes."""
    z, y, x = (_integer(a) for a in record["zyx"])
    fixed = tuple((_integer(position), _integer(index)) for position, index in record["fixed"])
    if sorted([z, y, x, *(position for position, _ in fixed)]) != list(range(3 + len(fixed))):
        raise ValueError("its axes are inconsistent")
    return Axes((z, y, x), fixed)


def _parse_level(record: Any) -> LevelRecord:
    """Check and convert one level."""
    path = record["path"]
    local = PurePath(path)  # a drive is one on Windows only; elsewhere ":" is a letter
    if local.anchor or ".." in local.parts:
        raise ValueError(f"{path!r} leads out of the store")
    depth, height, width = (_integer(n) for n in record["shape"])
    z, y, x = (float(n) for n in record["scale"])
    if not all(math.isfinite(n) and n > 0 for n in (z, y, x)):
        raise ValueError("it names an impossible scale")
    return LevelRecord(path, (depth, height, width), (z, y, x), Rule.parse(record["rule"]))


def _parse_places(record: Any, levels: tuple[LevelRecord, ...]) -> tuple[Place | None, ...]:
    """Check and convert where a piece lies on each level."""
    if len(record) != len(levels) or record[0] is None:
        raise ValueError("a piece does not fit the levels")
    places: list[Place | None] = []
    for place, level in zip(record, levels, strict=True):
        if place is None:
            places.append(None)
            continue
        box = Box(*(_integer(n) for n in place["box"]))
        z, (depth, height, width) = _integer(place["z"]), level.shape
        if not (z < depth and box.y0 < box.y1 <= height and box.x0 < box.x1 <= width):
            raise ValueError(f"{box} of section {z} lies outside of level {level.path!r}")
        places.append(Place(z, box))
    return tuple(places)


def _parse_provenance(record: Any) -> Provenance:
    """Convert a provenance; what later versions may have added is passed over."""
    known = {field.name: record[field.name] for field in fields(Provenance)}
    known["neighbours"] = tuple(known["neighbours"])
    known["alpha"] = tuple(known["alpha"])
    known["mask_pixels"] = _integer(known["mask_pixels"])
    return Provenance(**known)


def _load_piece(arrays: Any, number: int, places: tuple[Place | None, ...], dtype: str) -> Piece:
    """Load the pixels of one piece; raises ValueError or KeyError where they do not fit."""
    footprints: list[Footprint | None] = []
    for index, place in enumerate(places):
        if place is None:
            footprints.append(None)
            continue
        height, width = place.box.shape
        packed = _load(arrays, f"mask-{number}-{index}", (-(-height * width // 8),), "uint8")
        mask = np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)
        original = _load(arrays, f"original-{number}-{index}", (height, width), dtype)
        footprints.append(Footprint(place, mask, original))
    first = places[0]
    assert first is not None
    return Piece(tuple(footprints), _load(arrays, f"new-{number}", first.box.shape, dtype))


def _load(arrays: Any, key: str, shape: tuple[int, ...], dtype: str) -> AnyImage:
    """Load one array, refusing one that is not what the header announces before it is read."""
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if arrays.zip.getinfo(f"{key}.npy").file_size > expected + 4096:
        raise ValueError(f"{key} is larger than announced")
    array: AnyImage = arrays[key]
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise ValueError(f"{key} is {array.dtype} of shape {array.shape}")
    return array
