"""Refined reference: the initial reference registered to the section's intact pixels.

FlowInpaint, section 3.2, equations 4-6 and figure 3 (after PWC-Net, Sun et al. 2018). Two feature
pyramids of K levels, of the initial reference and of the damaged section; from the coarsest level
to the finest an estimator ``E_k`` looks at how the section's features correlate with the warped
ones of the reference and corrects the flow; a context network ``R`` of growing dilation smooths
the last one.

Where the paper leaves a choice: both pyramids share their weights (as in PWC-Net), the validity
being a second input channel; level k has 1/2^k of the resolution; estimators and context network
correct the flow they are given, starting from none.

Polarity is the package's: ``mask`` is 1 where the section is damaged (the paper's ``m`` is 1
where it is valid).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import Pyramid, conv, correlate, enlarge, hide, pad_mask, pad_to, same_length, warp
from ..config import Config

#: Dilations of the context network; it is as deep as its configuration says.
_DILATIONS = (1, 2, 4, 8, 16, 1)


@dataclass(frozen=True)
class RefinedReferenceConfig(Config):
    """Hyper-parameters of :class:`RefinedReferenceNetwork`.

    Parameters
    ----------
    channels
        Feature channels of levels 1..K.
    radius
        Search radius of the correlation, in pixels of each level.
    estimator
        Channels of the hidden layers of the estimators.
    context
        Channels of the hidden layers of the context network, up to six.
    normalised
        Whether feature vectors are brought to one length before they are correlated, which
        speeds up training; the paper's eq. 4 takes them as they are.
    validity
        Whether the network sees where the initial reference shows nothing: where neither neighbour
        did, and what was padded. The paper's sees the section's mask only.
    """

    channels: tuple[int, ...] = (12, 16, 24, 32, 48, 64)
    radius: int = 3
    estimator: tuple[int, ...] = (32, 32, 24)
    context: tuple[int, ...] = (32, 32, 32, 24)
    normalised: bool = True
    validity: bool = True

    def __post_init__(self) -> None:
        self._widths("channels", 1, 7)
        self._widths("estimator", 1, 8)
        self._widths("context", 1, len(_DILATIONS))
        self._whole("radius", 1, 8)
        self._flags("normalised", "validity")

    @property
    def multiple(self) -> int:
        """What the sides of images are padded to multiples of."""
        return int(2 ** len(self.channels))


#: Named sizes: ``small`` for CPUs, ``base`` for GPUs, nearly as wide as
#: PWC-Net, on which the paper builds.
SIZES = {
    "small": RefinedReferenceConfig(),
    "base": RefinedReferenceConfig(
        (16, 32, 64, 96, 128, 128),
        4,
        (128, 128, 96, 64, 32),
        (128, 128, 128, 96, 64, 32),
        normalised=False,
        validity=False,
    ),
}


@dataclass(frozen=True)
class RefinedReference:
    """Output of the network.

    Parameters
    ----------
    image
        (B, 1, H, W), the initial reference warped onto the section (eq. 6).
    flow
        (B, 2, H, W), pixels, order (dy, dx).
    pyramid
        The flows ``f_(1)`` .. ``f_(K)`` of eq. 5, after their enlargement: ``pyramid[k - 1]`` is
        (B, 2, ceil(H / 2^(k-1)), ceil(W / 2^(k-1))), in pixels of that resolution. The first is
        ``flow``, refined by the context network.
    """

    image: Tensor
    flow: Tensor
    pyramid: tuple[Tensor, ...]


def _flow_head(channels: int) -> nn.Conv2d:
    """Return a layer that predicts no displacement until it is trained."""
    head = nn.Conv2d(channels, 2, 3, padding=1)
    nn.init.zeros_(head.weight)
    assert head.bias is not None
    nn.init.zeros_(head.bias)
    return head


class FlowEstimator(nn.Module):
    """``E_k`` of eq. 5: corrects the flow of one level, figure 3 (A)."""

    def __init__(self, features: int, config: RefinedReferenceConfig) -> None:
        super().__init__()
        inputs = (2 * config.radius + 1) ** 2 + features + 2 + 1
        widths = (inputs, *config.estimator)
        self.radius, self.normalised = config.radius, config.normalised
        self.body = nn.Sequential(*(conv(a, b) for a, b in itertools.pairwise(widths)))
        self.head = _flow_head(widths[-1])

    def forward(
        self, section: Tensor, reference: Tensor, flow: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the corrected flow (B, 2, h, w) and the last hidden features.

        Parameters
        ----------
        section, reference
            Features of this level, (B, C, h, w).
        flow
            ``f_(k+1)``, (B, 2, h, w), in pixels of this level.
        mask
            ``m_k``, (B, 1, h, w), share of damaged pixels.
        """
        ours, theirs = section, warp(reference, flow)
        if self.normalised:
            ours, theirs = same_length(ours), same_length(theirs)
        correlation = correlate(ours, theirs, self.radius)  # eq. 4
        seen = [F.leaky_relu(correlation, 0.1), section, flow.to(section.dtype), mask]
        hidden = self.body(torch.cat(seen, dim=1))
        return flow + self.head(hidden).float(), hidden


