"""Repairs of a file that cannot be written to: kept beside it, and shown over it.

A TIFF, an MRC or an HDF5 file stays as the microscope left it. What is accepted goes into a store
beside it, which holds the chunks that a repair touches and no others::

    sections.tif.repairs/
      .flowinpaint-folder.json  that this folder is ours
      README.txt                what this folder is
      lock                      who makes the store
      repairs.zarr/             chunks, journal and marks, as in a stack that is repaired in place
      scratch/                  what is unfinished

A chunk that is there shows instead of the file, and where none is the file shows. Before a repair
is written the chunks around it are copied from the file, which changes nothing that is seen. From
then on it is written, undone and marked as in any other stack, by :mod:`.writeback`.

Not responsible for: who opens the file itself (:mod:`..open`), a whole copy (:mod:`..export`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from .. import folders
from ..disk.folder import Folder
from ..disk.lock import LOCK_SECONDS
from ..disk.workplace import alone_in, in_its_place
from ..errors import FlowInpaintError, InputError, StoreError, explain_failed_write
from ..io.axes import Axes
from ..io.beside import kept_beside, place_beside
from ..io.folder_store import FolderStore
from ..io.levels import Level, Origin, ReaderResult
from ..io.ngff_attributes import image_attributes
from ..io.stack import Stack
from ..io.zarr_node import open_node, why_not_writable
from ..names import printable
from ..types import AnyImage, Box
from .apply import bits, overlapping
from .entries import REVERTED, Entry
from .journal import Journal

#: Edge of a chunk in y and x; one section deep.
CHUNK = 512
_KIND = "repairs"
_STORE = "repairs.zarr"
_DRAFT = "unfinished.zarr"
#: Pixels of every level that are copied around a box, so that a coarser one can be made of it.
_RIM = 4
_README = """\
Repairs of the file of this name; the file itself is not changed. Here flowinpaint keeps the
accepted repairs, with what is needed to undo them, and shows them over the file. This is not a copy
of the stack: save one with Save as OME-Zarr, or with --output. Keep this folder beside the file. To
discard all repairs of the file, delete this folder.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """The store of the repairs of a file.

    Parameters
    ----------
    folder
        Where it is.
    base
        The pyramid of the file.
    levels
        That of the store, without what shows through it.
    """

    folder: Path
    base: tuple[Level, ...]
    levels: tuple[Level, ...]

    @property
    def shown(self) -> tuple[Level, ...]:
        """The pyramid of the store, over the file."""
        return tuple(
            replace(level, shown=partial(self.show, index))
            for index, level in enumerate(self.levels)
        )

    def fill(self, z: int, box: Box) -> None:
        """Copy the chunks around a box of the full resolution from the file, where they are not.

        Nobody else may write to the store meanwhile.
        """
        for index, (level, base) in enumerate(zip(self.levels, self.base, strict=True)):
            size = 2**index
            around = Box(
                box.y0 // size, box.x0 // size, -(-box.y1 // size), -(-box.x1 // size)
            ).expand(_RIM, level.shape[1:])
            there = self._chunks(index, z)
            for key, part in _grid(level, around):
                if key not in there:
                    level.write(z, base.read(z, part), part)

    def show(self, index: int, found: AnyImage, keys: tuple[Any, Any, Any]) -> AnyImage:
        """Return what is shown at ``keys`` of a level: of the file, where no chunk is stored."""
        level, base = self.levels[index], self.base[index]
        below = base.select(*keys)
        places = [np.arange(n)[k].reshape(-1) for n, k in zip(level.shape, keys, strict=True)]
        stored = self._sections(index).intersection(map(int, places[0]))
        if not stored:
            return below
        chunks = {z: self._chunks(index, z) for z in stored}
        found = level.select(*keys)  # again: a chunk may have come since
        out = below.copy()
        whole, new = (pixels.reshape([p.size for p in places]) for pixels in (out, found))
        height, width = _edges(level)
        for number, z in enumerate(map(int, places[0])):
            for row, column in chunks.get(z, ()):
                rows = np.flatnonzero(places[1] // height == row)
                columns = np.flatnonzero(places[2] // width == column)
                there = np.ix_(np.array([number]), rows, columns)
                whole[there] = new[there]
        return out

    def is_of_this_file(self, entries: Sequence[Entry]) -> bool:
        """Return whether the file still has what was copied from it, repaired pixels included."""
        copied = [entry for entry in entries if entry.state != REVERTED]
        try:
            return all(
                self._is_copied(index, z, copied)
                for index in range(len(self.levels))
                for z in sorted(self._sections(index))
            )
        except (FlowInpaintError, IndexError, ValueError):
            return False

    def _is_copied(self, index: int, z: int, entries: Sequence[Entry]) -> bool:
        """Return whether the chunks of a section, without its repairs, are those of the file."""
        level, base = self.levels[index], self.base[index]
        whole, (height, width) = Box.whole(level.shape[1:]), _edges(level)
        for row, column in sorted(self._chunks(index, z)):
            box = Box(row * height, column * width, (row + 1) * height, (column + 1) * width)
            box = box.intersection(whole)
            pixels = level.read(z, box).copy()
            for _, _, changed, part in overlapping(entries, index, z, box):
                here, there = part.within(box), part.within(changed.region.box)
                mask = changed.mask[there]
                pixels[here][mask] = changed.original[there][mask]
            if (bits(pixels) != bits(base.read(z, box))).any():
                return False
        for entry in entries:
            entry.forget_pixels()
        return True

    def _folder_of(self, index: int) -> Folder:
        return self.levels[index].source.store.folder

    def _sections(self, index: int) -> set[int]:
        """Return the sections of a level of which a chunk is stored."""
        names = _names(self._folder_of(index), *_prefix(self.levels[index]))
        return {int(name) for name in names if name.isdecimal()}

    def _chunks(self, index: int, z: int) -> set[tuple[int, int]]:
        """Return row and column of every chunk that is stored of a section of a level."""
        level, folder = self.levels[index], self._folder_of(index)
        above = (*_prefix(level), str(z))
        return {
            (int(row), int(column))
            for row in _names(folder, *above)
            if row.isdecimal()
            for column in _names(folder, *above, row)
            if column.isdecimal()
        }


def _prefix(level: Level) -> tuple[str, ...]:
    """Return the folders from an array to those of its sections."""
    return ("c", *("0",) * (level.source.ndim - 3))


def _edges(level: Level) -> tuple[int, int]:
    height, width = level.source.chunks[-2:]
    return int(height), int(width)


def _names(folder: Folder, *names: str) -> list[str]:
    """Return what is in a folder, nothing where there is none."""
    try:
        with folder.folder(*names) as inside:
            return list(inside.names())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _grid(level: Level, around: Box) -> Iterator[tuple[tuple[int, int], Box]]:
    """Yield row and column of the chunks that a box touches, and where they lie."""
    (height, width), whole = _edges(level), Box.whole(level.shape[1:])
    rows = range(around.y0 // height, -(-around.y1 // height))
    columns = range(around.x0 // width, -(-around.x1 // width))
    for row, column in product(rows, columns):
        part = Box(row * height, column * width, (row + 1) * height, (column + 1) * width)
        yield (row, column), part.intersection(whole)


# ---- found, begun


def with_kept(opened: ReaderResult) -> ReaderResult:
    """Return a file with the repairs that are kept beside it, the same where there are none.

    Nothing is written. Where the file has changed since, it is returned as it is, with a message.
    """
    origin = opened.origin
    if origin is None or not opened.why_not_writable or opened.group_path is not None:
        return opened
    try:
        folder = place_beside(origin.file, origin.dataset, opened.levels[0], folders.REPAIRS)
    except StoreError as error:
        return replace(opened, messages=(*opened.messages, str(error)))
    if not (folder / _STORE).is_dir():
        other = in_its_place(folder, _KIND)
        return replace(opened, messages=(*opened.messages, other)) if other else opened
    try:
        levels, of = _open(folder)
        told = _identity(origin, opened.levels)
        if not _same(of, told) or not _fits(levels, opened.levels):
            raise InputError("it belongs to another stack")
    except (FlowInpaintError, OSError, ValueError) as error:
        return replace(opened, messages=(*opened.messages, _unusable(folder, str(error))))
    store, beside = folder / _STORE, Beside(folder, opened.levels, levels)
    journal = Journal(store, levels[0].path)
    journal.scan()
    live = [entry for entry in journal.entries if entry.live]
    if of.get("changed") != told["changed"] and not beside.is_of_this_file(journal.entries):
        why = "the file has changed since it was repaired"
        return replace(opened, messages=(*opened.messages, _unusable(folder, why)))
    messages = opened.messages
    if live:
        count = f"{len(live)} repair{'s' * (len(live) != 1)}"
        messages = (*messages, f"Shown with {count} kept in {printable(folder)}.")
    return replace(
        opened,
        levels=beside.shown,
        group_path=store,
        zarr_format=3,
        ngff_version="0.5",
        why_not_writable=why_not_writable(store, store, [level.path for level in levels]),
        beside=beside,
        messages=messages,
    )


def _unusable(folder: Path, why: str) -> str:
    return (
        f"The repairs kept in {printable(folder)} are not shown: {why.rstrip('.')}; move the "
        "folder away, or put back the file that they were made for."
    )


def can_keep(stack: Stack) -> bool:
    """Return whether accepted repairs of a stack that cannot be written to may go beside it."""
    known = stack.origin is not None and not stack.writable and stack.group_path is None
    return known and _halved([level.shape for level in stack.levels])


def keeps_beside(stack: Stack) -> bool:
    """Return whether accepted repairs of a stack go beside its file, which stays as it is."""
    return stack.beside is not None or can_keep(stack)


def keep_beside(stack: Stack) -> Stack:
    """Return a stack over the same file that can be written to: repairs go beside the file.

    Parameters
    ----------
    stack
        One that cannot be written to, from a file or folder of this machine.

    Returns
    -------
    Stack
        The same pixels; the store is made where there was none.

    Raises
    ------
    InputError
        If repairs of it cannot be kept so: it has no file, or its pyramid is not halved from level
        to level.
    StoreError
        If the store cannot be made, or there is one that belongs to something else.
    """
    if stack.beside is not None:
        return stack
    origin, folder = check_can_keep(stack)
    if not (folder / _STORE).is_dir():
        try:
            _create(folder, stack, _identity(origin, stack.levels))
        except OSError as error:
            raise StoreError(explain_failed_write(error, printable(folder), True)) from error
    return _reopened(stack, folder)


def check_can_keep(stack: Stack) -> tuple[Origin, Path]:
    """Refuse a stack of which :func:`keep_beside` would refuse to keep repairs; write nothing.

    Parameters
    ----------
    stack
        One that cannot be written to.

    Returns
    -------
    Origin
        Its file.
    pathlib.Path
        The folder in which they are going to be kept.

    Raises
    ------
    InputError, StoreError
        As for :func:`keep_beside`.
    """
    origin, folder = stack.origin, kept_beside(stack, folders.REPAIRS)
    if origin is None or folder is None or not can_keep(stack):
        raise InputError(
            f"repairs of {stack.name} cannot be kept beside it; save a copy with --output (or Save "
            "as OME-Zarr)."
        )
    if (folder / _STORE).is_dir():
        _reopened(stack, folder)
    elif other := in_its_place(folder, _KIND):
        raise StoreError(other)
    return origin, folder


def _reopened(stack: Stack, folder: Path) -> Stack:
    """Return a stack with the repairs that are kept in a folder, or say why it has them not."""
    kept = stack.reopened()
    if kept.beside is None:
        why = next((m for m in kept.messages if str(folder) in m), f"{folder} cannot be used.")
        raise StoreError(why)
    return kept


def _create(folder: Path, stack: Stack, of: dict[str, Any]) -> None:
    """Make the store, without any chunk: as a whole or not at all."""
    import zarr

    names = (folders.README, folders.SCRATCH, _STORE)
    with (
        alone_in(folder, _KIND, names, folder, LOCK_SECONDS) as root,
        root.folder(folders.SCRATCH, create=True) as scratch,
    ):
        if root.is_folder(_STORE):
            return  # another process was faster
        root.write(folders.README, _README.encode(), scratch)
        scratch.remove_tree(_DRAFT)
        described = image_attributes(stack, stack.name, len(stack.levels))
        others = len(described.axes) - 3
        with scratch.make_folder(_DRAFT) as draft:
            group = zarr.create_group(FolderStore(draft, durable=False), zarr_format=3)
            group.attrs.put({**described.attributes, folders.REPAIRS_OF: of})
            for number, level in enumerate(stack.levels):
                height, width = (min(CHUNK, n) for n in level.shape[1:])
                group.create_array(
                    str(number),
                    shape=(1,) * others + level.shape,
                    dtype=stack.dtype,
                    chunks=(1,) * others + (1, height, width),
                    dimension_names=described.axes,
                )
            draft.sync_tree()
        scratch.rename(_DRAFT, root, _STORE)


def _open(folder: Path) -> tuple[tuple[Level, ...], dict[str, Any]]:
    """Return the pyramid of a store, and what it says it belongs to."""
    import zarr

    store = folder / _STORE
    group = open_node(store)
    attributes: dict[str, Any] = dict(group.attrs)
    of = attributes.get(folders.REPAIRS_OF)
    if not isinstance(of, dict) or not isinstance(group, zarr.Group):
        raise InputError("it is not what flowinpaint put there")
    levels = []
    with zarr.config.set({"array.write_empty_chunks": True}):
        for number in range(int(of.get("levels", 1))):
            array: Any = open_node(store, str(number), "r+")
            others = array.ndim - 3
            if others < 0 or array.shards or any(n != 1 for n in array.chunks[:-2]):
                raise InputError("its arrays are not as flowinpaint makes them")
            axes = Axes(
                (others, others + 1, others + 2), tuple((axis, 0) for axis in range(others))
            )
            levels.append(Level(array, axes, (1.0, 2.0**number, 2.0**number), str(number)))
    return tuple(levels), of


def _fits(levels: Sequence[Level], base: Sequence[Level]) -> bool:
    """Return whether a store has the shape and type of a file."""
    return [(lv.shape, lv.dtype) for lv in levels] == [(lv.shape, lv.dtype) for lv in base]


def _halved(shapes: Sequence[tuple[int, int, int]]) -> bool:
    """Return whether each level is half as large in y and x as the one before."""
    z, y, x = shapes[0]
    for shape in shapes[1:]:
        y, x = -(-y // 2), -(-x // 2)
        if shape != (z, y, x):
            return False
    return True


def _same(of: dict[str, Any], told: dict[str, Any]) -> bool:
    return all(of.get(key) == told[key] for key in ("channel", "dataset", "levels"))


def _identity(origin: Origin, levels: Sequence[Level]) -> dict[str, Any]:
    """Return what a store says of the stack that it belongs to, as JSON knows it."""
    return {
        "name": printable(origin.file.name),
        "dataset": origin.dataset,
        "channel": [index for _, index in levels[0].axes.fixed],
        "levels": len(levels),
        "changed": _changed(origin.file),
    }


def _changed(file: Path) -> list[int] | None:
    """Return what tells whether a file was written to; None of a folder."""
    if not file.is_file():
        return None
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]
