"""What fills whole discs of several sizes: how dark, how bright and how flat.

A membrane is as dark as debris may be, but thin. The darkest disc around a pixel, by the brightest
grey value in it, is therefore dark in debris alone: the morphological closing by a disc; for bright
debris the opening. The range of grey values in a disc is small where nothing of the tissue is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...filters import halve
from ...types import FloatImage

#: Radius of the discs, in pixels of the maps.
RADIUS = 3
#: Sizes: the maps of each are half as large as those before.
SIZES = 4


@dataclass(frozen=True, slots=True, eq=False)
class DiscMaps:
    """Discs of one size.

    Parameters
    ----------
    step
        Pixels of the working level per pixel of the maps.
    dark
        The least, over all discs that hold a pixel, of the brightest grey value in the disc.
    bright
        The largest, over these discs, of the darkest grey value.
    span
        The least range of grey values in a disc.
    """

    step: int
    dark: FloatImage
    bright: FloatImage
    span: FloatImage


def disc_maps(smooth: FloatImage) -> tuple[DiscMaps, ...]:
    """Return the maps of all sizes, the smallest first.

    Parameters
    ----------
    smooth
        (H, W) grey values without their finest grain.
    """
    import cv2

    y, x = np.ogrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disc = (y * y + x * x <= RADIUS * (RADIUS + 0.7)).astype(np.uint8)
    sizes, image = [], smooth
    for number in range(SIZES):
        if number and min(image.shape) < 4 * RADIUS:
            break
        high, low = cv2.dilate(image, disc), cv2.erode(image, disc)
        maps = (cv2.erode(high, disc), cv2.dilate(low, disc), cv2.erode(high - low, disc))
        sizes.append(DiscMaps(2**number, *(np.asarray(m, dtype=np.float32) for m in maps)))
        image = halve(image)
    return tuple(sizes)
