"""Make the arrays of a stack show what the journal says they should.

What every pixel should be follows from the journal alone: the original pixels, and over them the
repaired pixels of the live entries in the order of their numbers. A pixel of a reduced level
follows from the level above it where a live entry touches it, and is the original one where
none does; the label image has the number of the last live entry that touches the pixel. So one
function finishes a write, rolls one back and reverts it, and doing it twice does no harm.

Only pixels that the given entries touch are changed. Every chunk (or shard) is written once per
level, with all sections of it that are concerned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError, first_line
from ..io import pyramid
from ..io.levels import Level, write_grid
from ..io.pyramid import Rule
from ..types import AnyImage, BoolImage, Box
from .entries import Entry, Footprint, Layout, LevelRecord, Piece

#: Codecs that give back the bits they were given. With any other one, writing a chunk could
#: change pixels that nobody asked to change.
LOSSLESS = {
    *("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "shuffle", "pcodec"),
    *("bytes", "transpose", "sharding_indexed"),
    *("crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3"),
}

#: One piece of an entry on one level, and the part of its box that lies in a chunk.
_Change = tuple[Entry, Piece, Footprint, Box]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The arrays that a write changes, opened for durable writing.

    Parameters
    ----------
    levels
        The pyramid.
    labels
        The label image's pyramid, of the same shapes.
    rules
        How each level but the first is made of the next finer one.
    """

    levels: tuple[Level, ...]
    labels: tuple[Level, ...]
    rules: tuple[Rule, ...]

    def end(self) -> None:
        """Let no write that is still under way reach the disk after this."""
        for level in self.levels + self.labels:
            level.source.store.end()

    @property
    def largest_chunk(self) -> int:
        """Uncompressed size of the largest chunk (shard) that may be written, in bytes."""
        return max(
            math.prod(write_grid(level.source)) * level.dtype.itemsize
            for level in self.levels + self.labels
        )


def open_level(root: Path, record: LevelRecord, layout: Layout, scratch: Path) -> Level:
    """Open one array of the image for durable writing.

    Raises
    ------
    StoreError
        If it is not the array that is expected, lies on another disk than ``scratch``, or is
        compressed in a way that may not be lossless.
    """
    folder = root / record.path
    level = Level(open_array(folder, scratch), layout.axes, record.scale, record.path)
    if (
        level.source.ndim != 3 + len(layout.axes.fixed)
        or level.shape != record.shape
        or level.dtype != np.dtype(layout.dtype)
        or any(index >= level.source.shape[position] for position, index in layout.axes.fixed)
    ):
        raise StoreError(
            f"{folder} is {level.source.dtype} of shape {level.source.shape}, not the array that "
            "the repair was made for; restore it, or repair again from the stack as it is now."
        )
    unknown = sorted(_codecs(level.source.metadata.to_dict()) - LOSSLESS)
    if unknown:
        raise StoreError(
            f"{folder} is compressed with {', '.join(unknown)}, which may not be lossless: writing "
            "would change pixels outside the mask; use --output (or Save as OME-Zarr)."
        )
    return level


def open_array(folder: Path, scratch: Path, *, keep_empty: bool = True) -> Any:
    """Open the zarr array in ``folder`` for durable writing.

    Parameters
    ----------
    folder
        Directory of the array.
    scratch
        Folder on the same file system, for unfinished files.
    keep_empty
        Whether a chunk that holds nothing but the fill value is stored: a float chunk of NaN with
        a payload equals the fill value without being the same bits.
    """
    import zarr

    from ..io.safe_store import DurableStore, watch

    try:
        if folder.stat().st_dev != scratch.stat().st_dev:
            raise StoreError(
                f"{folder} lies on another disk than the full resolution, so it cannot be written "
                "safely; use --output (or Save as OME-Zarr)."
            )
        store = DurableStore(folder, scratch=scratch)
        with zarr.config.set({"array.write_empty_chunks": keep_empty}):
            array = zarr.open_array(store=store, mode="r+")
        watch(array)  # a chunk is read before a part of it is changed
        return array
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{folder} cannot be opened for writing ({first_line(error)}); restore it from a copy."
        ) from error


