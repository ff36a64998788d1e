"""Extremes over small tiles: sixteen times fewer pixels that bound what all of them can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import FloatImage

#: Side of a tile in pixels of the working level.
TILE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Extremes:
    """Smallest and largest value of a map in tiles, (ceil(H / 4), ceil(W / 4)) float32."""

    low: FloatImage
    high: FloatImage


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Extremes of the maps of a section.

    Parameters
    ----------
    smooth, wide, local_std
        Of the maps of this name of :class:`~.features.Features`.
    """

    smooth: Extremes
    wide: Extremes
    local_std: Extremes


def make_tiles(smooth: FloatImage, wide: FloatImage, local_std: FloatImage) -> Tiles:
    """Return the extremes of three maps of one shape."""
    return Tiles(extremes(smooth), extremes(wide), extremes(local_std))


def extremes(image: FloatImage) -> Extremes:
    """Return the smallest and the largest value of every tile."""
    import cv2

    rest = [-n % TILE for n in image.shape]
    if any(rest):
        # the last tiles hold what there is of them
        image = np.asarray(
            cv2.copyMakeBorder(image, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE),
            dtype=np.float32,
        )
    return Extremes(_pooled(image, np.minimum), _pooled(image, np.maximum))


def _pooled(image: FloatImage, extreme: Callable[..., Any]) -> FloatImage:
    """Reduce 4 x 4 pixels to one; rows first, which lie together in memory."""
    image = extreme(image[0::2], image[1::2])
    image = extreme(image[0::2], image[1::2])
    image = extreme(image[:, 0::2], image[:, 1::2])
    return np.asarray(extreme(image[:, 0::2], image[:, 1::2]), dtype=np.float32)
