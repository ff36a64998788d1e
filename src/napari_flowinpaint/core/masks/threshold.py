"""Damage within a rough outline, found by its grey value.

Precipitate, dirt, holes and tears are darker or brighter than the tissue around them. A line drawn
roughly around one is enough: Otsu's threshold (IEEE Trans. Syst. Man Cybern. 9, 1979) splits the
pixels inside in two, and the part that differs more from what lies just outside is the damage.
"""

from __future__ import annotations

import numpy as np

from ..types import AnyImage, BoolImage

#: How far beyond the outline tissue is looked at, pixels, and how far the mask is grown.
RING, GROWN = 12, 1
#: A piece smaller than this share of the largest is noise.
_SPECK = 0.02


def threshold_inside(pixels: AnyImage, outline: BoolImage) -> BoolImage:
    """Return the damage within a rough outline.

    Parameters
    ----------
    pixels
        (H, W), the section around the outline: at least :data:`RING` pixels of margin.
    outline
        (H, W) bool, True inside the outline.

    Returns
    -------
    numpy.ndarray
        (H, W) bool, within ``outline``; all of it where its pixels are all alike.
    """
    import cv2
    from skimage.filters import threshold_otsu

    smooth = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 1.0)
    inside = smooth[outline]
    if not inside.size or inside.min() == inside.max():
        return outline.copy()
    level = threshold_otsu(inside)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
    ring = (cv2.dilate(outline.view(np.uint8), disc) > 0) & ~outline
    tissue = np.median(smooth[ring] if ring.any() else inside)
    dark, bright = inside[inside <= level], inside[inside > level]
    if abs(np.median(dark) - tissue) >= abs(np.median(bright) - tissue):
        found = outline & (smooth <= level)
    else:
        found = outline & (smooth > level)
    grown = _filled(_without_specks(found)).astype(np.uint8)
    return (cv2.dilate(grown, np.ones((2 * GROWN + 1,) * 2, np.uint8)) > 0) & outline


def _without_specks(mask: BoolImage) -> BoolImage:
    """Return a mask without its smallest pieces."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= max(3, _SPECK * areas.max()))[labels] & mask)


def _filled(mask: BoolImage) -> BoolImage:
    """Return a mask with its holes filled."""
    from scipy.ndimage import binary_fill_holes

    return np.asarray(binary_fill_holes(mask), dtype=bool)
