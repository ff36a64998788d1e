"""Damage made on purpose, with its exact mask: for tests, benchmarks, the demo and training.

Every kind of damage is a frozen description with ``draw(section, rng)``. What all of them keep:

* the result has the section's shape and dtype, whatever the dtype;
* pixels outside the mask are bit-identical to the section's;
* grey values are taken from the section's own range (its 1st and 99th percentile), so that
  stacks of any contrast and either polarity get damage that fits;
* the same seed gives the same damage.

Here is what replaces tissue; what changes or moves it is in :mod:`.degrade` and :mod:`.fold`, and
:mod:`.draw` draws any kind at random size and strength.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import InputError
from ..types import AnyImage, BoolImage, FloatImage, to_dtype
from .fields import smooth_field
from .shapes import blob, grey_range, irregular_mask, rectangular_mask, soft


class DamageModel(Protocol):
    """One kind of damage."""

    def draw(
        self, section: AnyImage, rng: np.random.Generator
    ) -> tuple[FloatImage, BoolImage]:  # pragma: no cover
        """Return grey values (float32) and where they replace the section's (bool)."""
        ...


def damage_section(
    section: AnyImage, damage: DamageModel, *, seed: int
) -> tuple[AnyImage, BoolImage]:
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
        raise InputError(f"this array has {section.ndim} axes; give a section of two (y, x).")
    grey, mask = damage.draw(section, np.random.default_rng(seed))
    damaged = section.copy()
    damaged[mask] = to_dtype(grey[mask], section.dtype)
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
        """See :class:`DamageModel`."""
        mask = blob(section.shape, self.fraction, rng)
        dark, light = grey_range(section)
        level = light + 0.05 * (light - dark) if self.bright else dark
        grain = 0.02 * (light - dark) * rng.standard_normal(section.shape, dtype=np.float32)
        return level + grain, mask


@dataclass(frozen=True, slots=True)
class Debris:
    """Stain precipitate or dirt: many small dark (or bright) blobs.

    Parameters
    ----------
    count
        Number of blobs.
    radius
        Smallest and largest radius, pixels.
    bright
        Whether the blobs are bright.
    excess
        How far beyond the section's own range they are, in units of that range.
    """

    count: int = 25
    radius: tuple[float, float] = (3.0, 14.0)
    bright: bool = False
    excess: float = 0.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`DamageModel`."""
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
        dark, light = grey_range(section)
        mottle = 0.06 * (light - dark) * smooth_field(section.shape, 4, rng)
        beyond = self.excess * (light - dark)
        return (light + beyond if self.bright else dark - beyond) + mottle, mask


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
        """See :class:`DamageModel`."""
        mask = blob(section.shape, self.fraction, rng)
        weight = self.loss * soft(mask)
        dark, light = grey_range(section)
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
        """See :class:`DamageModel`."""
        mask = blob(section.shape, self.fraction, rng)
        dark, light = grey_range(section)
        streaks = 1 + 0.25 * rng.standard_normal((section.shape[0], 1), dtype=np.float32)
        rise = self.strength * (light - dark) * soft(mask) * np.clip(streaks, 0.3, None)
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
        """See :class:`DamageModel`."""
        height, width = section.shape
        angle = rng.uniform(0, np.pi)
        normal = np.array([np.sin(angle), np.cos(angle)], dtype=np.float32)
        point = rng.uniform(0.3, 0.7, 2) * (height, width)
        rows, columns = np.ogrid[:height, :width]
        offset = (rows - point[0]) * normal[0] + (columns - point[1]) * normal[1]
        offset = offset + self.wander * smooth_field(section.shape, 120, rng)
        half = self.width / 2 * np.clip(1 + 0.3 * smooth_field(section.shape, 40, rng), 0.4, None)
        mask = np.abs(offset) <= half
        dark, light = grey_range(section)
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
    bright
        Whether what is missing was filled with a bright value.
    noise
        Standard deviation of the noise in it, in units of the section's grey range; a camera
        without a section leaves some.
    """

    fraction: float = 1.0
    bright: bool = False
    noise: float = 0.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`DamageModel`."""
        mask = (
            np.ones(section.shape, dtype=bool)
            if self.fraction >= 1
            else rectangular_mask(section.shape, self.fraction, rng)
        )
        dark, light = grey_range(section)
        grey = np.full(section.shape, light if self.bright else dark, dtype=np.float32)
        if self.noise > 0:
            spread = self.noise * (light - dark)
            grey += spread * rng.standard_normal(section.shape, dtype=np.float32)
        return grey, mask


__all__ = [
    "Charging",
    "DamageModel",
    "Debris",
    "Hole",
    "Line",
    "Missing",
    "StainingCloud",
    "damage_section",
    "irregular_mask",
    "rectangular_mask",
]
