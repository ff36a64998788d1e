"""Train the network that repairs a section from itself.

The loss is that of the structure, which can be predicted: squared error, and its logarithm sample
by sample, of 2-px low-passes of the repaired section; and L1 of the pixels, so that membranes are
as sharp as can be predicted. The paper's also has an adversary, a perceptual and a style loss
(eq. 5): they make holes look like tissue, but here nothing that is painted should look more certain
than it is; texture is added afterwards, as by all methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...metrics import data_range
from ...networks.blocks import gaussian
from ...networks.joint import LOW_PASS
from ...networks.registration import autocast
from ...networks.single.progressive import reconstruct
from ...networks.single.separation import SEPARATION_SIZES, SeparationNetwork
from ...networks.weights import load_network
from ...types import BoolImage
from ..data import Samples, StackSpec, cuts
from ..distortions import normalise
from ..loop import CosineSchedule, Training
from ..loss import log_error, weighted_l1
from ..state import begin_with
from ..validation import ValidationReport, structure_psnr
from .single_samples import SingleBatch, SingleSamples, irregular_hole

#: Sections per stack to validate on, the sides of their crops, their damaged shares, and how smooth
#: the outlines of the damage are.
_VALIDATED, _VALIDATION_SIDE, _VALIDATION_SHARES = 5, 256, (0.05, 0.1)
_VALIDATION_SMOOTH = (8.0, 24.0)
#: Weights of the losses: squared error of the structure, its logarithm, L1.
_SQUARED, _LOGARITHM, _PIXELS = 1.0, 0.25, 0.3


@dataclass(frozen=True)
class SinglePlan(CosineSchedule):
    """How a training runs.

    Parameters
    ----------
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed, warm_up
        As in :class:`~napari_flowinpaint.core.training.loop.CosineSchedule`; ``size`` is one of
        :data:`~napari_flowinpaint.core.networks.single.separation.SEPARATION_SIZES`.
    start
        Weights of the same size to begin with instead of random ones: longer training, or training
        on one's own tissue. The schedule starts from the beginning.
    """

    batch: int = 8
    crop: int = 128
    rate: float = 1e-3
    start: str | None = None

    def training(self) -> type[SingleRun]:
        """Return the training of this network."""
        return SingleRun


def single_loss(painted: Tensor, batch: SingleBatch) -> Tensor:
    """Return the loss of a batch, inside the holes.

    Parameters
    ----------
    painted
        (B, 1, H, W), the network's image.
    batch
        What it saw.
    """
    hole = 1 - batch.known
    difference = (painted - batch.truth) * hole  # what is known stays as it is
    structure = gaussian(difference, LOW_PASS)
    squared = (structure.square() * hole).sum() / hole.sum().clamp_min(1)
    pixels = weighted_l1(difference, hole + 1e-6)
    return _SQUARED * squared + _LOGARITHM * log_error(structure, hole + 1e-6) + _PIXELS * pixels


@dataclass(frozen=True, eq=False)
class _Case:
    """A crop of a held-out section (H, W), normalised by its intact pixels, and its mask."""

    stack: int
    span: float
    truth: Tensor
    mask: BoolImage


def _cases(specs: Sequence[StackSpec], multiple: int) -> list[_Case]:
    found = []
    for number, spec in enumerate(specs):
        views = cuts(spec, multiple)
        pixels = views[0][0]  # no data are mirrored tissue
        side = min(_VALIDATION_SIDE, *pixels.shape[1:]) // multiple * multiple
        for n, z in enumerate(np.linspace(0, len(pixels) - 1, _VALIDATED).astype(int)):
            for share in _VALIDATION_SHARES:
                rng = np.random.default_rng((23, number, n, round(100 * share)))
                y, x = (int(rng.integers(length - side + 1)) for length in pixels.shape[1:])
                image = torch.from_numpy(pixels[z, y : y + side, x : x + side].astype(np.float32))
                mask = irregular_hole(side, rng, float(rng.uniform(*_VALIDATION_SMOOTH)), share)
                known = torch.from_numpy(~mask)
                span = data_range(pixels[z]) / max(float(image[known].std()), 1e-3)
                found.append(_Case(number, span, normalise(image, known), mask))
    return found


class SingleRun(Training[SinglePlan, SeparationNetwork]):
    """One training in progress."""

    sizes = SEPARATION_SIZES

    def _samples(self, train: Sequence[StackSpec]) -> Samples[Any]:
        multiple = self.sizes[self.plan.size].multiple
        if self.plan.crop % multiple:
            raise InputError(f"crops of {self.plan.crop} pixels; choose a multiple of {multiple}.")
        return SingleSamples(train, self.plan.crop, self.plan.seed)

    def _held_out(self, held_out: Sequence[StackSpec]) -> Sequence[Any]:
        return _cases(held_out, self.sizes[self.plan.size].multiple)

    def _build(self) -> SeparationNetwork:
        net = SeparationNetwork(self.sizes[self.plan.size])
        if self.plan.start is not None:
            first, _ = load_network(Path(self.plan.start), architecture="separation")
            begin_with(net, first, self.plan.start, self.plan.size)
        return net

    def _optimize(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), self.plan.rate, weight_decay=0.01)

    def _loss(self, batch: SingleBatch) -> Tensor:
        with autocast(self.device):
            painted = self.net(batch.filled, batch.known)
        return single_loss(painted, batch)

    def _score(self, net: SeparationNetwork) -> ValidationReport:
        rows = []
        with torch.inference_mode():
            for case in self.cases:
                known = torch.from_numpy(~case.mask).float()
                truth, seen = (v[None, None].to(self.device) for v in (case.truth, known))
                filled, _ = reconstruct(net, truth, seen)
                rows.append(
                    structure_psnr(filled[0, 0].float().cpu(), case.truth, case.mask, case.span)
                )
        return ValidationReport.of(rows, [case.stack for case in self.cases])
