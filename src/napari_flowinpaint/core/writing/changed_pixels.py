"""Which pixels of which level a repair changes, and what was there before any repair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..io import pyramid
from ..io.pyramid import DownsamplingRule, Factors
from ..section_repair import Patch
from ..types import AnyImage, BoolImage, Box
from .entries import Entry
from .pieces import ChangedPixels, MovedPixels, Piece, SectionRegion
from .target import Target

Shape = tuple[int, int, int]


def make_piece(target: Target, z: int, patch: Patch, live: Iterable[Entry]) -> Piece:
    """Return what the journal keeps of one repaired window.

    Parameters
    ----------
    target
        The arrays, before the repair.
    z
        Section number.
    patch
        The repaired window; its mask has a True pixel.
    live
        Every live entry that may share a pixel with it on some level.
    """
    inner = Box.of_mask(patch.mask)
    assert inner is not None
    y, x = patch.box.y0, patch.box.x0
    box = Box(inner.y0 + y, inner.x0 + x, inner.y1 + y, inner.x1 + x)
    found: tuple[SectionRegion, BoolImage] | None = (
        SectionRegion(z, box),
        patch.mask[inner.slices],
    )
    changed_pixels: list[ChangedPixels | None] = []
    for index, level in enumerate(target.levels):
        if index and found is not None:
            fine = target.levels[index - 1]
            factors = pyramid.factors_between(fine, level)
            rule = target.rules[index - 1]
            found = reduce_mask(*found, factors, rule, fine.shape, level.shape)
        if found is None:
            changed_pixels.append(None)
            continue
        region, mask = found
        original = np.ascontiguousarray(level.read(region.z, region.box)).copy()
        # What is there now may be synthetic; the original is what was there before.
        paste_originals(original, live, index, region)
        marks = _unknown_marks(target, live, index, region, mask)
        changed_pixels.append(ChangedPixels(region, mask, original, marks))
    new = patch.result[inner.slices].copy()
    return Piece(tuple(changed_pixels), new, _moved(patch, inner))


def _moved(patch: Patch, inner: Box) -> MovedPixels | None:
    """Return what the journal keeps of the tissue that a patch has moved, within a box of it."""
    if patch.displaced is None:
        return None
    mask = (patch.displaced.mask & patch.mask)[inner.slices]
    if not mask.any():
        return None
    flow = np.where(mask, patch.displaced.flow[:, *inner.slices], 0)
    return MovedPixels(mask, np.ascontiguousarray(flow, dtype=np.float16))


def _unknown_marks(
    target: Target, live: Iterable[Entry], index: int, region: SectionRegion, mask: BoolImage
) -> AnyImage | None:
    """Return the marks under a mask that no entry of the journal accounts for, None for none.

    They are those of repairs whose journal was removed, or what somebody has painted.
    """
    marks = np.ascontiguousarray(target.labels[index].read(region.z, region.box)).copy()
    for changed, there, here in _common(live, index, region):
        covered = changed.mask[there]
        under = 0 if changed.marks is None else changed.marks[there][covered]
        marks[here][covered] = under
    marks[~mask] = 0
    return marks if marks.any() else None


def paste_originals(
    pixels: AnyImage, entries: Iterable[Entry], index: int, region: SectionRegion
) -> None:
    """Put back, in ``pixels`` of ``place``, what ``entries`` replaced on the level ``index``."""
    for changed, there, here in _common(entries, index, region):
        mask = changed.mask[there]
        pixels[here][mask] = changed.original[there][mask]


def _common(
    entries: Iterable[Entry], index: int, region: SectionRegion
) -> Iterator[tuple[ChangedPixels, tuple[slice, slice], tuple[slice, slice]]]:
    """Yield what ``entries`` change of ``place``: the common part, in either box."""
    for entry in entries:
        if not entry.touches(index, region.z, region.box):
            continue
        for _, changed in entry.changed_pixels(index):
            box = changed.region.box
            if changed.region.z == region.z and box.overlaps(region.box):
                part = box.intersection(region.box)
                yield changed, part.within(box), part.within(region.box)


def reduce_mask(
    region: SectionRegion,
    mask: BoolImage,
    factors: Factors,
    rule: DownsamplingRule,
    fine: Shape,
    coarse: Shape,
) -> tuple[SectionRegion, BoolImage] | None:
    """Return which pixels of a reduced level depend on masked pixels of the next finer one.

    Parameters
    ----------
    region, mask
        The masked pixels of the finer level, (H, W) bool.
    factors
        Between the two levels.
    rule
        How the reduced one is made: for the mean and the median a pixel depends on its whole
        block, for nearest on one pixel of it.
    fine, coarse
        Shapes of the levels.

    Returns
    -------
    tuple or None
        Section, smallest box and mask in the reduced level; None where no pixel depends.
    """
    spans = (slice(region.z, region.z + 1), *region.box.slices)
    sections, rows, columns = pyramid.touched(spans, factors, coarse)
    box = Box(rows.start, columns.start, rows.stop, columns.stop)
    if sections.start >= sections.stop or 0 in box.shape:
        return None
    if rule.kind == "nearest":
        reduced = _sampled(region, mask, sections.start, box, factors, rule, fine)
    else:
        reduced = _any_of_block(region.box, mask, box, factors)
    inner = Box.of_mask(reduced)
    if inner is None:
        return None
    y, x = box.y0, box.x0
    outer = Box(inner.y0 + y, inner.x0 + x, inner.y1 + y, inner.x1 + x)
    return SectionRegion(sections.start, outer), reduced[inner.slices]


def _any_of_block(region: Box, mask: BoolImage, box: Box, factors: Factors) -> BoolImage:
    """Return which blocks of ``box`` have a masked pixel."""
    _, height, width = factors
    out = np.zeros(box.shape, dtype=bool)
    aligned = np.zeros((box.shape[0] * height, box.shape[1] * width), dtype=bool)
    whole = Box(
        box.y0 * height, box.x0 * width, box.y1 * height, box.x1 * width
    )  # may stick out of the level; blocks the level has no pixel for are cut off
    part = region.intersection(whole)
    aligned[part.within(whole)] = mask[part.within(region)]
    for y in range(height):
        for x in range(width):
            out |= aligned[y::height, x::width]
    return out


def _sampled(
    region: SectionRegion,
    mask: BoolImage,
    z: int,
    box: Box,
    factors: Factors,
    rule: DownsamplingRule,
    fine: Shape,
) -> BoolImage:
    """Return for which pixels of ``box`` the one pixel they are taken from is masked."""
    out = np.zeros(box.shape, dtype=bool)
    if min(z * factors[0] + rule.offset[0], fine[0] - 1) != region.z:
        return out
    # A block that sticks out may not have the pixel: its last one is taken.
    rows = np.arange(box.y0, box.y1) * factors[1] + rule.offset[1]
    columns = np.arange(box.x0, box.x1) * factors[2] + rule.offset[2]
    rows = np.minimum(rows, fine[1] - 1) - region.box.y0
    columns = np.minimum(columns, fine[2] - 1) - region.box.x0
    inside_y = (rows >= 0) & (rows < mask.shape[0])
    inside_x = (columns >= 0) & (columns < mask.shape[1])
    out[np.ix_(inside_y, inside_x)] = mask[np.ix_(rows[inside_y], columns[inside_x])]
    return out
