"""Joint registration: both neighbours registered to the damaged section at once, then fused.

A departure from the paper, which averages the neighbours first and registers the average
(:mod:`.paper.refined_reference`). Sections of a series differ by tens of pixels, and where a
section is damaged only its neighbours show how the tissue continues. So at every level of a
feature pyramid three cost volumes are used together: section and previous neighbour, section and
following neighbour (both silenced where the section is damaged), and the two neighbours with each
other, which is informative inside the hole, too. One estimator refines both flows from all three
(cf. PWC-Net, Sun et al. 2018). A small full-resolution network then mixes the two warped
neighbours and their low-passes and adds a residual.

Shapes: images ``(B, 1, H, W)``, normalised to zero mean and unit variance of the intact pixels;
``known`` is ``(B, 1, H, W)``, 1 where the section may be looked at; a flow is ``(B, 2, H, W)`` in
pixels, order ``(dy, dx)``: ``target(x) = source(x + flow(x))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .blocks import (
    Pyramid,
    as_computed,
    conv,
    correlate_pairs,
    enlarge,
    gaussian,
    join,
    same_length,
    warp,
)
from .config import Config

#: Width, in pixels, of the low-pass the fusion may choose.
LOW_PASS = 2.0


@dataclass(frozen=True)
class JointConfig(Config):
    """Hyper-parameters of :class:`JointNet`; they travel in the weights file.

    Parameters
    ----------
    channels
        Feature channels at 1/2, 1/4, 1/8, ... of the resolution.
    radii
        Search radius of the cost volumes at 1/4, 1/8, ..., in pixels of that level.
    hidden
        Channels of the estimators.
    fusion
        Channels of the fusion network at 1/2 and 1/4 resolution.
    deep
        Its channels at 1/8 resolution, where it also looks at features of the pyramid; 0: it ends
        at 1/4 and sees images only.
    """

    channels: tuple[int, ...] = (16, 32, 48, 64, 64)
    radii: tuple[int, ...] = (3, 3, 4, 4)
    hidden: int = 40
    fusion: tuple[int, ...] = (24, 40)
    deep: int = 0

    def __post_init__(self) -> None:
        self._widths("channels", 2, 7)
        self._widths("radii", 1, 6)
        self._widths("fusion", 2, 2)
        self._whole("hidden", 1, 512)
        self._whole("deep", 0, 512)
        if self.deep and len(self.channels) < 3:
            raise InputError("the network's 'deep' needs three levels at least")
        if len(self.radii) != len(self.channels) - 1 or max(self.radii) > 16:
            raise InputError("the network's numbers of levels do not fit together")

    @property
    def multiple(self) -> int:
        """Sides of the images must be multiples of this; see :func:`pad_to`."""
        return int(2 ** len(self.channels))


#: Named sizes: ``small`` for CPUs, ``base`` for training on a GPU.
SIZES = {
    "small": JointConfig(deep=48),
    "base": JointConfig((32, 48, 64, 96, 96), (4, 4, 4, 4), 96, (48, 64), 96),
}


@dataclass(frozen=True)
class JointOutput:
    """Output of the network; images are (B, 1, H, W), flows (B, 2, H, W) in pixels.

    Parameters
    ----------
    flows
        Full-resolution flows to the previous and to the following neighbour.
    warped
        The two neighbours sampled through them.
    shown
        Where the warped neighbours show something, 0..1.
    image
        The fused section, all pixels (not composited).
    pyramid
        Per level, coarsest first: the two flows in pixels of that level.
    """

    flows: tuple[Tensor, Tensor]
    warped: tuple[Tensor, Tensor]
    shown: tuple[Tensor, Tensor]
    image: Tensor
    pyramid: tuple[tuple[Tensor, Tensor], ...]


class Estimator(nn.Module):
    """Refines both flows at one level from the three cost volumes.

    Dilated convolutions carry what is known around a hole into the hole.
    """

    def __init__(self, features: int, radius: int, hidden: int, coarser: bool) -> None:
        super().__init__()
        self.radius = radius
        costs = 3 * (2 * radius + 1) ** 2
        self.squeeze = nn.Sequential(nn.Conv2d(costs, hidden, 1), nn.LeakyReLU(0.1))
        inputs = hidden + features + 4 + 2 + (hidden if coarser else 0)
        self.body = nn.Sequential(
            conv(inputs, hidden),
            conv(hidden, hidden, dilation=2),
            conv(hidden, hidden, dilation=4),
            conv(hidden, hidden),
        )
        self.flow = nn.Conv2d(hidden, 4, 3, padding=1)
        nn.init.zeros_(self.flow.weight)
        assert self.flow.bias is not None
        nn.init.zeros_(self.flow.bias)

    def forward(
        self,
        features: tuple[Tensor, Tensor, Tensor],
        known: Tensor,
        alpha: Tensor,
        flows: Tensor,
        state: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the refined flows (B, 4, h, w) and the state for the next level.

        Parameters
        ----------
        features
            Of section, previous and following, (B, C, h, w).
        known
            (B, 1, h, w), share of the pixels that are known.
        alpha
            (B, 1, 1, 1), axial position of the section.
        flows
            (B, 4, h, w): to the previous, to the following; in pixels of this level.
        state
            (B, hidden, h, w), enlarged from the coarser level; None at the coarsest.
        """
        section, previous, following = features
        section = same_length(section)
        previous = same_length(warp(previous, flows[:, :2]))
        following = same_length(warp(following, flows[:, 2:]))
        heard = section * (known > 0.5).to(section.dtype)
        costs = correlate_pairs(
            [heard, heard, previous], [previous, following, following], self.radius
        )
        few = [flows / 8, known, alpha.expand_as(known)]
        place = torch.cat([part.to(section.dtype) for part in few], dim=1)
        inputs = [self.squeeze(costs), features[0], place]
        state = self.body(join(*inputs, state) if state is not None else join(*inputs))
        return flows + self.flow(state).float(), state


