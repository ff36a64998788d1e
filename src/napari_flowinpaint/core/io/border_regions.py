"""Constant regions along the border of a section: where padding would be.

What is looked for is decided here, what counts as no data in :mod:`.no_data`. Tissue costs next to
nothing: only a few rows and columns of it are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import AnyImage, BoolImage, Box

#: A constant region along the border is no data if it meets it on so many pixels, and on such a
#: share of its own extent: padding of a straight section reaches as far along the border as it does
#: anywhere, and a saturated cell body that touches it does not.
_LEAST_CONTACT = 20
_CONTACT = 0.75
#: So many equal pixels in a row on the border itself are padding one pixel wide.
_RUN = 32
#: Regions that meet the edges of an image on fewer pixels than this are not looked at.
_FEWEST = 12
#: Least step from a constant region to what is beside it, as a share of the range of grey values.
_ABRUPT = 0.1
#: More constant values than this are not padding but a label image.
_MOST_VALUES = 16

#: Which sides of an image are the border of the section: top, left, bottom, right.
Sides = tuple[bool, bool, bool, bool]
ALL_SIDES: Sides = (True, True, True, True)
#: The pixels along them.
EDGES: tuple[Any, ...] = (
    (0, slice(None)),
    (slice(None), 0),
    (-1, slice(None)),
    (slice(None), -1),
)


@dataclass(frozen=True, slots=True, eq=False)
class BorderRegion:
    """A constant region that reaches the edge of the image it was found in.

    Parameters
    ----------
    box
        Around it.
    mask
        (H, W) bool over ``box``.
    padding
        Whether it is no data.
    leaves
        The sides by which it leaves the image, where that is not the border of the section.
    """

    box: Box
    mask: BoolImage
    padding: bool
    leaves: Sides

    @property
    def extent(self) -> int:
        """Its longer side, pixels."""
        return max(self.box.shape)


def border_regions(
    pixels: AnyImage, good: BoolImage, sides: Sides, fill: float | None
) -> Iterator[BorderRegion]:
    """Yield the constant regions that reach an edge of an image."""
    from scipy.ndimage import binary_dilation, find_objects, label

    if not any(_solid(*strip)[edge].any() for strip, edge in _strips(pixels, sides)):
        return  # as in tissue: nothing but a few rows and columns was looked at
    solid = _solid(pixels, sides) & good
    values = np.concatenate([pixels[edge][solid[edge]] for edge in EDGES])
    found, counts = np.unique(values, return_counts=True)
    spread = _spread(pixels, good & ~solid)
    order = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
    for value in found[order[counts[order] >= _FEWEST]]:
        alike = (pixels == value) & good
        # blocks leave the steps of a slanted border out
        grown = binary_dilation(solid & alike, np.ones((3, 3), bool), iterations=2) & alike
        names, _ = label(grown)
        boxes = find_objects(names)
        edges = np.concatenate([names[edge] for edge in EDGES])
        for name in np.flatnonzero(np.bincount(edges, minlength=2)[1:] >= _FEWEST) + 1:
            rows, columns = boxes[name - 1]
            box = Box(rows.start, columns.start, rows.stop, columns.stop)
            mask = names[box.slices] == name
            if value == fill or _is_abrupt(pixels, good, box, mask, _ABRUPT * spread):
                yield _described(box, mask, pixels.shape, sides, bool(value == fill))


def _spread(pixels: AnyImage, tissue: BoolImage) -> float:
    """Return how far grey values of tissue are apart, most of them; 0 where there is none."""
    values = pixels[::4, ::4][tissue[::4, ::4]]
    if not values.size:
        return 0.0
    low, high = np.percentile(values.astype(np.float64), (10, 90))
    return float(high - low)


def _is_abrupt(pixels: AnyImage, good: BoolImage, box: Box, mask: BoolImage, least: float) -> bool:
    """Tell padding from tissue that happens to be constant: that fades into what is beside it."""
    from scipy.ndimage import binary_dilation

    seen = box.expand(1, (pixels.shape[0], pixels.shape[1]))
    inside = np.zeros(seen.shape, dtype=bool)
    inside[box.within(seen)] = mask
    beside = binary_dilation(inside) & ~inside & good[seen.slices]
    if not beside.any():
        return True
    value = float(pixels[seen.slices][inside][0])
    steps = np.abs(pixels[seen.slices][beside].astype(np.float64) - value)
    return float(np.median(steps)) > least


def _strips(
    pixels: AnyImage, sides: Sides
) -> Iterator[tuple[tuple[AnyImage, Sides], tuple[Any, Any]]]:
    """Yield the rows and columns along every edge that tell whether its pixels are solid."""
    top, left, bottom, right = sides
    yield (pixels[:3], (top, left, False, right)), EDGES[0]
    yield (pixels[:, :3], (top, left, bottom, False)), EDGES[1]
    yield (pixels[-3:], (False, left, bottom, right)), EDGES[2]
    yield (pixels[:, -3:], (top, False, bottom, right)), EDGES[3]


def _described(
    box: Box, mask: BoolImage, shape: tuple[int, ...], sides: Sides, filled: bool
) -> BorderRegion:
    """Return a region, and whether it is padding."""
    reaches = (box.y0 == 0, box.x0 == 0, box.y1 == shape[0], box.x1 == shape[1])
    lines = (mask[0], mask[:, 0], mask[-1], mask[:, -1])
    contact, leaves = 0, []
    for line, reached, border in zip(lines, reaches, sides, strict=True):
        leaves.append(bool(reached and not border))
        if reached and border:
            contact += int(np.count_nonzero(line))
    padding = contact >= max(_LEAST_CONTACT, _CONTACT * max(box.shape)) or (filled and contact > 0)
    return BorderRegion(box, mask, padding, (leaves[0], leaves[1], leaves[2], leaves[3]))


def _solid(pixels: AnyImage, sides: Sides) -> BoolImage:
    """Return the pixels that lie in blocks of 3 x 3 equal ones, or in a long run on the border.

    Outside of an image all is as on its edge, so that blocks there may be two pixels wide.
    """
    around = np.pad(pixels, 1, mode="edge")
    # three equal pixels in a row, in three rows below each other that are equal as well
    alike = around[:, 1:] == around[:, :-1]
    alike = alike[:, 1:] & alike[:, :-1]
    below = around[1:, 1:-1] == around[:-1, 1:-1]
    same = alike[:-2] & alike[1:-1] & alike[2:] & below[1:] & below[:-1]
    solid = np.zeros(pixels.shape, dtype=bool)
    if same.any():
        block = np.pad(same, 1)
        rows = block[:-2] | block[1:-1] | block[2:]
        solid = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    top, left, bottom, right = sides
    if top:
        solid[0] |= _runs(pixels[0])
    if left:
        solid[:, 0] |= _runs(pixels[:, 0])
    if bottom:
        solid[-1] |= _runs(pixels[-1])
    if right:
        solid[:, -1] |= _runs(pixels[:, -1])
    return solid


def _runs(line: AnyImage) -> npt.NDArray[np.bool_]:
    """Return where a row or column has many equal pixels one after the other."""
    starts = np.flatnonzero(np.concatenate([[True], line[1:] != line[:-1]]))
    lengths = np.diff(np.append(starts, line.size))
    return np.repeat(lengths >= _RUN, lengths)
