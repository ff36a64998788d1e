"""Train a network that fills gaps of isotropic volumes.

One network for all widths and orientations (Masto, section 4.4); see
:mod:`napari_flowinpaint.core.networks.gap.gap_network` for what differs from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...metrics import STRUCTURE_SIGMA, data_range
from ...networks.blocks import gaussian
from ...networks.gap.gap_network import GAP_SIZES, GapConfig, GapNetwork, mixed_layers
from ...networks.registration import autocast
from ...reference.gap_interpolation import fill_gap
from ...types import AnyImage
from ..data import Samples, StackSpec
from ..loop import CosineSchedule, Training
from ..validation import ValidationReport
from .gap_loss import gap_loss
from .gap_samples import GapSamples, volumes

#: Widths of the gaps that a network is validated on, places for each, and their side, voxels.
_WIDTHS, _PLACES, _SIDE = (3, 6, 12), 3, 96
#: Samples that the linear prediction across gaps of each width is fitted to, the step at which
#: their columns are used, and the ridge that keeps its weights small.
_FITTED, _THINNED, _RIDGE = 24, 7, 1e-3


@dataclass(frozen=True)
class GapPlan(CosineSchedule):
    """How a training on isotropic volumes runs.

    Parameters
    ----------
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed, warm_up
        As in :class:`~napari_flowinpaint.core.training.loop.CosineSchedule`.
    """

    batch: int = 4
    crop: int = 80
    warm_up: int = 50

    def training(self) -> type[GapRun]:
        """Return the training of this network."""
        return GapRun


@dataclass(frozen=True, eq=False)
class GapCase:
    """A held-out patch with a gap.

    Parameters
    ----------
    kind
        Number of its kind: width and direction.
    values, doubt, missing
        (1, D, H, W), what the network sees.
    width
        (1,), of the gap.
    truth
        (D, H, W), normalised.
    span
        Grey values between black and white, normalised.
    along
        Whether the sections lie along the gap (a slab); else across it (a stripe).
    """

    kind: int
    values: Tensor
    doubt: Tensor
    missing: Tensor
    width: Tensor
    truth: Tensor
    span: float
    along: bool


class GapRun(Training[GapPlan, GapNetwork]):
    """The network in training."""

    sizes = GAP_SIZES

    def _samples(self, train: Sequence[StackSpec]) -> Samples[Any]:
        self.config = self.sizes[self.plan.size]
        return GapSamples(train, self.config, self.plan.crop, self.plan.seed)

    def _held_out(self, held_out: Sequence[StackSpec]) -> Sequence[Any]:
        return gap_cases(held_out, self.config)

    def _build(self) -> GapNetwork:
        self.names = case_kinds(self.config) if self.cases else []
        net = GapNetwork(self.config)
        fit_mixing(net, self.data)
        return net

    def _optimize(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), self.plan.rate, betas=(0.9, 0.999))

    def _loss(self, batch: Any) -> Tensor:
        with autocast(self.device):
            filled = self.net(batch.values, batch.doubt, batch.missing, batch.width)
        core = self.config.core
        parts = (batch.values, batch.truth, batch.inside)
        return gap_loss(filled.float(), *(part[:, core] for part in parts))

    def _score(self, net: GapNetwork) -> ValidationReport:
        rows = [score(net, case, self.device) for case in self.cases]
        return ValidationReport.of(rows, [case.kind for case in self.cases])


def fit_mixing(net: GapNetwork, samples: Samples[Any]) -> None:
    """Find the weights of linear prediction across gaps by least squares."""
    assert isinstance(samples, GapSamples)
    core = net.config.core
    weight = net.mixing.weight.data
    for width in range(1, net.config.widest + 1):
        batch = samples.of_width(width, _FITTED)
        layers = mixed_layers(batch.values).movedim(1, 0).flatten(1)[:, ::_THINNED].double()
        truth = batch.truth.movedim(1, 0).flatten(1)[:, ::_THINNED].double()
        square = layers @ layers.T / layers.shape[1]
        square += _RIDGE * torch.eye(len(square), dtype=square.dtype)
        first = net.config.place(width)
        inside = slice(first, first + width)
        found = torch.linalg.solve(square, layers @ truth[inside].T / layers.shape[1])
        weight[width - 1, first - core.start : first - core.start + width] = found.T.float()


def case_kinds(config: GapConfig) -> list[str]:
    """Return the names of the kinds of cases, in the order of their numbers."""
    names = ("slab", "stripe-y", "stripe-x")
    return [f"{name}-{width}" for width in _widths(config) for name in names]


def _widths(config: GapConfig) -> list[int]:
    return [width for width in _WIDTHS if width <= config.widest]


def gap_cases(specs: Sequence[StackSpec], config: GapConfig) -> list[GapCase]:
    """Return fixed patches of held-out volumes, with gaps in all directions."""
    found = []
    rng = np.random.default_rng(5)
    for views in volumes(specs, config.depth, config.depth):
        for number, width in enumerate(_widths(config)):
            for direction, view in enumerate(views):
                for _ in range(_PLACES):
                    kind = number * 3 + direction
                    found.append(_case(view, config, width, kind, direction == 0, rng))
    return found


def _case(
    view: AnyImage, config: GapConfig, width: int, kind: int, along: bool, rng: np.random.Generator
) -> GapCase:
    multiple = config.multiple
    sides = [config.depth, *(min(_SIDE, n) // multiple * multiple for n in view.shape[1:])]
    corner = [int(rng.integers(n - s + 1)) for n, s in zip(view.shape, sides, strict=True)]
    cut = view[tuple(slice(c, c + s) for c, s in zip(corner, sides, strict=True))]
    first = config.place(width)
    missing = np.zeros(cut.shape, dtype=bool)
    missing[first : first + width] = True
    known = cut[~missing].astype(np.float32)
    mean, std = float(known.mean()), max(float(known.std()), 1e-3)
    truth = (cut.astype(np.float32) - mean) / std
    seen = (*fill_gap(np.where(missing, 0, truth), missing, first, width), missing)
    values, doubt, gone = (torch.from_numpy(image)[None] for image in seen)
    span = data_range(cut[0]) / std
    return GapCase(
        kind,
        values,
        doubt,
        gone,
        torch.tensor([width]),
        torch.from_numpy(truth),
        span,
        along,
    )


def score(net: GapNetwork | None, case: GapCase, device: str = "cpu") -> tuple[float, float, float]:
    """Return structure PSNR, PSNR (dB) and detail inside the gap, of sections as they lie.

    Without a network: of the interpolation.
    """
    filled = case.values[0].clone()
    if net is not None:
        with torch.inference_mode():
            seen = (case.values, case.doubt, case.missing, case.width)
            out = net(*(image.to(device) for image in seen))
        filled[net.config.core] = out[0].float().cpu()
    images = torch.stack([filled, case.truth])
    inside = case.missing[0]
    if not case.along:  # sections contain the direction across the gap
        images, inside = images.transpose(1, 2).contiguous(), inside.transpose(0, 1)
    smooth = gaussian(images.flatten(0, 1)[:, None], STRUCTURE_SIGMA)[:, 0].view_as(images)
    fine = (images - smooth)[:, inside].square().mean(dim=1)

    def decibel(pair: Tensor) -> float:
        error = float((pair[0] - pair[1])[inside].double().square().mean())
        return float(10 * np.log10(case.span**2 / max(error, 1e-12)))

    return decibel(smooth), decibel(images), float(fine[0] / fine[1].clamp_min(1e-12))
