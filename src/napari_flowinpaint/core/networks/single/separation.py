"""Interactive separation network: one branch at full resolution, one at falling resolution.

Section III of the paper. Four phases follow each other; in each, residual blocks treat both
branches (*inpainting*), each branch is brought to the resolution of the other (*interaction*) and
joined with it (*aggregation*). The low branch halves its resolution in every phase, the high one
keeps it. At the end both are joined once more (*final fusion*).

Departures from the paper, each for training within hours on a CPU:

* what comes in is the section with its holes filled smoothly, beside the mask; what comes out is
  added to that fill, and begins at zero. The paper's network sees holes of one value and makes
  the whole image;
* "full resolution" is that of squares of ``shrink`` pixels, which become channels;
* one residual block a branch and phase (the paper has four), 48 to 56 channels (32 to 512),
  sub-pixel layers of 1 × 1 convolutions (the paper does not give their kernel);
* leaky rectifiers instead of tanh, and no spectral normalisation, which stabilises training against
  an adversary: here there is no adversary.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ..blocks import conv, join
from ..config import Config


@dataclass(frozen=True)
class SeparationConfig(Config):
    """Hyper-parameters of :class:`SeparationNetwork`.

    Parameters
    ----------
    channels
        Of the resolutions, highest first; there is one phase fewer than resolutions.
    residual
        Residual blocks per branch and phase.
    shrink
        Side of the squares of pixels that become channels; 1, 2 or 4.
    """

    channels: tuple[int, ...] = (48, 48, 48, 48, 56)
    residual: int = 1
    shrink: int = 4

    def __post_init__(self) -> None:
        self._widths("channels", 2, 6)
        self._whole("residual", 1, 8)
        self._whole("shrink", 1, 4)
        if self.shrink == 3:
            raise InputError("the network's 'shrink' must be 1, 2 or 4")

    @property
    def phases(self) -> int:
        """Number of phases."""
        return len(self.channels) - 1

    @property
    def multiple(self) -> int:
        """What the sides of images must be whole multiples of."""
        return int(self.shrink * 2**self.phases)


class PlainResidualBlock(nn.Module):
    """Two 3 × 3 convolutions, and the input added to what they make."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        return F.leaky_relu(features + self.body(features), 0.1)


def sub_pixel(inputs: int, outputs: int) -> nn.Sequential:
    """Return a layer that doubles the resolution: four channels become a square of pixels."""
    return nn.Sequential(
        nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2), nn.LeakyReLU(0.1, inplace=True)
    )


def _downwards(channels: tuple[int, ...]) -> nn.Sequential:
    """Return convolutions with stride 2 that lead from the first resolution to the last."""
    return nn.Sequential(*(conv(a, b, stride=2) for a, b in pairwise(channels)))


def _upwards(channels: tuple[int, ...]) -> nn.Sequential:
    """Return sub-pixel layers that lead from the last resolution to the first."""
    return nn.Sequential(*(sub_pixel(a, b) for a, b in pairwise(channels[::-1])))


class Phase(nn.Module):
    """Inpainting, interaction and aggregation (figure 4 of the paper).

    Parameters
    ----------
    config
        Of the network.
    number
        Number of the phase, from 1. The first has no low branch yet.
    """

    def __init__(self, config: SeparationConfig, number: int) -> None:
        super().__init__()
        widths = config.channels[: number + 1]
        high, before, low = widths[0], widths[-2], widths[-1]
        self.first = number == 1

        def blocks(width: int) -> nn.Sequential:
            return nn.Sequential(*(PlainResidualBlock(width) for _ in range(config.residual)))

        self.paint_high = blocks(high)
        self.high_to_low = _downwards(widths)
        self.join_high = conv(high if self.first else 2 * high, high)
        self.join_low = conv(low if self.first else 2 * low, low)
        if not self.first:
            self.paint_low = blocks(before)
            self.low_to_low = conv(before, low, stride=2)
            self.low_to_high = _upwards(widths[:-1])

    def forward(self, high: Tensor, low: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return both branches after the phase; ``low`` is None in the first."""
        high = self.paint_high(high)
        down = self.high_to_low(high)
        if low is None:
            return self.join_high(high), self.join_low(down)
        low = self.paint_low(low)
        up = self.low_to_high(low)
        return self.join_high(join(high, up)), self.join_low(join(self.low_to_low(low), down))


def _begin(module: nn.Module) -> None:
    """Let what passes a convolution keep its variance: there are some thirty in a row."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=0.1)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, PlainResidualBlock):  # after its convolutions
        last: Any = module.body[1]
        last.weight.data.mul_(0.3)


class SeparationNetwork(nn.Module):
    """Improves the smooth fill of a section's holes from what surrounds them."""

    def __init__(self, config: SeparationConfig | None = None) -> None:
        super().__init__()
        self.config = config or SeparationConfig()
        high, square = self.config.channels[0], self.config.shrink**2
        self.embed = conv(2 * square, high)
        self.phases = nn.ModuleList(Phase(self.config, n + 1) for n in range(self.config.phases))
        self.rise = _upwards(self.config.channels)
        self.fuse = conv(2 * high, high)
        self.last = nn.Conv2d(high, square, 3, padding=1)
        self.apply(_begin)
        nn.init.zeros_(self.last.weight)

    def forward(self, filled: Tensor, known: Tensor) -> Tensor:
        """Return the section (B, 1, H, W) as the network paints it, known pixels included.

        Parameters
        ----------
        filled
            (B, 1, H, W), the section, normalised by its known pixels, its holes filled smoothly.
        known
            (B, 1, H, W), 1 where the section is known, 0 in its holes. Sides are multiples of
            ``config.multiple``.
        """
        pair = torch.cat([filled, 1 - known], dim=1)
        small = F.pixel_unshuffle(pair, self.config.shrink)
        high: Tensor = self.embed(small.contiguous(memory_format=torch.channels_last))
        low: Tensor | None = None
        for phase in self.phases:
            high, low = phase(high, low)
        added = self.last(self.fuse(join(high, self.rise(low)))).float()
        return filled + F.pixel_shuffle(added, self.config.shrink)


#: Named sizes; "paper" is the network as wide and as deep as the paper's, for a GPU.
SEPARATION_SIZES = {
    "small": SeparationConfig(),
    "base": SeparationConfig((48, 64, 96, 128, 160), residual=2),
    "paper": SeparationConfig((32, 64, 128, 256, 512), residual=4, shrink=1),
}
