"""Extremes over small tiles: far fewer pixels that bound what all of them can show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import FloatImage

_Map = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Tiled:
    """The extremes of a map over square tiles.

    Parameters
    ----------
    side
        Pixels per side of a tile.
    low, high
        (ceil(H / side), ceil(W / side)) float32: the smallest and the largest value in each.
    image
        The map itself, where finer tiles of it may be asked for.
    """

    side: int
    low: FloatImage
    high: FloatImage
    image: FloatImage | None = None
    _nearby: dict[tuple[int, int], FloatImage] = field(default_factory=dict)
    _finer: dict[int, Tiled] = field(default_factory=dict)

    def finer(self, sign: int) -> Tiled:
        """Return the largest (``sign`` > 0) or the smallest values in tiles of 2 pixels.

        As ``low`` and ``high`` alike: few sections need them, and hardly any needs both.
        """
        assert self.image is not None, "finer tiles of this map are not known"
        found = self._finer.get(sign)
        if found is None:
            values = extreme(padded(self.image, 4), sign, 2)
            found = self._finer[sign] = Tiled(2, values, values)
        return found

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
    smooth, wide
        Of the maps of this name of :class:`~.features.Features`.
    local_std
        Of the root of its local variance.
    """

    smooth: Tiled
    wide: Tiled
    local_std: Tiled


def make_tiles(smooth: FloatImage, wide: FloatImage, local_variance: FloatImage) -> Tiles:
    """Return the extremes of three maps; the variance is known at every second pixel."""
    std = np.sqrt(local_variance)
    # between every second pixel it is interpolated, and no more than at the pixels around
    low, high = (padded(_spread(std, sign, 1), 2) for sign in (-1, 1))
    local_std = Tiled(4, extreme(low, -1, 2), extreme(high, 1, 2))
    return Tiles(tiled(smooth), tiled(wide), local_std)


def tiled(image: FloatImage) -> Tiled:
    """Return the extremes of a map, (H, W) float32, over tiles of 4 pixels, and of 2."""
    return Tiled(4, *extremes(padded(image, 4), 4), image)


def extremes(image: _Map, side: int) -> tuple[_Map, _Map]:
    """Return the smallest and the largest over tiles of 2 or 4 pixels, of which all are whole."""
    return extreme(image, -1, side), extreme(image, 1, side)


def extreme(image: _Map, sign: int, side: int) -> _Map:
    """Return the largest over tiles where ``sign`` is positive, else the smallest."""
    import cv2

    both = cv2.max if sign > 0 else cv2.min
    halvings = side.bit_length() - 1
    for _ in range(halvings):
        image = np.asarray(both(image[0::2], image[1::2]))
    for _ in range(halvings):
        # pixels that lie together in memory go several at a time: twice as many, in half the time
        line = image.reshape(-1)
        pairs = np.asarray(both(line[:-1], line[1:])).reshape(-1)[::2]
        image = np.ascontiguousarray(pairs).reshape(image.shape[0], -1)
    return image


def padded(image: _Map, side: int) -> _Map:
    """Return a map of whole tiles: the last ones hold what there is of them."""
    import cv2

    rest = [-n % side for n in image.shape]
    if not any(rest):
        return image
    return np.asarray(cv2.copyMakeBorder(image, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE))


def _spread(image: FloatImage, sign: int, reach: int) -> FloatImage:
    """Return the extreme over the tiles around each."""
    import cv2

    if reach == 0:
        return image
    spread = cv2.dilate if sign > 0 else cv2.erode
    return np.asarray(spread(image, np.ones((2 * reach + 1,) * 2, np.uint8)), dtype=np.float32)
