"""Interpolation between two sections by a kernel prediction network (KPN).

Every pixel of the section in between is a weighted sum of the pixels around it in both
neighbours; the weights are two separable kernels a neighbour, predicted for every pixel (Niklaus,
Mai and Liu, "Video frame interpolation via adaptive separable convolution", ICCV 2017; eq. 2). It
is trained by the L1 distance alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ..blocks import enlarge
from ..config import Config
from .unet import ResidualUNet, shrink

#: The kernels are predicted at half the resolution, as there.
_SHRINK = 2


@dataclass(frozen=True)
class KpnConfig(Config):
    """Hyper-parameters of :class:`KernelPredictionNetwork`.

    Parameters
    ----------
    channels
        Of the U-Net's levels, finest (half resolution) first.
    taps
        Length of the kernels, odd: tissue may have moved by half of it.
    """

    channels: tuple[int, ...] = (24, 32, 48, 64)
    taps: int = 25

    def __post_init__(self) -> None:
        self._widths("channels", 1, 6)
        self._whole("taps", 1, 101)
        if self.taps % 2 == 0:
            raise InputError("the network's 'taps' must be odd")

    @property
    def multiple(self) -> int:
        """What the sides of images must be whole multiples of."""
        return int(_SHRINK * 2 ** (len(self.channels) - 1))


class KernelPredictionNetwork(nn.Module):
    """Interpolates a section from its neighbours."""

    def __init__(self, config: KpnConfig) -> None:
        super().__init__()
        self.config = config
        self.net = ResidualUNet(2 * _SHRINK**2, config.channels, 4 * config.taps)
        _begin_as_mean(self.net.last, config.taps)

    def forward(self, previous: Tensor, following: Tensor) -> Tensor:
        """Return the section in between.

        Parameters
        ----------
        previous, following
            (B, 1, H, W), normalised; sides are multiples of ``config.multiple``.
        """
        pair = torch.cat([previous, following], dim=1)
        kernels = enlarge(self.net(shrink(pair, _SHRINK)), _SHRINK).float()
        planes = kernels.unflatten(1, (4, self.config.taps)).permute(1, 2, 0, 3, 4).contiguous()
        sums = [
            apply_separable(image, planes[2 * n], planes[2 * n + 1])
            for n, image in enumerate((previous, following))
        ]
        return sums[0] + sums[1]


def apply_separable(image: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return the sum of an image's pixels around every pixel, weighted by its own kernel.

    ``out(y, x) = sum_ij down[i](y, x) across[j](y, x) image(y + i - r, x + j - r)`` with ``r``
    half the kernel's length; edges are replicated. No gradient goes to the image.

    Parameters
    ----------
    image
        (B, 1, H, W) float32.
    down, across
        (K, B, H, W) float32, K odd.
    """
    radius = down.shape[0] // 2
    padded = F.pad(image.float(), (radius,) * 4, mode="replicate")[:, 0]
    with torch.autocast(image.device.type, enabled=False):
        out: Tensor = _Separable.apply(padded.detach(), down, across)
    return out[:, None]


class _Separable(torch.autograd.Function):
    """The sum plane by plane: no patch is ever copied, and what is summed stays in the cache."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """From (B, H + 2r, W + 2r) and twice (K, B, H, W) to (B, H, W)."""
        height, width = down.shape[-2:]
        rows = torch.zeros_like(down)  # what is left to be summed over the rows
        for i, row in enumerate(rows):
            for j, weight in enumerate(across):
                row.addcmul_(weight, padded[:, i : i + height, j : j + width])
        ctx.save_for_backward(padded, down, across, rows)
        return (down * rows).sum(dim=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        """No gradient to the image, and those to both kernels."""
        padded, down, across, rows = ctx.saved_tensors
        height, width = down.shape[-2:]
        to_across = torch.zeros_like(across)
        for i, weight in enumerate(down * grad):
            for j, sum_ in enumerate(to_across):
                sum_.addcmul_(weight, padded[:, i : i + height, j : j + width])
        return None, rows * grad, to_across


def _begin_as_mean(last: nn.Conv2d, taps: int) -> None:
    """Let the network begin with the mean of both neighbours, low-passed a little."""
    place = torch.arange(taps, dtype=torch.float32) - taps // 2
    kernel = torch.exp(-0.5 * place.square())
    kernel = kernel / kernel.sum()
    assert last.bias is not None
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.copy_(torch.cat([0.5 * kernel, kernel, 0.5 * kernel, kernel]))


#: Named sizes.
KPN_SIZES = {"small": KpnConfig(), "base": KpnConfig((48, 64, 96, 128), 51)}
