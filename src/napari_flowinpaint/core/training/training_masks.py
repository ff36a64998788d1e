"""Random masks for training: irregular, rectangular, elongated, touching the border.

Drawn from low-resolution noise enlarged by torch, so that a mask costs a millisecond.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..types import BoolImage, FloatImage

#: Shares of the kinds of masks.
_KINDS = {"irregular": 0.65, "rectangle": 0.15, "line": 0.12, "border": 0.08}


def training_mask(
    size: int, rng: np.random.Generator, fractions: tuple[float, float] = (0.05, 0.6)
) -> BoolImage:
    """Return a random mask, True = damaged.

    Parameters
    ----------
    size
        Side of the square mask.
    rng
        Source of randomness.
    fractions
        Smallest and largest masked share.
    """
    kind = rng.choice(list(_KINDS), p=list(_KINDS.values()))
    fraction = float(rng.uniform(*fractions))
    if kind == "rectangle":
        return _rectangle(size, fraction, rng)
    if kind == "line":
        field = -np.abs(_slope(size, rng) + 0.05 * size * _noise(size, size / 3, rng))
        fraction = min(fraction, 0.25)
    elif kind == "border":
        field = _slope(size, rng) + 0.1 * size * _noise(size, size / 4, rng)
    else:
        widest = max(90.0, 0.4 * size)  # damage of a large window is large
        scale = float(np.exp(rng.uniform(np.log(8), np.log(widest))))
        field = _noise(size, scale, rng) + 0.3 * _noise(size, scale / 4, rng)
    return field > np.quantile(field, 1 - fraction)


def _rectangle(size: int, fraction: float, rng: np.random.Generator) -> BoolImage:
    aspect = float(np.exp(rng.uniform(-0.7, 0.7)))
    height = int(np.clip(size * np.sqrt(fraction * aspect), 8, size))
    width = int(np.clip(fraction * size * size / height, 8, size))
    y, x = rng.integers(size - height + 1), rng.integers(size - width + 1)
    mask = np.zeros((size, size), dtype=bool)
    mask[y : y + height, x : x + width] = True
    return mask


def _slope(size: int, rng: np.random.Generator) -> FloatImage:
    """Return the signed distance to a random line through the middle part."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = rng.uniform(0.2, 0.8, 2) * size
    rows, columns = np.ogrid[:size, :size]
    return ((rows - y) * np.sin(angle) + (columns - x) * np.cos(angle)).astype(np.float32)


def _noise(size: int, scale: float, rng: np.random.Generator) -> FloatImage:
    """Return smooth noise of a correlation length of about ``scale`` pixels, unit variance."""
    cells = int(np.clip(np.ceil(size / max(scale, 2.0)), 1, size)) + 3
    coarse = torch.from_numpy(rng.standard_normal((1, 1, cells, cells), dtype=np.float32))
    side = int(np.ceil(cells * size / (cells - 3)))
    fine = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    y, x = rng.integers(side - size + 1, size=2)
    field = fine[0, 0, y : y + size, x : x + size].numpy()
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)
