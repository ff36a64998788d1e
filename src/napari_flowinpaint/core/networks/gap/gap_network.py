"""Networks that fill a gap of an isotropic volume, patch by patch.

After Masto, "Deep Learning for Bragg Coherent Diffraction Imaging", chapter 4, whose networks are
a U-Net, a mixed-scale dense network (MSD-Net) and a U-Net with dilated convolutions in its
encoder (table 4.1), on cubes of 32 voxels, one network for all widths of gaps. What differs here:

- A patch is 32 voxels deep across the gap and of any extent along it. Its layers are channels:
  a convolution sees the patch in its whole depth, and 3 × 3 voxels along the gap. On a CPU that is
  many times faster than convolutions in three dimensions.
- Squares of 2 × 2 voxels are channels, too (``shrink``).
- The gap is filled beforehand: by what its faces show, moved along the motion between them
  (:mod:`...reference.gap_interpolation`), and then by a weighted sum of that and of all known
  layers, which has weights of its own for every width of gaps (:class:`LayerMixing`). The networks
  predict what has to be added; they also see by how much the faces contradict each other, what the
  sum has changed, and which voxels are missing. So there is no sigmoid at the end.
- They have far fewer channels and levels; the MSD-Net sees fewer dilations.
- A dilated block ends with a 1 × 1 convolution, so that levels do not grow with their inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ..blocks import conv, enlarge, gaussian, join
from ..config import Config

#: The three networks of table 4.1.
KINDS = ("unet", "msd", "dilated-unet")
#: Dilations in the encoder of the dilated U-Net, finest level first. The paper's are
#: (16, 8, 4, 2), (10, 5, 3, 1) and (5, 3, 2, 1); here the finest level is of half the resolution.
_RATES = ((8, 4, 2, 1), (5, 3, 2, 1), (3, 2, 1, 1))
#: Width of the low-pass of the layers that are mixed, voxels.
_LOW_PASS = 1.5
#: Period of the dilations of the MSD-Net.
_DILATIONS = 10


@dataclass(frozen=True)
class GapConfig(Config):
    """Hyper-parameters of :class:`GapNetwork`.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    channels
        Of the levels, finest first; every level halves the resolution. Of the MSD-Net: the
        channels of every layer, two layers a block.
    depth
        Voxels of a patch across the gap.
    widest
        Widest gap, in voxels.
    shrink
        Side of the squares of voxels that become channels; 1, 2 or 4.
    """

    kind: str = "dilated-unet"
    channels: tuple[int, ...] = (64, 96, 96)
    depth: int = 32
    widest: int = 14
    shrink: int = 2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"the network's 'kind' must be one of {', '.join(KINDS)}")
        self._widths("channels", 1, 40)
        self._whole("depth", 4, 64)
        self._whole("widest", 1, 62)
        self._whole("shrink", 1, 4)
        if self.shrink == 3:
            raise InputError("the network's 'shrink' must be 1, 2 or 4")
        if self.widest + 2 > self.depth:
            raise InputError("the network's 'widest' must leave a layer on both sides of the gap")

    @property
    def multiple(self) -> int:
        """What the sides of patches along the gap must be whole multiples of."""
        levels = 1 if self.kind == "msd" else len(self.channels)
        return int(self.shrink * 2 ** (levels - 1))

    @property
    def core(self) -> slice:
        """The layers that gaps may lie in: those in the middle."""
        width = self.widest + self.widest % 2
        first = (self.depth - width) // 2
        return slice(first, first + width)

    def place(self, width: int) -> int:
        """Return the first missing layer of a patch with a gap of this width."""
        return (self.depth - width) // 2


class DilatedBlock(nn.Module):
    """Convolutions of several dilations side by side, joined with their input.

    Parameters
    ----------
    channels
        Of input and output.
    rates
        The dilations; every one makes a part of the channels.
    """

    def __init__(self, channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        part = channels // len(rates)
        self.branches = nn.ModuleList(conv(channels, part, dilation=rate) for rate in rates)
        self.fuse = nn.Conv2d(channels + part * len(rates), channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels, H, W)."""
        seen = join(features, *(branch(features) for branch in self.branches))
        return F.leaky_relu(self.fuse(seen), 0.1)


