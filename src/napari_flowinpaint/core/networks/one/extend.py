"""A section from one neighbour: registered, then completed by the generator of Extend-GAN.

The reference of the paper is a low-resolution image of the same place, already registered. Here it
is the one neighbour: the joint network (:mod:`..joint`), trained on with its other neighbour
silent, registers it to the section and predicts the section from it. The generator, a U-Net of
gated convolutions with LARN behind every one and dilated ones innermost, sees the damaged section,
what is known of it, and this reference, and corrects the reference by the section's intact part.

Departures from the paper (section II-A, figure 2):

* the reference is registered by a network, and the generator draws a residual over it that begins
  at nothing, so a training never begins below the registration; the paper draws the image itself;
* the finest level is at half of the resolution, each of its pixels holding a block of 2 x 2, and
  there are three levels: 0.2 million parameters beside the joint network's million, not 10;
* the mask is 1 where the section is known (the paper's ``1 - M``), and is a channel of the input;
* the deviation of eq. 8 is taken of the region alone; see :mod:`.gated`.

Shapes are those of :mod:`..joint`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ..blocks import as_computed, enlarge, gaussian, join
from ..config import Config
from ..joint import LOW_PASS, SIZES, JointConfig, JointNet, JointOutput
from .gated import GatedConv

#: What the generator sees: section, known, the network's image, the registered neighbour, its
#: low-pass, and where it shows something.
_SEEN = 6


@dataclass(frozen=True)
class ExtendConfig(Config):
    """Hyper-parameters of :class:`ExtendNet`; they travel in the weights file.

    Parameters
    ----------
    joint
        Of the joint network.
    channels
        Of the generator at 1/2, 1/4, ... of the resolution.
    dilations
        Of its innermost layers.
    larn
        Whether LARN follows every convolution.
    """

    joint: JointConfig = field(default_factory=lambda: SIZES["small"])
    channels: tuple[int, ...] = (24, 32, 48)
    dilations: tuple[int, ...] = (2, 4, 8)
    larn: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.joint, dict):
            object.__setattr__(self, "joint", JointConfig.from_dict(self.joint))
        elif not isinstance(self.joint, JointConfig):
            raise InputError("the network's 'joint' must be a description")
        self._widths("channels", 2, 5)
        self._widths("dilations", 1, 6)
        if max(self.dilations) > 32:
            raise InputError("the network's 'dilations' must be 32 at most")
        self._flags("larn")

    @property
    def multiple(self) -> int:
        """Sides of the images must be multiples of this."""
        return max(self.joint.multiple, int(2 ** len(self.channels)))


#: Named sizes: ``small`` for CPUs, ``base`` for training on a GPU.
EXTEND_SIZES = {
    "small": ExtendConfig(),
    "base": ExtendConfig(SIZES["base"], (48, 96, 128)),
}


class Generator(nn.Module):
    """The generator (section II-A1): a U-Net of gated convolutions.

    Parameters
    ----------
    config
        Hyper-parameters.
    """

    def __init__(self, config: ExtendConfig) -> None:
        super().__init__()
        widths, larn = config.channels, config.larn
        self.enter = GatedConv(4 * _SEEN, widths[0], larn=larn)
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(GatedConv(a, b, stride=2, larn=larn), GatedConv(b, b, larn=larn))
            for a, b in steps
        )
        self.inner = nn.Sequential(
            *(GatedConv(widths[-1], widths[-1], dilation=d, larn=larn) for d in config.dilations)
        )
        self.up = nn.ModuleList(GatedConv(a + b, a, larn=larn) for a, b in steps)
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, seen: Tensor) -> Tensor:
        """Return what to add to the reference, (B, 1, H, W), from (B, 6, H, W)."""
        seen = as_computed(seen).contiguous(memory_format=torch.channels_last)
        levels = [self.enter(F.pixel_unshuffle(seen, 2))]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = self.inner(levels.pop())
        for up in reversed(self.up):
            x = up(join(levels.pop(), enlarge(x, 2)))
        residual: Tensor = F.pixel_shuffle(self.head(x), 2)
        return residual.float()


class ExtendNet(nn.Module):
    """See the module's description.

    Parameters
    ----------
    config
        Hyper-parameters.
    """

    def __init__(self, config: ExtendConfig | None = None) -> None:
        super().__init__()
        self.config = config or ExtendConfig()
        self.joint = JointNet(self.config.joint)
        self.generator = Generator(self.config)

    def forward(
        self,
        section: Tensor,
        known: Tensor,
        neighbours: tuple[Tensor, Tensor],
        valid: tuple[Tensor, Tensor],
        alpha: Tensor,
    ) -> JointOutput:
        """Register the neighbour and complete the section.

        Parameters and output are those of :meth:`~..joint.JointNet.forward`, so that what runs
        and trains that network runs and trains this one. Of the two neighbours one is silent: it
        is valid nowhere. Which of them does not matter, and neither does ``alpha``. The first of
        the flows is that to the neighbour.
        """
        one = neighbours[0] * valid[0] + neighbours[1] * valid[1]
        shown = torch.maximum(*valid)
        nothing = torch.zeros_like(one)
        middle = torch.full_like(alpha, 0.5)
        found = self.joint(section, known, (one, nothing), (shown, nothing), middle)
        reference, there = found.warped[0], found.shown[0]
        low = gaussian(reference, LOW_PASS)
        seen = torch.cat([section * known, known, found.image, reference, low, there], dim=1)
        return replace(found, image=found.image + self.generator(seen))
