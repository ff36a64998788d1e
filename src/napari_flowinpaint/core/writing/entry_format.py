"""How an entry of the journal is read and written: ``entry.json`` and ``pixels.npz``.

What is in the files is told in :mod:`.entries`. Whatever is read is checked: the reading functions
raise ValueError, TypeError, KeyError or what damaged archives lead to; :class:`.entries.Entry`
tells it in one line.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import PurePath
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy

from ..disk.folder import Folder
from ..errors import StoreError
from ..io.axes import Axes
from ..io.levels import DTYPES
from ..io.npz import read_npy_header
from ..io.pyramid import DownsamplingRule
from ..names import printable
from ..section_repair import Provenance
from ..types import AnyImage, BoolImage, Box
from .pieces import ChangedPixels, Header, Layout, LevelRecord, MovedPixels, Piece, SectionRegion

FORMAT = 1
_RECORD, _PIXELS = "entry.json", "pixels.npz"
#: Most bytes that ``entry.json`` may have: some 100 per window and level.
_LARGEST_RECORD = 1 << 26
#: Bytes of an archive per array, besides its pixels.
_OVERHEAD = 4096


def write_entry(folder: Folder, header: Header, pieces: tuple[Piece, ...]) -> None:
    """Write an entry into an empty folder, durably.

    Raises
    ------
    ValueError, TypeError
        If the entry could not be read back: pixels must not depend on it.
    """
    record = json.loads(json.dumps(_header_record(header), default=_plain))
    _parse_header(record)
    arrays: dict[str, AnyImage] = {}
    fields_of_flow: dict[str, AnyImage] = {}
    for number, piece in enumerate(pieces):
        arrays[f"new-{number}"] = piece.new
        if piece.moved is not None:
            fields_of_flow[f"moved-{number}"] = np.packbits(piece.moved.mask)
            fields_of_flow[f"flow-{number}"] = piece.moved.flow
        for level, changed in enumerate(piece.changed_pixels):
            if changed is not None:
                arrays[f"mask-{number}-{level}"] = np.packbits(changed.mask)
                arrays[f"original-{number}-{level}"] = changed.original
                if changed.marks is not None:
                    arrays[f"marks-{number}-{level}"] = changed.marks
    with folder.new_file(_PIXELS) as file:
        _save(file, arrays, fields_of_flow)
    digests = {_PIXELS: _digest_of_file(folder), _RECORD: _digest_of_record(record)}
    with folder.new_file(_RECORD) as file:
        file.write(json.dumps({**record, "digests": digests}, indent=1).encode())
    folder.sync()


def _save(file: Any, arrays: dict[str, AnyImage], smooth: dict[str, AnyImage]) -> None:
    """Write arrays as ``numpy.load`` reads them; what is smooth is compressed."""
    ways = {zipfile.ZIP_STORED: arrays, zipfile.ZIP_DEFLATED: smooth}
    with zipfile.ZipFile(file, "w") as archive:
        for way, some in ways.items():
            for name, array in some.items():
                member = zipfile.ZipInfo(f"{name}.npy")
                member.compress_type = way
                with archive.open(member, "w", force_zip64=True) as stored:
                    npy.write_array(stored, np.ascontiguousarray(array), allow_pickle=False)


def read_header(folder: Folder) -> Header:
    """Read and check ``entry.json``; its digest is compared when pixels are read.

    Raises
    ------
    StoreError
        If a newer version wrote it.
    """
    return _parse_header(_read_record(folder))


def read_pieces(folder: Folder, header: Header) -> tuple[Piece, ...]:
    """Read ``pixels.npz``, and compare both files with the digests, if the entry has some."""
    digests = dict(header.digests)
    if digests:
        if _digest_of_record(_read_record(folder)) != digests[_RECORD]:
            raise ValueError(f"{_RECORD} was changed since it was written")
        if _digest_of_file(folder) != digests[_PIXELS]:
            raise ValueError(f"{_PIXELS} was changed since it was written")
    with _archive(folder) as archive:
        return tuple(
            _load_piece(archive, number, regions, header.layout.dtype)
            for number, regions in enumerate(header.regions)
        )


def read_masks(folder: Folder, header: Header) -> tuple[tuple[SectionRegion, BoolImage], ...]:
    """Read the masks of the full resolution from ``pixels.npz``."""
    with _archive(folder) as archive:
        return tuple(
            (region, _load_mask(archive, number, 0, region))
            for number, (region, *_) in enumerate(header.regions)
            if region is not None
        )


def _read_record(folder: Folder) -> Any:
    """Return the JSON of an entry."""
    record = json.loads(folder.read(_RECORD, _LARGEST_RECORD))
    version = record.get("format", 0) if isinstance(record, dict) else 0
    if isinstance(version, int) and version > FORMAT:
        raise StoreError(
            f"the journal entry {printable(folder.path)} was written by a newer version of "
            "napari-flowinpaint; update it."
        )
    return record


@contextmanager
def _archive(folder: Folder) -> Iterator[zipfile.ZipFile]:
    with folder.open_file(_PIXELS) as file, zipfile.ZipFile(file) as archive:
        yield archive


def _digest_of_file(folder: Folder) -> str:
    with folder.open_file(_PIXELS) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


def _digest_of_record(record: dict[str, Any]) -> str:
    """Return the digest of what an entry says, whatever the order and the white space."""
    told = {key: value for key, value in record.items() if key != "digests"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _header_record(header: Header) -> dict[str, Any]:
    """Return the JSON of a header."""

    def region_record(region: SectionRegion | None) -> dict[str, Any] | None:
        if region is None:
            return None
        box = region.box
        return {"z": region.z, "box": [box.y0, box.x0, box.y1, box.x1]}

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
        "pieces": [[region_record(region) for region in regions] for regions in header.regions],
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
        raise ValueError(f"{record['dtype']!r} is not a dtype of a stack")
    if not levels or not record["pieces"]:
        raise ValueError("it names no pixels")
    return Header(
        id=_integer(record["id"]),
        z=_integer(record["z"]),
        time=str(record["time"]),
        provenance=_parse_provenance(record["provenance"]),
        layout=Layout(axes, record["dtype"], levels),
        regions=tuple(_parse_regions(regions, levels) for regions in record["pieces"]),
        digests=_parse_digests(record.get("digests")),
    )


def _parse_digests(record: Any) -> tuple[tuple[str, str], ...]:
    """Check and convert the digests; entries of older versions have none."""
    if record is None:
        return ()
    return tuple((name, str(record[name])) for name in (_RECORD, _PIXELS))


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
    return LevelRecord(
        path, (depth, height, width), (z, y, x), DownsamplingRule.parse(record["rule"])
    )


def _parse_regions(
    record: Any, levels: tuple[LevelRecord, ...]
) -> tuple[SectionRegion | None, ...]:
    """Check and convert where a piece lies on each level."""
    if len(record) != len(levels) or record[0] is None:
        raise ValueError("a piece does not fit the levels")
    regions: list[SectionRegion | None] = []
    for region, level in zip(record, levels, strict=True):
        if region is None:
            regions.append(None)
            continue
        box = Box(*(_integer(n) for n in region["box"]))
        z, (depth, height, width) = _integer(region["z"]), level.shape
        if not (z < depth and box.y0 < box.y1 <= height and box.x0 < box.x1 <= width):
            raise ValueError(f"{box} of section {z} lies outside of level {level.path!r}")
        regions.append(SectionRegion(z, box))
    return tuple(regions)


def _parse_provenance(record: Any) -> Provenance:
    """Convert a provenance; what later versions may have added is passed over."""
    record = {"flags": []} | record  # earlier versions wrote none
    known = {field.name: record[field.name] for field in fields(Provenance)}
    known["flags"] = tuple(known["flags"])
    known["neighbours"] = tuple(known["neighbours"])
    known["alpha"] = tuple(known["alpha"])
    known["mask_pixels"] = _integer(known["mask_pixels"])
    return Provenance(**known)


def _load_piece(
    archive: zipfile.ZipFile, number: int, regions: tuple[SectionRegion | None, ...], dtype: str
) -> Piece:
    """Load the pixels of one piece; raises ValueError or KeyError where they do not fit."""
    changed_pixels: list[ChangedPixels | None] = []
    present = set(archive.namelist())
    for index, region in enumerate(regions):
        if region is None:
            changed_pixels.append(None)
            continue
        mask = _load_mask(archive, number, index, region)
        original = _load(archive, f"original-{number}-{index}", region.box.shape, dtype)
        key, marks = f"marks-{number}-{index}", None
        if f"{key}.npy" in present:
            marks = _load(archive, key, region.box.shape, "uint32")
        changed_pixels.append(ChangedPixels(region, mask, original, marks))
    first = regions[0]
    assert first is not None
    new = _load(archive, f"new-{number}", first.box.shape, dtype)
    return Piece(tuple(changed_pixels), new, _load_moved(archive, number, first, present))


def _load_moved(
    archive: zipfile.ZipFile, number: int, region: SectionRegion, present: set[str]
) -> MovedPixels | None:
    """Load what a piece has moved; None where it has moved nothing."""
    if f"moved-{number}.npy" not in present:
        return None
    mask = _load_bits(archive, f"moved-{number}", region)
    flow = _load(archive, f"flow-{number}", (2, *region.box.shape), "float16")
    if not np.isfinite(flow).all():
        raise ValueError(f"flow-{number} is not finite")
    return MovedPixels(mask, flow)


def _load_mask(
    archive: zipfile.ZipFile, number: int, level: int, region: SectionRegion
) -> BoolImage:
    """Load the mask of one piece on one level."""
    return _load_bits(archive, f"mask-{number}-{level}", region)


def _load_bits(archive: zipfile.ZipFile, key: str, region: SectionRegion) -> BoolImage:
    """Load a mask of a region."""
    height, width = region.box.shape
    shape = (-(-height * width // 8),)
    packed = _load(archive, key, shape, "uint8")
    return np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)


def _load(archive: zipfile.ZipFile, key: str, shape: tuple[int, ...], dtype: str) -> AnyImage:
    """Load one array, refusing one that is not what the header claims before it is read."""
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if archive.getinfo(f"{key}.npy").file_size > expected + _OVERHEAD:
        raise ValueError(f"{key} is larger than it claims")
    with archive.open(f"{key}.npy") as file:
        found = read_npy_header(file)
        if found != (shape, False, np.dtype(dtype)):
            raise ValueError(f"{key} is {found[2]} of shape {found[0]}")
        content = file.read(expected)
    if len(content) != expected:
        raise ValueError(f"{key} is shorter than it claims")
    return np.frombuffer(bytearray(content), dtype).reshape(shape)
