"""The flow that unfolds a folded section.

The paper's network is a residual U-Net at the image's resolution, from the degraded section and
the interpolated one (``search=0, shrink=1``). It has to find tissue that moved by up to a hundred
pixels, in sections whose correlation is at most 0.3: in the time that a CPU can train, it learns
little. So the named sizes have help, beyond the paper:

* the line is known, and tissue moves at right angles to it: for a row of displacements along that
  direction the moved section is compared with the interpolated one, and how alike they are, near
  and farther around, is what the U-Net sees. It corrects how probable that makes each
  displacement; their mean is the flow, up to a small correction;
* squares of pixels are channels (``shrink``), as the flow is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ..blocks import enlarge, join, warp
from ..config import Config
from .unet import ResidualUNet, shrink

#: Unit of the distances to the line, pixels, and their largest value in these units.
_UNIT, _FURTHEST = 64.0, 4.0
#: Largest scale that is compared, and side over which contrast is equalised, (shrunken) pixels.
_SCALES, _EVENED = 9, 25
#: Similarity is averaged over squares of 9 pixels, and of 3 blocks of these sizes.
_BLOCKS = (4, 16)
#: Initial gain in the log probability of a displacement per unit of each of these correlations.
_TRUST = (4.0, 12.0, 12.0)


@dataclass(frozen=True)
class UnfoldingConfig(Config):
    """Hyper-parameters of :class:`UnfoldingNetwork`.

    Parameters
    ----------
    channels
        Of the U-Net's levels, finest first.
    shrink
        Side of the squares of pixels that become channels; 1, 2 or 4.
    search
        How many displacements at right angles to the line are compared; 0: none, as in the paper.
    step
        Pixels from one to the next.
    back
        How many of them point away from the line, as at a crack.
    """

    channels: tuple[int, ...] = (32, 40, 56, 72, 72)
    shrink: int = 4
    search: int = 24
    step: int = 4
    back: int = 2

    def __post_init__(self) -> None:
        self._widths("channels", 1, 6)
        for name, low, high in (
            ("shrink", 1, 4),
            ("search", 0, 128),
            ("step", 1, 32),
            ("back", 0, 128),
        ):
            self._whole(name, low, high)
        if self.shrink == 3:
            raise InputError("the network's 'shrink' must be 1, 2 or 4")

    @property
    def multiple(self) -> int:
        """What the sides of images must be whole multiples of."""
        return int(self.shrink * 2 ** (len(self.channels) - 1))


class UnfoldingNetwork(nn.Module):
    """Estimates the flow that unfolds a section."""

    def __init__(self, config: UnfoldingConfig) -> None:
        super().__init__()
        self.config = config
        square = config.shrink**2
        inputs, outputs = 2 * square, 2
        if config.search:
            inputs += len(_TRUST) * config.search + 2
            outputs += config.search
            self.trust = nn.Parameter(torch.tensor(_TRUST))
        self.net = ResidualUNet(inputs, config.channels, outputs)
        with torch.no_grad():
            self.net.last.weight.mul_(0.1)

    def forward(self, degraded: Tensor, reference: Tensor, distance: Tensor) -> Tensor:
        """Return the flow (B, 2, H, W): the unfolded section is ``degraded(x + flow(x))``.

        Parameters
        ----------
        degraded
            (B, 1, H, W), normalised, the folded section.
        reference
            (B, 1, H, W), normalised, the section interpolated from its neighbours.
        distance
            (B, 1, H, W), distance to the rim of the dark line, pixels, negative in it; see
            :func:`~napari_flowinpaint.core.reference.fold_distance.line_distance`. Sides are
            multiples of ``config.multiple``.
        """
        covered = cover(degraded, distance)
        factor = self.config.shrink
        pair = [shrink(image, factor) for image in (covered, reference)]
        if not self.config.search:
            return _enlarged(factor * self.net(join(*pair)).float(), factor)
        near = F.avg_pool2d(distance.float(), factor)
        normal = towards_tissue(near)
        own, other = (evened(F.avg_pool2d(i.float(), factor)) for i in (covered, reference))
        likeness = self._compare(own, other, normal)
        alike = [_average(likeness, 9), *(_average_blocks(likeness, size) for size in _BLOCKS)]
        place = torch.cat([(near / _UNIT).clamp(-1, _FURTHEST), (near <= 0).float()], dim=1)
        out = self.net(join(*alike, *(image.float() for image in pair), place)).float()
        probable = sum(trust * part for trust, part in zip(self.trust, alike, strict=True))
        shares = (out[:, : self.config.search] + probable).softmax(dim=1)
        pull = (shares * self._steps(shares)).sum(dim=1, keepdim=True)
        along = torch.stack([-normal[:, 1], normal[:, 0]], dim=1)
        flow = out[:, -1:] * along - (pull + out[:, -2:-1]) * normal
        return _enlarged(flow, factor)

    def _steps(self, like: Tensor) -> Tensor:
        """Return the displacements that are compared, pixels, (1, search, 1, 1)."""
        config = self.config
        numbers = torch.arange(config.search, device=like.device, dtype=torch.float32)
        return ((numbers - config.back) * config.step).view(1, -1, 1, 1)

    def _compare(self, own: Tensor, other: Tensor, normal: Tensor) -> Tensor:
        """Return how alike both are after each displacement, (B, search, H, W), 1 at best."""
        lengths = (self._steps(own) / self.config.shrink).flatten()
        moved = [warp(own, -length * normal) for length in lengths]
        return torch.cat(moved, dim=1) * other


def evened(image: Tensor) -> Tensor:
    """Return the fine scales of an image (B, 1, H, W), with the same contrast everywhere."""
    fine = image - _average(image, _SCALES)
    contrast = _average(fine.square(), _EVENED).sqrt()
    return fine / contrast.clamp_min(0.05)


def _average(image: Tensor, side: int) -> Tensor:
    """Average over the square of ``side`` (odd) pixels around every pixel."""
    return F.avg_pool2d(image, side, 1, side // 2, count_include_pad=False)


def _average_blocks(image: Tensor, size: int) -> Tensor:
    """Average over some three blocks of ``size`` pixels a side, whatever of them is there."""
    height, width = image.shape[-2:]
    blocks = F.avg_pool2d(image, size, ceil_mode=True, count_include_pad=False)
    return enlarge(_average(blocks, 3), size)[..., :height, :width]


def cover(degraded: Tensor, distance: Tensor) -> Tensor:
    """Return the section with the dark line covered by one grey value, the section's mean.

    The paper's regularisation of corruption: real lines are neither straight nor evenly black, and
    a network that was trained on such ones must not see what they really look like.
    """
    return torch.where(distance <= 0, torch.zeros((), device=degraded.device), degraded)


def towards_tissue(distance: Tensor) -> Tensor:
    """Return the direction (B, 2, H, W), order (y, x), in which a distance grows; of length 1."""
    padded = F.pad(distance, (1, 1, 1, 1), mode="replicate")
    slope = torch.cat(
        [
            padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1],
            padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2],
        ],
        dim=1,
    )
    return slope / slope.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-3)


def swallowed(distance: Tensor, flow: Tensor) -> Tensor:
    """Return where an unfolding shows no tissue of the section, (B, 1, H, W) bool.

    That is where it samples the dark line, or would have to look beyond it, or beyond a border of
    the section.
    """
    normal = towards_tissue(distance)
    pull = -(flow * normal).sum(dim=1, keepdim=True)
    height, width = distance.shape[-2:]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, :1]
    x = torch.arange(width, device=flow.device) + flow[:, 1:]
    outside = (y < -1) | (x < -1) | (y > height) | (x > width)
    # in the middle of the line no direction leads away from it
    hidden = (distance <= 0) | (distance - pull <= 0.5) | (warp(distance, flow) <= 0.5)
    return hidden | outside


def _enlarged(flow: Tensor, factor: int) -> Tensor:
    return flow if factor == 1 else enlarge(flow, factor)


#: Named sizes; "paper" is the network as the paper has it, narrow enough for a CPU.
UNFOLDING_SIZES = {
    "small": UnfoldingConfig(),
    "base": UnfoldingConfig((48, 64, 96, 128, 128)),
    "paper": UnfoldingConfig((16, 24, 32, 48, 64), shrink=1, search=0),
}
