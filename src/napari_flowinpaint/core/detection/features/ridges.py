"""How far narrow straight ridges go on, whatever their grey value.

A fold may be no darker than mitochondria, and a knife mark no brighter than cytoplasm; yet they
stand out from what lies on *both* sides for much longer, and straighter, than anything in tissue.
The map is the mean, along a straight piece, of how far a pixel is beyond those on its two sides,
the nearer of them in grey value. What is more than a usual step counts no more, so that it is much
like the share of the piece that stands out.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...filters import halve
from ...types import FloatImage

ByteImage = npt.NDArray[np.uint8]

#: By the width of ridges, three classes: pixels of the image per pixel of the map, and how far on
#: either side a ridge is compared, in pixels of the map.
CLASSES: tuple[tuple[int, tuple[float, ...]], ...] = ((1, (2, 3)), (2, (2.5,)), (2, (4,)))
_DIRECTIONS = 20
#: A piece has two to this power pixels, so far apart; half as many where the map is half as large.
_DOUBLINGS = 5
_SPACING = 1.5
#: A step of so many standard deviations of the section is a whole one.
_STEP = 1.0
#: Sums are divided in whole numbers; one over the number of pixels, in these units.
_UNIT = 256


def ridge_maps(
    small: FloatImage, limits: tuple[float, float], spread: float
) -> tuple[tuple[ByteImage, ...], tuple[ByteImage, ...]]:
    """Return how far dark ridges and bright ones go on, for every class of :data:`CLASSES`.

    Parameters
    ----------
    small
        (H, W) grey values without their finest grain.
    limits
        Between these are nearly all.
    spread
        Their standard deviation.

    Returns
    -------
    tuple of tuple of ByteImage
        255 where a ridge stands out by a step all along; (H, W), or (ceil(H / 2), ceil(W / 2)).
    """
    low, high = limits
    per_grey = 255 / max(high - low, 1e-6)
    grey = np.clip((small - np.float32(low)) * np.float32(per_grey), 0, 255).astype(np.uint8)
    step = int(np.clip(_STEP * spread * per_grey, 4, 255))
    images = {1: grey, 2: halve(grey)}
    return (
        tuple(_dark_ridges(images[shrink], shrink, sides, step) for shrink, sides in CLASSES),
        tuple(_dark_ridges(255 - images[shrink], shrink, sides, step) for shrink, sides in CLASSES),
    )


def _dark_ridges(grey: ByteImage, shrink: int, sides: tuple[float, ...], step: int) -> ByteImage:
    most = int(max(sides)) + 1
    padded = np.pad(grey, most, mode="edge")
    doublings = _DOUBLINGS + 1 - shrink
    best = np.zeros(grey.shape, np.uint16)
    for number in range(_DIRECTIONS):
        angle = np.pi * number / _DIRECTIONS
        steps = np.zeros_like(grey)
        for side in sides:
            y, x = round(side * np.cos(angle)), round(-side * np.sin(angle))
            nearer = np.minimum(_shifted(padded, most, y, x), _shifted(padded, most, -y, -x))
            np.maximum(nearer, grey, out=nearer)
            nearer -= grey
            np.maximum(steps, nearer, out=steps)
        sums = _sums(np.minimum(steps, step, out=steps), number, doublings)
        sums *= _shares(grey.shape, number, doublings)
        np.maximum(best, sums, out=best)
    return (best * np.float32(255 / (step * _UNIT))).astype(np.uint8)


def _shifted(padded: ByteImage, margin: int, y: int, x: int) -> ByteImage:
    height, width = (n - 2 * margin for n in padded.shape)
    return padded[margin + y : margin + y + height, margin + x : margin + x + width]


@lru_cache(maxsize=4 * _DIRECTIONS)
def _shares(shape: tuple[int, int], number: int, doublings: int) -> npt.NDArray[np.uint16]:
    """Return what makes a mean of a sum: pieces that leave the section by less than half count."""
    inside = _sums(np.ones(shape, np.uint8), number, doublings)
    return (_UNIT // np.maximum(inside, 2**doublings // 2)).astype(np.uint16)


def _sums(image: ByteImage, number: int, doublings: int) -> npt.NDArray[np.uint16]:
    """Return the sums along straight pieces about every pixel, each of sums of half its length."""
    angle = np.pi * number / _DIRECTIONS
    lengths = _SPACING * 2.0 ** np.arange(doublings)
    moves = [(round(n * np.sin(angle)), round(n * np.cos(angle))) for n in lengths.tolist()]
    reach = [sum(abs(move[axis]) for move in moves) for axis in (0, 1)]
    before = [n // 2 for n in reach]
    height, width = image.shape
    sums = np.zeros((height + reach[0], width + reach[1]), np.uint16)
    sums[before[0] : before[0] + height, before[1] : before[1] + width] = image
    for y, x in moves:
        height, width = sums.shape[0] - y, sums.shape[1] - abs(x)
        one = sums[:height, max(-x, 0) : max(-x, 0) + width]
        sums = one + sums[y : y + height, max(x, 0) : max(x, 0) + width]
    return sums
