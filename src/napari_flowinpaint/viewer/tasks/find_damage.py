"""Searching for damage and saving what was found, as plain functions that run in a thread."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.detection.detect_section import DetectionOptions
from ...core.detection.flag_table import Flagged
from ...core.kinds import KINDS
from ...core.masks.sparse_mask import SectionTiles, SparseMask
from ...core.types import AnyImage, Box, Progress, no_progress
from .flag_store import FlagStore, StoredFlags, open_search

if TYPE_CHECKING:
    from ...core.io.stack import Stack

#: Longer side of a thumbnail, pixels.
THUMBNAIL = 144
#: A thumbnail of a section without a coarse level shows this many pixels of its middle, at most.
_LARGEST = 4096


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    rows
        Flagged sections.
    sections
        Those that were searched.
    kinds
        Kinds that were wanted.
    failed
        Sections that could not be read, and why.
    masks
        Label volume, lazily.
    """

    rows: tuple[Flagged, ...]
    sections: frozenset[int]
    kinds: tuple[str, ...]
    failed: Mapping[int, str]
    masks: Any


@dataclass(frozen=True, eq=False)
class FlagChanges:
    """What has changed since it was last saved.

    Parameters
    ----------
    store
        Where it is stored.
    rows
        The list; None where it has not changed.
    mask
        Frozen; None where no section has changed.
    sections
        Sections of the mask that have changed, with their versions.
    of
        The mask that was frozen, to identify it; it must not be read.
    new_mask
        Whether it is another mask than the stored one.
    alone
        Whether it hides what searches found.
    """

    store: FlagStore
    rows: tuple[Flagged, ...] | None
    mask: SparseMask | None
    sections: Mapping[int, int] = field(default_factory=dict)
    of: SparseMask | None = None
    new_mask: bool = False
    alone: bool = False


@dataclass(frozen=True, eq=False)
class SavedFlags:
    """What was saved.

    Parameters
    ----------
    areas
        How much of the changed sections is masked, in percent by section and kind.
    rows
        The list that is stored now; None where none was saved.
    tiles
        Of sections in which another window has painted as well, what is stored now.
    """

    areas: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    rows: tuple[Flagged, ...] | None = None
    tiles: Mapping[int, SectionTiles] = field(default_factory=dict)


def open_flags(stack: Stack, *, progress: Progress = no_progress) -> StoredFlags:
    """Return what is stored of the flagged sections of a stack."""
    progress(0.0, f"opening the flagged sections of {stack.name}")
    return FlagStore.of(stack).load(stack.shape)


def save_flags(changes: FlagChanges, *, progress: Progress = no_progress) -> SavedFlags:
    """Save what has changed, and return what is stored now.

    Nothing is reported: a save that has begun is not cancelled.
    """
    rows = None if changes.rows is None else changes.store.save_rows(changes.rows)
    if changes.new_mask:
        changes.store.start_mask(changes.alone)
    if changes.mask is None:
        return SavedFlags(rows=rows)
    mask = changes.mask
    tiles = changes.store.save_tiles({z: mask.tiles(z) for z in changes.sections})
    return SavedFlags({z: areas(mask, z) for z in changes.sections}, rows, tiles)


def areas(mask: SparseMask, z: int) -> dict[str, float]:
    """Return how much of a section is masked, in percent by kind."""
    box = mask.damaged_box(z)
    if box is None:
        return {}
    counts = np.bincount(mask[(z, *box.slices)].ravel(), minlength=256)
    area = mask.shape[1] * mask.shape[2]
    return {
        kind.name: round(100 * int(counts[kind.label]) / area, 4)
        for kind in KINDS.values()
        if counts[kind.label]
    }


def search(
    stack: Stack,
    store: FlagStore,
    sections: Sequence[int],
    options: DetectionOptions,
    max_gap: int,
    *,
    progress: Progress,
) -> SearchResult:
    """Search sections for damage; a cancelled search is resumed by the same search."""
    from ...core.detection.detect_stack import default_workers, detect_stack

    target = store.next_search()
    found = detect_stack(
        stack,
        target,
        sections=sections,
        options=options,
        workers=max(default_workers() - 1, 1),  # one core is left to the viewer
        max_gap=max_gap,
        progress=_with_time_left(progress),
    )
    masks, searched = open_search(target)
    return SearchResult(found.flagged, searched, options.kinds, found.failed, masks)


def _with_time_left(progress: Progress) -> Progress:
    """Return a callback that adds the time that is left."""
    from ...core.batch.plan import duration

    started, first = time.monotonic(), [0.0]

    def report(fraction: float, message: str) -> None:
        seconds = time.monotonic() - started
        if seconds < 2:  # sections of an interrupted search do not measure the speed
            first[0] = fraction
        done = fraction - first[0]
        if done > 0:
            message += f", about {duration(seconds * (1 - fraction) / done)} left"
        progress(fraction, message)

    return report


