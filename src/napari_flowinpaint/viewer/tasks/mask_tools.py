"""What is done to masks: of one section, of several at once, by drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import InputError
from ...core.kinds import image_label
from ...core.masks.interpolate import interpolate_masks
from ...core.masks.outlines import Outline, draw
from ...core.masks.threshold import RING, threshold_inside
from ...core.types import AnyImage, BoolImage, Box, Progress

if TYPE_CHECKING:
    from ...core.io.stack import Stack
    from ...core.masks.sparse_mask import SectionTiles, SparseMask

#: Most sections that are looked through for a painted one.
FARTHEST = 200
#: What is painted by hand.
_PAINTED = 1


def edit_mask(
    mask: SparseMask, z: int, operation: str, pixels: int, *, progress: Progress
) -> SectionTiles:
    """Return the tiles of a section after an edit.

    ``"grow"``, ``"shrink"``, ``"clear"``, ``"invert"``, or ``"missing"``: all of it is.
    """
    progress(0.0, f"section {z}: {operation}")
    if operation == "invert":
        return mask.edit(z, np.logical_not, -1)
    if operation == "missing":
        return mask.edit(z, np.ones_like, -1)
    if operation == "clear":
        return mask.edit(z, np.zeros_like, 0)
    sign = {"grow": 1, "shrink": -1}[operation]
    return mask.edit(z, lambda damage: _dilate(damage, sign * pixels), pixels)


def spread_mask(
    mask: SparseMask, z: int, *, progress: Progress
) -> tuple[int, dict[int, SectionTiles]]:
    """Return a section and the tiles of all others with its damage added to theirs."""
    depth = mask.shape[0]
    found = {}
    for number, (other, tiles) in enumerate(mask.spread(z, range(depth))):
        progress(number / depth, f"masking section {other}")
        found[other] = tiles
    return z, found


def _dilate(damage: BoolImage, pixels: int) -> BoolImage:
    """Grow damage by a disc; negative shrinks it. A section's border is not an edge of it."""
    import cv2

    size = 2 * abs(pixels) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if pixels > 0 else cv2.erode
    return np.asarray(change(damage.view(np.uint8), disc)) > 0


def interpolate(mask: SparseMask, z: int, *, progress: Progress) -> dict[int, SectionTiles]:
    """Return the masks of the sections between two painted ones, around or beside a section.

    Where the section itself has no mask, the painted ones before and after it count; else it and
    the next painted one behind a gap, after it if there is one, else before it.

    Raises
    ------
    InputError
        If there is no such pair.
    """
    progress(0.0, "looking for painted sections")
    before, after = _painted_from(mask, z, -1), _painted_from(mask, z, 1)
    first, last = before, after
    if mask.read(z).any():
        behind = after is not None and after > z + 1
        first, last = (z, after) if behind else (before, z)
    if first is None or last is None or last - first < 2:
        raise InputError(
            "there is nothing to interpolate: paint the damage in a section before and in one "
            "after those that lack it."
        )
    box = _box_of(mask, first).union(_box_of(mask, last))
    ends = mask.read(first, box), mask.read(last, box)
    values = (_common(mask, first, box), _common(mask, last, box))
    tiles = {}
    for between in range(first + 1, last):
        share = (between - first) / (last - first)
        progress(share, f"section {between}: interpolating the mask")
        found = interpolate_masks(*ends, share)
        tiles[between] = _united(mask, between, box, found, values[share >= 0.5])
    return tiles


def copy_to(
    mask: SparseMask, z: int, sections: Sequence[int], *, progress: Progress
) -> dict[int, SectionTiles]:
    """Return the masks of sections with that of section ``z`` added.

    Raises
    ------
    InputError
        If nothing is masked in it.
    """
    if not mask.read(z).any():
        raise InputError(f"nothing is masked in section {z}; go to the section to copy from.")
    box = _box_of(mask, z)
    source = np.asarray(mask[(slice(z, z + 1), *box.slices)])[0]
    tiles = {}
    for number, other in enumerate(sections):
        progress(number / len(sections), f"section {other}: copying the mask")
        if other != z:
            tiles[other] = _united(mask, other, box, source > 0, source)
    return tiles


