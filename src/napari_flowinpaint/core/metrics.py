"""How close a repaired section is to the truth, measured inside the mask only.

A metric over the whole section flatters: the intact pixels are perfect by construction (about
5 dB at a mask of 30 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .filters import blur, fine_scales
from .types import AnyImage, BoolImage, FloatImage

#: Width, in pixels, of the low-pass before the structure PSNR.
STRUCTURE_SIGMA = 2.0


@dataclass(frozen=True)
class Scores:
    """Scores of one repair.

    Parameters
    ----------
    structure_psnr
        dB, after a Gaussian low-pass of 2 px on both images: the figure to steer by, since the
        grain of an EM section cannot be predicted.
    psnr
        dB, plain.
    ssim
        -1..1, mean of the SSIM map inside the mask (window 7).
    detail
        High-frequency energy of the repair over that of the truth: 1 is right, below is blur.
    """

    structure_psnr: float
    psnr: float
    ssim: float
    detail: float


def score(repaired: AnyImage, truth: AnyImage, mask: BoolImage, data_range: float) -> Scores:
    """Score a repaired section inside its mask.

    Parameters
    ----------
    repaired
        (Y, X), the section with its masked pixels replaced.
    truth
        (Y, X), the section before it was damaged.
    mask
        (Y, X) bool, True = replaced; at least one pixel.
    data_range
        Grey values between black and white, see :func:`data_range`.
    """
    from skimage.metrics import structural_similarity

    a, b = repaired.astype(np.float32), truth.astype(np.float32)
    side = min(7, *(n - 1 + n % 2 for n in a.shape))
    _, ssim = structural_similarity(a, b, data_range=data_range, win_size=side, full=True)
    energy = float(np.mean(fine_scales(b)[mask] ** 2))
    return Scores(
        structure_psnr=psnr(blur(a, STRUCTURE_SIGMA), blur(b, STRUCTURE_SIGMA), mask, data_range),
        psnr=psnr(a, b, mask, data_range),
        ssim=float(ssim[mask].mean()),
        detail=float(np.mean(fine_scales(a)[mask] ** 2)) / max(energy, 1e-12),
    )


def psnr(a: FloatImage, b: FloatImage, mask: BoolImage, data_range: float) -> float:
    """Return the peak signal-to-noise ratio inside the mask, in dB; infinite when equal."""
    error = float(np.mean((a[mask].astype(np.float64) - b[mask]) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def is_eight_bit(dtype: np.dtype[Any]) -> bool:
    """Return whether grey values are integers of 8 bits, signed or not."""
    return dtype.kind in "iu" and dtype.itemsize == 1


def black(section: AnyImage) -> float:
    """Return the grey value of black, from which :func:`data_range` leads to white.

    The smallest of 8-bit integers; for other dtypes the 0.1st percentile of the section.
    """
    if is_eight_bit(section.dtype):
        return float(np.iinfo(section.dtype).min)
    return float(np.percentile(section[np.isfinite(section)], 0.1))


def data_range(section: AnyImage) -> float:
    """Return the grey values between black and white.

    255 for 8-bit integers, as is usual; for other dtypes, whose range says nothing about the
    image, the span of the 0.1st to the 99.9th percentile of the section.
    """
    if is_eight_bit(section.dtype):
        return 255.0
    low, high = np.percentile(section[np.isfinite(section)], (0.1, 99.9))
    return max(float(high - low), 1e-12)
