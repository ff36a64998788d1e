"""Save a stack as OME-Zarr: every section, at every resolution, with the repairs in it.

The result is OME-Zarr 0.5 (zarr v3) of the same shape and dtype, chunked section by section, so
that a later write-back of one section rewrites nothing of its neighbours. It is complete or
absent: everything is written beside the target under a hidden name, which is renamed when all is
there (:mod:`.io.replace`). Sections are copied one after the other, repairs pasted one after the
other; memory grows with neither.

Not responsible for: making the repairs; pasting them (:mod:`.writing.writeback` does it, so that
the result has the same marks, journal and way back as a stack that was repaired in place); labels
other than the marks, which are not copied.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import folders
from .disk.folder import Folder
from .errors import InputError, StoreError, is_disk_full, name_sections
from .io import pyramid
from .io.axes import Axes
from .io.folder_store import FolderStore
from .io.formats import FILE_SUFFIXES
from .io.levels import Level
from .io.ngff_attributes import NgffAttributes, image_attributes
from .io.ngff_image import is_label
from .io.replace import (
    SAVING,
    STORES,
    check_name_length,
    check_replaceable,
    making,
    move_into_place,
    settle,
)
from .io.still_there import check_there
from .io.zarr_node import enclosing_image
from .notes import Note, no_note
from .section_repair import SectionRepair
from .types import AnyImage, Progress, no_progress
from .writing.replay import EarlierRepairs
from .writing.writeback import write_back

if TYPE_CHECKING:
    from .io.stack import Stack

#: Edge of a chunk in y and x; one section deep.
CHUNK = 1024
#: The pyramid ends when a section is no larger than this.
SMALLEST = 512

_HALVES: pyramid.Factors = (1, 2, 2)
# Of the time it takes, when there are repairs: the rest is theirs.
_COPYING = 0.3


def save_ome_zarr(
    stack: Stack,
    path: Path | str,
    *,
    repairs: Iterable[SectionRepair] = (),
    overwrite: bool = False,
    progress: Progress = no_progress,
    note: Note = no_note,
) -> Path:
    """Write a stack, and repairs of it, as a new OME-Zarr.

    Parameters
    ----------
    stack
        What to save.
    path
        The new store, usually ``….zarr``. Its folder must exist.
    repairs
        Repairs to paste; may be an iterator that makes them one by one. They, and those that were
        written into ``stack`` before, are marked as synthetic and can be reverted in the new store.
    overwrite
        Whether an existing zarr store at ``path`` is replaced, at the very end.
    progress
        Told after every section and repair. Raising
        :class:`~napari_flowinpaint.core.errors.Cancelled` from it leaves nothing behind.
    note
        Told what was taken for granted, or done otherwise than expected.

    Returns
    -------
    pathlib.Path
        The new store.

    Raises
    ------
    InputError
        If ``path`` exists, is the stack itself, or its folder does not exist.
    StoreError
        If a section cannot be read, or the disk is full or read-only; nothing is left behind.

    Notes
    -----
    A process that is killed leaves a hidden folder ``.NAME.….partial``. It goes when something is
    saved to the same place again; where the kill came while a store was replaced, that is finished
    when the place is next opened or saved to.
    """
    target = _real(path)
    told = check_target(stack, target, overwrite=overwrite)
    for message in (*told, *settle(target, tidy=True)):
        note(message)
    with _explained(target), making(target) as work:
        earlier = EarlierRepairs(stack)
        _copy(stack, earlier, work, _name(target), _share(progress, repairs, earlier), note)
        _paste(work.path / STORES[SAVING], earlier, repairs, progress, note)
        progress(1.0, f"saving {target.name}")  # the last moment to cancel
        move_into_place(work, SAVING, target, overwrite)
    return target


def save_originals(
    stack: Stack,
    path: Path | str,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
    note: Note = no_note,
) -> Path:
    """Write a stack as it was before any repair as a new OME-Zarr, for a deposit.

    Parameters
    ----------
    stack, path, overwrite, progress, note
        As for :func:`save_ome_zarr`.

    Returns
    -------
    pathlib.Path
        The new store, without journal and marks: it has nothing that was made up.

    Raises
    ------
    InputError, StoreError
        As for :func:`save_ome_zarr`; also if pixels are marked as synthetic whose originals no
        journal has.
    """
    target = _real(path)
    told = check_target(stack, target, overwrite=overwrite)
    for message in (*told, *settle(target, tidy=True)):
        note(message)
    earlier = EarlierRepairs(stack)
    lost = earlier.without_originals()
    if lost:
        raise StoreError(
            f"{name_sections(lost, 8)} of {stack.name} {'have' if lost[1:] else 'has'} synthetic "
            "pixels whose originals are not in its journal; take these sections from the raw data."
        )
    with _explained(target), making(target) as work:
        _copy(stack, earlier, work, _name(target), progress, note)
        progress(1.0, f"saving {target.name}")  # the last moment to cancel
        move_into_place(work, SAVING, target, overwrite)
    return target


def check_target(
    stack: Stack, path: Path, *, overwrite: bool = False, masks: bool = False
) -> tuple[str, ...]:
    """Refuse a target that would destroy something, before anything is written.

    Parameters
    ----------
    stack, path, overwrite
        As for :func:`save_ome_zarr`.
    masks
        Whether masks of the stack are going to be written there, not the stack itself: a store is
        replaced by its like only.

    Returns
    -------
    tuple of str
        What was done about a store whose replacement was interrupted.

    Raises
    ------
    InputError
        If ``path`` exists, is the stack itself, lies within an OME-Zarr or is called like a file,
        or its folder does not exist or may not be written to.
    """
    if path == Path():  # in a shell: a variable that is not set
        raise InputError("the path to write to is empty; give one.")
    target = _real(path)
    if target.suffix.lower() in FILE_SUFFIXES:
        raise InputError(
            f"{target.name} is the name of a file, but an OME-Zarr is written, which is a folder; "
            f"choose a name that ends in .zarr, such as {target.stem}.zarr."
        )
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist; create it first.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"you may not write to {target.parent}; choose another folder.")
    check_name_length(target)
    if stack.path is not None:
        source = _real(stack.path)
        if source == target or target in source.parents or source in target.parents:
            raise InputError(
                f"{target} is the stack itself or a part of it; choose another name, or repair "
                "in place."
            )
    check_outside(target)
    check_there(stack)
    told = settle(target)
    if not target.exists():
        return told
    if not overwrite:
        raise InputError(f"{target} exists; choose another name or overwrite it (--overwrite).")
    labels = masks or is_label({"ome": stack.metadata.ome_attributes})
    check_replaceable(target, labels=labels)
    return told


def check_outside(path: Path) -> None:
    """Refuse a path within somebody's image: what is put there would be lost with it, or break it.

    Raises
    ------
    InputError
        If it lies within an OME-Zarr or a zarr array.
    """
    around = enclosing_image(_real(path))
    if around is not None:
        raise InputError(
            f"{path} lies within {around}, which is a store of its own; choose a folder outside "
            "of it."
        )


def _real(path: Path | str) -> Path:
    """Return a path without links and dots; where a link leads is what is written or replaced."""
    return Path(os.path.realpath(Path(path).expanduser()))


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Say in one line what went wrong."""
    before, after = target.with_name(f".{target.name}."), f".partial{os.sep}{STORES[SAVING]}"
    hidden = re.compile(re.escape(str(before)) + "[0-9a-f]{8}" + re.escape(after))
    try:
        yield
    except StoreError as error:
        message = hidden.sub(lambda _: str(target), str(error))
        if message == str(error):
            raise
        raise StoreError(message) from error
    except OSError as error:
        if is_disk_full(error):
            message = f"there is no space left to write {target}; free some or save elsewhere"
        else:
            message = f"{target} cannot be written ({error.strerror or error}); save elsewhere"
        raise StoreError(f"{message} (nothing was left behind).") from error


