"""What is darker or brighter than all neighbours are anywhere near."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...filters import blur
from ...types import BoolImage, FloatImage
from ..features.morphology import ConnectedComponents, grow, highest, reached
from ..features.view import View

#: Percentage of a map that is beyond what is usual in a section.
_TAIL = 0.1
#: The quartile of a section tells where its own tail should be: damage may cover less than that.
_QUARTILE = 25.0
#: Percentage of a neighbour that differs less from the others than what is rare.
_RARE = 99.97
#: About so many pixels tell the percentiles of a map.
_ENOUGH = 65_536
#: So many standard deviations are between these two in a normal distribution.
_DEVIATIONS = 2.42


def beyond_neighbours(
    own: FloatImage, theirs: Sequence[FloatImage], radius: int, slack: float
) -> FloatImage:
    """Return by how many standard deviations a map exceeds those of all neighbours.

    It has to exceed them nearby, since tissue moves, and nearly all that they show anywhere, since
    tissue appears; and, should the section be of another brightness or contrast, its own tail as
    far as its quartile tells.

    Parameters
    ----------
    own
        The section's map.
    theirs
        The same of its neighbours, matched; at least one.
    radius
        How far around a pixel they are looked at, pixels of the map.
    slack
        By how many standard deviations a pixel may be within what they show somewhere.

    Returns
    -------
    FloatImage
        Positive where it exceeds them; the standard deviation is that of the tail alone, since
        tissue may be of many dark, and of few bright, grey values.
    """
    return beyond_all(own, theirs, [highest(m, radius) for m in theirs], slack)


def beyond_all(
    own: FloatImage, theirs: Sequence[FloatImage], nearby: Sequence[FloatImage], slack: float
) -> FloatImage:
    """Do as :func:`beyond_neighbours`, given the highest values of every neighbour nearby."""
    near = np.maximum.reduce(nearby)
    some = _some(own)
    tails = np.array([np.percentile(m[some], (100 - _QUARTILE, 100 - _TAIL)) for m in theirs])
    quartile, tail = np.median(tails, axis=0)
    own_tail = float(np.percentile(own[some], 100 - _QUARTILE)) + tail - quartile
    spread = max(float(tail - quartile) / _DEVIATIONS, 1e-6)
    far = np.float32(max(tail, own_tail) - slack * spread)
    return np.asarray((own - np.maximum(near, far)) / np.float32(spread), dtype=np.float32)


def _some(image: FloatImage) -> tuple[slice, slice]:
    """Return every so many pixels in both directions, enough to tell percentiles."""
    thin = max(round((image.size / _ENOUGH) ** 0.5), 1)
    return slice(None, None, thin), slice(None, None, thin)


def newer_than_neighbours(
    own: FloatImage,
    theirs: Sequence[FloatImage],
    nearby: Sequence[FloatImage],
    nearest: Sequence[int],
    least: float,
) -> FloatImage:
    """Return how far a map exceeds its neighbours nearby, against what is new in these themselves.

    Where tissue changes little from section to section, what it shows elsewhere is no excuse.

    Parameters
    ----------
    own, theirs
        As for :func:`beyond_neighbours`.
    nearby
        The highest values of every neighbour nearby.
    nearest
        Which of them are beside the section: these tell what is usual, each against the others.
    least
        Least difference that is usual.

    Returns
    -------
    FloatImage
        In units of what less than one pixel in 3000 of the nearest neighbours differs by.
    """
    some = _some(own)
    usual = []
    for number in nearest:
        others = [m[some] for n, m in enumerate(nearby) if n != number]
        new = theirs[number][some] - np.maximum.reduce(others)
        usual.append(max(float(np.percentile(new, _RARE)), least))
    new = own - np.maximum.reduce(nearby)
    return np.asarray(new / np.float32(np.mean(usual)), dtype=np.float32)


def soft_regions(view: View, blobs: BoolImage, sign: int) -> BoolImage:
    """Return large blobs grown into the tissue that they fade into; nothing for others."""
    components = ConnectedComponents(blobs)
    core = components.mask(components.areas > 0.004 * blobs.size)
    if not core.any():
        return np.zeros_like(blobs)
    own = blur(view.section.grey, 3.0)
    usual = view.over_neighbours(np.add, lambda n: n.grey(n.features.grey))
    usual = blur((usual / len(view.neighbours)).astype(np.float32), 3.0)
    beyond = sign * (own - usual) / view.contrast
    radius = max(int(0.35 * np.sqrt(core.sum())), 4)
    near = grow(core, radius)
    grown = reached(grow(grow((beyond > 0.7) & near, -2), 2) | core, core)
    return grown if grown.sum() > 1.25 * core.sum() else np.zeros_like(blobs)
