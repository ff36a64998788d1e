"""Train the networks that undo folds: interpolation, unfolding and fusion, one after the other.

As in "Learning to restore ssTEM images from deformation and corruption" (section 4.2), each is
trained by itself, by its L1 distance: interpolation and fusion to the section before it was
folded, unfolding to the flow that undoes the simulated fold.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...networks.blocks import pad_to, warp
from ...networks.fold.fold_fusion import FUSION_SIZES, FusionNetwork
from ...networks.fold.kpn import KPN_SIZES, KernelPredictionNetwork
from ...networks.fold.restoration import FoldNetwork
from ...networks.fold.unfolding import UNFOLDING_SIZES, UnfoldingNetwork, swallowed
from ...networks.registration import autocast
from ...networks.weights import load_network
from ..data import Samples, StackSpec
from ..loop import CosineSchedule, Training
from ..validation import ValidationReport, structure_psnr
from .fold_samples import (
    FoldBatch,
    FoldSamples,
    Interpolate,
    Restorable,
    folded,
    random_fold,
    restorable,
)
from .interpolation_samples import (
    Between,
    InterpolationBatch,
    InterpolationSamples,
    all_between,
    few,
)

#: Networks to train, in this order.
STAGES = ("interpolation", "unfolding", "fusion")
#: Held-out sections, per stack, that a network is validated on, and the side of their crops.
_VALIDATED, _VALIDATION_SIDE = 4, 512


@dataclass(frozen=True)
class FoldPlan(CosineSchedule):
    """How a training runs.

    Parameters
    ----------
    stage
        One of :data:`STAGES`.
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed, warm_up
        As in :class:`~napari_flowinpaint.core.training.loop.CosineSchedule`; ``size`` is a named
        size of the stage's network.
    interpolation, unfolding
        Weights of the networks before, for those that need them.
    """

    stage: str = "interpolation"
    batch: int = 4
    crop: int = 160
    warm_up: int = 50
    interpolation: str | None = None
    unfolding: str | None = None

    def training(self) -> type[_FoldRun[Any]]:
        """Return the training of the stage."""
        if self.stage not in _RUNS:
            raise InputError(f"unknown stage '{self.stage}'; choose one of: {', '.join(STAGES)}.")
        return _RUNS[self.stage]


N = TypeVar("N", bound=nn.Module)


class _FoldRun(Training[FoldPlan, N], Generic[N]):
    """What the three stages share."""

    def _optimize(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), self.plan.rate, betas=(0.9, 0.999))

    def _loss(self, batch: Any) -> Tensor:
        with autocast(self.device):
            return self._distance(batch)

    @abstractmethod
    def _distance(self, batch: Any) -> Tensor:
        """Return the L1 distance between the output for a batch and the target."""

    @abstractmethod
    def _restored(self, net: N, case: Any) -> Tensor:
        """Return the section (H, W) of a case as the network restores it, normalised."""

    def _score(self, net: N) -> ValidationReport:
        """Score whole crops, not the inside of a mask: all of a section is restored."""
        rows = []
        with torch.inference_mode():
            for case in self.cases:
                restored, truth = self._restored(net, case).float(), case.truth
                whole = np.ones(tuple(truth.shape), dtype=bool)
                rows.append(structure_psnr(restored, truth, whole, case.span))
        return ValidationReport.of(rows, [case.stack for case in self.cases])


@dataclass(frozen=True, eq=False)
class _Case:
    """A crop of a held-out section (H, W), and its neighbours (1, 1, H, W), normalised."""

    stack: int
    span: float
    truth: Tensor
    previous: Tensor
    following: Tensor


def _interpolation_case(between: Between) -> _Case:
    images = between.normalised()[:, :_VALIDATION_SIDE, :_VALIDATION_SIDE].contiguous()
    return _Case(between.stack, between.span, images[0], *images[1:, None, None])


class _InterpolationRun(_FoldRun[KernelPredictionNetwork]):
    """The kernel prediction network in training."""

    sizes = KPN_SIZES

    def _samples(self, train: Sequence[StackSpec]) -> Samples[Any]:
        return InterpolationSamples(train, self.plan.crop, self.plan.seed)

    def _held_out(self, held_out: Sequence[StackSpec]) -> Sequence[Any]:
        sections = all_between(held_out, self.plan.crop)
        return [_interpolation_case(b) for stack in sections for b in few(stack, _VALIDATED)]

    def _build(self) -> KernelPredictionNetwork:
        return KernelPredictionNetwork(KPN_SIZES[self.plan.size])

    def _distance(self, batch: InterpolationBatch) -> Tensor:
        return (self.net(batch.previous, batch.following) - batch.truth).abs().mean()

    def _restored(self, net: KernelPredictionNetwork, case: _Case) -> Tensor:
        height, width = case.truth.shape
        images = (pad_to(i, net.config.multiple) for i in (case.previous, case.following))
        out: Tensor = net(*images)
        return out[0, 0, :height, :width]


@dataclass(frozen=True, eq=False)
class _FoldedCase:
    """A folded crop of a held-out section, as a batch of one."""

    stack: int
    span: float
    batch: FoldBatch

    @property
    def truth(self) -> Tensor:
        """The section before it was folded, (H, W)."""
        return self.batch.truth[0, 0]


class _FoldedRun(_FoldRun[N], Generic[N]):
    """What unfolding and fusion share: folded sections, beside interpolated ones."""

    def _samples(self, train: Sequence[StackSpec]) -> Samples[Any]:
        self._interpolate = interpolator(self.plan.interpolation, self.device)
        stacks = restorable(train, self.plan.crop, self._interpolate)
        return FoldSamples(stacks, self.plan.crop, self.plan.seed)

    def _held_out(self, held_out: Sequence[StackSpec]) -> Sequence[Any]:
        stacks = restorable(held_out, self.plan.crop, self._interpolate, _VALIDATED)
        return [_folded_case(section, n) for stack in stacks for n, section in enumerate(stack)]


def interpolator(weights: str | None, device: str) -> Interpolate:
    """Return what interpolates between sections: the network of a file, or their mean.

    Raises
    ------
    InputError
        If the file holds no such network.
    """
    if weights is None:
        return lambda previous, following: (previous + following) / 2
    net, _ = load_network(Path(weights), architecture="kpn")
    assert isinstance(net, KernelPredictionNetwork)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def interpolate(previous: Tensor, following: Tensor) -> Tensor:
        return _interpolated(net, previous.to(device), following.to(device)).cpu()

    return interpolate


def _interpolated(net: KernelPredictionNetwork, previous: Tensor, following: Tensor) -> Tensor:
    """Interpolate between whole sections (H, W)."""
    height, width = previous.shape
    pair = (pad_to(i[None, None], net.config.multiple) for i in (previous, following))
    with torch.inference_mode(), autocast(str(previous.device)):
        out: Tensor = net(*pair)
    return out[0, 0, :height, :width].float()


def _folded_case(section: Restorable, number: int) -> _FoldedCase:
    """Fold a section, always the same way."""
    rng = np.random.default_rng((17, section.stack, number))
    side = min(_VALIDATION_SIDE, *section.images.shape[1:])
    side -= side % 64  # whole multiples for every network
    truth, reference = section.images[:, :side, :side].float()
    layers = folded(truth, reference, random_fold(rng), rng)[None]
    truth, reference, degraded, distance, _, _, lost = layers[:, :, None].unbind(dim=1)
    batch = FoldBatch(truth, reference, degraded, distance, layers[:, 4:6], lost)
    return _FoldedCase(section.stack, section.span, batch)


class _UnfoldingRun(_FoldedRun[UnfoldingNetwork]):
    """The unfolding network in training."""

    sizes = UNFOLDING_SIZES

    def _build(self) -> UnfoldingNetwork:
        return UnfoldingNetwork(UNFOLDING_SIZES[self.plan.size])

    def _distance(self, batch: FoldBatch) -> Tensor:
        return flow_loss(self.net(batch.degraded, batch.reference, batch.distance), batch)

    def _restored(self, net: UnfoldingNetwork, case: _FoldedCase) -> Tensor:
        unfolded, lost = unfold(net, case.batch)
        return torch.where(lost, case.batch.reference, unfolded)[0, 0]


def flow_loss(flow: Tensor, batch: FoldBatch) -> Tensor:
    """Return the L1 distance to the flow that unfolds, where there is tissue to be moved back."""
    there = 1 - batch.lost
    off = (flow - batch.flow).abs().sum(dim=1, keepdim=True) * there
    return off.sum() / there.sum().clamp_min(1)


def unfold(net: UnfoldingNetwork, batch: FoldBatch) -> tuple[Tensor, Tensor]:
    """Return the unfolded sections, and where they show nothing (bool), (B, 1, H, W) each."""
    flow = net(batch.degraded, batch.reference, batch.distance).float()
    return warp(batch.degraded, flow), swallowed(batch.distance, flow)


class _FusionRun(_FoldedRun[FusionNetwork]):
    """The fusion network in training, after the other two, which stay as they are.

    All three are written, as one network.
    """

    sizes = FUSION_SIZES

    def __init__(
        self,
        train: Sequence[StackSpec],
        held_out: Sequence[StackSpec],
        output: Path,
        plan: FoldPlan,
        device: str,
    ) -> None:
        for name in ("interpolation", "unfolding"):
            if getattr(plan, name) is None:
                raise InputError(
                    f"fold-fusion needs the weights of fold-{name}; give them with --{name}."
                )
        super().__init__(train, held_out, output, plan, device)

    def _build(self) -> FusionNetwork:
        self._before = [
            load_network(Path(str(path)), architecture=name)[0]
            for name, path in (
                ("kpn", self.plan.interpolation),
                ("unfolding", self.plan.unfolding),
            )
        ]
        # torch's type stubs lack the memory format
        self._unfolding: Any = self._before[1].to(  # type: ignore[call-overload]
            self.device, memory_format=torch.channels_last
        )
        return FusionNetwork(FUSION_SIZES[self.plan.size])

    def _finished(self, net: FusionNetwork) -> nn.Module:
        interpolation, unfolding = self._before
        assert isinstance(interpolation, KernelPredictionNetwork)
        assert isinstance(unfolding, UnfoldingNetwork)
        return FoldNetwork.joined(interpolation, unfolding, net)

    def _fuse(self, net: FusionNetwork, batch: FoldBatch) -> Tensor:
        with torch.no_grad():
            unfolded, lost = unfold(self._unfolding, batch)
        fused: Tensor = net(unfolded, batch.reference, lost.float())
        return fused

    def _distance(self, batch: FoldBatch) -> Tensor:
        return (self._fuse(self.net, batch) - batch.truth).abs().mean()

    def _restored(self, net: FusionNetwork, case: _FoldedCase) -> Tensor:
        return self._fuse(net, case.batch)[0, 0]


_RUNS: dict[str, type[_FoldRun[Any]]] = {
    "interpolation": _InterpolationRun,
    "unfolding": _UnfoldingRun,
    "fusion": _FusionRun,
}
