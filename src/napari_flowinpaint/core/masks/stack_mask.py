"""The damage of a whole stack, from whatever holds it, read where it is and nowhere else.

A mask of 2 000 sections of which 40 are damaged costs what 40 sections cost: in zarr and HDF5 only
the chunks that are stored are read, of a sparse mask only its tiles. A TIFF has no such chunks; it
is read once, one section at a time.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import InputError, StoreError
from ..io.levels import Level, write_grid
from ..kinds import KINDS
from ..types import AnyImage, BoolImage, Box
from .mask_choice import NOT_ZERO, MaskChoice
from .outlines import OutlineMasks
from .section_masks import MaskImages, SectionMasks
from .sparse_mask import SparseMask

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Sections, rows, columns of something that is stored.
_Block = tuple[range, Box]
#: What a mask can be read from.
Source: TypeAlias = "Stack | SparseMask | SectionMasks | AnyImage"


class StackMask:
    """Which pixels of which section are damaged. No pixel that is read is kept.

    Parameters
    ----------
    source
        A mask from :func:`~napari_flowinpaint.core.open.open_mask`, a sparse mask, a (Z, Y, X)
        array, or the masks of single sections, (Y, X), by section number.
    shape
        (Z, Y, X) of the stack the mask belongs to.
    choice
        Which values are damage; by default all but 0.
    levels
        Shapes of the pyramid of the stack. A mask of one of these, or whose sections are smaller
        than those of the stack by a whole number, is enlarged.
    kinds
        The kinds of damage that values of ``source`` stand for, where they are known. Those of a
        sparse mask are.

    Attributes
    ----------
    notes
        What was taken for granted.

    Raises
    ------
    InputError
        If the mask has another shape.
    """

    def __init__(
        self,
        source: Source | Mapping[int, AnyImage],
        shape: tuple[int, int, int],
        choice: MaskChoice = NOT_ZERO,
        levels: Iterable[tuple[int, int, int]] = (),
        notes: Iterable[str] = (),
        kinds: Mapping[int, str] | None = None,
    ) -> None:
        if isinstance(source, Mapping):
            for section in source.values():
                reduction(tuple(section.shape), shape, ())
            first = next(iter(source.values()), None)
            source = MaskImages(source, shape[1:] if first is None else first.shape)
        self._source: Source = source.frozen() if isinstance(source, SparseMask) else source
        self._found: dict[int, Box | None] = {}
        self._choice = choice
        self._kinds = dict(kinds or {})
        self.shape = shape
        self.notes = tuple(notes)
        found = tuple(source.shape)
        self._factors = reduction(found, shape, levels)
        self._inner: StackMask | None = None
        if self._factors != (1, 1, 1):
            inner = found if len(found) == 3 else (shape[0], *found)
            self._inner = StackMask(source, inner, choice, kinds=kinds)
            shown = " × ".join(map(str, found))
            factors = " × ".join(map(str, self._factors))
            self.notes += (
                f"the mask was painted at a reduced resolution ({shown} pixels); it is enlarged "
                f"{factors} times (z, y, x), so its outline is coarse",
            )

    @property
    def sections(self) -> tuple[int, ...] | None:
        """The only sections that a mask was given for; None where it was given for all."""
        return self._source.sections if isinstance(self._source, SectionMasks) else None

    @property
    def choice(self) -> MaskChoice:
        """Which values are damage."""
        return self._choice

    def values(self, z: int, box: Box | None = None) -> AnyImage:
        """Return what the mask holds in a section, or in a box of it, before any choice."""
        box = box or Box.whole(self.shape[1:])
        if self._inner is not None:
            return self._enlarged(self._inner.values, z, box)
        if isinstance(self._source, SectionMasks):
            return self._source.read(z, box)
        if isinstance(self._source, np.ndarray):
            return self._source[(z, *box.slices)]
        return self._source.read(z, box)

    def _enlarged(self, read: Callable[[int, Box], AnyImage], z: int, box: Box) -> AnyImage:
        """Return a box of a mask that was painted at a reduced resolution."""
        assert self._inner is not None
        depth, height, width = self._inner.shape
        fz, fy, fx = self._factors
        rows = np.minimum(np.arange(box.y0, box.y1) // fy, height - 1)
        columns = np.minimum(np.arange(box.x0, box.x1) // fx, width - 1)
        if not rows.size or not columns.size:
            return np.zeros(box.shape, dtype=bool)
        inner = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        found = read(min(z // fz, depth - 1), inner)
        return found[np.ix_(rows - inner.y0, columns - inner.x0)]

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
        if self.sections is not None and z not in self.sections:
            return np.zeros(box.shape, dtype=bool)
        return _damaged(self.values(z, box), z, self._choice)

    def kinds(self, z: int, box: Box) -> AnyImage | None:
        """Return what kind of damage a box of a section has, where the mask tells kinds.

        Returns
        -------
        ndarray or None
            (H, W) uint8, labels of :data:`~..kinds.KINDS`; 0 where nobody says. None where that
            is everywhere.
        """
        if isinstance(self._source, SparseMask) and self._inner is None:
            return _painted_kinds(self._source, z, box)
        if not self._kinds or (self.sections is not None and z not in self.sections):
            return None
        values = self.values(z, box)
        labels = np.zeros(box.shape, dtype=np.uint8)
        for value, name in self._kinds.items():
            labels[values == value] = KINDS[name].label
        return labels if labels.any() else None

    def section_kinds(self, z: int, box: Box) -> AnyImage | None:
        """Return :meth:`kinds` of a whole section of which all damage lies in ``box``."""
        found = self.kinds(z, box)
        if found is None:
            return None
        labels = np.zeros(self.shape[1:], dtype=np.uint8)
        labels[box.slices] = found
        return labels

    def __getitem__(self, index: tuple[slice, slice, slice]) -> BoolImage:
        """Return the damage between slices, one for each axis, as of an array."""
        zs, ys, xs = (
            part.indices(length)[:2] for part, length in zip(index, self.shape, strict=True)
        )
        box = Box(ys[0], xs[0], max(ys[1], ys[0]), max(xs[1], xs[0]))
        found = [self.read(z, box) for z in range(*zs)]
        return np.stack(found) if found else np.zeros((0, *box.shape), dtype=bool)

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
        if self._inner is not None:
            yield from self._search_reduced(self._inner, wanted)
            return
        if isinstance(source, SectionMasks):
            wanted = [z for z in wanted if z in source.sections]
        elif isinstance(source, SparseMask):
            wanted = _perhaps_damaged(source, wanted)
        elif not isinstance(source, np.ndarray) and self._choice.empty_is_intact:
            blocks = _stored_blocks(source.levels[0])
            if blocks is not None:
                yield from _search_blocks(source, blocks, set(wanted), self._choice)
                return
        for z in wanted:
            around = (
                source.box(z) if isinstance(source, OutlineMasks) else Box.whole(self.shape[1:])
            )
            inner = None if around is None else Box.of_mask(self.read(z, around))
            if around is not None and inner is not None:
                y, x = around.y0, around.x0
                yield z, Box(inner.y0 + y, inner.x0 + x, inner.y1 + y, inner.x1 + x)

    def _search_reduced(self, inner: StackMask, wanted: Iterable[int]) -> Iterator[tuple[int, Box]]:
        """Yield boxes of damage that was painted at a reduced resolution."""
        fz, fy, fx = self._factors
        of = {z: min(z // fz, inner.shape[0] - 1) for z in wanted}
        found = inner.find(of.values())
        for z, coarse in of.items():
            if coarse not in found:
                continue
            box = found[coarse]
            y1 = self.shape[1] if box.y1 == inner.shape[1] else box.y1 * fy
            x1 = self.shape[2] if box.x1 == inner.shape[2] else box.x1 * fx
            yield z, Box(box.y0 * fy, box.x0 * fx, min(y1, self.shape[1]), min(x1, self.shape[2]))


def reduction(
    found: tuple[int, ...],
    shape: tuple[int, int, int],
    levels: Iterable[tuple[int, int, int]],
) -> tuple[int, int, int]:
    """Return how many times smaller a mask is than the stack, z, y, x.

    Raises
    ------
    InputError
        If that is no whole number.
    """
    wanted = shape[-len(found) :]
    if found == wanted:
        return (1, 1, 1)
    if len(found) in (2, 3) and 0 not in found:
        factors = [max(1, round(n / m)) for n, m in zip(wanted, found, strict=True)]
        fits = all(
            m in (n // f, -(-n // f)) for n, m, f in zip(wanted, found, factors, strict=True)
        )
        z, y, x = (1, *factors) if len(found) == 2 else factors
        if fits and y == x > 1 and (z in (1, y) or found in {tuple(level) for level in levels}):
            return (z, y, x)
    raise InputError(
        f"the mask has the shape {found} but the stack has {shape}; give a mask of the stack's "
        "shape, of one of its reduced levels, or smaller by a whole number in y and x."
    )


def _painted_kinds(mask: SparseMask, z: int, box: Box) -> AnyImage | None:
    """Return the kinds of damage in a sparse mask; of a mask that it lies on, where that tells."""
    labels = np.asarray(mask[(z, *box.slices)])
    below = None
    if isinstance(mask.base, StackMask) and not mask.has_labels:
        below = mask.base.kinds(z, box)
    if below is not None:  # all damage of such a mask is 1
        labels = np.where((labels == 1) & (below > 0), below, labels)
    return labels if (labels > 1).any() else None


def _perhaps_damaged(mask: SparseMask, wanted: Iterable[int]) -> list[int]:
    """Return the sections of which a sparse mask, or what it lies on, stores anything."""
    stored = set(mask.painted_sections)
    if isinstance(mask.base, StackMask):
        stored.update(mask.base.find())
    elif mask.base is not None:
        level = getattr(mask.base, "level", None) or Level(mask.base)
        blocks = _stored_blocks(level)
        if blocks is None:
            return list(wanted)
        stored.update(z for sections, _ in blocks for z in sections)
    return [z for z in wanted if z in stored]


def _damaged(values: AnyImage, z: int, choice: MaskChoice) -> BoolImage:
    """Return where a mask is damage."""
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"the mask of section {z} contains NaN; make it 0 or 1 everywhere.")
    return choice.damaged(values)


def _search_blocks(
    mask: Stack, blocks: Iterable[_Block], wanted: set[int], choice: MaskChoice
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
            inner = Box.of_mask(_damaged(section, z, choice)) if z in wanted else None
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
