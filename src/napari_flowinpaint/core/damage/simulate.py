"""Damage made on purpose, with its exact mask: for tests, benchmarks, the demo and training.

Every kind of damage is a frozen description with ``draw(section, rng)``. What all of them keep:

* the result has the section's shape and dtype, whatever the dtype;
* pixels outside the mask are bit-identical to the section's;
* grey values are taken from the section's own range (its 1st and 99th percentile), so that
  stacks of any contrast and either polarity get damage that fits;
* the same seed gives the same damage.

They do not move tissue: the deformation around a real fold or crack is not simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import InputError
from ..types import AnyImage, BoolImage, FloatImage
from ._fields import smooth_field


class Damage(Protocol):
    """One kind of damage."""

    def draw(
        self, section: AnyImage, rng: np.random.Generator
    ) -> tuple[FloatImage, BoolImage]:  # pragma: no cover
        """Return grey values (float32) and where they replace the section's (bool)."""
        ...


def damage_section(section: AnyImage, damage: Damage, *, seed: int) -> tuple[AnyImage, BoolImage]:
    """Damage one section.

    Parameters
    ----------
    section
        (Y, X) uint8, uint16, int16 or float32. Not changed.
    damage
        What kind, how much.
    seed
        The same seed gives the same damage.

    Returns
    -------
    damaged : ndarray
        (Y, X), the section's dtype.
    mask : ndarray
        (Y, X) bool, True = damaged.

    Raises
    ------
    InputError
        If the section is not two-dimensional.
    """
    if section.ndim != 2:
        raise InputError(f"A section has two axes (y, x); this array has {section.ndim}.")
    grey, mask = damage.draw(section, np.random.default_rng(seed))
    damaged = section.copy()
    damaged[mask] = _to_dtype(grey[mask], section.dtype)
    return damaged, mask


@dataclass(frozen=True, slots=True)
class Hole:
    """A tear or missing tissue: blank, with the grain of empty resin.

    Parameters
    ----------
    fraction
        Share of the section's pixels.
    bright
        Whether the hole is bright (nothing stained: transmission images) or dark.
    """

    fraction: float = 0.03
    bright: bool = True

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`Damage`."""
        mask = _blob(section.shape, self.fraction, rng)
        dark, light = _grey_range(section)
        level = light + 0.05 * (light - dark) if self.bright else dark
        grain = 0.02 * (light - dark) * rng.standard_normal(section.shape, dtype=np.float32)
        return level + grain, mask


@dataclass(frozen=True, slots=True)
class Debris:
    """Stain precipitate or dirt: many small dark blobs.

    Parameters
    ----------
    count
        Number of blobs.
    radius
        Smallest and largest radius, pixels.
    """

    count: int = 25
    radius: tuple[float, float] = (3.0, 14.0)

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`Damage`."""
        import cv2

        canvas = np.zeros(section.shape, dtype=np.uint8)
        for _ in range(self.count):
            centre = rng.integers(section.shape)
            radius = rng.uniform(*self.radius)
            axes = (max(round(radius), 1), max(round(radius * rng.uniform(0.5, 1)), 1))
            angle = float(rng.uniform(0, 180))
            point = (int(centre[1]), int(centre[0]))
            cv2.ellipse(canvas, point, axes, angle, 0, 360, 255, thickness=-1)
        mask = canvas > 0
        dark, light = _grey_range(section)
        mottle = 0.06 * (light - dark) * smooth_field(section.shape, 4, rng)
        return dark + mottle, mask


@dataclass(frozen=True, slots=True)
class StainingCloud:
    """Uneven staining: contrast fades towards a dark grey, smoothly up to the cloud's border.

    Parameters
    ----------
    fraction
        Share of the section's pixels.
    loss
        Share of the contrast lost in the middle, 0 to 1.
    """

    fraction: float = 0.06
    loss: float = 0.9

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`Damage`."""
        mask = _blob(section.shape, self.fraction, rng)
        weight = self.loss * _soft(mask)
        dark, light = _grey_range(section)
        cloud = dark + 0.3 * (light - dark)
        return section.astype(np.float32) * (1 - weight) + cloud * weight, mask


@dataclass(frozen=True, slots=True)
class Charging:
    """Charging: a bright area that saturates, streaked along the scan direction (x).

    Parameters
    ----------
    fraction
        Share of the section's pixels.
    strength
        Added brightness in the middle, in units of the section's grey range.
    """

    fraction: float = 0.05
    strength: float = 1.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`Damage`."""
        mask = _blob(section.shape, self.fraction, rng)
        dark, light = _grey_range(section)
        streaks = 1 + 0.25 * rng.standard_normal((section.shape[0], 1), dtype=np.float32)
        rise = self.strength * (light - dark) * _soft(mask) * np.clip(streaks, 0.3, None)
        grey = np.minimum(section.astype(np.float32) + rise, light + 0.1 * (light - dark))
        return grey, mask


