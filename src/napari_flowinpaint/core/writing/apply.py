"""Make the arrays of a stack show what the journal says they should.

What every pixel should be follows from the journal alone: the original pixels, and over them the
repaired pixels of the live entries in the order of their numbers. A pixel of a reduced level
follows from the level above it where a live entry touches it, and is the original one where
none does; the label image has the number of the last live entry that touches the pixel, or what
was there before. So one function finishes a write, rolls one back and reverts it, and doing it
twice does no harm. A mark is on disk before the pixels it stands for, and goes after them; marks
that the journal does not know stay.

Only pixels that the given entries touch are changed. Every chunk (or shard) is written once per
level, with all sections of it that are concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..io import pyramid
from ..io.levels import Level, write_grid
from ..types import AnyImage, BoolImage, Box
from .entries import DISPLACED, Entry
from .pieces import ChangedPixels, Piece
from .target import Target

#: One piece of an entry on one level, and the part of its box that lies in a chunk.
_Change = tuple[Entry, Piece, ChangedPixels, Box]


@dataclass(slots=True, eq=False)
class _Cell:
    """What is to be changed within one chunk (shard) of one level."""

    changes: list[_Change] = field(default_factory=list)

    @property
    def sections(self) -> range:
        """First to last section that is concerned."""
        found = [changed.region.z for _, _, changed, _ in self.changes]
        return range(min(found), max(found) + 1)

    @property
    def region(self) -> Box:
        """Smallest box around all that is concerned."""
        region = self.changes[0][3]
        for change in self.changes[1:]:
            region = region.union(change[3])
        return region


def _changes(entries: Iterable[Entry], index: int) -> Iterator[tuple[Entry, Piece, ChangedPixels]]:
    """Yield all that ``entries`` change on the level ``index``."""
    for entry in entries:
        for piece, changed in entry.changed_pixels(index):
            yield entry, piece, changed


def _cells(level: Level, entries: Sequence[Entry], index: int) -> list[_Cell]:
    """Sort what ``entries`` change on a level by the chunk (shard) it lies in."""
    grid = write_grid(level.source)
    depth, height, width = (grid[a] for a in level.axes.zyx)
    cells: dict[tuple[int, int, int], _Cell] = {}
    for entry, piece, changed in _changes(entries, index):
        box, z = changed.region.box, changed.region.z
        for row in range(box.y0 // height, -(-box.y1 // height)):
            for column in range(box.x0 // width, -(-box.x1 // width)):
                y, x = row * height, column * width
                part = box.intersection(Box(y, x, y + height, x + width))
                if changed.mask[part.within(box)].any():
                    cell = cells.setdefault((z // depth, row, column), _Cell())
                    cell.changes.append((entry, piece, changed, part))
    return [cells[key] for key in sorted(cells)]


def overlapping(
    entries: Iterable[Entry], index: int, z: int, region: Box
) -> Iterator[tuple[Entry, Piece, ChangedPixels, Box]]:
    """Yield what ``entries`` change of ``region``, and the common part of the boxes."""
    for entry in entries:
        if not entry.touches(index, z, region):
            continue
        for piece, changed in entry.changed_pixels(index):
            box = changed.region.box
            if changed.region.z == z and box.overlaps(region):
                yield entry, piece, changed, box.intersection(region)


Paste = Callable[[AnyImage, BoolImage, int, Box], None]


def _update(
    level: Level,
    index: int,
    entries: Sequence[Entry],
    original: Callable[[ChangedPixels], Any],
    paste: Paste,
    step: Callable[[], None],
    known: Sequence[int] | None = None,
) -> bool:
    """Change one level where ``entries`` touch it: the original, then what ``paste`` puts there.

    ``paste(section, touched, z, region)`` changes ``section``, the pixels of ``region``, within
    ``touched`` only. Where ``known`` is given, a pixel that is neither one of these nor the
    original stays as it is. Returns whether anything was changed.
    """
    any_changed = False
    for cell in _cells(level, entries, index):
        step()
        sections, region = cell.sections, cell.region
        span = slice(sections.start, sections.stop)
        before = level.read(span, region)
        block = before.copy()
        touched = np.zeros(block.shape, dtype=bool)
        for _, _, changed, part in cell.changes:
            inside = (changed.region.z - sections.start, *part.within(region))
            mask = changed.mask[part.within(changed.region.box)]
            value = original(changed)
            if isinstance(value, np.ndarray):
                value = value[part.within(changed.region.box)][mask]
            block[inside][mask] = value
            touched[inside] |= mask
        stays = before != block if known is not None else None
        for number in known or ():
            stays &= before != number
        for number, z in enumerate(sections):
            if touched[number].any():
                paste(block[number], touched[number], z, region)
        if stays is not None:
            block[stays] = before[stays]
        if not same_bits(block, before):
            level.write(span, block, region)
            any_changed = True
    return any_changed


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
    _mark(target.labels, [entry for entry in entries if entry.live], entries, live, step)
    for index, level in enumerate(target.levels):
        paste = _paste_reduced(target, live, index) if index else _paste_new(live)
        _update(level, index, entries, lambda changed: changed.original, paste, step)
    _mark(target.labels, [entry for entry in entries if not entry.live], entries, live, step)


def mark(labels: Sequence[Level], entries: Sequence[Entry], live: Sequence[Entry]) -> bool:
    """Put the marks of live ``entries`` on a label image; return whether any was missing.

    Parameters
    ----------
    labels
        The pyramid of the label image.
    entries
        Whose marks may be missing.
    live
        As for :func:`apply`.
    """
    return _mark(labels, entries, entries, live, lambda: None)


def _mark(
    labels: Sequence[Level],
    touched: Sequence[Entry],
    entries: Sequence[Entry],
    live: Sequence[Entry],
    step: Callable[[], None],
) -> bool:
    """Make the label image right wherever ``touched`` touch it."""
    numbers = {entry.id for entry in (*entries, *live)}
    known = [0, *numbers, *map(displaced_number, numbers)]
    changed = False
    for index, level in enumerate(labels if touched else ()):
        paste = _paste_numbers(live, index)
        changed |= _update(level, index, touched, _marks_before, paste, step, known)
    return changed


def _marks_before(changed: ChangedPixels) -> Any:
    """Return the marks under changed pixels before the repair."""
    return 0 if changed.marks is None else changed.marks


def _paste_new(live: Sequence[Entry]) -> Paste:
    """Return what puts the repaired pixels of ``live`` on the full resolution."""
    return lambda section, touched, z, region: overlay(section, touched, live, z, region)


def _paste_numbers(live: Sequence[Entry], index: int) -> Paste:
    """Return what puts the numbers of ``live`` on a level of the label image."""

    def paste(section: AnyImage, touched: BoolImage, z: int, region: Box) -> None:
        for entry, piece, changed, part in overlapping(live, index, z, region):
            here, there = part.within(region), part.within(changed.region.box)
            mask = changed.mask[there] & touched[here]
            section[here][mask] = entry.id
            if piece.moved is not None:
                mask &= ~_synthetic(piece, index)[there]
                section[here][mask] = displaced_number(entry.id)

    return paste


def displaced_number(number: int) -> int:
    """Return the mark of pixels that the repair of this number has moved.

    Numbers of repairs do not reach these; one that did would mark all of its pixels alike.
    """
    return number + DISPLACED if number < DISPLACED else number


def _synthetic(piece: Piece, index: int) -> BoolImage:
    """Return which pixels of a level depend on synthetic ones of a piece that moves others."""
    first, changed = piece.changed_pixels[0], piece.changed_pixels[index]
    assert first is not None
    assert changed is not None
    assert piece.moved is not None
    synthetic = first.mask & ~piece.moved.mask
    if index == 0:
        return synthetic
    out = np.zeros(changed.mask.shape, dtype=bool)
    fine, (height, width) = first.region.box, changed.region.box.shape
    rows, columns = (place.astype(np.int64) for place in np.nonzero(synthetic))
    # where in the reduced box a pixel of the full one lies: both boxes hold the same tissue
    y = (rows + 0.5) * height / (fine.y1 - fine.y0)
    x = (columns + 0.5) * width / (fine.x1 - fine.x0)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            i = np.clip(y.astype(np.int64) + dy, 0, height - 1)
            j = np.clip(x.astype(np.int64) + dx, 0, width - 1)
            out[i, j] = True
    return out


def _paste_reduced(target: Target, live: Sequence[Entry], index: int) -> Paste:
    """Return what makes the pixels of a reduced level that ``live`` touch, of the finer level."""
    fine, coarse, rule = target.levels[index - 1], target.levels[index], target.rules[index - 1]

    def paste(section: AnyImage, touched: BoolImage, z: int, region: Box) -> None:
        repaired = np.zeros(section.shape, dtype=bool)
        for _, _, changed, part in overlapping(live, index, z, region):
            repaired[part.within(region)] |= changed.mask[part.within(changed.region.box)]
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
    for _, piece, changed, part in overlapping(live, 0, z, region):
        here, there = part.within(region), part.within(changed.region.box)
        mask = changed.mask[there] & touched[here]
        section[here][mask] = piece.new[there][mask]
