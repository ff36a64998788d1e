"""Smooth random fields, from which both the synthetic tissue and its damage are made."""

from __future__ import annotations

import numpy as np

from ..types import FloatImage


class SmoothVolume:
    """Sections of a random field that is smooth in y, x and z.

    White noise on a grid coarser than the image, smoothed, and enlarged with cubic
    interpolation one section at a time: neither time nor memory depend much on the
    correlation length, so that masks of large sections stay cheap.

    Parameters
    ----------
    depth
        Number of sections.
    shape
        (Y, X) of each section.
    scale
        Correlation length in y and x, pixels; at least 1 is used.
    scale_z
        Correlation length in z, sections; 0 makes the sections independent.
    rng
        Source of randomness.
    """

    def __init__(
        self,
        depth: int,
        shape: tuple[int, int],
        scale: float,
        scale_z: float,
        rng: np.random.Generator,
    ) -> None:
        from scipy.ndimage import gaussian_filter

        self.shape = shape
        self._step = max(round(scale / 2), 1)  # two grid points per correlation length
        self._margin = 2  # the borders of the grid fall outside the image
        grid = tuple(-(-n // self._step) + 2 * self._margin for n in shape)
        around = int(np.ceil(3 * scale_z))  # so that the first and last section are like others
        noise = rng.standard_normal((depth + 2 * around, *grid), dtype=np.float32)
        noise = gaussian_filter(noise, (scale_z, 1.0, 1.0), mode="nearest")
        noise /= max(float(noise.std()), 1e-6)
        self._grid = noise[around : around + depth]

    def section(self, z: int) -> FloatImage:
        """Return section ``z``: (Y, X) float32 of about zero mean and unit variance."""
        import cv2

        # cv2.resize, not a warp: a warp rounds positions to 1/32 of a grid cell, which shows
        # as stairs once a cell is many pixels wide
        coarse, step, margin = self._grid[z], self._step, self._margin
        size = (coarse.shape[1] * step, coarse.shape[0] * step)
        fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        first = margin * step
        return fine[first : first + self.shape[0], first : first + self.shape[1]]


def smooth_field(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> FloatImage:
    """Return one section of a :class:`SmoothVolume`.

    Parameters
    ----------
    shape
        (Y, X) of the field.
    scale
        Correlation length in pixels; at least 1 is used.
    rng
        Source of randomness.

    Returns
    -------
    FloatImage
        (Y, X) float32 of about zero mean and unit variance.
    """
    return SmoothVolume(1, shape, scale, 0.0, rng).section(0)
