"""Grow and shrink masks, extremes within squares, hysteresis."""

from __future__ import annotations

import numpy as np

from ..types import BoolImage, Box, FloatImage


def grow(mask: BoolImage, radius: int) -> BoolImage:
    """Return a mask grown by ``radius`` pixels, round; shrunk where it is negative."""
    import cv2

    found = Box.of_mask(mask)
    if radius == 0 or found is None:
        return mask
    size = 2 * abs(radius) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if radius > 0 else cv2.erode
    # outside of the section there is nothing that would shrink a mask
    border = 0 if radius > 0 else 1
    near = found.expand(abs(radius), (mask.shape[0], mask.shape[1])).slices
    done = change(
        mask[near].astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=float(border)
    )
    out = np.zeros_like(mask)
    out[near] = done > 0
    return out


def lowest(image: FloatImage, radius: int) -> FloatImage:
    """Return the smallest value within a square of ``radius`` pixels."""
    import cv2

    if radius == 0:
        return image
    return np.asarray(cv2.erode(image, np.ones((2 * radius + 1,) * 2, np.uint8)))


def highest(image: FloatImage, radius: int) -> FloatImage:
    """Return the largest value within a square of ``radius`` pixels."""
    import cv2

    if radius == 0:
        return image
    return np.asarray(cv2.dilate(image, np.ones((2 * radius + 1,) * 2, np.uint8)))


def reached(low: BoolImage, high: BoolImage) -> BoolImage:
    """Return the connected pieces of ``low`` that hold a pixel of ``high`` (hysteresis)."""
    import cv2

    if not high.any():
        return np.zeros_like(high)
    both = low | high
    count, names = cv2.connectedComponents(both.view(np.uint8), connectivity=8)
    kept = np.zeros(count, dtype=bool)
    kept[names[high]] = True
    out = np.zeros_like(both)
    places = np.flatnonzero(both)  # few are, mostly
    out.ravel()[places] = kept[names.ravel()[places]]
    return out
