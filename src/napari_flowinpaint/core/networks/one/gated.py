"""Gated convolutions and LARN (Extend-GAN, sections II-A and II-B, equations 2 and 5-8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import Conv3

#: The paper's epsilon: keeps means and deviations of a region of no weight finite.
EPSILON = 1e-3


def region_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Return eq. 7: the mean of every channel under a weight, (B, C, 1, 1).

    Parameters
    ----------
    x
        (B, C, H, W).
    weight
        (B, C, H, W), 0..1.
    """
    over = (2, 3)
    total = (x * weight).sum(dim=over, keepdim=True)
    return total / (EPSILON + weight.sum(dim=over, keepdim=True))


def region_deviation(x: Tensor, weight: Tensor) -> Tensor:
    """Return eq. 8: the standard deviation of every channel under a weight, (B, C, 1, 1).

    The paper's numerator has no weight, so that it sums over the whole map and divides by the
    region: a small region seems the more contrasted the smaller it is. Here the squares are
    weighted, as its text has it ("weighted mean and standard deviation").

    Parameters
    ----------
    x, weight
        As for :func:`region_mean`.
    """
    over = (2, 3)
    off = (x - region_mean(x, weight)).square() * weight
    variance = off.sum(dim=over, keepdim=True) / (EPSILON + weight.sum(dim=over, keepdim=True))
    # the root of 0 has no slope
    return (variance + EPSILON**2).sqrt() + EPSILON


class LARN(nn.Module):
    """Learnable adaptive region normalisation, eq. 5 and 6.

    Where the soft mask is 1, features get the mean and the deviation of where it is 0, scaled by
    what is learned; there they stay as they are.

    Parameters
    ----------
    channels
        Of the features; each has a ``gamma`` and a ``beta`` of its own, 1 before training.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the normalised features, (B, C, H, W).

        Parameters
        ----------
        x
            (B, C, H, W).
        mask
            (B, C, H, W), 0..1, soft.
        """
        # sums over a map need single precision
        with torch.autocast(x.device.type, enabled=False):
            wide, weight = x.float(), mask.float()
            known = 1 - weight
            scale = self.gamma * region_deviation(wide, known) / region_deviation(wide, weight)
            shift = self.beta * region_mean(wide, known) - scale * region_mean(wide, weight)
            moved = wide * scale + shift
            return (wide + weight * (moved - wide)).to(x.dtype)


class GatedConv(nn.Module):
    """A gated convolution (eq. 2; Yu et al. 2019) and LARN behind it.

    Both filters, of features and gates, are one convolution of twice the channels. LARN's soft
    mask is the gate, as in the paper's figure 3.

    Parameters
    ----------
    inputs, outputs
        Channels.
    stride, dilation
        Of the convolution, 3 x 3.
    larn
        Whether there is LARN (without: the paper's ablation).
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1, larn: bool = True
    ) -> None:
        super().__init__()
        self.both = Conv3(inputs, 2 * outputs, stride, dilation)
        self.larn = LARN(outputs) if larn else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        features, gates = self.both(x).chunk(2, dim=1)
        mask = torch.sigmoid(gates)
        gated = F.leaky_relu(features, 0.1) * mask
        return gated if self.larn is None else self.larn(gated, mask)
