"""A residual U-Net: blocks of three convolutions with a skip connection.

The paper's has four down-sampling and four up-sampling blocks at the image's resolution. Here a
network may also take squares of pixels as channels first (``shrink``), which loses nothing and is
many times faster on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import conv, enlarge, join


class ResidualBlock(nn.Module):
    """Three 3 × 3 convolutions, and the input added to what they make.

    Parameters
    ----------
    inputs, outputs
        Channels; where they differ the skip connection is a 1 × 1 convolution.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, outputs), conv(outputs, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        return F.leaky_relu(self.skip(features) + self.body(features), 0.1)


class ResidualUNet(nn.Module):
    """U-Net of residual blocks.

    Parameters
    ----------
    inputs, outputs
        Channels.
    channels
        Of the levels, finest first; every level halves the resolution.
    """

    def __init__(self, inputs: int, channels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        finer, coarser = channels[:-1], channels[1:]
        self.first = ResidualBlock(inputs, channels[0])
        self.down = nn.ModuleList(
            nn.Sequential(conv(a, b, stride=2), ResidualBlock(b, b))
            for a, b in zip(finer, coarser, strict=True)
        )
        self.up = nn.ModuleList(
            ResidualBlock(a + b, a) for a, b in zip(finer, coarser, strict=True)
        )
        self.last = nn.Conv2d(channels[0], outputs, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, outputs, H, W); sides are multiples of 2 to the number of halvings."""
        levels = [self.first(image)]
        for step in self.down:
            levels.append(step(levels[-1]))
        features = levels.pop()
        for step in reversed(self.up):
            features = step(join(enlarge(features, 2), levels.pop()))
        out: Tensor = self.last(features)
        return out


def shrink(image: Tensor, factor: int) -> Tensor:
    """Turn squares of ``factor`` pixels into channels, channels last in memory."""
    if factor == 1:
        return image
    small = F.pixel_unshuffle(image, factor)
    return small.contiguous(memory_format=torch.channels_last)
