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

import torch
from torch import Tensor

from ...errors import InputError
from ...networks.paper.inpainting import PAPER_SIZES, PaperNetwork
from ...networks.paper.refined_reference import RefinedReferenceNetwork
from ...networks.registration import autocast
from ...networks.weights import load_network
from ..adversarial import AdversarialTraining
from ..data import StackSpec, TrainingBatch
from ..loop import Schedule
from ..state import begin_with
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
    start
        Weights of the same size to begin with instead of random ones. The first stage also begins
        with that part of weights of the second. The schedule starts from the beginning.
    warm_up
        Steps until the rate is reached. The paper has none; but at a rate above its own the flow,
        which every coarser level enlarges, is lost within a few steps and does not come back.
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
    start: str | None = None
    warm_up: int = 300
    fine_tune: bool = False
    reference: str = "refined"
    aggregation: bool = True
    adversarial: bool = True
    vgg: str | None = None

    def rate_at(self, step: int, seconds: float) -> float:
        """Return the learning rate."""
        done = self.share(step, seconds)
        halved = self.rate * 0.5 ** sum(done >= share for share in _HALVED_AT)
        return halved * min((step + 1) / self.warm_up, 1)

    def training(self) -> type[TwoStageRun]:
        """Return the training of both stages."""
        if self.stage not in STAGES:
            raise InputError(f"unknown stage '{self.stage}'; choose one of: {', '.join(STAGES)}.")
        return TwoStageRun


class TwoStageRun(AdversarialTraining[TwoStagePlan, PaperNetwork | RefinedReferenceNetwork]):
    """One stage in progress."""

    sizes = PAPER_SIZES
    betas = (0.5, 0.999)

    def __init__(
        self,
        train: Sequence[StackSpec],
        held_out: Sequence[StackSpec],
        output: Path,
        plan: TwoStagePlan,
        device: str,
    ) -> None:
        super().__init__(train, held_out, output, plan, device)
        self.features = _features(plan, device)

    @property
    def adversarial(self) -> bool:
        """Whether there is a discriminator to train against."""
        return self.plan.adversarial and isinstance(self.net, PaperNetwork)

    def _build(self) -> PaperNetwork | RefinedReferenceNetwork:
        return _network(self.plan)

    def _optimize(self) -> torch.optim.Optimizer:
        trained = [p for p in self.net.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, self.plan.rate, betas=self.betas)

    def _adapter(self, net: PaperNetwork | RefinedReferenceNetwork) -> _PaperAdapter:
        return _PaperAdapter(net)

    def _loss(self, batch: TrainingBatch) -> Tensor:
        """Return the loss of the network that is trained, after the discriminator's step."""
        truth, mask, features = batch.truth, 1 - batch.known, self.features
        initial = initial_references(batch)
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
        net = RefinedReferenceNetwork(config.refined)
        if plan.start is not None:
            begin_with(net, _refinement(plan.start), plan.start, plan.size)
        return net
    whole = PaperNetwork(config.ablated(reference=plan.reference, aggregation=plan.aggregation))
    if plan.start is not None:
        first, _ = load_network(Path(plan.start), architecture="paper")
        assert isinstance(first, PaperNetwork)
        begin_with(whole.generator, first.generator, plan.start, plan.size)
    if whole.refined is not None:
        if plan.refined is None:
            raise InputError(
                "the inpainting stage needs the weights of the reference stage; give them with "
                "--refined."
            )
        begin_with(whole.refined, _refinement(plan.refined), plan.refined, plan.size)
        whole.refined.requires_grad_(plan.fine_tune)
    return whole


def _refinement(path: str) -> RefinedReferenceNetwork:
    """Return the first stage's network from its own weights, or from those of the second stage."""
    net, info = load_network(Path(path))
    if isinstance(net, PaperNetwork) and net.refined is not None:
        net = net.refined
    if not isinstance(net, RefinedReferenceNetwork):
        raise InputError(
            f"{path} holds a network '{info.architecture}' without a refined reference; choose "
            "weights of the reference stage."
        )
    return net


def _features(plan: TwoStagePlan, device: str) -> Features:
    return gradient_features if plan.vgg is None else VggFeatures(Path(plan.vgg)).to(device)
