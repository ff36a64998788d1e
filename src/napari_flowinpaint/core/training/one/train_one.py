"""Train the network for one neighbour: schedule, optimizers, step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...networks.joint import JointNet, JointOutput
from ...networks.one.extend import EXTEND_SIZES, ExtendConfig, ExtendNet
from ...networks.registration import autocast
from ...networks.weights import load_network
from ..adversarial import AdversarialTraining
from ..data import Samples, StackSpec, TrainingBatch, Triplets
from ..loop import CosineSchedule
from .extend_losses import extend_loss, hinge_loss


@dataclass(frozen=True)
class OnePlan(CosineSchedule):
    """How a training runs.

    Parameters
    ----------
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed, warm_up
        As in :class:`~napari_flowinpaint.core.training.loop.CosineSchedule`; ``size`` is a named
        size of :data:`~napari_flowinpaint.core.networks.one.extend.EXTEND_SIZES`; the optimizer is
        AdamW.
    start
        Weights to begin with: of the joint network, whose registration is then trained on, or of
        this network. None: random ones.
    larn, triplet, adversarial
        The parts of the paper, for ablations.
    """

    batch: int = 2
    start: str | None = None
    larn: bool = True
    triplet: bool = True
    adversarial: bool = True

    def training(self) -> type[OneRun]:
        """Return the training of this network."""
        return OneRun


class Pairs(Samples[TrainingBatch]):
    """Draws sections with one neighbour: triplets of which the other neighbour is silent."""

    def __init__(self, triplets: Triplets) -> None:
        self._triplets = triplets

    def batch(self, step: int, count: int) -> TrainingBatch:
        """Return the batch of one step; the same step gives the same batch."""
        return silenced(self._triplets.batch(step, count))


def silenced(batch: TrainingBatch) -> TrainingBatch:
    """Return a batch whose second neighbour shows nothing."""
    nothing = torch.zeros_like(batch.neighbours[1])
    return replace(
        batch,
        neighbours=(batch.neighbours[0], nothing),
        valid=(batch.valid[0], nothing),
        alpha=torch.full_like(batch.alpha, 0.5),
    )


class OneRun(AdversarialTraining[OnePlan, ExtendNet]):
    """One training in progress."""

    sizes = EXTEND_SIZES
    betas = (0.5, 0.9)  # section III-A2; the rate is the generator's, since it is fine-tuned faster

    @property
    def adversarial(self) -> bool:
        """Whether the discriminator is trained."""
        return self.plan.adversarial

    def _samples(self, train: Sequence[StackSpec]) -> Samples[Any]:
        varied = self.plan.batch == 1
        return Pairs(Triplets(train, self.plan.crop, self.plan.seed, varied=varied))

    def _build(self) -> ExtendNet:
        return _network(self.plan)

    def _optimize(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), self.plan.rate, weight_decay=0.05)

    def _adapter(self, net: ExtendNet) -> OneSided:
        return OneSided(net)

    def _loss(self, batch: TrainingBatch) -> Tensor:
        with autocast(self.device):
            output = self.net(
                batch.truth * batch.known, batch.known, batch.neighbours, batch.valid, batch.alpha
            )
        scores = self._judged(output, batch) if self.adversarial else None
        return extend_loss(output, batch, triplet=self.plan.triplet, scores=scores)

    def _judged(self, output: JointOutput, batch: TrainingBatch) -> Tensor:
        """Train the discriminator, and return its scores of the completed sections."""
        mask = 1 - batch.known
        completed = torch.lerp(batch.truth, output.image, mask)
        with autocast(self.device):
            real, fake = (
                self.discriminator(image, mask).scores.float()
                for image in (batch.truth, completed.detach())
            )
        self._descend(self.discriminator, self.opponent, hinge_loss(real, fake))
        with autocast(self.device):
            scores: Tensor = self.discriminator(completed, mask).scores.float()
        return scores


class OneSided:
    """Adapter by which the validation, written for two neighbours, shows the network one."""

    def __init__(self, net: ExtendNet) -> None:
        self.net, self.config = net, net.config

    def __call__(
        self,
        section: Tensor,
        known: Tensor,
        neighbours: tuple[Tensor, Tensor],
        valid: tuple[Tensor, Tensor],
        alpha: Tensor,
    ) -> JointOutput:
        """Return the output for the previous neighbour alone."""
        out: JointOutput = self.net(
            section, known, neighbours, (valid[0], torch.zeros_like(valid[1])), alpha
        )
        return out


def _network(plan: OnePlan) -> ExtendNet:
    """Return the network at the beginning of the training."""
    config: ExtendConfig = replace(EXTEND_SIZES[plan.size], larn=plan.larn)
    if plan.start is None:
        return ExtendNet(config)
    first, info = load_network(Path(plan.start))
    if isinstance(first, JointNet):
        net = ExtendNet(replace(config, joint=first.config))
        net.joint.load_state_dict(first.state_dict())
        return net
    if not isinstance(first, ExtendNet):
        raise InputError(
            f"{plan.start} holds a network '{info.architecture}'; begin with one of 'joint' or "
            "'one-neighbour'."
        )
    if first.config.larn != plan.larn:
        raise InputError(f"{plan.start} has LARN where the plan has none, or the other way round.")
    return first.requires_grad_(True)
