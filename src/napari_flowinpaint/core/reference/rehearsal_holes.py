"""The holes of a rehearsal: in which part of a window, and where in it, they are cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..filters import wide_blur
from ..types import BoolImage, Box, FloatImage

#: Side of the part of a window that is rehearsed in, in depths of the damage and in pixels.
_PART = 8
_LEAST_PART, _MOST_PART = 1024, 1280
#: Share of the intact pixels that is cut out to rehearse on, at least and at most; in between, as
#: many pixels as this are.
_LEAST_SHARE, _MOST_SHARE, _ENOUGH = 0.1, 0.3, 10_000
#: The real holes are filled without them, so they are cut from this share of the intact pixels, the
#: ones that lie furthest from the damage.
_FAR = 0.5
#: Their largest depth, about, and the side of the window up to which it holds, pixels; in larger
#: windows they are deeper in proportion. Few large holes teach less than many small ones.
_DEEPEST, _DEEPEST_SIDE = 10.0, 512
#: Fewer pixels than this are too few to learn from.
FEWEST_SAMPLES = 1_000
#: A quantile needs no more pixels than this.
_MOST_SAMPLES = 20_000


def rehearsal_part(mask: BoolImage, intact: BoolImage) -> Box:
    """Return the part of a window that is rehearsed in.

    The whole window, unless it is much larger than the damage is deep: then a part teaches as much
    and costs less. At least half of the part is intact, where possible; among such parts it is the
    one nearest to the damage.

    Parameters
    ----------
    mask
        (H, W) bool, the real damage.
    intact
        (H, W) bool, the pixels that may be cut.
    """
    if max(mask.shape) <= _LEAST_PART:
        return Box.whole(mask.shape)
    side = int(np.clip(_PART * depth(mask), _LEAST_PART, _MOST_PART)) // 32 * 32
    height, width = (min(side, n) for n in mask.shape)
    starts = [
        [*range(0, n - h, 32), n - h] for n, h in zip(mask.shape, (height, width), strict=True)
    ]
    sums = np.pad(np.cumsum(np.cumsum(intact, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    y, x = np.meshgrid(*starts, indexing="ij")
    shown = sums[y + height, x + width] - sums[y, x + width] - sums[y + height, x] + sums[y, x]
    enough = np.minimum(shown / (height * width), 0.5)
    middle = [float(np.mean(np.nonzero(mask.any(axis=1 - axis))[0])) for axis in (0, 1)]
    away = np.hypot(y + height / 2 - middle[0], x + width / 2 - middle[1])
    best = int(np.argmax(enough - 1e-6 * away))
    y0, x0 = int(y.flat[best]), int(x.flat[best])
    return Box(y0, x0, y0 + height, x0 + width)


def depth(mask: BoolImage) -> float:
    """Return how deep, in pixels, damage is."""
    return float(_inwards(mask).max())


def _inwards(where: BoolImage) -> FloatImage:
    """Return how far, in pixels, every pixel of ``where`` lies from the others."""
    import cv2

    distance = cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(distance, dtype=np.float32)


def rehearsal_holes(mask: BoolImage, intact: BoolImage, seed: int) -> BoolImage:
    """Cut holes to rehearse on into the intact pixels, away from the damage.

    Parameters
    ----------
    mask
        (H, W) bool, the real damage.
    intact
        (H, W) bool, the pixels that may be cut.
    seed
        The same seed gives the same holes.

    Returns
    -------
    holes
        (H, W) bool, inside ``intact``; empty where too little is intact.
    """
    share = float(np.clip(_ENOUGH / max(intact.sum(), 1), _LEAST_SHARE, _MOST_SHARE))
    if share * intact.sum() < FEWEST_SAMPLES:
        return np.zeros_like(intact)
    away = _inwards(~mask)
    far = intact & (away >= _quantile(away[intact], 1 - _FAR))
    deepest = _DEEPEST * max(min(mask.shape) / _DEEPEST_SIDE, 1.0)
    return cut_holes(min(depth(mask), deepest), far, share / _FAR, seed)


def cut_holes(deep: float, where: BoolImage, share: float, seed: int) -> BoolImage:
    """Cut holes of irregular shape.

    Parameters
    ----------
    deep
        Their depth, about, pixels.
    where
        (H, W) bool, the pixels that may be cut; some are.
    share
        Of these, 0..1.
    seed
        The same seed gives the same holes.

    Returns
    -------
    holes
        (H, W) bool, inside ``where``.
    """
    sigma = float(np.clip(0.8 * deep, 4, max(min(where.shape) / 10, 4)))
    noise = np.random.default_rng(seed).standard_normal(where.shape).astype(np.float32)
    noise = wide_blur(noise, sigma)
    return where & (noise > _quantile(noise[where], 1 - share))


def _quantile(values: npt.NDArray[np.float32], share: float) -> float:
    """Return a quantile, of a part of the values where there are many."""
    return float(np.quantile(values[:: max(len(values) // _MOST_SAMPLES, 1)], share))