class _UNet(nn.Module):
    """U-Net; with ``dilated``, its encoder has dilated blocks in the first three levels."""

    def __init__(self, inputs: int, channels: tuple[int, ...], outputs: int, dilated: bool) -> None:
        super().__init__()
        before = (inputs, *channels[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(
                conv(a, b, stride=2 if level else 1),
                DilatedBlock(b, _RATES[level]) if dilated and level < len(_RATES) else conv(b, b),
            )
            for level, (a, b) in enumerate(zip(before, channels, strict=True))
        )
        self.up = nn.ModuleList(
            nn.Sequential(conv(a + b, a), conv(a, a)) for a, b in pairwise(channels)
        )
        self.last = nn.Conv2d(channels[0], outputs, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        levels: list[Tensor] = []
        for step in self.down:
            levels.append(step(levels[-1] if levels else image))
        features = levels.pop()
        for step in reversed(self.up):
            features = step(join(enlarge(features, 2), levels.pop()))
        out: Tensor = self.last(features)
        return out


class _MsdNet(nn.Module):
    """Mixed-scale dense network: every layer sees the input and all layers before it."""

    def __init__(self, inputs: int, channels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        seen = inputs
        layers = []
        for number, width in enumerate(channels):
            layers.append(conv(seen, width, dilation=number % _DILATIONS + 1))
            seen += width
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(seen, outputs, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        features = image
        for layer in self.layers:
            features = join(layer(features), features)
        out: Tensor = self.last(features)
        return out


class LayerMixing(nn.Module):
    """Weighted sums of layers: linear prediction across a gap, for each of its widths.

    Of the layers as they are and low-passed, since structure and grain need different weights.
    Before training, what is in the gap stays as it is.
    """

    def __init__(self, config: GapConfig) -> None:
        super().__init__()
        core = config.core
        weight = torch.zeros(config.widest, core.stop - core.start, 2 * config.depth)
        for layer in range(core.start, core.stop):
            weight[:, layer - core.start, layer] = 1
        self.weight = nn.Parameter(weight)

    def forward(self, values: Tensor, width: Tensor) -> Tensor:
        """Return the layers that gaps may lie in, (B, C, H, W), of (B, D, H, W).

        ``width`` is (B,), whole numbers: of the gap of each patch, in layers.
        """
        weight = self.weight[width - 1]
        with torch.autocast(values.device.type, enabled=False):
            mixed = torch.bmm(weight.float(), mixed_layers(values.float()).flatten(2))
        return mixed.unflatten(2, values.shape[2:])


def mixed_layers(values: Tensor) -> Tensor:
    """Return what :class:`LayerMixing` sums, (B, 2 D, H, W): the layers, and low-passed ones."""
    return torch.cat([values, gaussian(values, _LOW_PASS)], dim=1)


class GapNetwork(nn.Module):
    """Corrects the interpolation across a gap."""

    def __init__(self, config: GapConfig) -> None:
        super().__init__()
        self.config = config
        square = config.shrink**2
        core = config.core
        outputs = (core.stop - core.start) * square
        inputs = config.depth * (square + 1) + 2 * outputs
        self.mixing = LayerMixing(config)
        self.net: nn.Module
        if config.kind == "msd":
            self.net = _MsdNet(inputs, config.channels, outputs)
        else:
            dilated = config.kind == "dilated-unet"
            self.net = _UNet(inputs, config.channels, outputs, dilated)
        with torch.no_grad():
            self.net.last.weight.mul_(0.1)  # begins near the interpolation

    def forward(self, values: Tensor, doubt: Tensor, missing: Tensor, width: Tensor) -> Tensor:
        """Return the layers of the patch that gaps may lie in.

        Parameters
        ----------
        values
            (B, D, H, W), normalised, filled where missing; H and W are multiples of
            ``config.multiple``.
        doubt
            (B, D, H, W), half of the difference between the predictions from the faces of the gap.
        missing
            (B, D, H, W), 1 or True where nothing is known.
        width
            (B,) whole numbers, how many layers are missing.

        Returns
        -------
        Tensor
            (B, C, H, W), the layers ``config.core``; the known voxels are as they were.
        """
        shrink, core = self.config.shrink, self.config.core
        gone = missing.to(values.dtype)
        there = values[:, core]
        mixed = torch.where(gone[:, core] > 0, self.mixing(values, width), there)
        layers = torch.cat([values[:, : core.start], mixed, values[:, core.stop :]], dim=1)
        images = (layers, doubt[:, core], there - mixed)
        squares = [F.pixel_unshuffle(image, shrink) for image in images]
        seen = torch.cat([*squares, F.avg_pool2d(gone, shrink)], dim=1)
        seen = seen.contiguous(memory_format=torch.channels_last)
        more = F.pixel_shuffle(self.net(seen).float(), shrink)
        return mixed + more * gone[:, core]


#: Named sizes.
GAP_SIZES = {
    "small": GapConfig(),
    "unet": GapConfig(kind="unet"),
    "msd": GapConfig(kind="msd", channels=(16,) * 12),
    "base": GapConfig(channels=(96, 128, 160)),
}