def _name(target: Path) -> str:
    """Return the name of the image: the file's without its suffix, made fit for JSON."""
    name = os.fsencode(target.name).decode(errors="replace")
    return name.removesuffix(".zarr").removesuffix(".ome") or name


def _share(
    progress: Progress, repairs: Iterable[SectionRepair], earlier: EarlierRepairs
) -> Progress:
    """Return the progress of the copy, which is all of it where there are no repairs."""
    none = isinstance(repairs, Sized) and len(repairs) == 0 and len(earlier) == 0
    share = 1.0 if none else _COPYING
    return lambda fraction, message: progress(fraction * share, message)


def _copy(
    stack: Stack,
    earlier: EarlierRepairs,
    work: Folder,
    name: str,
    progress: Progress,
    note: Note,
) -> None:
    """Copy all sections as they were before any repair, at every level of the pyramid."""
    described = image_attributes(stack, name, count_levels(stack.shape))
    for message in (*described.notes, *_left_out(stack)):
        note(message)
    levels = create_image(work, STORES[SAVING], described, stack.shape, stack.dtype)
    depth = stack.shape[0]
    progress(0.0, f"copying {depth} sections")
    for z in range(depth):
        section = earlier.original(z)
        levels[0].write(z, section)
        for level in levels[1:]:
            section = _halve(section, level.shape[1:])
            level.write(z, section)
        progress((z + 1) / depth, f"copied section {z + 1} of {depth}")
    earlier.check_unchanged()