def estimate(stack: Stack, options: DetectionOptions, *, progress: Progress) -> DetectionOptions:
    """Fit the thresholds to a stack."""
    from ...core.detection.detect_section import estimate_parameters

    progress(0.0, "measuring sections")
    return estimate_parameters(stack, options, progress=progress)


# ---- masks and decisions


def decided_mask(mask: SparseMask, intact: Mapping[int, Sequence[int]]) -> SparseMask:
    """Return a mask without the kinds that were decided not to be damage.

    Parameters
    ----------
    mask
        Frozen; it is changed.
    intact
        By section, the labels of the kinds that are left out.
    """
    for z, labels in intact.items():
        box = mask.damaged_box(z)
        if box is not None:
            pixels = mask[(z, *box.slices)]
            pixels[np.isin(pixels, labels)] = 0
            mask.restore(z, mask.paste(z, box, pixels))
    return mask


# ---- thumbnails


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Small pictures of a section between two others.

    Parameters
    ----------
    z
        The section in the middle.
    pictures
        Section number and (H, W, 3) uint8 for previous, this and following; None beyond the stack.
    """

    z: int
    pictures: tuple[tuple[int, npt.NDArray[np.uint8]] | None, ...]


def thumbnails(
    stack: Stack,
    mask: SparseMask | None,
    row: Flagged,
    limits: tuple[float, float],
    *,
    progress: Progress,
) -> Thumbnails:
    """Return small pictures of a flagged section and of those that could guide its repair.

    Parameters
    ----------
    stack
        The stack.
    mask
        Frozen; painted over the section in the middle.
    row
        The flagged section.
    limits
        Grey values shown black and white.
    """
    pictures: list[tuple[int, npt.NDArray[np.uint8]] | None] = []
    for z in (_guide(row, 0), row.section, _guide(row, 1)):
        progress(len(pictures) / 3, "thumbnails")
        inside = 0 <= z < stack.shape[0]
        shown = mask if z == row.section else None
        colour = KINDS[row.kind].colour[:3]
        pictures.append((z, _thumbnail(stack, z, shown, colour, limits)) if inside else None)
    return Thumbnails(row.section, tuple(pictures))


def _guide(row: Flagged, side: int) -> int:
    """Return the usable neighbour on one side, or the section next to it."""
    names = row.neighbours.split()
    if len(names) == 2 and names[side].isdigit():
        return int(names[side])
    return row.section + (1 if side else -1)


def _thumbnail(
    stack: Stack,
    z: int,
    mask: SparseMask | None,
    colour: tuple[int, ...],
    limits: tuple[float, float],
) -> npt.NDArray[np.uint8]:
    """Return a section, or the middle of a huge one, as a small picture."""
    import cv2

    fitting = [level for level in stack.levels if max(level.shape[1:]) >= THUMBNAIL]
    level = fitting[-1] if fitting else stack.levels[0]
    box = _middle(level.shape[1:], _LARGEST)
    image = level.read(round(z / level.scale[0]), box).astype(np.float32)
    step = max(max(image.shape) / THUMBNAIL, 1.0)
    size = (max(round(image.shape[1] / step), 1), max(round(image.shape[0] / step), 1))
    grey = cv2.resize(np.nan_to_num(image), size, interpolation=cv2.INTER_AREA)
    low, high = limits
    grey = np.clip((grey - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2)
    if mask is not None:
        damage = _small_damage(mask, z, _at_full(box, level.scale, mask.shape), size)
        picture[damage] = (0.55 * picture[damage] + 0.45 * np.array(colour)).astype(np.uint8)
    return np.ascontiguousarray(picture)


def _small_damage(mask: SparseMask, z: int, box: Box, size: tuple[int, int]) -> AnyImage:
    """Return which pixels of a thumbnail have damage."""
    import cv2

    out = np.zeros((size[1], size[0]), dtype=bool)
    around = mask.damaged_box(z)
    if around is None:
        return out
    here = around.intersection(box)
    if min(here.shape) <= 0:
        return out
    ys, xs = np.nonzero(mask.read(z, here))
    rows = (ys + here.y0 - box.y0) * size[1] // box.shape[0]
    columns = (xs + here.x0 - box.x0) * size[0] // box.shape[1]
    out[rows, columns] = True
    return np.asarray(cv2.dilate(out.view(np.uint8), np.ones((2, 2), np.uint8))) > 0


def _middle(shape: tuple[int, ...], largest: int) -> Box:
    height, width = (min(n, largest) for n in shape)
    y, x = (shape[0] - height) // 2, (shape[1] - width) // 2
    return Box(y, x, y + height, x + width)


def _at_full(box: Box, scale: tuple[float, float, float], shape: tuple[int, int, int]) -> Box:
    """Return a box of a level in pixels of the full resolution."""
    _, sy, sx = scale
    y1, x1 = min(round(box.y1 * sy), shape[1]), min(round(box.x1 * sx), shape[2])
    return Box(round(box.y0 * sy), round(box.x0 * sx), y1, x1)
