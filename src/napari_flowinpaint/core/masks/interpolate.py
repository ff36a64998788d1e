"""Masks between two painted sections.

Cracks, dirt and folds run through many sections and change little by little. Each component is
carried from one section to the other by its signed distance (Raya and Udupa, Shape-based
interpolation of multidimensional objects, IEEE Trans. Med. Imaging 9, 1990), about its centre,
so that a component that drifts by more than its width does not vanish on the way.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..types import BoolImage, Box

_Distances = npt.NDArray[np.float32]
#: Components of two sections are one piece of damage if they are no farther apart than this many
#: times the radius of a disc as large as the larger one.
_NEAR = 4.0


def interpolate_masks(first: BoolImage, last: BoolImage, share: float) -> BoolImage:
    """Return the mask between two.

    Parameters
    ----------
    first, last
        (H, W) bool, True = damaged.
    share
        Where between them, from 0 (``first``) to 1 (``last``).

    Returns
    -------
    numpy.ndarray
        (H, W) bool. A component that has no counterpart in the other mask reaches half way.
    """
    out = np.zeros(first.shape, dtype=bool)
    for one, other in _pairs(first, last):
        if one is None or other is None:
            lone = other if one is None else one
            assert lone is not None
            if (share >= 0.5) == (one is None):
                out |= lone
        else:
            out |= _between(one, other, share)
    return out


def _pairs(
    first: BoolImage, last: BoolImage
) -> Iterator[tuple[BoolImage | None, BoolImage | None]]:
    """Yield which components of two masks are one piece of damage; groups where they branch."""
    import cv2

    (count_a, found_a), (count_b, found_b) = (
        cv2.connectedComponents(mask.view(np.uint8), connectivity=8) for mask in (first, last)
    )
    a, b = np.asarray(found_a, np.int32), np.asarray(found_b, np.int32)
    groups = list(range(count_a + count_b))  # by the smallest number in the group

    def root(n: int) -> int:
        while groups[n] != n:
            n = groups[n]
        return n

    for number in range(1, count_a):
        for other in _counterparts(a == number, b, count_b):
            groups[root(count_a + other)] = root(number)
    for number in range(1, count_b):
        if root(count_a + number) == count_a + number:  # nothing in the first section took it
            for other in _counterparts(b == number, a, count_a):
                groups[root(count_a + number)] = root(other)
    roots = [root(n) for n in range(count_a + count_b)]
    known = {*roots[1:count_a], *roots[count_a + 1 :]}
    for group in sorted(known):
        ones = [n for n in range(1, count_a) if roots[n] == group]
        others = [n for n in range(1, count_b) if roots[count_a + n] == group]
        yield np.isin(a, ones) if ones else None, np.isin(b, others) if others else None


def _counterparts(component: BoolImage, labels: npt.NDArray[np.int32], count: int) -> list[int]:
    """Return the components that overlap with one, or else the nearest where that is near."""
    overlapping = sorted({int(n) for n in np.unique(labels[component])} - {0})
    if overlapping or count < 2:
        return overlapping
    area = np.bincount(labels.ravel(), minlength=count)
    away = np.where(labels > 0, _outside(component), np.inf)
    nearest = int(labels.ravel()[int(away.argmin())])
    radius = np.sqrt(max(component.sum(), area[nearest]) / np.pi)
    return [nearest] if away.min() <= _NEAR * radius else []


def _between(first: BoolImage, last: BoolImage, share: float) -> BoolImage:
    """Return a component between two, both about their centres."""
    import cv2

    centres = [np.argwhere(mask).mean(axis=0) for mask in (first, last)]
    centre = (1 - share) * centres[0] + share * centres[1]
    box = Box.of_mask(first | last)
    assert box is not None
    margin = 2 + max(box.shape) // 8
    top, left = box.y0 - margin, box.x0 - margin
    height, width = (n + 2 * margin for n in box.shape)
    moved = []
    for mask, known in zip((first, last), centres, strict=True):
        dy, dx = np.rint(centre - known).astype(int)
        matrix = np.array([[1, 0, dx - left], [0, 1, dy - top]], dtype=np.float32)
        drawn = cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=0)
        moved.append(_signed(np.asarray(drawn) > 0))
    inside = (1 - share) * moved[0] + share * moved[1] > 0
    out = np.zeros(first.shape, dtype=bool)
    whole = Box(top, left, top + height, left + width)
    part = whole.intersection(Box.whole((first.shape[0], first.shape[1])))
    out[part.slices] = inside[part.within(whole)]
    return out


def _signed(mask: BoolImage) -> _Distances:
    """Return the distance to the border of a mask, positive inside."""
    return np.asarray(_outside(~mask) - _outside(mask), dtype=np.float32)


def _outside(mask: BoolImage) -> _Distances:
    """Return the distance of every pixel to a mask, 0 within it."""
    import cv2

    return np.asarray(cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5))
