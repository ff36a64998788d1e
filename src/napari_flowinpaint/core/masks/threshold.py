"""Damage within a rough outline, found by its grey value.

Precipitate, dirt, holes and tears are darker or brighter than the tissue around them. A line drawn
roughly around one is enough: a ring of tissue just outside it tells which grey values tissue has,
and the damage is what lies beyond the grey value that takes in many pixels inside and few of the
ring.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..types import AnyImage, BoolImage, FloatImage

#: How far beyond the outline tissue is looked at, pixels, and how far the mask is grown.
RING, GROWN = 24, 2
#: A piece smaller than this share of the largest is noise.
_SPECK = 0.05
#: Tissue like the damage that is narrower than twice this hangs on to it, pixels.
_OPENED = 2
#: How much worse it is to take tissue for damage than to miss damage.
_TISSUE = 2
#: Least of what is gained at the best grey value.
_LEAST = 0.02
#: Grey values separate almost as well as the best one if they reach this share of its gain.
_AS_WELL = 0.85


def threshold_inside(pixels: AnyImage, outline: BoolImage) -> BoolImage:
    """Return the damage within a rough outline.

    Parameters
    ----------
    pixels
        (H, W), the section around the outline: at least :data:`RING` pixels of margin, where the
        section has them.
    outline
        (H, W) bool, True inside the outline.

    Returns
    -------
    numpy.ndarray
        (H, W) bool, within ``outline``; all of it where its pixels are all alike, or where there
        is nothing outside.

    Raises
    ------
    InputError
        If nothing inside stands out from what is outside.
    """
    import cv2

    smooth: FloatImage = np.asarray(
        cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 1.0), np.float32
    )
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
    ring = (cv2.dilate(outline.view(np.uint8), disc) > 0) & ~outline
    inside, tissue = smooth[outline], smooth[ring]
    if not inside.size or not tissue.size or inside.min() == inside.max():
        return outline.copy()
    dark, bright = separation(-inside, -tissue), separation(inside, tissue)
    if max(dark[1], bright[1]) < _LEAST:
        raise InputError(
            "nothing inside the outline stands out from the tissue around it; draw closer around "
            "the damage, or use the plain lasso."
        )
    found = outline & (smooth < -dark[0] if dark[1] > bright[1] else smooth > bright[0])
    grown = _filled(_without_specks(_opened(found))).astype(np.uint8)
    return (cv2.dilate(grown, np.ones((2 * GROWN + 1,) * 2, np.uint8)) > 0) & outline


def separation(inside: FloatImage, tissue: FloatImage) -> tuple[float, float]:
    """Return the grey value above which there is most damage and least tissue.

    Parameters
    ----------
    inside, tissue
        (N,) and (M,), grey values inside the outline and around it.

    Returns
    -------
    level : float
        Between the grey value that separates best and the damage beyond it.
    gain : float
        The share of ``inside`` above it less twice that of ``tissue``, at most 1.
    """
    levels = np.unique(np.quantile(np.concatenate([inside, tissue]), np.linspace(0, 1, 513)))
    above = [1 - np.searchsorted(np.sort(v), levels, "right") / v.size for v in (inside, tissue)]
    gain = above[0] - _TISSUE * above[1]
    best = int(gain.argmax())
    # grey values next to it that separate almost as well are those of the damage's soft edge
    well = gain[best:] >= _AS_WELL * gain[best]
    last = best + int(np.argmin(np.append(well, False))) - 1
    return float(levels[best] + levels[last]) / 2, float(gain[best])


def _opened(mask: BoolImage) -> BoolImage:
    """Return a mask without narrow bits of tissue; as it is where the damage itself is narrow."""
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _OPENED + 1,) * 2)
    opened = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, disc) > 0
    return opened if 2 * opened.sum() > mask.sum() else mask


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
