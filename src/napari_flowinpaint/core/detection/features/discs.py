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
from .ridges import ByteImage

#: Sizes: pixels of the working level per pixel of the maps, and the radius of the discs in these.
SIZES = ((1, 3), (2, 2), (2, 3), (4, 3), (8, 3))


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


def disc_maps(grey: FloatImage, smooth: FloatImage) -> tuple[DiscMaps, ...]:
    """Return the maps of all sizes, the smallest first.

    Parameters
    ----------
    grey
        (H, W) grey values. The smallest discs are those of their median, which keeps borders: a
        low-pass would leave little of a spot that is hardly larger than a disc.
    smooth
        (H, W) grey values without their finest grain.
    """
    import cv2

    images = {1: np.asarray(cv2.medianBlur(grey, 3), dtype=np.float32), 2: halve(smooth)}
    sizes = []
    for step, radius in SIZES:
        if step > 1 and min(smooth.shape) < 4 * 3 * step:
            break
        image = images[step] if step in images else halve(images[step // 2])
        images[step] = image
        disc = _disc(radius)
        high, low = cv2.dilate(image, disc), cv2.erode(image, disc)
        maps = (cv2.erode(high, disc), cv2.dilate(low, disc), cv2.erode(high - low, disc))
        sizes.append(DiscMaps(step, *(np.asarray(m, dtype=np.float32) for m in maps)))
    return tuple(sizes)


def _disc(radius: int) -> ByteImage:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(y * y + x * x <= radius * (radius + 0.7), dtype=np.uint8)