def draw_region(
    mask: SparseMask,
    stack: Stack | None,
    z: int,
    outlines: Sequence[Outline],
    *,
    progress: Progress,
) -> dict[int, SectionTiles]:
    """Return the mask of a section with drawn regions added.

    Parameters
    ----------
    stack
        Given if only what stands out by its grey value is taken; None for everything inside.

    Raises
    ------
    InputError
        If the region lies beside the section.
    """
    progress(0.0, f"section {z}: filling")
    whole = Box.whole((mask.shape[1], mask.shape[2]))
    boxes = [outline.box.intersection(whole) for outline in outlines if outline.box.overlaps(whole)]
    if not boxes:
        raise InputError("the outline lies outside the section; draw it over the damage.")
    box = boxes[0]
    for other in boxes[1:]:
        box = box.union(other)
    if stack is not None:
        box = box.expand(RING, whole.shape)
    found = draw(outlines, box)
    if stack is not None:
        found = threshold_inside(stack.read(z, box), found)
    return {z: _united(mask, z, box, found, _PAINTED)}


def save_mask(
    stack: Stack,
    mask: SparseMask,
    path: Path,
    *,
    sections: Sequence[int] | None = None,
    intact: Mapping[int, Sequence[int]] | None = None,
    progress: Progress,
) -> Path:
    """Save a mask as an OME-Zarr label image of the stack, with a pyramid; complete or not at all.

    Parameters
    ----------
    stack, mask, path
        The stack, its mask, and where it goes.
    sections
        Save the masks of these sections alone; None for all.
    intact
        By section, the values that are not damage.

    Raises
    ------
    InputError
        If there is something at ``path``, or it cannot be written there.
    """
    from ...core.export import check_target, count_levels, create_image
    from ...core.io.ngff_attributes import mask_attributes
    from ...core.io.replace import SAVING, STORES, making, move_into_place

    path = path if path.suffix == ".zarr" else path.with_name(path.name + ".zarr")
    check_target(stack, path, masks=True)
    chosen = range(mask.shape[0]) if sections is None else sections
    with making(path) as work:
        described = mask_attributes(stack, path.stem, count_levels(mask.shape))
        described = replace(described, attributes=_as_labels(described.attributes))
        levels = create_image(work, STORES[SAVING], described, mask.shape, mask.dtype)
        for number, z in enumerate(chosen):
            progress(number / len(chosen), f"saving the mask of section {z}")
            pixels = np.asarray(mask[z])
            if intact and z in intact:
                pixels = np.where(np.isin(pixels, intact[z]), np.uint8(0), pixels)
            if not pixels.any():
                continue
            levels[0].write(z, pixels)
            for level in levels[1:]:
                pixels = _reduced(pixels, level.shape[1:])
                level.write(z, pixels)
        progress(1.0, f"saving {path.name}")
        move_into_place(work, SAVING, path, overwrite=False)
    return path


def _as_labels(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an image as those of a label image, with the kinds of damage."""
    return {**attributes, "ome": {**attributes["ome"], "image-label": image_label()}}


def _reduced(pixels: AnyImage, shape: tuple[int, ...]) -> AnyImage:
    """Return the largest label of 2 x 2 pixels."""
    rows, columns = (np.arange(0, n, 2) for n in pixels.shape)
    out = np.maximum.reduceat(np.maximum.reduceat(pixels, rows, axis=0), columns, axis=1)
    assert out.shape == shape
    return out


def _painted_from(mask: SparseMask, z: int, step: int) -> int | None:
    """Return the nearest section with a mask before or after one, None where there is none."""
    end = z + step * FARTHEST
    for other in range(z + step, min(max(end, -1), mask.shape[0]), step):
        box = mask.damaged_box(other)
        if box is not None and mask.read(other, box).any():
            return other
    return None


def _box_of(mask: SparseMask, z: int) -> Box:
    """Return the smallest box around the damage of a section that has some."""
    around = mask.damaged_box(z)
    assert around is not None
    inner = Box.of_mask(mask.read(z, around))
    assert inner is not None
    y, x = around.y0, around.x0
    return Box(inner.y0 + y, inner.x0 + x, inner.y1 + y, inner.x1 + x)


def _common(mask: SparseMask, z: int, box: Box) -> int:
    """Return the most common label of the damage of a section."""
    values = np.asarray(mask[(slice(z, z + 1), *box.slices)])
    return int(np.bincount(values[values > 0]).argmax())


def _united(
    mask: SparseMask, z: int, box: Box, found: BoolImage, values: AnyImage | int
) -> SectionTiles:
    """Return the tiles of a section with more damage; what is damaged already stays."""
    before = np.asarray(mask[(slice(z, z + 1), *box.slices)])[0]
    new = np.where(found & (before == 0), values, before).astype(np.uint8)
    return mask.paste(z, box, new)
