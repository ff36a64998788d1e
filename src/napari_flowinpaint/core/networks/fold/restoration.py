"""The three networks as one: interpolation, unfolding, fusion (figure 4 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...types import BoolImage, FloatImage
from ..blocks import intact_statistics, pad_to, warp
from ..config import Config
from ..registration import autocast
from .fold_fusion import FusionConfig, FusionNetwork
from .kpn import KernelPredictionNetwork, KpnConfig
from .settling import settle
from .unfolding import UnfoldingConfig, UnfoldingNetwork, swallowed

#: Painted lines are widened by this many pixels: what lies beside a real line is darkened too.
_WIDER = np.float32(2)


@dataclass(frozen=True)
class FoldConfig(Config):
    """Hyper-parameters of :class:`FoldNetwork`: those of its three parts."""

    interpolation: KpnConfig = field(default_factory=KpnConfig)
    unfolding: UnfoldingConfig = field(default_factory=UnfoldingConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        parts: dict[str, type[Config]] = {
            "interpolation": KpnConfig,
            "unfolding": UnfoldingConfig,
            "fusion": FusionConfig,
        }
        for name, kind in parts.items():
            value = getattr(self, name)
            if isinstance(value, dict):
                object.__setattr__(self, name, kind.from_dict(value))
            elif not isinstance(value, kind):
                raise InputError(f"the network's '{name}' must be a description")

    @property
    def multiple(self) -> int:
        """What the sides of images must be whole multiples of."""
        parts = (self.interpolation, self.unfolding, self.fusion)
        return max(part.multiple for part in parts)  # all of them are powers of 2


class FoldOutput(NamedTuple):
    """What the networks make of a folded section, (B, 1, H, W) except the flow.

    Attributes
    ----------
    reference
        Interpolated from the neighbours.
    flow
        (B, 2, H, W), what unfolds the section.
    unfolded
        The section, its tissue moved back.
    lost
        Bool, where that shows nothing.
    fused
        The section restored.
    """

    reference: Tensor
    flow: Tensor
    unfolded: Tensor
    lost: Tensor
    fused: Tensor


class FoldNetwork(nn.Module):
    """Restores a folded section."""

    def __init__(self, config: FoldConfig | None = None) -> None:
        super().__init__()
        self.config = config or FoldConfig()
        self.interpolation = KernelPredictionNetwork(self.config.interpolation)
        self.unfolding = UnfoldingNetwork(self.config.unfolding)
        self.fusion = FusionNetwork(self.config.fusion)

    @classmethod
    def joined(
        cls,
        interpolation: KernelPredictionNetwork,
        unfolding: UnfoldingNetwork,
        fusion: FusionNetwork,
    ) -> FoldNetwork:
        """Return the network made of three that were trained one after the other."""
        net = cls(FoldConfig(interpolation.config, unfolding.config, fusion.config))
        net.interpolation.load_state_dict(interpolation.state_dict())
        net.unfolding.load_state_dict(unfolding.state_dict())
        net.fusion.load_state_dict(fusion.state_dict())
        return net.eval()

    def forward(
        self,
        section: Tensor,
        previous: Tensor,
        following: Tensor,
        distance: Tensor,
        fade: Tensor | None = None,
    ) -> FoldOutput:
        """Restore a section.

        Parameters
        ----------
        section, previous, following
            (B, 1, H, W), each normalised by itself.
        distance
            (B, 1, H, W), signed distance to the dark line, pixels. Sides are multiples of
            ``config.multiple``.
        fade
            (B, 1, H, W), what the flow is multiplied by, 0 to 1; None: it is taken as it is.
        """
        reference = self.interpolation(previous, following)
        flow = self.unfolding(section, reference, distance).float()
        flow = torch.cat([settle(*one) for one in _singles(flow, section, reference, distance)])
        flow = flow if fade is None else flow * fade
        unfolded, lost = warp(section, flow), swallowed(distance, flow)
        return FoldOutput(
            reference, flow, unfolded, lost, self.fusion(unfolded, reference, lost.float())
        )


@dataclass(frozen=True, eq=False)
class Restored:
    """A section as the networks restored it, in the grey values that came in.

    Parameters
    ----------
    reference, unfolded, fused
        (H, W) float32.
    flow
        (2, H, W) float32, to the section as it was.
    lost
        (H, W) bool, where the unfolded section shows nothing.
    """

    reference: FloatImage
    unfolded: FloatImage
    fused: FloatImage
    flow: FloatImage
    lost: BoolImage


def restore_fold(
    net: FoldNetwork,
    section: FloatImage,
    distance: FloatImage,
    neighbours: tuple[FloatImage, FloatImage],
    valid: tuple[BoolImage, BoolImage] | None = None,
    *,
    known: BoolImage | None = None,
    fade: FloatImage | None = None,
    device: str = "cpu",
) -> Restored:
    """Restore a folded section.

    Parameters
    ----------
    net
        In evaluation mode, on ``device``.
    section
        (H, W) float32; what it shows in the line is not looked at.
    distance
        (H, W), to the rim of the dark line, pixels, negative in it; see
        :func:`~napari_flowinpaint.core.reference.fold_distance.line_distance`.
    neighbours
        Previous and following, (H, W) each.
    valid
        (H, W) each, where they show something; None is everywhere.
    known
        (H, W), where the section shows tissue; None is everywhere but at the line.
    fade
        (H, W), by what the displacement is multiplied, 0 to 1; None is 1 everywhere.
    device
        Where the network is.
    """
    intact = distance > 0 if known is None else known
    own, statistics = _normalised(section, intact)
    shown = valid or (np.ones_like(intact), np.ones_like(intact))
    others = [_normalised(n, v)[0] for n, v in zip(neighbours, shown, strict=True)]
    # capped: an infinite distance has no direction
    away = torch.from_numpy(np.minimum(distance, 1e4).astype(np.float32) - _WIDER)[None, None]
    ramp = torch.from_numpy(np.ones_like(own[0, 0]) if fade is None else fade)[None, None]
    layers = [pad_to(image, net.config.multiple).to(device) for image in (own, *others, away, ramp)]
    with torch.inference_mode(), autocast(device):
        out = net(*layers)
    height, width = distance.shape
    kept = [part[0, :, :height, :width].float().cpu().numpy() for part in out]
    mean, deviation = statistics
    reference, unfolded, fused = (
        (kept[n][0] * np.float32(deviation) + np.float32(mean)).astype(np.float32)
        for n in (0, 2, 4)
    )
    return Restored(reference, unfolded, fused, kept[1], kept[3][0] > 0.5)


def interpolate_between(
    net: KernelPredictionNetwork,
    neighbours: tuple[FloatImage, FloatImage],
    like: tuple[float, float],
    *,
    device: str = "cpu",
) -> FloatImage:
    """Return the section between two, (H, W) float32, interpolated by the first network alone.

    Parameters
    ----------
    net
        In evaluation mode, on ``device``.
    neighbours
        Previous and following, (H, W) each.
    like
        Mean and standard deviation that it shall have, as far as it knows the section.
    device
        Where the network is.
    """
    height, width = neighbours[0].shape
    everywhere = np.ones((height, width), dtype=bool)
    layers = [
        pad_to(_normalised(n, everywhere)[0], net.config.multiple).to(device) for n in neighbours
    ]
    with torch.inference_mode(), autocast(device):
        out: Tensor = net(*layers)
    image = out[0, 0, :height, :width].float().cpu().numpy()
    return np.asarray(image * like[1] + like[0], dtype=np.float32)


def _singles(*batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Return the members of batches, as batches of one."""
    return zip(*(batch.split(1) for batch in batches), strict=True)


def _normalised(image: FloatImage, shown: BoolImage) -> tuple[Tensor, tuple[float, float]]:
    """Return an image (1, 1, H, W) normalised by what it shows, and its mean and deviation.

    What it does not show gets the mean.
    """
    own = torch.from_numpy(np.array(image, dtype=np.float32))[None, None]
    hidden = torch.from_numpy(~shown)[None, None]
    mean, deviation = intact_statistics(own, hidden.float())
    normal = torch.where(hidden, torch.zeros(()), (own - mean) / deviation)
    return normal, (float(mean), float(deviation))
