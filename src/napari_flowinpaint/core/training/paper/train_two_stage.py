"""Train the paper's networks in its two stages (FlowInpaint, sections 3.4 and 4.2).

Stage ``reference`` trains the refined reference network; stage ``inpainting`` the generator
against the discriminator, on the references of the first stage, which stays as it is unless it is
fine-tuned along. Adam 0.5/0.999 at 1e-4; the rate is halved where the paper does, as shares of the
schedule. The paper's ablations are options of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...networks.paper.discriminator import SIZES as DISCRIMINATORS
from ...networks.paper.discriminator import Discriminator
from ...networks.paper.inpainting import PAPER_SIZES, PaperNetwork
from ...networks.paper.refined_reference import RefinedReferenceNetwork
from ...networks.registration import autocast
from ...networks.weights import load_network
from ...types import Progress, no_progress
from ..data import StackSpec, TrainingBatch
from ..loop import Schedule, Training, TrainingOutcome
from ..state import ParameterAverage, load_state, read_numbers, save_state
from .initial import initial_references
from .losses import (
    Features,
    VggFeatures,
    discriminator_loss,
    generator_loss,
    gradient_features,
    refined_reference_loss,
)

STAGES = ("reference", "inpainting")
#: The rate is halved at these shares of the schedule: 0.4, 0.6, 0.8 and 1.0 of 1.2 M steps.
_HALVED_AT = (1 / 3, 1 / 2, 2 / 3, 5 / 6)


@dataclass(frozen=True)
class TwoStagePlan(Schedule):
    """How a training runs.

    Parameters
    ----------
    stage
        One of :data:`STAGES`.
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed
        As in :class:`~napari_flowinpaint.core.training.loop.Schedule`; ``size`` is ``"small"``
        or ``"base"``, ``rate`` that at the beginning.
    refined
        Weights of the first stage, for the second.
    fine_tune
        Whether the second stage trains the first one's network along, by both losses.
    reference, aggregation, adversarial
        The paper's ablations: "initial" (plain frame interpolation) or "none" (GuidedGAN) instead
        of "refined"; False for "-FAL"; False for "-GAN".
    vgg
        Weights of VGG16 for the perceptual loss; without them, differences of slopes stand in
        (:func:`~.losses.gradient_features`).
    """

    rate: float = 1e-4
    clip: float = 10.0
    stage: str = "reference"
    refined: str | None = None
    fine_tune: bool = False
    reference: str = "refined"
    aggregation: bool = True
    adversarial: bool = True
    vgg: str | None = None

    def rate_at(self, step: int, seconds: float) -> float:
        """Return the learning rate."""
        done = self.share(step, seconds)
        return self.rate * 0.5 ** sum(done >= share for share in _HALVED_AT)


def train_two_stage(
    train: Sequence[StackSpec],
    held_out: Sequence[StackSpec],
    output: Path,
    plan: TwoStagePlan | None = None,
    *,
    resume: Path | None = None,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> TrainingOutcome:
    """Train one stage; the best moving average (by validation) is kept.

    Parameters, files and errors are those of
    :func:`~napari_flowinpaint.core.training.train_joint.train_joint`; beside the state to resume
    from lies that of the discriminator, ``.discriminator.safetensors``.
    """
    plan = plan or TwoStagePlan()
    if plan.stage not in STAGES:
        raise InputError(f"unknown stage '{plan.stage}'; choose one of: {', '.join(STAGES)}")
    if plan.size not in PAPER_SIZES:
        raise InputError(f"unknown size '{plan.size}'; choose one of: {', '.join(PAPER_SIZES)}")
    return _TwoStageRun(train, held_out, output, plan, device).run(resume, progress)


class _TwoStageRun(Training[TwoStagePlan, PaperNetwork | RefinedReferenceNetwork]):
    """One stage in progress."""

    def __init__(
        self,
        train: Sequence[StackSpec],
        held_out: Sequence[StackSpec],
        output: Path,
        plan: TwoStagePlan,
        device: str,
    ) -> None:
        super().__init__(train, held_out, output, plan, device)
        self.discriminator = Discriminator(DISCRIMINATORS[plan.size]).to(device)
        self.opponent = _adam(self.discriminator, plan.rate)
        self.features = _features(plan, device)

    @property
    def adversarial(self) -> bool:
        """Whether there is a discriminator to train against."""
        return self.plan.adversarial and isinstance(self.net, PaperNetwork)

    def _build(self) -> PaperNetwork | RefinedReferenceNetwork:
        return _network(self.plan)

    def _optimize(self) -> torch.optim.Optimizer:
        return _adam(self.net, self.plan.rate)

    def _adapter(self, net: PaperNetwork | RefinedReferenceNetwork) -> _PaperAdapter:
        return _PaperAdapter(net)

    def _save_more(self, state: Path, numbers: dict[str, Any]) -> None:
        if self.adversarial:
            no_average = _no_average(self.discriminator)
            other = _discriminator_state(state)
            save_state(other, self.discriminator, self.opponent, no_average, numbers)

    def _load_more(self, state: Path) -> None:
        if self.adversarial:
            beside = _discriminator_state(state)
            read_numbers(beside)
            load_state(beside, self.discriminator, self.opponent, _no_average(self.discriminator))

    def _advance(self, batch: TrainingBatch) -> float:
        rate = self.rate
        for group in (*self.optimizer.param_groups, *self.opponent.param_groups):
            group["lr"] = rate
        self.net.train()
        initial = initial_references(batch)
        loss = self._loss(batch, 1 - batch.known, initial)
        if self._descend(self.net, self.optimizer, loss):
            self.average.update(self.net, self.step)
        return float(loss.detach())

    def _loss(self, batch: TrainingBatch, mask: Tensor, initial: Tensor) -> Tensor:
        """Return the loss of the network that is trained, after the discriminator's step."""
        truth, features = batch.truth, self.features
        if isinstance(self.net, RefinedReferenceNetwork):
            with autocast(self.device):
                pyramid = self.net(truth, mask, initial, torch.maximum(*batch.valid)).pyramid
            return refined_reference_loss(pyramid, initial, truth, mask, features)
        with autocast(self.device):
            inpainted, refined = self.net(
                truth, mask, batch.neighbours, batch.alpha, initial, batch.valid
            )
        scores = None
        if self.adversarial:
            self._train_discriminator(truth, inpainted.image.detach(), mask)
            with autocast(self.device):
                scores = self.discriminator(inpainted.image, mask).scores.float()
        loss = generator_loss(inpainted.image, truth, mask, scores, inpainted.drawn)
        if self.plan.fine_tune and refined is not None:
            loss = loss + refined_reference_loss(refined.pyramid, initial, truth, mask, features)
        return loss

    def _train_discriminator(self, truth: Tensor, fake: Tensor, mask: Tensor) -> None:
        with autocast(self.device):
            scores = (self.discriminator(image, mask).scores.float() for image in (truth, fake))
            loss = discriminator_loss(*scores)
        self._descend(self.discriminator, self.opponent, loss)


