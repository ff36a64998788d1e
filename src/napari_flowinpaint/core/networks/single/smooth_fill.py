"""The smoothest image that continues the intact pixels: a discrete harmonic function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Sweeps of Jacobi's method at every resolution, the finest last.
_SWEEPS = 8


def smooth_fill(image: Tensor, known: Tensor) -> Tensor:
    """Fill what is not known with the mean of its neighbouring pixels, all over.

    That is Laplace's equation with the known pixels as its boundary, solved at ever finer
    resolutions, each beginning with the one before.

    Parameters
    ----------
    image
        (B, 1, H, W); what is not known is not looked at.
    known
        (B, 1, H, W), 1 where known, 0 elsewhere.

    Returns
    -------
    Tensor
        (B, 1, H, W) float32, ``image`` where known; 0 where nothing at all is known.
    """
    there = (known > 0.5).float()
    return _filled(torch.where(there > 0, image.float(), torch.zeros(())), there)


def _filled(image: Tensor, known: Tensor) -> Tensor:
    """Fill an image that is zero where not known."""
    height, width = image.shape[-2:]
    if max(height, width) == 1 or bool((known > 0).all()):
        return image
    padding = (0, width % 2, 0, height % 2)
    share = F.avg_pool2d(F.pad(known, padding), 2)
    mean = F.avg_pool2d(F.pad(image, padding), 2) / share.clamp_min(1e-6)
    coarse = _filled(mean, (share > 0).float())
    finer = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    filled = torch.where(known > 0, image, finer[..., :height, :width])
    for _ in range(_SWEEPS):
        filled = torch.where(known > 0, image, _mean_of_neighbours(filled))
    return filled


def _mean_of_neighbours(image: Tensor) -> Tensor:
    """Return the mean of the four pixels beside each; edges are replicated."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    across = wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:]
    return (across + wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1]) / 4