def _codecs(metadata: dict[str, Any]) -> set[str]:
    """Return the names of all codecs in the metadata of an array, v2 or v3, also within shards."""
    found = [c for c in (metadata.get("compressor"), *(metadata.get("filters") or ())) if c]
    names = {str(c["id"] if isinstance(c, dict) else c.codec_id) for c in found}
    pending = list(metadata.get("codecs") or ())
    while pending:
        codec = pending.pop()
        names.add(str(codec["name"]).removeprefix("numcodecs."))
        pending += (codec.get("configuration") or {}).get("codecs") or ()
    return names


@dataclass(slots=True, eq=False)
class _Cell:
    """What is to be changed within one chunk (shard) of one level."""

    changes: list[_Change] = field(default_factory=list)

    @property
    def sections(self) -> range:
        """First to last section that is concerned."""
        found = [footprint.place.z for _, _, footprint, _ in self.changes]
        return range(min(found), max(found) + 1)

    @property
    def region(self) -> Box:
        """Smallest box around all that is concerned."""
        region = self.changes[0][3]
        for change in self.changes[1:]:
            region = region.union(change[3])
        return region


def _changes(entries: Iterable[Entry], index: int) -> Iterator[tuple[Entry, Piece, Footprint]]:
    """Yield all that ``entries`` change on the level ``index``."""
    for entry in entries:
        for piece, footprint in entry.footprints(index):
            yield entry, piece, footprint