@dataclass(frozen=True, slots=True)
class Line:
    """A crack (bright) or the dark line of a fold, wandering from border to border.

    Parameters
    ----------
    width
        Width in pixels.
    bright
        True for a crack, False for a fold.
    wander
        Standard deviation of its course about a straight line, pixels.
    """

    width: float = 14.0
    bright: bool = False
    wander: float = 20.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`Damage`."""
        height, width = section.shape
        angle = rng.uniform(0, np.pi)
        normal = np.array([np.sin(angle), np.cos(angle)], dtype=np.float32)
        point = rng.uniform(0.3, 0.7, 2) * (height, width)
        rows, columns = np.ogrid[:height, :width]
        offset = (rows - point[0]) * normal[0] + (columns - point[1]) * normal[1]
        offset = offset + self.wander * smooth_field(section.shape, 120, rng)
        half = self.width / 2 * np.clip(1 + 0.3 * smooth_field(section.shape, 40, rng), 0.4, None)
        mask = np.abs(offset) <= half
        dark, light = _grey_range(section)
        level = light + 0.05 * (light - dark) if self.bright else dark
        grain = 0.03 * (light - dark) * rng.standard_normal(section.shape, dtype=np.float32)
        return level + grain, mask


@dataclass(frozen=True, slots=True)
class Missing:
    """A section, or a rectangle of it, that was lost: constant, as stitching leaves it.

    Parameters
    ----------
    fraction
        Share of the section's pixels; 1 is the whole section.
    """

    fraction: float = 1.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`Damage`."""
        mask = (
            np.ones(section.shape, dtype=bool)
            if self.fraction >= 1
            else rectangular_mask(section.shape, self.fraction, rng)
        )
        return np.full(section.shape, _grey_range(section)[0], dtype=np.float32), mask


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
    return _largest(field, fraction)


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
        raise InputError(f"A masked fraction lies between 0 and 1; {fraction:g} does not.")


def _largest(field: FloatImage, fraction: float) -> BoolImage:
    """Return where ``field`` is among its largest ``fraction`` of values, exactly that many."""
    count = round(fraction * field.size)
    mask = np.zeros(field.size, dtype=bool)
    if count:
        mask[np.argpartition(field.ravel(), -count)[-count:]] = True
    return mask.reshape(field.shape)


def _blob(shape: tuple[int, int], fraction: float, rng: np.random.Generator) -> BoolImage:
    """Return one irregular blob around a random place that covers ``fraction`` of a section."""
    _check_fraction(fraction)
    centre = rng.uniform(0.3, 0.7, 2) * shape
    radius = np.sqrt(max(fraction * shape[0] * shape[1], 1.0) / np.pi)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    away = np.hypot(rows - centre[0], columns - centre[1]).astype(np.float32) / radius
    rough = smooth_field(shape, radius, rng) + 0.3 * smooth_field(shape, radius / 4, rng)
    return _largest(0.3 * rough - away, fraction)


def _soft(mask: BoolImage) -> FloatImage:
    """Return a weight that rises from the border of ``mask`` (just above 0) to 1 inside."""
    import cv2

    padded = np.pad(mask, 1, constant_values=True).astype(np.uint8)
    distance = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5))[1:-1, 1:-1]
    ramp = max(float(distance.max()) / 2, 1.0)
    return np.minimum(distance / ramp, 1.0).astype(np.float32)


def _grey_range(section: AnyImage) -> tuple[float, float]:
    """Return the 1st and 99th percentile of (at most about 65 000 pixels of) a section."""
    step = max(int(np.sqrt(section.size / 65536)), 1)
    dark, light = np.percentile(section[::step, ::step].astype(np.float32), (1, 99))
    return float(dark), float(light)


def _to_dtype(values: FloatImage, dtype: np.dtype) -> AnyImage:
    """Return ``values`` rounded and cut to what ``dtype`` can hold."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.clip(np.rint(values), info.min, info.max).astype(dtype)
    return values.astype(dtype)
