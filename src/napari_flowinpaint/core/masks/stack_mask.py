"""The damage of a whole stack, from whatever holds it, read where it is and nowhere else.

A mask of 2 000 sections of which 40 are damaged costs what 40 sections cost: in zarr and HDF5 only
the chunks that are stored are read, of a sparse mask only its tiles. A TIFF has no such chunks; it
is read once, one section at a time.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, StoreError
from ..io.levels import Level, write_grid
from ..types import AnyImage, BoolImage, Box
from .sparse_mask import SparseMask

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Sections, rows, columns of something that is stored.
_Block = tuple[range, Box]


class StackMask:
    """Which pixels of which section are damaged. No pixel that is read is kept.

    Parameters
    ----------
    source
        A mask from :func:`~napari_flowinpaint.core.open.open_mask`, a sparse mask, a (Z, Y, X)
        array, or the masks of single sections, (Y, X), by section number; not zero where damaged.
    shape
        (Z, Y, X) of the stack the mask belongs to.

    Raises
    ------
    InputError
        If the mask has another shape.
    """

    def __init__(
        self,
        source: Stack | SparseMask | AnyImage | Mapping[int, AnyImage],
        shape: tuple[int, int, int],
    ) -> None:
        self._source = source.frozen() if isinstance(source, SparseMask) else source
        self._found: dict[int, Box | None] = {}
        self.shape = shape
        if isinstance(source, Mapping):
            shapes, wanted = {tuple(s.shape) for s in source.values()}, tuple(shape[1:])
        else:
            shapes, wanted = {tuple(source.shape)}, tuple(shape)
        for found in shapes - {wanted}:
            raise InputError(
                f"the mask has the shape {found} but the stack has {shape}; "
                "give a mask of the stack's shape"
            )

    def read(self, z: int, box: Box | None = None) -> BoolImage:
        """Return the damage of a section, or of a box of it: bool, True = damaged.

        Raises
        ------
        InputError
            If the mask is NaN somewhere: that could mean either.
        StoreError
            If it cannot be read.
        """
        box = box or Box.whole(self.shape[1:])
        if isinstance(self._source, Mapping):
            section = self._source.get(z)
            values = np.zeros(box.shape, bool) if section is None else section[box.slices]
        elif isinstance(self._source, np.ndarray):
            values = self._source[(z, *box.slices)]
        else:
            values = self._source.read(z, box)
        return _damaged(values, z)

    def find(self, sections: Iterable[int] | None = None) -> dict[int, Box]:
        """Return a box around all damage of every damaged section, in ascending order.

        Parameters
        ----------
        sections
            Look at these only; None for all.
        """
        wanted = range(self.shape[0]) if sections is None else sorted(set(sections))
        new = [z for z in wanted if z not in self._found]
        found: dict[int, Box] = {}
        for z, box in self._search(new):
            found[z] = box.union(found[z]) if z in found else box
        self._found.update({z: found.get(z) for z in new})
        boxes = {z: self._found[z] for z in wanted}
        return {z: box for z, box in boxes.items() if box is not None}

    def section(self, z: int, box: Box) -> BoolImage:
        """Return the damage of a whole section of which all lies in ``box``; reads only that."""
        mask = np.zeros(self.shape[1:], dtype=bool)
        mask[box.slices] = self.read(z, box)
        return mask

    def _search(self, wanted: Iterable[int]) -> Iterator[tuple[int, Box]]:
        """Yield boxes of damage, several for a section whose damage lies in several blocks."""
        source = self._source
        if isinstance(source, Mapping):
            wanted = [z for z in wanted if z in source]
        elif isinstance(source, SparseMask):
            wanted = _perhaps_damaged(source, wanted)
        elif not isinstance(source, np.ndarray):
            blocks = _stored_blocks(source.levels[0])
            if blocks is not None:
                yield from _search_blocks(source, blocks, set(wanted))
                return
        for z in wanted:
            box = Box.of_mask(self.read(z))
            if box is not None:
                yield z, box


def _perhaps_damaged(mask: SparseMask, wanted: Iterable[int]) -> list[int]:
    """Return the sections of which a sparse mask, or what it lies on, stores anything."""
    stored = set(mask.painted_sections)
    if mask.base is not None:
        level = getattr(mask.base, "level", None) or Level(mask.base)
        blocks = _stored_blocks(level)
        if blocks is None:
            return list(wanted)
        stored.update(z for sections, _ in blocks for z in sections)
    return [z for z in wanted if z in stored]


def _damaged(values: AnyImage, z: int) -> BoolImage:
    """Return where a mask is not zero."""
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"the mask of section {z} contains NaN; make it 0 or 1 everywhere.")
    return np.asarray(values != 0)


def _search_blocks(
    mask: Stack, blocks: Iterable[_Block], wanted: set[int]
) -> Iterator[tuple[int, Box]]:
    """Yield where the stored blocks of a mask are damaged; every block is read once."""
    for sections, box in blocks:
        if wanted.isdisjoint(sections):
            continue
        try:
            values = mask.levels[0].read(slice(sections.start, sections.stop), box)
        except Exception:  # the reader of single sections explains it
            values = np.stack([mask.read(z, box) for z in sections])
        for z, section in zip(sections, values, strict=True):
            inner = Box.of_mask(_damaged(section, z)) if z in wanted else None
            if inner is not None:
                y, x = box.y0, box.x0
                yield z, Box(inner.y0 + y, inner.x0 + x, inner.y1 + y, inner.x1 + x)


def _stored_blocks(level: Level) -> Iterator[_Block] | None:
    """Return the blocks of a mask that are stored; None where that cannot be told."""
    source = level.source
    corners: Iterable[tuple[int, ...]] | None = None
    if level.is_zarr:
        corners = _zarr_corners(source)
    elif type(source).__module__.partition(".")[0] == "h5py":
        corners = _hdf5_corners(source)
    if corners is None:
        return None
    grid = write_grid(source)
    return _blocks(level, grid, corners)


def _blocks(
    level: Level, grid: tuple[int, ...], corners: Iterable[tuple[int, ...]]
) -> Iterator[_Block]:
    """Yield sections and box of the blocks with these corners that show the chosen channel."""
    for corner in corners:
        if any(not corner[p] <= index < corner[p] + grid[p] for p, index in level.axes.fixed):
            continue
        (z0, z1), (y0, y1), (x0, x1) = (
            (corner[p], min(corner[p] + grid[p], length))
            for p, length in zip(level.axes.zyx, level.shape, strict=True)
        )
        if z0 < z1 and y0 < y1 and x0 < x1:
            yield range(z0, z1), Box(y0, x0, y1, x1)


def _hdf5_corners(dataset: Any) -> list[tuple[int, ...]] | None:
    """Return the first pixel of every chunk of an HDF5 dataset that is stored."""
    if dataset.chunks is None or dataset.fillvalue != 0:
        return None
    return [
        dataset.id.get_chunk_info(number).chunk_offset
        for number in range(dataset.id.get_num_chunks())
    ]


def _zarr_corners(array: Any) -> list[tuple[int, ...]] | None:
    """Return the first pixel of every chunk (shard) of a local zarr array that is stored."""
    from ..io.folder_store import FolderStore

    store = array.store
    if not isinstance(store, FolderStore) or array.metadata.fill_value not in (0, False, None):
        return None
    grid = write_grid(array)
    dots = r"[./]".join([r"(\d+)"] * len(grid))
    prefix = "" if array.metadata.zarr_format == 2 else r"(?:c[./])?"
    key = re.compile(f"{prefix}{dots}")
    counts = [math.ceil(n / size) for n, size in zip(array.shape, grid, strict=True)]
    corners = []
    for name in _files(store.folder.path / array.path):
        match = key.fullmatch(name)
        index = tuple(map(int, match.groups())) if match else ()
        if match and all(i < n for i, n in zip(index, counts, strict=True)):
            corners.append(tuple(i * size for i, size in zip(index, grid, strict=True)))
    return sorted(corners)


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of all files below a folder, relative to it; hidden folders are left out."""

    def fail(error: OSError) -> None:
        raise StoreError(f"{folder} cannot be read ({error.strerror}); restore it from a copy.")

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        where = Path(parent).relative_to(folder).as_posix()
        yield from (name if where == "." else f"{where}/{name}" for name in names)
