"""A mask volume for painting that costs what is painted, whatever the size of the stack.

Responsible for: holding damage as tiles in memory, lazily on top of an existing mask; looking
like an array to a viewer; its own history of edits. Not responsible for files and for layers.

A dense mask of a terabyte stack is a terabyte; a zarr on disk writes and compresses a chunk for
every dab of the brush. Tiles are replaced and never changed in place, hence a frozen copy for a
worker thread costs a dictionary, and a step of the history keeps references instead of pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..types import BoolImage, Box

TILE = 256
#: Number of edits that can be undone.
HISTORY = 200

Tile = npt.NDArray[np.uint8]
#: Tiles of one section by (row, column) of the tile grid.
SectionTiles = dict[tuple[int, int], Tile]
_Range = tuple[int, int]
#: (section, tile, before, after); None where the base shows through.
_Change = tuple[int, tuple[int, int], Tile | None, Tile | None]


class MaskVolume(Protocol):
    """What a mask can lie on: anything with a shape that is sliced like an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes zyx."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """Return pixels; anything but 0 is damage."""
        ...


@lru_cache(maxsize=256)
def _constant(value: int) -> Tile:
    tile = np.full((TILE, TILE), value, dtype=np.uint8)
    tile.setflags(write=False)
    return tile


_EMPTY = _constant(0)


class SparseMask:
    """An editable mask volume, axes zyx, uint8; anything but 0 is damaged.

    The numbers may tell kinds of damage apart; whoever repairs does not look at them.

    Parameters
    ----------
    shape
        (Z, Y, X).
    base
        Existing mask of the same shape to start from, read where and when needed.
    labels
        Whether the values of ``base`` are kinds of damage, 0..255, and kept; otherwise all damage
        in it is 1.

    Attributes
    ----------
    shape, dtype, ndim
        As of an array, so that a viewer takes it for one.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self, shape: tuple[int, int, int], base: MaskVolume | None = None, *, labels: bool = False
    ) -> None:
        self.shape = shape
        self._base = base
        self._labels = labels
        self._sections: dict[int, SectionTiles] = {}
        self._versions: dict[int, int] = {}
        self._pending: dict[tuple[int, int, int], Tile | None] = {}
        self._undo: deque[list[_Change]] = deque(maxlen=HISTORY)
        self._redo: deque[list[_Change]] = deque(maxlen=HISTORY)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape, dtype=np.int64))

    # ---- reading

    def frozen(self) -> SparseMask:
        """Return a copy of the present state that later edits leave alone (cheap)."""
        copy = SparseMask(self.shape, self._base, labels=self._labels)
        copy._sections = {z: dict(tiles) for z, tiles in self._sections.items()}
        copy._versions = dict(self._versions)
        return copy

    def read(self, z: int, box: Box | None = None) -> BoolImage:
        """Return the damage of a section (or of a box of it), bool, True = damaged."""
        box = box or Box.whole((self.shape[1], self.shape[2]))
        return self._block((z, z + 1), (box.y0, box.y1), (box.x0, box.x1))[0] > 0

    def damaged_box(self, z: int) -> Box | None:
        """Return a box that holds all damage of a section, not necessarily the smallest."""
        if self._base is not None:
            return Box.of_mask(self.read(z))
        keys = [key for key, tile in self._sections.get(z, {}).items() if tile is not _EMPTY]
        if not keys:
            return None
        rows, columns = zip(*keys, strict=True)
        return Box(
            min(rows) * TILE,
            min(columns) * TILE,
            min((max(rows) + 1) * TILE, self.shape[1]),
            min((max(columns) + 1) * TILE, self.shape[2]),
        )

    @property
    def base(self) -> MaskVolume | None:
        """The mask it started from."""
        return self._base

    @property
    def has_labels(self) -> bool:
        """Whether the values of the base are kinds of damage."""
        return self._labels

    def lay_on(self, base: MaskVolume, *, labels: bool) -> None:
        """Change the base; tiles that were painted stay, and so does the history."""
        self.commit()
        self._base, self._labels = base, labels

    def tiles(self, z: int) -> SectionTiles:
        """Return the tiles that a section has of its own; they must not be changed."""
        return dict(self._sections.get(z, {}))

    @property
    def painted_sections(self) -> tuple[int, ...]:
        """Sections with tiles of their own; of the others the base shows."""
        return tuple(sorted(z for z, tiles in self._sections.items() if tiles))

    def version(self, z: int) -> int:
        """Return a number that grows with every change of a section."""
        return self._versions.get(z, 0)

    def __getitem__(self, index: Any) -> npt.NDArray[np.uint8]:
        """Return pixels for any index numpy understands; only the tiles touched are read."""
        ranges, relative = _bounds(index, self.shape)
        return np.asarray(self._block(*ranges)[relative])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the dense volume (as large as the stack)."""
        return self[...].astype(dtype or self.dtype, copy=False)

    def astype(self, dtype: Any) -> SparseMask:
        """Return the mask itself: it keeps its type, whatever a viewer would convert it to."""
        return self

    def _block(self, zs: _Range, ys: _Range, xs: _Range) -> npt.NDArray[np.uint8]:
        if self._base is None:
            shape = tuple(max(stop - start, 0) for start, stop in (zs, ys, xs))
            block = np.zeros(shape, dtype=np.uint8)
        else:
            block = self._of_base(zs, ys, xs)
        for z in range(*zs):
            for (row, column), tile in self._sections.get(z, {}).items():
                part = _overlap((row * TILE, column * TILE), ys, xs)
                if part is not None:
                    in_block, in_tile = part
                    block[z - zs[0]][in_block] = tile[in_tile]
        return block

    def _of_base(self, zs: _Range, ys: _Range, xs: _Range) -> npt.NDArray[np.uint8]:
        """Return pixels of the base, not shared with it."""
        assert self._base is not None
        source = self._base[zs[0] : zs[1], ys[0] : ys[1], xs[0] : xs[1]]
        if self._labels:
            return np.array(source, dtype=np.uint8)
        return (np.asarray(source) != 0).view(np.uint8)

    # ---- writing

    def __setitem__(self, index: Any, value: Any) -> None:
        """Change pixels; they become one step of the history with the next :meth:`commit`."""
        ranges, relative = _bounds(index, self.shape)
        block = self._block(*ranges)
        block[relative] = value
        zs, ys, xs = ranges
        for z in range(*zs):
            for key, tile in self._cut(z, ys, xs, block[z - zs[0]]).items():
                self._put(z, key, tile)

    def _cut(self, z: int, ys: _Range, xs: _Range, plane: npt.NDArray[np.uint8]) -> SectionTiles:
        """Return the section's tiles with ``plane``, which covers ``ys`` and ``xs``, pasted."""
        tiles = {}
        for row in range(ys[0] // TILE, -(-ys[1] // TILE)):
            for column in range(xs[0] // TILE, -(-xs[1] // TILE)):
                part = _overlap((row * TILE, column * TILE), ys, xs)
                if part is not None:
                    in_plane, in_tile = part
                    tile = self._tile(z, (row, column)).copy()
                    tile[in_tile] = plane[in_plane]
                    tiles[row, column] = _shared(tile)
        return tiles

    def edit(self, z: int, change: Callable[[BoolImage], BoolImage], halo: int) -> SectionTiles:
        """Return what a section's tiles are after a change; nothing is changed.

        Slow for large sections, hence meant for a thread, on a :meth:`frozen` mask; the result
        goes to :meth:`set_section`.

        Parameters
        ----------
        z
            Section number.
        change
            Takes and returns bool (H, W), True = damaged; not called where nothing is damaged.
        halo
            How far, in pixels, the change reaches beyond what is damaged; -1 is everywhere.
        """
        whole = Box.whole((self.shape[1], self.shape[2]))
        box = whole if halo < 0 else self.damaged_box(z)
        if box is None:
            return {}
        box = box.expand(max(halo, 0), (self.shape[1], self.shape[2]))
        before = self._block((z, z + 1), (box.y0, box.y1), (box.x0, box.x1))[0]
        changed = change(before > 0)
        # new damage is taken for what most of the damage is
        common = int(np.bincount(before[before > 0]).argmax()) if before.any() else 1
        return self.paste(z, box, np.where(before > 0, before, np.uint8(common)) * changed)

    def paste(self, z: int, box: Box, pixels: npt.NDArray[np.uint8]) -> SectionTiles:
        """Return what a section's tiles are with ``pixels`` in a box; nothing is changed."""
        return self._cut(z, (box.y0, box.y1), (box.x0, box.x1), pixels)

    def restore(self, z: int, tiles: SectionTiles) -> None:
        """Put tiles of an earlier session into a section; that is no step of the history."""
        for key, tile in tiles.items():
            self._store(z, key, _shared(tile))

    def set_section(self, z: int, tiles: SectionTiles) -> None:
        """Put tiles into a section and commit them as one step."""
        self.commit()
        for key, tile in tiles.items():
            self._put(z, key, tile)
        self.commit()

    def set_sections(self, sections: Mapping[int, SectionTiles]) -> None:
        """Put tiles into many sections and commit them all as one step."""
        self.commit()
        for z, tiles in sections.items():
            for key, tile in tiles.items():
                self._put(z, key, tile)
        self.commit()

    def spread(self, z: int, sections: Iterable[int]) -> Iterator[tuple[int, SectionTiles]]:
        """Yield what the tiles of other sections are with the damage of a section added to theirs.

        Nothing is changed; meant for a thread, on a :meth:`frozen` mask.
        """
        box = self.damaged_box(z)
        if box is None:
            return
        damage = self._block((z, z + 1), (box.y0, box.y1), (box.x0, box.x1))[0]
        alike: SectionTiles | None = None
        for other in sections:
            if other == z:
                continue
            if self._base is None and not self._sections.get(other):
                alike = self.paste(other, box, damage) if alike is None else alike
                yield other, alike
                continue
            there = self._block((other, other + 1), (box.y0, box.y1), (box.x0, box.x1))[0]
            yield other, self.paste(other, box, np.where(there > 0, there, damage))

    def _tile(self, z: int, key: tuple[int, int]) -> Tile:
        tile = self._sections.get(z, {}).get(key)
        if tile is not None:
            return tile
        if self._base is None:
            return _EMPTY
        ys, xs = (
            (k * TILE, min((k + 1) * TILE, n)) for k, n in zip(key, self.shape[1:], strict=True)
        )
        tile = np.zeros((TILE, TILE), dtype=np.uint8)
        tile[: ys[1] - ys[0], : xs[1] - xs[0]] = self._of_base((z, z + 1), ys, xs)[0]
        return tile

    def _put(self, z: int, key: tuple[int, int], new: Tile | None) -> None:
        tiles = self._sections.setdefault(z, {})
        self._pending.setdefault((z, *key), tiles.get(key))
        self._store(z, key, new)

    def _store(self, z: int, key: tuple[int, int], new: Tile | None) -> None:
        tiles = self._sections.setdefault(z, {})
        if new is None:
            tiles.pop(key, None)
        else:
            tiles[key] = new
        self._versions[z] = self._versions.get(z, 0) + 1

    # ---- history

    def commit(self) -> bool:
        """Make one step of everything changed since the last; return whether there was any."""
        step: list[_Change] = []
        for (z, row, column), before in self._pending.items():
            after = self._sections[z].get((row, column))
            old = _EMPTY if before is None and self._base is None else before
            if old is not after and (old is None or after is None or (old != after).any()):
                step.append((z, (row, column), before, after))
        self._pending.clear()
        if step:
            self._undo.append(step)
            self._redo.clear()
        return bool(step)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._undo or self._pending)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._redo)

    def undo(self) -> int | None:
        """Take the last step back; return the section it changed, or None if there is none."""
        self.commit()
        if not self._undo:
            return None
        step = self._undo.pop()
        for z, key, before, _ in step:
            self._store(z, key, before)
        self._redo.append(step)
        return step[0][0]

    def redo(self) -> int | None:
        """Do the last undone step again; return its section, or None if there is none."""
        if not self._redo:
            return None
        step = self._redo.pop()
        for z, key, _, after in step:
            self._store(z, key, after)
        self._undo.append(step)
        return step[0][0]