class FusionNet(nn.Module):
    """Mixes the warped neighbours and adds a residual.

    A small U-Net whose finest level is 1/2 of the resolution, each of its pixels holding a block
    of 2 x 2 image pixels: as good as full resolution here, at half the cost.
    """

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        (half, quarter), hidden = config.fusion, config.hidden
        self.enter = nn.Sequential(conv(4 * 8, half), conv(half, half))
        self.down = nn.Sequential(conv(half, quarter, stride=2), conv(quarter, quarter))
        self.bottom = nn.Sequential(
            conv(quarter + hidden, quarter),
            conv(quarter, quarter, dilation=2),
            conv(quarter, quarter, dilation=4),
        )
        self.up = nn.Sequential(conv(quarter + half, half), conv(half, half))
        self.context = Context(config) if config.deep else None
        self.head = nn.Conv2d(half, 4 * 5, 3, padding=1)
        # not normal: on torch's meta device, where files are checked, that imports its compiler
        nn.init.uniform_(self.head.weight, -2e-3, 2e-3)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        section: Tensor,
        known: Tensor,
        warped: tuple[Tensor, Tensor],
        valid: tuple[Tensor, Tensor],
        state: Tensor,
        features: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Return the fused section, (B, 1, H, W).

        Parameters
        ----------
        section, known
            (B, 1, H, W).
        warped
            The two neighbours, (B, 1, H, W) each.
        valid
            Where they show something, (B, 1, H, W) each.
        state
            (B, hidden, H/4, W/4) from the finest estimator.
        features
            For :class:`Context`: of section and warped neighbours, at 1/4 and 1/8 of the
            resolution.
        """
        candidates = torch.cat([*warped, *(gaussian(image, LOW_PASS) for image in warped)], dim=1)
        seen = torch.cat([section * known, known, candidates, *valid], dim=1)
        seen = as_computed(seen).contiguous(memory_format=torch.channels_last)
        half = self.enter(F.pixel_unshuffle(seen, 2))
        quarter = self.down(half)
        if self.context is not None:
            quarter = quarter + self.context.near(features[0])
        quarter = self.bottom(join(quarter, state))
        if self.context is not None:
            quarter = quarter + self.context(quarter, features[1])
        half = self.up(join(enlarge(quarter, 2), half))
        mixing = F.pixel_shuffle(self.head(half), 2).float()
        weights = torch.softmax(mixing[:, :4], dim=1)
        return (weights * candidates.float()).sum(dim=1, keepdim=True) + mixing[:, 4:]


class Context(nn.Module):
    """What the fusion learns from features of section and neighbours, with a wide field of view.

    Everything here is added to the fusion at 1/4 of the resolution, and is zero before training:
    a network that was trained without it can be trained further with it.
    """

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        quarter, deep = config.fusion[1], config.deep
        self.near = nn.Sequential(conv(3 * config.channels[1], quarter), _silent(quarter))
        self.down = conv(quarter, deep, stride=2)
        self.bottom = nn.Sequential(
            conv(deep + 3 * config.channels[2], deep),
            conv(deep, deep, dilation=2),
            conv(deep, deep, dilation=4),
            conv(deep, deep),
        )
        self.up = nn.Sequential(conv(quarter + deep, quarter), _silent(quarter))

    def forward(self, quarter: Tensor, features: Tensor) -> Tensor:
        """Return what to add, (B, quarter, H/4, W/4), from features at 1/8 of the resolution."""
        deep = self.bottom(join(self.down(quarter), features))
        return self.up(join(quarter, enlarge(deep, 2)))


def _silent(channels: int) -> nn.Conv2d:
    """Return a convolution that gives zero before it is trained."""
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class JointNet(nn.Module):
    """See the module's description.

    Parameters
    ----------
    config
        Hyper-parameters.
    """

    def __init__(self, config: JointConfig | None = None) -> None:
        super().__init__()
        self.config = config or JointConfig()
        channels = self.config.channels
        # of image and validity, at 1/2, 1/4, ... of the resolution; shared by all three images
        self.pyramid = Pyramid(2, channels, first=2)
        self.estimators = nn.ModuleList(
            Estimator(width, radius, self.config.hidden, coarser=level < len(channels) - 2)
            for level, (width, radius) in enumerate(
                zip(channels[1:], self.config.radii, strict=True)
            )
        )
        self.fusion = FusionNet(self.config)

    def forward(
        self,
        section: Tensor,
        known: Tensor,
        neighbours: tuple[Tensor, Tensor],
        valid: tuple[Tensor, Tensor],
        alpha: Tensor,
    ) -> JointOutput:
        """Register and fuse.

        Parameters
        ----------
        section
            (B, 1, H, W), H and W multiples of ``config.multiple``; looked at where ``known``.
        known
            (B, 1, H, W), 1 where the section may be looked at.
        neighbours
            Previous and following, (B, 1, H, W) each.
        valid
            1 where they show something, (B, 1, H, W) each.
        alpha
            (B,), axial position of the section between them.
        """
        batch = section.shape[0]
        neighbours = (neighbours[0] * valid[0], neighbours[1] * valid[1])
        images, seen = torch.cat([section * known, *neighbours]), torch.cat([known, *valid])
        pyramid = [level.split(batch) for level in self.pyramid(torch.cat([images, seen], dim=1))]
        position = alpha.view(-1, 1, 1, 1)
        flows: Tensor | None = None
        state: Tensor | None = None
        levels = []
        for level in range(len(self.estimators) - 1, -1, -1):
            features = pyramid[level + 1]
            here = F.avg_pool2d(known, 2 ** (level + 2))
            if flows is None:
                flows = known.new_zeros((batch, 4, *here.shape[-2:]), dtype=torch.float32)
            else:
                assert state is not None
                flows, state = 2 * enlarge(flows, 2), enlarge(state, 2)
            flows, state = self.estimators[level](features, here, position, flows, state)
            levels.append((flows[:, :2], flows[:, 2:]))
        assert flows is not None
        moved = _moved(pyramid, flows) if self.config.deep else ()
        flows = 4 * enlarge(flows, 4)
        both = (flows[:, :2], flows[:, 2:])
        previous, following = (
            warp(torch.cat([image, seen], dim=1), flow).split(1, dim=1)
            for image, seen, flow in zip(neighbours, valid, both, strict=True)
        )
        warped, shown = (previous[0], following[0]), (previous[1], following[1])
        image = self.fusion(section, known, warped, shown, state, moved)
        return JointOutput(both, warped, shown, image, tuple(levels))


def _moved(pyramid: list[tuple[Tensor, ...]], flows: Tensor) -> tuple[Tensor, ...]:
    """Return features of section and warped neighbours, joined, at 1/4 and 1/8.

    Parameters
    ----------
    pyramid
        Per level, finest (1/2) first: features of section, previous and following.
    flows
        (B, 4, H/4, W/4), in pixels of that level.
    """
    out = []
    for level, flow in ((1, flows), (2, F.avg_pool2d(flows, 2) / 2)):
        own, previous, following = pyramid[level]
        out.append(join(own, warp(previous, flow[:, :2]), warp(following, flow[:, 2:])))
    return tuple(out)
