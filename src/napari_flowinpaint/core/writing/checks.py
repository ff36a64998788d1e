"""What is checked before a write-back or a revert begins; each refusal says what to do.

Nothing here changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import folders
from ..disk.folder import Folder
from ..disk.open_root import open_root
from ..errors import (
    FlowInpaintError,
    InputError,
    SectionChanged,
    StoreError,
    first_line,
    name_sections,
)
from ..io.still_there import check_there
from ..names import printable
from ..section_repair import Patch, SectionRepair, pixel_digest
from ..types import AnyImage, Box
from .apply import bits, overlapping, overlay
from .changed_pixels import paste_originals
from .entries import Entry
from .pieces import SectionRegion
from .synthetic import label_names
from .target import Target, parts_of

if TYPE_CHECKING:
    from ..io.levels import Level
    from ..io.stack import Stack


def check_writable(stack: Stack, *, advice: bool = True) -> None:
    """Refuse what cannot be written in place, or has something else where our folders go.

    Parameters
    ----------
    stack
        Any stack.
    advice
        Whether to advise to write elsewhere, which a revert cannot do.
    """
    if not (stack.writable and stack.group_path is not None and stack.levels[0].is_zarr):
        reason = stack.why_not_writable or "only local zarr stores can be; use --output"
        reason = reason if advice else reason.partition(";")[0]
        raise StoreError(f"{stack.path or stack.name} cannot be written in place: {reason}.")
    check_there(stack)
    check_places(stack.group_path, stack.levels)


def check_places(group: Path, levels: tuple[Level, ...]) -> None:
    """Refuse a store that has something else where our files and folders are kept.

    Parameters
    ----------
    group
        The OME-Zarr group, or the directory of a bare array.
    levels
        Of the stack, finest first.

    Raises
    ------
    StoreError
        With the name of what is in the way.
    """
    journal = (*parts_of(levels[0].path), folders.JOURNAL)
    with open_root(group) as root:
        for name in (folders.ENTRIES, folders.SCRATCH):
            _check_folder(root, (*journal, name))
        for number in range(len(levels)):
            _check_folder(root, (*label_names(levels), str(number)))
        _check_metadata(root, label_names(levels))
        try:
            with root.folder(*journal) as home:
                lock = home.is_folder(folders.LOCK)
        except FileNotFoundError:
            return
    if lock:
        raise StoreError(_IN_THE_WAY.format(path=home.path / folders.LOCK, found="folder"))


_IN_THE_WAY = (
    "{path} is a {found}, but flowinpaint keeps its own files of the stack there; move it away "
    "and try again."
)


def _check_folder(root: Folder, names: Sequence[str]) -> None:
    """Refuse a file in place of a folder, or on the way to it."""
    with ExitStack() as opened:
        here = root
        for name in names:
            if here.is_file(name):
                path = printable(here.path / name)
                raise StoreError(_IN_THE_WAY.format(path=path, found="file"))
            if not here.is_folder(name):
                return
            here = opened.enter_context(here.folder(name))


def _check_metadata(root: Folder, names: Sequence[str]) -> None:
    """Refuse a folder in place of the metadata of one of the last two groups of a path."""
    for end in range(len(names) - 1, len(names) + 1):
        try:
            with root.folder(*names[:end]) as group:
                for name in ("zarr.json", ".zgroup", ".zattrs"):
                    if group.is_folder(name):
                        path = printable(group.path / name)
                        raise StoreError(_IN_THE_WAY.format(path=path, found="folder"))
        except FileNotFoundError:
            return


def check_repairs(stack: Stack, repairs: Sequence[SectionRepair]) -> None:
    """Refuse repairs that do not fit the stack; nothing is read."""
    if not repairs:
        raise InputError("there is no repair to write; repair a section first.")
    depth, height, width = stack.shape
    for repair in repairs:
        what = f"the repair of section {repair.z}"
        if not 0 <= repair.z < depth:
            raise InputError(f"{what} does not fit: {stack.name} has sections 0 to {depth - 1}.")
        if repair.shape != (height, width) or np.dtype(repair.dtype) != stack.dtype:
            raise InputError(
                f"{what} is {np.dtype(repair.dtype)} of shape {tuple(repair.shape)}, but "
                f"{stack.name} has sections of {stack.dtype} {(height, width)}; repair it again."
            )
        if not any(patch.mask.any() for patch in repair.patches):
            raise InputError(f"{what} replaces no pixel; accept at least one component.")
        for patch in repair.patches:
            _check_patch(patch, stack, what)


def _check_patch(patch: Patch, stack: Stack, what: str) -> None:
    """Refuse a patch that does not fit the section, or whose origin is unknown."""
    box = patch.box
    fits = 0 <= box.y0 < box.y1 <= stack.shape[1] and 0 <= box.x0 < box.x1 <= stack.shape[2]
    if not fits or not patch.result.shape == patch.mask.shape == box.shape:
        raise InputError(f"{what} has a window that does not fit the section; repair it again.")
    if patch.result.dtype != stack.dtype:
        raise InputError(f"{what} has pixels of {patch.result.dtype}, not {stack.dtype}.")
    if stack.dtype.kind == "f" and not np.isfinite(patch.result[patch.mask]).all():
        raise InputError(f"{what} contains NaN or infinite pixels; repair it by another method.")
    if patch.source_digest is None:
        raise InputError(
            f"{what} does not record which pixels it was made from (source_digest); repair it "
            "again."
        )


def check_sections(stack: Stack, z: int | Collection[int] | None) -> set[int] | None:
    """Return the chosen sections, None for all."""
    if z is None:
        return None
    sections = {int(z)} if isinstance(z, (int, np.integer)) else {int(n) for n in z}
    for section in sorted(sections):
        if not 0 <= section < stack.shape[0]:
            raise InputError(
                f"section {section} does not exist: {stack.name} has sections 0 to "
                f"{stack.shape[0] - 1}."
            )
    return sections


def check_unchanged(target: Target, repair: SectionRepair, live: Sequence[Entry]) -> None:
    """Refuse a repair whose section has changed since it was read.

    Repairs that were written since do not count as a change (another component of the same
    mask, accepted before): they are taken off again, the newest first, until the pixels are those
    the repair was made from.
    """
    level = target.levels[0]
    for patch in repair.patches:
        window = _read(level, repair.z, patch.box)
        unchanged = pixel_digest(window) == patch.source_digest
        layers = _layers(window, live, repair.z, patch.box)
        foreign = bits(layers[-1]) != bits(window)
        if not unchanged and not foreign.any():
            unchanged = any(pixel_digest(layer) == patch.source_digest for layer in layers[:-1])
        if not unchanged:
            raise SectionChanged(
                f"section {repair.z} has changed since it was read, so the repair no longer fits "
                "it; nothing was written: repair the section again."
            )
        if foreign[patch.mask].any():
            raise StoreError(_FOREIGN.format(z=repair.z))


def _read(level: Level, z: int, box: Box) -> AnyImage:
    """Read a part of a section that is going to be written to."""
    try:
        return level.read(z, box)
    except (FlowInpaintError, MemoryError):
        raise
    except Exception as error:  # each codec has its own way to fail
        raise StoreError(
            f"section {z} cannot be read any more ({first_line(error)}), so nothing was written "
            "into it; restore it from a copy, or reject the repair."
        ) from error


_FOREIGN = (
    "synthetic pixels of section {z} were changed by another program since they were written, so "
    "the journal no longer fits them; nothing was changed: restore the section, or use --output."
)


def _layers(window: AnyImage, live: Sequence[Entry], z: int, box: Box) -> list[AnyImage]:
    """Return a window as it was before any repair, after the first, and so on to now."""
    here = [entry for entry in live if entry.z == z and entry.touches(0, z, box)]
    layer = window.copy()
    paste_originals(layer, here, 0, SectionRegion(z, box))
    layers = [layer]
    everywhere = np.ones(box.shape, dtype=bool)
    for entry in here:
        layer = layer.copy()
        overlay(layer, everywhere, [entry], z, box)
        layers.append(layer)
    return layers


def check_later_edits(
    target: Target, entries: Sequence[Entry], live: Sequence[Entry], command: str
) -> None:
    """Refuse to finish or to revert entries whose pixels somebody else has changed since.

    A pixel that is neither what it was before any repair nor what one of the repairs made of it
    was changed by another program.

    Parameters
    ----------
    target
        The arrays.
    entries
        What is to be finished or reverted.
    live
        Every live entry that may share a pixel with them.
    command
        What overwrites the changes, for the message.

    Raises
    ------
    StoreError
        If there are such pixels; nothing was changed.
    """
    foreign: Counter[int] = Counter()
    for entry in entries:
        for _, changed in entry.changed_pixels(0):
            z, box = changed.region.z, changed.region.box
            found = bits(target.levels[0].read(z, box))
            known = ~changed.mask | (found == bits(changed.original))
            for _, piece, other, part in overlapping([*live, *entries], 0, z, box):
                here, there = part.within(box), part.within(other.region.box)
                known[here] |= other.mask[there] & (found[here] == bits(piece.new)[there])
            foreign[z] += int(np.count_nonzero(~known))
    foreign = +foreign  # those with any
    if foreign:
        counts = ", ".join(str(foreign[z]) for z in sorted(foreign))
        raise StoreError(
            f"synthetic pixels of {name_sections(sorted(foreign))} were changed by another program "
            f"since they were written (pixels: {counts}) and would be lost; nothing was changed: "
            f"run {command} to overwrite them."
        )
