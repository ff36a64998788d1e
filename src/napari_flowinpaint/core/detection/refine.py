"""Carry a mask from the working level to full resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..filters import blur
from ..io.no_data import mirror_tissue, padding_of
from ..types import AnyImage, BoolImage, Box, FloatImage
from .detectors import Finding
from .features.morphology import grow, reached

if TYPE_CHECKING:
    from ..io.stack import Stack

#: How far, in pixels of the working level, a border may be moved.
_MARGIN = 3
#: Pixels of the full resolution over which grain is averaged before that, at most.
_BLUR = 4
#: Edge of the pieces that are refined one by one; large sections are never held in float.
_PIECE = 1024


def refine(stack: Stack, z: int, finding: Finding, factor: int) -> BoolImage:
    """Return the mask of a finding at full resolution, (Y, X) bool.

    A sharp border is put where the grey value is half-way between the damage and what surrounds
    it, at most :data:`_MARGIN` working pixels from where it was, and one pixel further out; others
    are only enlarged.
    """
    shape = stack.shape[1:]
    coarse = finding.mask
    if coarse.all():
        return np.ones(shape, dtype=bool)
    out = np.zeros(shape, dtype=bool)
    for box in _pieces(coarse, factor, shape):
        place = _coarse_box(box, factor, coarse.shape)
        if not coarse[place.slices].any():
            continue
        mask = _enlarged(coarse, place, box, factor)
        if finding.sharp:
            # the microscope mixes damage and tissue over a pixel: a repair must not trust that one
            mask = grow(_to_border(_tissue(stack, z, box, mask), mask, factor), 1)
        target = _inner(box, factor, shape)
        out[target.slices] |= mask[target.within(box)]
    return out


def _tissue(stack: Stack, z: int, box: Box, mask: BoolImage) -> AnyImage:
    """Return the pixels of a piece, with tissue mirrored into what was not imaged."""
    pixels = stack.read(z, box)
    padding = padding_of(stack.imaged(z, box, pixels), mask)
    return mirror_tissue(pixels, ~padding)


def _pieces(coarse: BoolImage, factor: int, shape: tuple[int, int]) -> list[Box]:
    """Return boxes of full resolution that cover the mask, with a margin for the surroundings."""
    margin = _halo(factor)
    found = Box.of_mask(coarse)
    if found is None:
        return []
    border = _MARGIN * factor
    y0, x0 = (max(n * factor - border, 0) for n in (found.y0, found.x0))
    y1 = min(found.y1 * factor + border, shape[0])
    x1 = min(found.x1 * factor + border, shape[1])
    return [
        Box(y, x, min(y + _PIECE, y1), min(x + _PIECE, x1)).expand(margin, shape)
        for y in range(y0, y1, _PIECE)
        for x in range(x0, x1, _PIECE)
    ]


def _halo(factor: int) -> int:
    return 10 * factor


def _inner(box: Box, factor: int, shape: tuple[int, int]) -> Box:
    """Return a piece without its margin (which is kept where it ends at the section's border)."""
    halo = _halo(factor)
    return Box(
        box.y0 if box.y0 == 0 else box.y0 + halo,
        box.x0 if box.x0 == 0 else box.x0 + halo,
        box.y1 if box.y1 == shape[0] else box.y1 - halo,
        box.x1 if box.x1 == shape[1] else box.x1 - halo,
    )


def _coarse_box(box: Box, factor: int, shape: tuple[int, int]) -> Box:
    return Box(
        box.y0 // factor,
        box.x0 // factor,
        min(-(-box.y1 // factor), shape[0]),
        min(-(-box.x1 // factor), shape[1]),
    )


def _enlarged(coarse: BoolImage, place: Box, box: Box, factor: int) -> BoolImage:
    """Return the part of the coarse mask under a box, with smooth borders."""
    import cv2

    part = coarse[place.slices]
    if factor == 1:
        return part
    size = (place.shape[1] * factor, place.shape[0] * factor)
    # 8 bits are exact as far as interpolation goes in steps of a power of two
    large = cv2.resize(part * np.uint8(128), size, interpolation=cv2.INTER_LINEAR)
    y, x = box.y0 - place.y0 * factor, box.x0 - place.x0 * factor
    return np.asarray(large[y : y + box.shape[0], x : x + box.shape[1]] > 64)


def _to_border(pixels: AnyImage, mask: BoolImage, factor: int) -> BoolImage:
    """Move the border of a mask to where the grey value changes, piece by connected piece."""
    import cv2

    out = np.zeros_like(mask)
    whole = Box.of_mask(mask)
    if whole is None:
        return out
    near = whole.expand(_halo(factor) + _BLUR, mask.shape).slices
    pixels, mask, target = pixels[near], mask[near], out[near]
    image = pixels.astype(np.float32)
    image = blur(image if pixels.dtype.kind in "iu" else np.nan_to_num(image), 0.8)
    _, names, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for number, (x, y, width, height, _) in enumerate(stats[1:].tolist(), start=1):
        box = Box(y, x, y + height, x + width).expand(_halo(factor), mask.shape)
        own = names[box.slices] == number
        target[box.slices] |= _one_border(image[box.slices], own, mask[box.slices], factor)
    return out


def _one_border(image: FloatImage, own: BoolImage, mask: BoolImage, factor: int) -> BoolImage:
    core = grow(own, -2 * factor)
    if core.sum() < 0.2 * own.sum():
        core = grow(own, -1)
    if not core.any():
        core = own
    # every second pixel tells as much of grey values, and discs are smaller among them
    thin = max(factor // 2, 1)
    some = (slice(None, None, thin), slice(None, None, thin))
    around = grow(own[some], 6 * factor // thin) & ~grow(mask[some], 2 * factor // thin)
    if around.sum() < 8:
        return own
    inner = image[some][core[some]]
    inside = float(np.median(inner if inner.size else image[core]))
    tissue = image[some][around]
    low, middle, high = np.percentile(tissue, (10, 50, 90))
    # towards the side of the tissue's grey values on which the damage lies
    outside = float(middle)
    if abs(inside - outside) < 0.25 * float(high - low):
        return own
    sign = 1.0 if inside > outside else -1.0
    beyond = sign * (image - (inside + outside) / 2) > 0
    # tissue as dark (or bright) as this lies around: cling to the coarse border there
    confused = float(np.mean(beyond[some][around])) > 0.25
    reach = grow(own, (1 if confused else _MARGIN) * factor)
    found = reached(beyond & reach, core & beyond)
    return grow(grow(found | core, 2), -2) & reach
