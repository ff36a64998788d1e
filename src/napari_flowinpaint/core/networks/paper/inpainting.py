"""Guided inpainting generator (FlowInpaint, section 3.3, equations 7-12).

Two feature pyramids of L levels: ``eta_1`` of the guidance (previous and following neighbour and
the refined reference, aggregated by dilated convolutions, eq. 7) and ``eta_2`` of the damaged
section. From the coarsest level up they are fused, enlarged, and what is missing is rebuilt from
what is known by contextual attention (eq. 8-11, :mod:`.attention`). The last layers draw the
section, of which the masked pixels are taken (eq. 12).

Polarity is the package's: ``mask`` is 1 where the section is damaged, so eq. 12 reads
``result = section * (1 - mask) + drawn * mask``. Level l has 1/2^(l-1) of the resolution.

Where the paper leaves a choice: the four dilated convolutions have a quarter of the channels
each; the axial position alpha and the mask are channels of the guidance.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ..blocks import Pyramid, conv, enlarge, hide, pad_mask, pad_to
from ..config import Config
from .attention import attend
from .refined_reference import SIZES as REFINED_SIZES
from .refined_reference import RefinedReference, RefinedReferenceConfig, RefinedReferenceNetwork

#: Dilations of the feature aggregation layers (eq. 7).
_DILATIONS = (1, 2, 4, 8)
#: What may guide besides the neighbours: the paper's reference; the frame interpolation as it is
#: (its "SFF+GuidedGAN"); nothing (its "GuidedGAN").
REFERENCES = ("refined", "initial", "none")


@dataclass(frozen=True)
class InpaintingConfig(Config):
    """Hyper-parameters of :class:`InpaintingGenerator`.

    Parameters
    ----------
    channels
        Feature channels of levels 1..L.
    reference
        One of :data:`REFERENCES`.
    aggregation
        Whether there are feature aggregation layers (without: the paper's "-FAL").
    finest_attention
        Contextual attention rebuilds ``Psi^L`` .. ``Psi^l`` for l from this; 2 is the paper's.
    sharpness
        Of the attention; 1 is eq. 9.
    keys
        Most known patches that attention chooses from.
    residual
        Whether the last layers draw a correction of the reference (of the neighbours' mean,
        where there is none) instead of the section itself. The correction is zero before training.
    validity
        Whether the guidance says where each neighbour shows nothing (because it is damaged itself,
        lies beyond the edge, or was padded). The paper's does not.
    """

    channels: tuple[int, ...] = (16, 24, 32, 48, 48, 48)
    reference: str = "refined"
    aggregation: bool = True
    finest_attention: int = 5
    sharpness: float = 10.0
    keys: int = 4096
    residual: bool = True
    validity: bool = True

    def __post_init__(self) -> None:
        self._widths("channels", 2, 7)
        self._flags("aggregation", "residual", "validity")
        self._whole("finest_attention", 2, 8)
        self._whole("keys", 1, 16384)
        if self.reference not in REFERENCES:
            raise InputError(f"the network's 'reference' must be one of {', '.join(REFERENCES)}")
        if not isinstance(self.sharpness, (int, float)) or not 0 < self.sharpness <= 1000:
            raise InputError("the network's 'sharpness' must be a number above 0")
        if self.aggregation and any(width % len(_DILATIONS) for width in self.channels):
            raise InputError("the network's 'channels' must be multiples of 4")

    @property
    def multiple(self) -> int:
        """What the sides of images are padded to multiples of."""
        return int(2 ** (len(self.channels) - 1))


#: Named sizes: ``small`` for CPUs; ``base`` for GPUs, with the levels and
#: the equations of the paper (which does not state the widths).
SIZES = {
    "small": InpaintingConfig(),
    "base": InpaintingConfig(
        (32, 64, 96, 96, 96, 96),
        finest_attention=2,
        sharpness=1.0,
        residual=False,
        validity=False,
    ),
}


class FeatureAggregation(nn.Module):
    """Eq. 7: four dilated convolutions side by side, joined by one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // len(_DILATIONS)
        self.dilated = nn.ModuleList(conv(channels, part, dilation=d) for d in _DILATIONS)
        self.join = conv(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return aggregated features of the same shape, (B, C, h, w)."""
        return self.join(torch.cat([layer(features) for layer in self.dilated], dim=1))


@dataclass(frozen=True)
class InpaintingOutput:
    """Output of the generator.

    Parameters
    ----------
    image
        (B, 1, H, W), eq. 12: the drawn pixels under the mask, the section's own elsewhere,
        bit for bit.
    drawn
        (B, 1, H, W), all pixels as they were drawn.
    """

    image: Tensor
    drawn: Tensor


class InpaintingGenerator(nn.Module):
    """See the module's description.

    Parameters
    ----------
    config
        Hyper-parameters.
    """

    def __init__(self, config: InpaintingConfig | None = None) -> None:
        super().__init__()
        self.config = config or InpaintingConfig()
        channels = self.config.channels
        # two neighbours, mask, alpha, and the reference where there is one
        guides = 4 if self.config.reference == "none" else 5
        if self.config.validity:
            guides += 2
        body = FeatureAggregation if self.config.aggregation else None
        self.guidance = Pyramid(guides, channels, 1, body)
        self.section = Pyramid(2, channels, 1)
        self.fusion = nn.ModuleList(
            nn.Sequential(conv(2 * width + above, width), conv(width, width))
            for width, above in zip(channels[1:], (*channels[2:], 0), strict=True)
        )
        first = channels[0]
        self.draw = nn.Sequential(
            conv(2 * first + channels[1], first), nn.Conv2d(first, 1, 3, padding=1)
        )
        if self.config.residual:
            for parameter in self.draw[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        section: Tensor,
        mask: Tensor,
        neighbours: tuple[Tensor, Tensor],
        alpha: Tensor,
        reference: Tensor | None = None,
        valid: tuple[Tensor, Tensor] | None = None,
    ) -> InpaintingOutput:
        """Fill the masked pixels.

        Parameters
        ----------
        section
            (B, 1, H, W) of any size, normalised by its intact pixels; what is under the mask is
            never looked at (it may be NaN).
        mask
            (B, 1, H, W), 1 or True = damaged.
        neighbours
            Previous and following, (B, 1, H, W) each, normalised alike.
        alpha
            (B,), axial position of the section between them.
        reference
            (B, 1, H, W), refined or initial, as the configuration says; None for "none".
        valid
            (B, 1, H, W) each, 1 where previous and following show something; None is everywhere.

        Raises
        ------
        ValueError
            If a reference is missing, or given although the configuration has none.
        """
        if (reference is None) != (self.config.reference == "none"):
            raise ValueError(f"this network's reference is '{self.config.reference}'")
        height, width = section.shape[-2:]
        multiple = self.config.multiple
        damaged = pad_mask(mask, multiple).to(section.dtype)
        visible = pad_to(hide(section, mask), multiple)
        position = alpha.to(section.dtype).view(-1, 1, 1, 1)
        guides = [*neighbours] if reference is None else [*neighbours, reference]
        padded = [pad_to(guide, multiple) for guide in guides]
        if self.config.validity:
            nowhere = [torch.zeros_like(mask)] * 2 if valid is None else [1 - v for v in valid]
            padded += [1 - pad_mask(gone, multiple).to(section.dtype) for gone in nowhere]
        seen = torch.cat([*padded, damaged, position.expand_as(damaged)], dim=1)
        eta_1, eta_2 = self.guidance(seen), self.section(torch.cat([visible, damaged], dim=1))
        psi = self._attention_features(eta_1, eta_2, damaged)
        drawn = self.draw(torch.cat([eta_1[0], eta_2[0], psi], dim=1)).float()
        drawn = drawn[..., :height, :width]
        if self.config.residual:
            mean = (1 - position) * neighbours[0] + position * neighbours[1]
            drawn = drawn + (mean if reference is None else reference).float()
        return InpaintingOutput(torch.where(mask > 0.5, drawn.to(section.dtype), section), drawn)

    def _attention_features(
        self, eta_1: list[Tensor], eta_2: list[Tensor], damaged: Tensor
    ) -> Tensor:
        """Return ``Psi^2``, (B, C, H, W), eq. 11 from the coarsest level up."""
        psi: Tensor | None = None
        for level in range(len(eta_1), 1, -1):  # the paper's l
            both = [eta_1[level - 1], eta_2[level - 1]]
            fused = self.fusion[level - 2](torch.cat(both if psi is None else [*both, psi], dim=1))
            psi = enlarge(fused, 2)
            if level >= self.config.finest_attention:
                # a feature is missing where any of its pixels is
                here = F.max_pool2d(damaged, 2 ** (level - 2))
                psi = attend(psi, here, sharpness=self.config.sharpness, keys=self.config.keys)
        assert psi is not None
        return psi


@dataclass(frozen=True)
class PaperConfig(Config):
    """Hyper-parameters of :class:`PaperNetwork`.

    Parameters
    ----------
    refined
        Of the refined reference network; used where ``inpainting.reference`` is "refined".
    inpainting
        Of the generator.
    """

    refined: RefinedReferenceConfig = field(default_factory=RefinedReferenceConfig)
    inpainting: InpaintingConfig = field(default_factory=InpaintingConfig)

    def __post_init__(self) -> None:
        for name, kind in (("refined", RefinedReferenceConfig), ("inpainting", InpaintingConfig)):
            value = getattr(self, name)
            if isinstance(value, dict):
                object.__setattr__(self, name, kind.from_dict(value))
            elif not isinstance(value, kind):
                raise InputError(f"the network's '{name}' must be a description")

    def ablated(self, *, reference: str = "refined", aggregation: bool = True) -> PaperConfig:
        """Return the same network with the paper's ablations of section 4.6."""
        changed = replace(self.inpainting, reference=reference, aggregation=aggregation)
        return replace(self, inpainting=changed)


#: Named sizes of the whole.
PAPER_SIZES = {name: PaperConfig(REFINED_SIZES[name], SIZES[name]) for name in SIZES}


class PaperNetwork(nn.Module):
    """Refined reference and guided inpainting, one after the other (figure 2, B and C).

    Parameters
    ----------
    config
        Hyper-parameters.
    """

    def __init__(self, config: PaperConfig | None = None) -> None:
        super().__init__()
        self.config = config or PaperConfig()
        with_refined = self.config.inpainting.reference == "refined"
        self.refined = RefinedReferenceNetwork(self.config.refined) if with_refined else None
        self.generator = InpaintingGenerator(self.config.inpainting)

    def forward(
        self,
        section: Tensor,
        mask: Tensor,
        neighbours: tuple[Tensor, Tensor],
        alpha: Tensor,
        initial: Tensor,
        valid: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[InpaintingOutput, RefinedReference | None]:
        """Register the initial reference (eq. 3), then fill the masked pixels.

        Shapes as in :meth:`InpaintingGenerator.forward`; ``initial`` is (B, 1, H, W).
        """
        if self.refined is not None:
            shown = None if valid is None else torch.maximum(*valid)
            refined = self.refined(section, mask, initial, shown)
            drawn = self.generator(section, mask, neighbours, alpha, refined.image, valid)
            return drawn, refined
        reference = initial if self.config.inpainting.reference == "initial" else None
        return self.generator(section, mask, neighbours, alpha, reference, valid), None