class _PaperAdapter:
    """Adapter by which the validation, written for the joint network, calls the paper's."""

    def __init__(self, net: PaperNetwork | RefinedReferenceNetwork) -> None:
        self.net = net
        self.config = SimpleNamespace(multiple=1)  # they pad on their own

    def __call__(
        self,
        section: Tensor,
        known: Tensor,
        neighbours: tuple[Tensor, Tensor],
        valid: tuple[Tensor, Tensor],
        alpha: Tensor,
    ) -> SimpleNamespace:
        """Return something with an ``image``."""
        batch = TrainingBatch(section, known, neighbours, valid, alpha)
        initial, mask = initial_references(batch), 1 - known
        if isinstance(self.net, RefinedReferenceNetwork):
            shown = torch.maximum(*valid)
            return SimpleNamespace(image=self.net(section, mask, initial, shown).image)
        inpainted, _ = self.net(section, mask, neighbours, alpha, initial, valid)
        return SimpleNamespace(image=inpainted.image)


def _network(plan: TwoStagePlan) -> PaperNetwork | RefinedReferenceNetwork:
    """Return the network a stage trains."""
    config = PAPER_SIZES[plan.size]
    if plan.stage == "reference":
        return RefinedReferenceNetwork(config.refined)
    config = config.ablated(reference=plan.reference, aggregation=plan.aggregation)
    net = PaperNetwork(config)
    if net.refined is not None:
        if plan.refined is None:
            raise InputError("the second stage needs the weights of the first; give them")
        first, _ = load_network(Path(plan.refined), architecture="refined-reference")
        if first.config != config.refined:
            raise InputError(f"{plan.refined} has another size than '{plan.size}'")
        net.refined.load_state_dict(first.state_dict())
        net.refined.requires_grad_(plan.fine_tune)
    return net


def _adam(net: nn.Module, rate: float) -> torch.optim.Adam:
    trained = [p for p in net.parameters() if p.requires_grad]
    return torch.optim.Adam(trained, rate, betas=(0.5, 0.999))


def _features(plan: TwoStagePlan, device: str) -> Features:
    return gradient_features if plan.vgg is None else VggFeatures(Path(plan.vgg)).to(device)


def _discriminator_state(state: Path) -> Path:
    return state.with_name(state.name.replace(".state.", ".discriminator."))


def _no_average(net: nn.Module) -> ParameterAverage:
    return ParameterAverage(net, 0.0)