def _left_out(stack: Stack) -> Iterator[str]:
    """Say what of a stack is not in a copy of it."""
    level = stack.levels[0]
    lost = [level.source.shape[p] for p, _ in level.axes.fixed]
    if any(n > 1 for n in lost):
        yield "only the chosen channel and time are saved; the others stay in the stack"
    if stack.voxel_size is None:
        yield "the voxel size is unknown, so the copy has none; give it with --voxel-size Z,Y,X"
    if stack.group_path is not None and level.path:
        labels = stack.group_path / folders.LABELS
        names = sorted(p.name for p in labels.iterdir() if p.is_dir()) if labels.is_dir() else []
        others = [name for name in names if name != folders.SYNTHETIC]
        if others:
            yield f"label images are not copied: {', '.join(others[:8])}"


def _halve(section: AnyImage, shape: tuple[int, ...]) -> AnyImage:
    """Reduce a section by two, in bands, so that the float64 sums stay small."""
    import numpy as np

    out = np.empty(shape, section.dtype)
    for top in range(0, shape[0], CHUNK):
        band = section[None, 2 * top : 2 * (top + CHUNK)]
        out[top : top + CHUNK] = pyramid.downsample(band, _HALVES)[0]
    return out


def create_image(
    work: Folder, store: str, described: NgffAttributes, shape: tuple[int, int, int], dtype: Any
) -> tuple[Level, ...]:
    """Create an OME-Zarr image without pixels.

    Parameters
    ----------
    work, store
        Folder in which the group is made, and its name there. What is unfinished goes into the
        folder ``scratch`` beside it. Nothing is synced.
    described
        What the group says of it; from :mod:`.io.ngff_attributes`, for as many levels.
    shape, dtype
        Of the image: (Z, Y, X).

    Returns
    -------
    tuple of Level
        The pyramid, full resolution first: halved in y and x until :data:`SMALLEST`, in chunks of
        one section and at most :data:`CHUNK` pixels in y and x. Time and channel, where there are
        such axes, have one entry.
    """
    import zarr

    others = len(described.axes) - 3
    axes = Axes((others, others + 1, others + 2), tuple((axis, 0) for axis in range(others)))
    scratch = work.folder(folders.SCRATCH, create=True)
    place = FolderStore(work.folder(store, create=True), scratch=scratch, durable=False)
    group = zarr.create_group(place, zarr_format=3)
    group.attrs.put(dict(described.attributes))
    arrays = [
        group.create_array(
            str(level),
            shape=(1,) * others + size,
            dtype=dtype,
            chunks=(1,) * others + (1, min(size[1], CHUNK), min(size[2], CHUNK)),
            dimension_names=described.axes,
            # A chunk of -0.0 equals the fill value without being the same bits: keep all.
            config={"write_empty_chunks": dtype.kind == "f"},
        )
        for level, size in enumerate(_shapes(shape))
    ]
    return tuple(Level(array, axes) for array in arrays)


def count_levels(shape: tuple[int, int, int]) -> int:
    """Return how many levels the pyramid of an image of this shape has."""
    return len(_shapes(shape))


def _shapes(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Return the shapes of the levels of the pyramid."""
    shapes = [shape]
    while max(shapes[-1][1:]) > SMALLEST:
        z, y, x = shapes[-1]
        shapes.append((z, -(-y // 2), -(-x // 2)))
    return shapes


def _paste(
    path: Path,
    earlier: EarlierRepairs,
    repairs: Iterable[SectionRepair],
    progress: Progress,
    note: Note,
) -> None:
    """Write the repairs into the copy, one at a time, those that the stack has before the new."""
    from .open import open_stack

    copy = open_stack(path, recover=False)
    earlier.copy_marks(copy)
    total = len(earlier) + len(repairs) if isinstance(repairs, Sized) else None
    for number, repair in enumerate(chain(earlier.repairs(copy), repairs), start=1):
        write_back(copy, repair, note=note)
        done = number / total if total else 1 - 0.5**number  # how many will come is not known
        progress(_COPYING + (1 - _COPYING) * done, f"wrote the repair of section {repair.z}")
