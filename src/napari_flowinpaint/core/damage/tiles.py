"""Extremes over small tiles: far fewer pixels that bound what all of them can show."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import FloatImage

_Map = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Tiled:
    """The extremes of a map, or of several at once, over square tiles.

    Parameters
    ----------
    side
        Pixels per side of a tile.
    low, high
        (..., ceil(H / side), ceil(W / side)) float32: the smallest and the largest value in each.
    """

    side: int
    low: FloatImage
    high: FloatImage
    _nearby: dict[tuple[int, int], FloatImage] = field(default_factory=dict)

    def at(self, sign: int) -> FloatImage:
        """Return the largest values where ``sign`` is positive, else the smallest."""
        return self.high if sign > 0 else self.low

    def nearby(self, sign: int, radius: int) -> FloatImage:
        """Return what every pixel of a tile has within a radius, at least.

        That is a bound from below of the local maximum where ``sign`` is positive, and one from
        above of the local minimum where it is negative.

        Parameters
        ----------
        sign
            +1 or -1.
        radius
            Half the side of the square around a pixel, in pixels.
        """
        # all tiles that lie within the radius of every pixel of one
        reach = max((radius + 1 - self.side) // self.side, 0)
        found = self._nearby.get((sign, reach))
        if found is None:
            found = self._nearby[sign, reach] = _spread(self.at(sign), sign, reach)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Extremes of the maps of a section.

    Parameters
    ----------
    smooth
        Of the map of this name of :class:`~.features.Features`, over tiles of 2 pixels.
    local_std
        Of the root of its local variance, over tiles of 4.
    """

    smooth: Tiled
    local_std: Tiled


def make_tiles(smooth: FloatImage, local_variance: FloatImage) -> Tiles:
    """Return the extremes of two maps; the variance is known at every second pixel."""
    # between every second pixel it is interpolated, and no more than at the pixels around
    low, high = (
        np.sqrt(halved(padded(_spread(local_variance, sign, 1), 2), sign)) for sign in (-1, 1)
    )
    local_std = Tiled(4, low, high)
    return Tiles(tiled(smooth), local_std)


def tiled(image: FloatImage) -> Tiled:
    """Return the extremes of a map, (H, W) float32, over tiles of 2 pixels, by fours."""
    image = padded(image, 4)
    return Tiled(2, halved(image, -1), halved(image, 1))


def halved(image: _Map, sign: int) -> _Map:
    """Return the largest over tiles of 2 pixels where ``sign`` is positive, else the smallest."""
    import cv2

    both = cv2.max if sign > 0 else cv2.min
    image = np.asarray(both(image[0::2], image[1::2]))
    # pixels that lie together in memory go several at a time: twice as many, in half the time
    line = image.reshape(-1)
    pairs = np.asarray(both(line[:-1], line[1:])).reshape(-1)[::2]
    return np.ascontiguousarray(pairs).reshape(image.shape[0], -1)


def padded(image: _Map, side: int) -> _Map:
    """Return a map of whole tiles: the last ones hold what there is of them."""
    height, width = (n + -n % side for n in image.shape)
    return padded_to(image, (height, width))


def padded_to(image: _Map, shape: tuple[int, int]) -> _Map:
    """Return a map of this shape, its last row and column repeated."""
    import cv2

    bottom, right = (n - own for n, own in zip(shape, image.shape, strict=True))
    if bottom == right == 0:
        return image
    return np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE))


def _spread(maps: FloatImage, sign: int, reach: int) -> FloatImage:
    """Return the extreme over the tiles around each; of several maps, of each."""
    import cv2

    if reach == 0:
        return maps
    spread, square = cv2.dilate if sign > 0 else cv2.erode, _square(reach)
    found = np.empty_like(maps)
    images, outputs = (m.reshape(-1, *maps.shape[-2:]) for m in (maps, found))
    for image, output in zip(images, outputs, strict=True):
        spread(image, square, dst=output)
    return found


@lru_cache(maxsize=16)
def _square(reach: int) -> npt.NDArray[np.uint8]:
    return np.ones((2 * reach + 1,) * 2, np.uint8)
