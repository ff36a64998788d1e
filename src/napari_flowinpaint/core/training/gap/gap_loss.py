"""The loss inside a gap: squared error, structural similarity, squared error of the gradients.

Masto, section 4.3: the sum of MSE and SSIM, and the MSE between the gradients of truth and
prediction, all inside the gap. Different here:

- The terms have weights, which the paper does not give.
- There is a fourth term, the MSE of low-passed images: most of the other errors are grain, which
  cannot be predicted and hides what can be learned.
- The loss of a sample is divided by the error of the interpolation, so that narrow gaps count as
  much as wide ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...networks.blocks import gaussian

#: Weights of the error of low-passed images, the error, that of the gradients, and 1 - SSIM.
STRUCTURE, ERROR, GRADIENTS, SIMILARITY = 4.0, 0.5, 0.1, 0.05
#: Width of that low-pass, voxels, and what is added to the error of the interpolation.
_SIGMA, _LEAST = 2.0, 0.02
#: Of the SSIM (Wang et al. 2004): window, and stabilising constants for values that span
#: six standard deviations.
_WINDOW, _SPAN = 1.5, 6.0
_C1, _C2 = (0.01 * _SPAN) ** 2, (0.03 * _SPAN) ** 2


def gap_loss(filled: Tensor, start: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """Return the loss of filled layers.

    Parameters
    ----------
    filled, start, truth
        (B, C, H, W): predicted, interpolated, true.
    inside
        (B, C, H, W), 1 in the gap.
    """
    loss = STRUCTURE * structure_error(filled, truth, inside)
    loss = loss + ERROR * squared_error(filled, truth, inside)
    loss = loss + GRADIENTS * gradient_error(filled, truth, inside)
    loss = loss + SIMILARITY * (1 - similarity(filled, truth, inside))
    with torch.no_grad():
        scale = structure_error(start, truth, inside) + _LEAST
    return (loss / scale).mean()


def mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """Return the mean of values in the gap, (B,)."""
    return (values * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp_min(1)


def structure_error(filled: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """Return the MSE in the gap after a low-pass of each layer, (B,)."""
    return mean_inside(gaussian((filled - truth) * inside, _SIGMA).square(), inside)


def squared_error(filled: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """Return the MSE in the gap, (B,)."""
    return mean_inside((filled - truth).square(), inside)


def gradient_error(filled: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """Return the MSE of the differences of voxels side by side, of which one is in the gap.

    (B,), mean over the three directions.
    """
    off = filled - truth
    parts = []
    for axis in (1, 2, 3):
        length = off.shape[axis] - 1
        either = torch.maximum(inside.narrow(axis, 0, length), inside.narrow(axis, 1, length))
        parts.append(mean_inside(off.diff(dim=axis).square(), either))
    return torch.stack(parts).mean(dim=0)


def similarity(filled: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """Return the mean SSIM in the gap, (B,), over windows in each layer."""
    means = gaussian(torch.cat([filled, truth]), _WINDOW)
    squares = gaussian(torch.cat([filled * filled, truth * truth, filled * truth]), _WINDOW)
    mean_a, mean_b = means.chunk(2)
    aa, bb, ab = squares.chunk(3)
    product = mean_a * mean_b
    powers = mean_a.square() + mean_b.square()
    spread = aa + bb - powers
    top = (2 * product + _C1) * (2 * (ab - product) + _C2)
    return mean_inside(top / ((powers + _C1) * (spread.clamp_min(0) + _C2)), inside)
