"""How far every pixel is from the dark line of a fold."""

from __future__ import annotations

import numpy as np

from ..types import BoolImage, FloatImage
from .fold_curves import fold_bands
from .fold_line import LineFrame


def line_distance(mask: BoolImage) -> FloatImage:
    """Return the distance of every pixel to the rim of a fold's line, negative in the line.

    Unlike its mask, the line continues beyond the borders of the section: where it leaves the
    section, the nearest pixel of the mask does not lie in the direction in which tissue moved.

    Parameters
    ----------
    mask
        (H, W) bool, the painted line, or several. For parts that are not lines the distance to
        the mask itself is returned.

    Returns
    -------
    FloatImage
        (H, W) float32, pixels; infinite where the mask is empty.
    """
    bands = fold_bands(mask)
    found = np.full(mask.shape, np.inf, dtype=np.float32)
    for band in bands:
        away = LineFrame.of(band.curves, mask.shape).distance - np.float32(band.half_width)
        found = np.minimum(found, np.where(band.band, np.minimum(away, -0.5), away))
    rest = mask.copy()
    for band in bands:
        rest &= ~band.band
    return np.minimum(found, _from_mask(rest)) if rest.any() else found


def _from_mask(mask: BoolImage) -> FloatImage:
    """Return the signed distance to a mask of any shape."""
    import cv2

    def beyond(where: BoolImage) -> FloatImage:
        found = cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(found, dtype=np.float32)

    return beyond(~mask) - beyond(mask)