def _shared(tile: Tile) -> Tile:
    """Return the one constant tile instead of a copy of it; large areas then cost nothing."""
    first = int(tile[0, 0])
    return _constant(first) if (tile == first).all() else tile


def _overlap(
    corner: tuple[int, int], ys: _Range, xs: _Range
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return where a tile and a block share pixels: the index in the block and in the tile."""
    in_block, in_tile = [], []
    for start, (low, high) in zip(corner, (ys, xs), strict=True):
        first, last = max(start, low), min(start + TILE, high)
        if first >= last:
            return None
        in_block.append(slice(first - low, last - low))
        in_tile.append(slice(first - start, last - start))
    return (in_block[0], in_block[1]), (in_tile[0], in_tile[1])


def _bounds(index: Any, shape: tuple[int, ...]) -> tuple[list[_Range], tuple[Any, ...]]:
    """Return the block that an index touches, and the index relative to that block."""
    index = index if isinstance(index, tuple) else (index,)
    if any(item is Ellipsis for item in index):
        at = next(i for i, item in enumerate(index) if item is Ellipsis)
        fill = (slice(None),) * (len(shape) - len(index) + 1)
        index = (*index[:at], *fill, *index[at + 1 :])
    index = (*index, *(slice(None),) * (len(shape) - len(index)))
    if len(index) != len(shape):
        raise IndexError(f"too many indices: {len(index)} for {len(shape)} axes")
    ranges: list[_Range] = []
    relative: list[Any] = []
    for item, length in zip(index, shape, strict=True):
        if isinstance(item, slice):
            steps = range(*item.indices(length))
            low, high = (
                (min(steps[0], steps[-1]), max(steps[0], steps[-1]) + 1) if steps else (0, 0)
            )
            stop = steps.stop - low if steps.step > 0 or steps.stop >= low else None
            relative.append(slice(steps.start - low, stop, steps.step) if steps else slice(0, 0))
        else:
            positions = np.asarray(item)
            if positions.size and not (-length <= positions.min() and positions.max() < length):
                raise IndexError(f"index {item} is out of bounds for an axis of {length}")
            positions = np.where(positions < 0, positions + length, positions)
            low, high = (
                (int(positions.min()), int(positions.max()) + 1) if positions.size else (0, 0)
            )
            relative.append(int(positions) - low if positions.ndim == 0 else positions - low)
        ranges.append((low, high))
    return ranges, tuple(relative)