class ContextNetwork(nn.Module):
    """``R`` of eq. 6: dilated convolutions that smooth the last flow, figure 3 (B)."""

    def __init__(self, hidden: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        steps = zip((hidden + 2, *widths[:-1]), widths, _DILATIONS, strict=False)
        self.body = nn.Sequential(*(conv(a, b, dilation=d) for a, b, d in steps))
        self.head = _flow_head(widths[-1])

    def forward(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """Return the refined flow, (B, 2, h, w)."""
        correction = self.head(self.body(torch.cat([flow.to(hidden.dtype), hidden], dim=1)))
        return flow + correction.float()


class RefinedReferenceNetwork(nn.Module):
    """See the module's description.

    Parameters
    ----------
    config
        Hyper-parameters.
    """

    def __init__(self, config: RefinedReferenceConfig | None = None) -> None:
        super().__init__()
        self.config = config or RefinedReferenceConfig()
        self.features = Pyramid(2, self.config.channels, first=2)
        self.estimators = nn.ModuleList(
            FlowEstimator(width, self.config) for width in self.config.channels
        )
        self.context = ContextNetwork(self.config.estimator[-1], self.config.context)

    def forward(
        self, section: Tensor, mask: Tensor, initial: Tensor, shown: Tensor | None = None
    ) -> RefinedReference:
        """Register the initial reference to the section.

        Parameters
        ----------
        section
            (B, 1, H, W) of any size, normalised by its intact pixels; what is under the mask is
            never looked at (it may be NaN).
        mask
            (B, 1, H, W), 1 or True = damaged.
        initial
            (B, 1, H, W), the initial reference (eq. 3), normalised alike.
        shown
            (B, 1, H, W), 1 where that shows something; None is everywhere.
        """
        height, width = section.shape[-2:]
        visible = pad_to(hide(section, mask), self.config.multiple)
        reference = pad_to(initial, self.config.multiple)
        damaged = pad_mask(mask, self.config.multiple).to(section.dtype)
        seen = torch.ones_like(damaged)
        if self.config.validity:
            nowhere = torch.zeros_like(mask) if shown is None else 1 - shown
            seen = 1 - pad_mask(nowhere, self.config.multiple).to(section.dtype)
        images = torch.cat(
            [torch.cat([visible, 1 - damaged], dim=1), torch.cat([reference, seen], dim=1)]
        )
        levels = [level.chunk(2) for level in self.features(images)]
        flow = section.new_zeros((len(section), 2, *levels[-1][0].shape[-2:]), dtype=torch.float32)
        pyramid: list[Tensor] = []
        for k in range(len(levels), 0, -1):
            ours, theirs = levels[k - 1]
            here = F.avg_pool2d(damaged, 2**k)
            flow, hidden = self.estimators[k - 1](ours, theirs, flow, here)
            if k == 1:
                flow = self.context(flow, hidden)
            flow = 2 * enlarge(flow, 2)  # Up of eq. 5 and 6: twice the pixels, twice the length
            scale = 2 ** (k - 1)
            pyramid.insert(0, flow[..., : -(-height // scale), : -(-width // scale)])
        return RefinedReference(warp(initial, pyramid[0]), pyramid[0], tuple(pyramid))