def _cells(level: Level, entries: Sequence[Entry], index: int) -> list[_Cell]:
    """Sort what ``entries`` change on a level by the chunk (shard) it lies in."""
    grid = write_grid(level.source)
    depth, height, width = (grid[a] for a in level.axes.zyx)
    cells: dict[tuple[int, int, int], _Cell] = {}
    for entry, piece, footprint in _changes(entries, index):
        box, z = footprint.place.box, footprint.place.z
        for row in range(box.y0 // height, -(-box.y1 // height)):
            for column in range(box.x0 // width, -(-box.x1 // width)):
                y, x = row * height, column * width
                part = box.intersection(Box(y, x, y + height, x + width))
                if footprint.mask[part.within(box)].any():
                    cell = cells.setdefault((z // depth, row, column), _Cell())
                    cell.changes.append((entry, piece, footprint, part))
    return [cells[key] for key in sorted(cells)]


def _overlap(
    entries: Iterable[Entry], index: int, z: int, region: Box
) -> Iterator[tuple[Entry, Piece, Footprint, Box]]:
    """Yield what ``entries`` change of ``region``, and the common part of the boxes."""
    for entry in entries:
        if not entry.touches(index, z, region):
            continue
        for piece, footprint in entry.footprints(index):
            box = footprint.place.box
            if footprint.place.z == z and box.overlaps(region):
                yield entry, piece, footprint, box.intersection(region)


Paste = Callable[[AnyImage, BoolImage, int, Box], None]


def _update(
    level: Level,
    index: int,
    entries: Sequence[Entry],
    original: Callable[[Footprint], Any],
    paste: Paste,
    step: Callable[[], None],
) -> None:
    """Change one level where ``entries`` touch it: the original, then what ``paste`` puts there.

    ``paste(section, touched, z, region)`` changes ``section``, the pixels of ``region``, within
    ``touched`` only.
    """
    for cell in _cells(level, entries, index):
        step()
        sections, region = cell.sections, cell.region
        span = slice(sections.start, sections.stop)
        before = level.read(span, region)
        block = before.copy()
        touched = np.zeros(block.shape, dtype=bool)
        for _, _, footprint, part in cell.changes:
            inside = (footprint.place.z - sections.start, *part.within(region))
            mask = footprint.mask[part.within(footprint.place.box)]
            value = original(footprint)
            if isinstance(value, np.ndarray):
                value = value[part.within(footprint.place.box)][mask]
            block[inside][mask] = value
            touched[inside] |= mask
        for number, z in enumerate(sections):
            if touched[number].any():
                paste(block[number], touched[number], z, region)
        if not same_bits(block, before):
            level.write(span, block, region)


def same_bits(first: AnyImage, second: AnyImage) -> bool:
    """Return whether two arrays of one dtype and shape are the same, bit by bit."""
    return bool(np.array_equal(bits(first), bits(second)))


def bits(array: AnyImage) -> AnyImage:
    """Return the pixels as unsigned integers, so that NaN equals NaN and 0 is not -0."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def apply(
    target: Target,
    entries: Sequence[Entry],
    live: Sequence[Entry],
    step: Callable[[], None] = lambda: None,
) -> None:
    """Make image and labels right wherever ``entries`` touch them.

    Parameters
    ----------
    target
        The arrays.
    entries
        The entries whose pixels may not be what they should.
    live
        Every live entry that shares a pixel with them, on any level, in the order of their numbers;
        those of ``entries`` that are live included.
    step
        Called before every chunk.
    """
    for index, level in enumerate(target.levels):
        paste = _paste_reduced(target, live, index) if index else _paste_new(live)
        _update(level, index, entries, lambda footprint: footprint.original, paste, step)
    for index, level in enumerate(target.labels):
        _update(level, index, entries, lambda footprint: 0, _paste_numbers(live, index), step)


def mark(labels: Sequence[Level], live: Sequence[Entry]) -> None:
    """Put the marks of ``live`` on a label image, over what is there."""
    for index, level in enumerate(labels):
        paste = _paste_numbers(live, index)
        _update(level, index, live, lambda footprint: 0, paste, lambda: None)


def _paste_new(live: Sequence[Entry]) -> Paste:
    """Return what puts the repaired pixels of ``live`` on the full resolution."""
    return lambda section, touched, z, region: overlay(section, touched, live, z, region)


def _paste_numbers(live: Sequence[Entry], index: int) -> Paste:
    """Return what puts the numbers of ``live`` on a level of the label image."""

    def paste(section: AnyImage, touched: BoolImage, z: int, region: Box) -> None:
        for entry, _, footprint, part in _overlap(live, index, z, region):
            here = part.within(region)
            mask = footprint.mask[part.within(footprint.place.box)] & touched[here]
            section[here][mask] = entry.id

    return paste


def _paste_reduced(target: Target, live: Sequence[Entry], index: int) -> Paste:
    """Return what makes the pixels of a reduced level that ``live`` touch, of the finer level."""
    fine, coarse, rule = target.levels[index - 1], target.levels[index], target.rules[index - 1]

    def paste(section: AnyImage, touched: BoolImage, z: int, region: Box) -> None:
        repaired = np.zeros(section.shape, dtype=bool)
        for _, _, footprint, part in _overlap(live, index, z, region):
            repaired[part.within(region)] |= footprint.mask[part.within(footprint.place.box)]
        repaired &= touched
        if repaired.any():
            section[repaired] = pyramid.reduce(fine, coarse, rule, z, region)[repaired]

    return paste


def overlay(
    section: AnyImage, touched: BoolImage, live: Iterable[Entry], z: int, region: Box
) -> None:
    """Put the repaired pixels of ``live`` over ``section``, within ``touched``.

    Parameters
    ----------
    section
        (H, W) full-resolution pixels of ``region``; changed.
    touched
        (H, W) bool.
    live
        Entries in the order of their numbers.
    z, region
        Where the pixels lie.
    """
    for _, piece, footprint, part in _overlap(live, 0, z, region):
        here, there = part.within(region), part.within(footprint.place.box)
        mask = footprint.mask[there] & touched[here]
        section[here][mask] = piece.new[there][mask]
