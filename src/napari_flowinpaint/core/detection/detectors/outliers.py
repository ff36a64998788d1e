"""What is darker or brighter than all neighbours are anywhere near."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ...filters import blur
from ...types import BoolImage, FloatImage
from ..features.morphology import ConnectedComponents, grow, reached
from ..features.view import NeighbourView, View

#: Percentage of a map that is beyond what is usual in a section.
_TAIL = 0.1
#: The quartile of a section tells where its own tail should be: damage may cover less than that.
_QUARTILE = 25.0
#: Share of a neighbour that differs more from the others: what is rare.
_RARE = 0.0003
#: About so many pixels tell the percentiles of a map.
_ENOUGH = 32_768
#: So many standard deviations are between these two in a normal distribution.
_DEVIATIONS = 2.42


def most_of(images: Iterable[FloatImage]) -> FloatImage:
    """Return the largest of several images at every pixel; the first one is overwritten."""
    several = iter(images)
    out = next(several)
    for image in several:
        np.maximum(out, image, out=out)
    return out


def tail_of(image: FloatImage) -> FloatImage:
    """Return the quartile and the tail of the bright side of a map, (2,)."""
    return np.asarray(np.percentile(image[some_of(image)], (100 - _QUARTILE, 100 - _TAIL)))


def matched(
    neighbour: NeighbourView,
    sign: int,
    image: FloatImage,
    step: int,
    some: tuple[slice, slice] | None = None,
) -> FloatImage:
    """Return a map of grey values of a neighbour as it lies under the section, matched to it.

    Parameters
    ----------
    neighbour
        The neighbour.
    sign
        -1 where the map is of grey values turned negative, so that dark is high.
    image
        The map.
    step
        Pixels of the working level per pixel of the map.
    some
        The pixels that are wanted; all by default.
    """
    moved = neighbour.moved(image, step)
    if some is not None:
        moved = moved[some]
    out = np.float32(neighbour.gain) * moved
    out += np.float32(sign * neighbour.offset)
    return out


def beyond_all(
    own: FloatImage,
    own_tail: FloatImage,
    tails: Sequence[FloatImage],
    near: FloatImage,
    slack: float,
) -> FloatImage:
    """Return by how many standard deviations a map exceeds those of all neighbours.

    It has to exceed them nearby, since tissue moves, and nearly all that they show anywhere, since
    tissue appears; and, should the section be of another brightness or contrast, its own tail as
    far as its quartile tells.

    Parameters
    ----------
    own
        The section's map.
    own_tail, tails
        :func:`tail_of` it, and of every neighbour, matched.
    near
        The highest value of any neighbour nearby.
    slack
        By how many standard deviations a pixel may be within what they show somewhere.

    Returns
    -------
    FloatImage
        Positive where it exceeds them; the standard deviation is that of the tail alone, since
        tissue may be of many dark, and of few bright, grey values.
    """
    quartile, tail = np.median(np.array(tails), axis=0)
    expected = float(own_tail[0] + tail - quartile)
    spread = max(float(tail - quartile) / _DEVIATIONS, 1e-6)
    far = np.float32(max(tail, expected) - slack * spread)
    out = np.subtract(own, np.maximum(near, far), dtype=np.float32)
    out /= np.float32(spread)
    return out


def some_of(image: FloatImage) -> tuple[slice, slice]:
    """Return every so many pixels in both directions, enough to tell percentiles."""
    thin = math.ceil((image.size / _ENOUGH) ** 0.5)
    return slice(None, None, thin), slice(None, None, thin)


def newer_than_neighbours(
    own: FloatImage,
    theirs: Sequence[FloatImage],
    nearby: Sequence[FloatImage],
    near: FloatImage,
    nearest: Sequence[int],
    least: float,
) -> FloatImage:
    """Return how far a map exceeds its neighbours nearby, against what is new in these themselves.

    Where tissue changes little from section to section, what it shows elsewhere is no excuse.

    Parameters
    ----------
    own, theirs
        The section's map; some pixels (:func:`some_of`) of those of its neighbours, matched.
    nearby
        The highest values of every neighbour nearby, the same pixels.
    near
        The highest of these.
    nearest
        Which of them are beside the section: these tell what is usual, each against the others.
    least
        Least difference that is usual.

    Returns
    -------
    FloatImage
        In units of what less than one pixel in 3000 of the nearest neighbours differs by.
    """
    usual = []
    for number in nearest:
        others = (m.copy() for n, m in enumerate(nearby) if n != number)
        new = (theirs[number] - most_of(others)).ravel()
        rare = max(round(_RARE * new.size), 1)
        usual.append(max(float(np.partition(new, -rare)[-rare]), least))
    new = own - near
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
