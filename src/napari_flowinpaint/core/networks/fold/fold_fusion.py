"""The fusion of an unfolded section with the interpolated one.

A small U-Net that begins with both stitched together (the unfolded section, and the interpolated
one where the fold swallowed tissue) and adds what makes the seam, the contrast and what lies a
little off right. Trained by the L1 distance to the section before it was folded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ..config import Config
from .unet import ResidualUNet, shrink


@dataclass(frozen=True)
class FusionConfig(Config):
    """Hyper-parameters of :class:`FusionNetwork`.

    Parameters
    ----------
    channels
        Of the U-Net's levels, finest first.
    shrink
        Side of the squares of pixels that become channels; 1, 2 or 4.
    """

    channels: tuple[int, ...] = (32, 48, 64, 64)
    shrink: int = 2

    def __post_init__(self) -> None:
        self._widths("channels", 1, 6)
        self._whole("shrink", 1, 4)
        if self.shrink == 3:
            raise InputError("the network's 'shrink' must be 1, 2 or 4")

    @property
    def multiple(self) -> int:
        """What the sides of images must be whole multiples of."""
        return int(self.shrink * 2 ** (len(self.channels) - 1))


class FusionNetwork(nn.Module):
    """Fuses an unfolded section with an interpolated one."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        square = config.shrink**2
        self.net = ResidualUNet(3 * square, config.channels, square)
        with torch.no_grad():
            self.net.last.weight.mul_(0.1)

    def forward(self, unfolded: Tensor, reference: Tensor, lost: Tensor) -> Tensor:
        """Return the fused section.

        Parameters
        ----------
        unfolded, reference
            (B, 1, H, W), normalised; sides are multiples of ``config.multiple``.
        lost
            (B, 1, H, W), 1 or True where the unfolded section shows nothing.
        """
        stitched = torch.where(lost > 0.5, reference, unfolded)
        seen = torch.cat([stitched, reference, lost.to(stitched.dtype)], dim=1)
        more = self.net(shrink(seen, self.config.shrink)).float()
        return stitched + F.pixel_shuffle(more, self.config.shrink)


#: Named sizes.
FUSION_SIZES = {"small": FusionConfig(), "base": FusionConfig((48, 64, 96, 128))}
