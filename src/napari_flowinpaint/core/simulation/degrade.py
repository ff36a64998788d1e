"""Damage that changes or moves tissue instead of replacing it; see :mod:`.simulate`.

Saturation, loss of contrast, defocus, bursts of noise and a section that lies elsewhere. Each keeps
the promises of :class:`~.simulate.DamageModel`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..filters import blur
from ..types import AnyImage, BoolImage, FloatImage
from .shapes import blob, grey_range, soft


def _place(shape: tuple[int, int], fraction: float, rng: np.random.Generator) -> BoolImage:
    """Return one blob, or everything where ``fraction`` is 1."""
    return np.ones(shape, dtype=bool) if fraction >= 1 else blob(shape, fraction, rng)


@dataclass(frozen=True, slots=True)
class Saturated:
    """A region that is clipped: every pixel has the largest (or smallest) value of the section.

    Parameters
    ----------
    fraction
        Share of the section's pixels.
    bright
        Whether it is clipped at the top.
    """

    fraction: float = 0.03
    bright: bool = True

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`~.simulate.DamageModel`."""
        mask = blob(section.shape, self.fraction, rng)
        level = float(section.max() if self.bright else section.min())
        return np.full(section.shape, level, dtype=np.float32), mask


@dataclass(frozen=True, slots=True)
class ContrastLoss:
    """Weak staining: grey values shrink towards their mean.

    Parameters
    ----------
    fraction
        Share of the section's pixels; 1 is the whole section.
    loss
        Share of the contrast lost, 0 to 1; in a region it fades in from the border.
    """

    fraction: float = 1.0
    loss: float = 0.6

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`~.simulate.DamageModel`."""
        mask = _place(section.shape, self.fraction, rng)
        weight = self.loss * (soft(mask) if self.fraction < 1 else np.float32(1))
        grey = section.astype(np.float32)
        mean = float(np.mean(grey_range(section)))
        return grey * (1 - weight) + mean * weight, mask


@dataclass(frozen=True, slots=True)
class Blur:
    """Defocus: fine detail is gone; the grain of the camera comes after it and may stay.

    Parameters
    ----------
    fraction
        Share of the section's pixels; 1 is the whole section.
    sigma
        Standard deviation of the blur, pixels.
    grain
        Share of the fine grain (below 1 pixel) that is put back.
    """

    fraction: float = 1.0
    sigma: float = 3.0
    grain: float = 0.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`~.simulate.DamageModel`."""
        mask = _place(section.shape, self.fraction, rng)
        grey = section.astype(np.float32)
        spread = self.grain * float((grey - blur(grey, 1.0)).std())
        noise = spread * rng.standard_normal(section.shape, dtype=np.float32)
        return blur(grey, self.sigma) + noise, mask


@dataclass(frozen=True, slots=True)
class NoiseBurst:
    """Rows that are drowned in noise: a beam that flickers, a detector that is disturbed.

    Parameters
    ----------
    fraction
        Share of the section's rows, which are consecutive.
    strength
        Standard deviation of the noise, in units of the section's grey range, to which it is cut.
    """

    fraction: float = 0.2
    strength: float = 0.7

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`~.simulate.DamageModel`."""
        height = section.shape[0]
        rows = min(max(round(self.fraction * height), 1), height)
        first = int(rng.integers(0, height - rows + 1))
        mask = np.zeros(section.shape, dtype=bool)
        mask[first : first + rows] = True
        dark, light = grey_range(section)
        noise = self.strength * (light - dark) * rng.standard_normal(section.shape, np.float32)
        return np.clip(section.astype(np.float32) + noise, dark, light), mask


@dataclass(frozen=True, slots=True)
class Misaligned:
    """A section that lies elsewhere: shifted and rotated; all of it is damaged.

    What comes in from outside is the section mirrored at its border: tissue, as it would be in a
    larger section.

    Parameters
    ----------
    shift
        Length of the shift in pixels; its direction is drawn.
    angle
        Rotation about the centre, degrees.
    """

    shift: float = 60.0
    angle: float = 0.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`~.simulate.DamageModel`."""
        import cv2

        height, width = section.shape
        direction = rng.uniform(0, 2 * np.pi)
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), self.angle, 1.0)
        turn[0, 2] += self.shift * np.cos(direction)
        turn[1, 2] += self.shift * np.sin(direction)
        moved = cv2.warpAffine(
            section.astype(np.float32),
            turn,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(moved, dtype=np.float32), np.ones(section.shape, dtype=bool)
