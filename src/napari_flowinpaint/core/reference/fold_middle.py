"""The middle of a painted band, from its two rims.

A skeleton runs through the middle of what is painted. Where a border of the section cuts a band
at a slant, or runs along inside it, that is not the middle of the fold; there the middle follows
from the rim that is visible and the width that the band has elsewhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..types import BoolImage
from .fold_line import Points

_Numbers = npt.NDArray[np.float64]

#: Step of the search for rims, pixels.
_STEP = 0.5
#: How far from the middle they are searched for, in half widths.
_REACH = 2.5
#: Where a band is wider than this many times its usual width, something else joins it.
_WIDER = 1.4


def middle_of(
    line: Points, band: BoolImage, half: float, unseen: BoolImage | None = None
) -> tuple[Points, BoolImage]:
    """Return a line moved into the middle of its band.

    Parameters
    ----------
    line
        (N, 2) float64, points of a smooth line in the band, a pixel or so apart.
    band
        (H, W) bool.
    half
        About half of its width, pixels.
    unseen
        (H, W) bool, where nothing was imaged: a band that ends there has no rim. None: nowhere.

    Returns
    -------
    line
        (N, 2) float64.
    known
        (N,) bool, where at least one rim is seen that belongs to the line.
    """
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    rims = [_rim(line, sign * normal, band, _REACH * half + 4, unseen) for sign in (1, -1)]
    (first, first_seen), (second, second_seen) = rims
    both = first_seen & second_seen
    if not both.any():
        return line, np.zeros(len(line), dtype=bool)
    usual = float(np.median((first + second)[both])) / 2
    alone = np.where(first_seen, first - usual, usual - second)
    shift = np.where(both, (first - second) / 2, alone)
    known = (first_seen | second_seen) & ~(both & (first + second > 2 * _WIDER * usual))
    known &= np.abs(shift) < 2 * usual
    return line + np.where(known, shift, 0)[:, None] * normal, known


def _rim(
    line: Points, way: Points, band: BoolImage, reach: float, unseen: BoolImage | None
) -> tuple[_Numbers, npt.NDArray[np.bool_]]:
    """Return how far a band extends from points of a line, and whether its rim is seen there."""
    steps = np.arange(0, reach, _STEP)
    places = np.rint(line[:, None] + steps[:, None] * way[:, None]).astype(int)
    inside = np.asarray(((places >= 0) & (places < band.shape)).all(axis=2))
    y, x = np.where(inside[..., None], places, 0).transpose(2, 0, 1)
    on = inside & band[y, x]
    if unseen is not None:
        inside &= ~unseen[y, x] | on
    # a middle outside the section: the band continues unseen; one beside the band: past its end
    started = np.maximum.accumulate(on, axis=1) & ~(inside & ~on)[:, :1]
    ends = started & ~on
    end = ends.argmax(axis=1)
    every = np.arange(len(line))
    seen = ends.any(axis=1) & inside[every, end]
    return steps[end] - _STEP / 2, seen
