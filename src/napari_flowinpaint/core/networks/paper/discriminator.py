"""Discriminator: does a section look whole? (FlowInpaint, section 3.3 and eq. 20-21).

Two PatchGAN branches (Isola et al. 2017): the global one looks at the whole section, the local
one at the masked pixels only, and where they are. Their features are concatenated, and a last
layer judges every patch. The paper speaks of a probability, and trains with a hinge loss; the
hinge is of unbounded scores, so that is what this network returns. Spectral norm on every layer
keeps it from outpacing the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..config import Config


@dataclass(frozen=True)
class DiscriminatorConfig(Config):
    """Hyper-parameters of :class:`Discriminator`.

    Parameters
    ----------
    channels
        Of the layers of each branch, each of which halves the resolution.
    spectral
        Whether the layers are spectrally normalised.
    """

    channels: tuple[int, ...] = (32, 64, 96)
    spectral: bool = True

    def __post_init__(self) -> None:
        self._widths("channels", 1, 5)
        self._flags("spectral")


#: Named sizes, beside those of the generator.
SIZES = {
    "small": DiscriminatorConfig(),
    "base": DiscriminatorConfig((64, 128, 256, 256)),
}


@dataclass(frozen=True)
class DiscriminatorOutput:
    """Output of the discriminator.

    Parameters
    ----------
    scores
        (B, 1, h, w), unbounded, one per patch: above 0 looks real.
    features
        Of all layers of both branches, finest first, (B, C, h_l, w_l).
    """

    scores: Tensor
    features: tuple[Tensor, ...]


class Discriminator(nn.Module):
    """See the module's description.

    Parameters
    ----------
    config
        Hyper-parameters.
    """

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config or DiscriminatorConfig()
        channels = self.config.channels
        norm = spectral_norm if self.config.spectral else _as_it_is
        self.whole = _branch(1, channels, norm)
        self.local = _branch(2, channels, norm)
        self.judge = norm(nn.Conv2d(2 * channels[-1], 1, 3, padding=1))

    def forward(self, image: Tensor, mask: Tensor) -> DiscriminatorOutput:
        """Judge a section.

        Parameters
        ----------
        image
            (B, 1, H, W), at least 2^layers pixels a side; a true section or a composite.
        mask
            (B, 1, H, W), 1 or True = drawn by the generator.
        """
        drawn = (mask > 0.5).to(image.dtype)
        whole, local = image, torch.cat([image * drawn, drawn], dim=1)
        features = []
        for ours, theirs in zip(self.whole, self.local, strict=True):
            whole, local = ours(whole), theirs(local)
            features += [whole, local]
        return DiscriminatorOutput(self.judge(torch.cat([whole, local], dim=1)), tuple(features))


def _branch(
    inputs: int, channels: tuple[int, ...], norm: Callable[[nn.Module], nn.Module]
) -> nn.ModuleList:
    steps = zip((inputs, *channels[:-1]), channels, strict=True)
    return nn.ModuleList(
        nn.Sequential(norm(nn.Conv2d(a, b, 4, 2, padding=1)), nn.LeakyReLU(0.2)) for a, b in steps
    )


def _as_it_is(layer: nn.Module) -> nn.Module:
    return layer
