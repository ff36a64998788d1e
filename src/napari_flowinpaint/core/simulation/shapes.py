"""Masks of random shape and the grey values that belong in them, for :mod:`.simulate`."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..types import AnyImage, BoolImage, FloatImage
from .fields import smooth_field


def irregular_mask(shape: tuple[int, int], fraction: float, rng: np.random.Generator) -> BoolImage:
    """Return an irregular mask: several blobs with rough outlines, anywhere in the section.

    Parameters
    ----------
    shape
        (Y, X) of the section.
    fraction
        Share of the pixels that is masked, in 0..1; reached exactly (to the pixel).
    rng
        Source of randomness.

    Returns
    -------
    BoolImage
        (Y, X), True = damaged.

    Raises
    ------
    InputError
        If ``fraction`` is not within 0..1.
    """
    _check_fraction(fraction)
    scale = max(min(shape) / 12, 2.0)
    field = smooth_field(shape, scale, rng) + 0.3 * smooth_field(shape, scale / 4, rng)
    return largest(field, fraction)


def rectangular_mask(
    shape: tuple[int, int], fraction: float, rng: np.random.Generator
) -> BoolImage:
    """Return a mask of one rectangle of random proportions and place.

    Parameters
    ----------
    shape
        (Y, X) of the section.
    fraction
        Share of the pixels that is masked, in 0..1; reached as closely as whole rows and
        columns allow.
    rng
        Source of randomness.

    Returns
    -------
    BoolImage
        (Y, X), True = damaged.

    Raises
    ------
    InputError
        If ``fraction`` is not within 0..1.
    """
    _check_fraction(fraction)
    area = fraction * shape[0] * shape[1]
    lowest = min(max(np.sqrt(area / 2), area / shape[1]), shape[0])
    tallest = float(np.clip(np.sqrt(area * 2), lowest, shape[0]))
    heights = np.arange(max(int(lowest), 1), max(int(tallest), 1) + 1)
    widths = np.clip(np.rint(area / heights), 0, shape[1])
    # in small sections few heights have a whole-number width that comes close
    error = np.abs(heights * widths - area)
    close = np.flatnonzero(error <= max(0.002 * shape[0] * shape[1], error.min()))
    chosen = rng.choice(close)
    height, width = int(heights[chosen]), int(widths[chosen])
    y = int(rng.integers(shape[0] - height + 1))
    x = int(rng.integers(shape[1] - width + 1))
    mask = np.zeros(shape, dtype=bool)
    mask[y : y + height, x : x + width] = True
    return mask


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise InputError(f"the masked fraction is {fraction:g}; it must be between 0 and 1.")


def largest(field: FloatImage, fraction: float) -> BoolImage:
    """Return where ``field`` is among its largest ``fraction`` of values, exactly that many."""
    count = round(fraction * field.size)
    mask = np.zeros(field.size, dtype=bool)
    if count:
        mask[np.argpartition(field.ravel(), -count)[-count:]] = True
    return mask.reshape(field.shape)


def blob(shape: tuple[int, int], fraction: float, rng: np.random.Generator) -> BoolImage:
    """Return one irregular blob around a random place that covers ``fraction`` of a section."""
    _check_fraction(fraction)
    centre = rng.uniform(0.3, 0.7, 2) * shape
    radius = np.sqrt(max(fraction * shape[0] * shape[1], 1.0) / np.pi)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    away = np.hypot(rows - centre[0], columns - centre[1]).astype(np.float32) / radius
    rough = smooth_field(shape, radius, rng) + 0.3 * smooth_field(shape, radius / 4, rng)
    return largest(0.3 * rough - away, fraction)


def soft(mask: BoolImage) -> FloatImage:
    """Return a weight that rises from the border of ``mask`` (just above 0) to 1 inside."""
    import cv2

    padded = np.pad(mask, 1, constant_values=True).astype(np.uint8)
    distance = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5))[1:-1, 1:-1]
    ramp = max(float(distance.max()) / 2, 1.0)
    return np.minimum(distance / ramp, 1.0).astype(np.float32)


def grey_range(section: AnyImage) -> tuple[float, float]:
    """Return the 1st and 99th percentile of (at most about 65 000 pixels of) a section."""
    step = max(int(np.sqrt(section.size / 65536)), 1)
    dark, light = np.percentile(section[::step, ::step].astype(np.float32), (1, 99))
    return float(dark), float(light)
