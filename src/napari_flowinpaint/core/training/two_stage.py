"""Train the paper's networks in its two stages (FlowInpaint, sections 3.4 and 4.2).

Stage ``reference`` trains the refined reference network; stage ``inpainting`` the generator
against the discriminator, on the references of the first stage, which stays as it is unless it is
fine-tuned along. Adam 0.5/0.999 at 1e-4; the rate is halved where the paper does, as shares of the
schedule. The paper's ablations are options of the plan.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..networks.discriminator import SIZES as DISCRIMINATORS
from ..networks.discriminator import Discriminator
from ..networks.inpainting import PAPER_SIZES, PaperNetwork
from ..networks.refined_reference import RefinedReferenceNetwork
from ..networks.weights import load_network, save_network
from ..types import Progress, no_progress
from .data import Batch, StackSpec, Triplets
from .initial import initial_references
from .joint import Outcome
from .log import Log
from .state import Average, load_state, read_numbers, save_state
from .two_stage_losses import (
    Features,
    VggFeatures,
    discriminator_loss,
    generator_loss,
    gradient_features,
    refined_reference_loss,
)
from .validation import Report, cases, validate

STAGES = ("reference", "inpainting")
#: The rate is halved at these shares of the schedule: 0.4, 0.6, 0.8 and 1.0 of 1.2 M steps.
_HALVED_AT = (1 / 3, 1 / 2, 2 / 3, 5 / 6)


@dataclass(frozen=True)
class TwoStagePlan:
    """How a training runs.

    Parameters
    ----------
    stage
        One of :data:`STAGES`.
    size
        ``"small"`` or ``"base"``.
    steps, minutes, batch, crop, clip, decay, every, seed
        As in :class:`~napari_flowinpaint.core.training.joint.Plan`.
    rate
        Learning rate at the beginning.
    refined
        Weights of the first stage, for the second.
    fine_tune
        Whether the second stage trains the first one's network along, by both losses.
    reference, aggregation, adversarial
        The paper's ablations: "initial" (plain frame interpolation) or "none" (GuidedGAN) instead
        of "refined"; False for "-FAL"; False for "-GAN".
    vgg
        Weights of VGG16 for the perceptual loss; without them, differences of slopes stand in
        (:func:`~.two_stage_losses.gradient_features`).
    """

    stage: str = "reference"
    size: str = "small"
    steps: int = 20_000
    minutes: float | None = None
    batch: int = 3
    crop: int = 256
    rate: float = 1e-4
    clip: float = 10.0
    decay: float = 0.998
    every: float = 5
    seed: int = 0
    refined: str | None = None
    fine_tune: bool = False
    reference: str = "refined"
    aggregation: bool = True
    adversarial: bool = True
    vgg: str | None = None

    def share(self, step: int, seconds: float) -> float:
        """Return how much of the training is done, 0..1."""
        done = step / self.steps
        if self.minutes is not None:
            done = max(done, seconds / (60 * self.minutes))
        return min(done, 1.0)

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
) -> Outcome:
    """Train one stage; the best moving average (by validation) is kept.

    Parameters, files and errors are those of
    :func:`~napari_flowinpaint.core.training.joint.train_joint`; beside the state to resume from
    lies that of the discriminator, ``.discriminator.safetensors``.
    """
    plan = plan or TwoStagePlan()
    if plan.stage not in STAGES:
        raise InputError(f"unknown stage '{plan.stage}'; choose one of: {', '.join(STAGES)}")
    if plan.size not in PAPER_SIZES:
        raise InputError(f"unknown size '{plan.size}'; choose one of: {', '.join(PAPER_SIZES)}")
    run = _Run(train, held_out, output, plan, device)
    if resume is not None:
        run.resume(resume)
    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        return run.go(progress)
    finally:
        torch.set_num_threads(threads)


class _Run:
    """One stage in progress."""

    def __init__(
        self,
        train: Sequence[StackSpec],
        held_out: Sequence[StackSpec],
        output: Path,
        plan: TwoStagePlan,
        device: str,
    ) -> None:
        self.plan, self.output, self.device = plan, output, device
        self.data = Triplets(train, plan.crop, plan.seed)
        self.cases = cases(held_out)
        self.names = [f"{n}:{Path(s.path).stem}" for n, s in enumerate(held_out)]
        torch.manual_seed(plan.seed)
        self.net = _network(plan).to(device)
        self.average = Average(self.net, plan.decay)
        self.optimizer = _adam(self.net, plan.rate)
        self.discriminator = Discriminator(DISCRIMINATORS[plan.size]).to(device)
        self.opponent = _adam(self.discriminator, plan.rate)
        self.features = _features(plan, device)
        self.step, self.before, self.best = 0, 0.0, -math.inf
        self.started = time.monotonic()
        self.resumed: int | None = None

    @property
    def seconds(self) -> float:
        """Time spent, earlier runs of the same training included."""
        return self.before + time.monotonic() - self.started

    @property
    def adversarial(self) -> bool:
        """Whether there is a discriminator to train against."""
        return self.plan.adversarial and isinstance(self.net, PaperNetwork)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        numbers = read_numbers(path)
        if numbers["config"] != _as_json(self.net):
            raise InputError(f"{path} is a checkpoint of another network")
        load_state(path, self.net, self.optimizer, self.average)
        self.average.values = {k: v.to(self.device) for k, v in self.average.values.items()}
        if self.adversarial:
            beside = _discriminator_state(path)
            read_numbers(beside)
            load_state(beside, self.discriminator, self.opponent, _no_average(self.discriminator))
        self.step, self.before = int(numbers["step"]), float(numbers["seconds"])
        self.best, self.resumed = float(numbers["best"]), self.step

    def go(self, progress: Progress) -> Outcome:
        """Run to the end of the schedule or of the time."""
        plan = self.plan
        self.output.parent.mkdir(parents=True, exist_ok=True)
        log = Log(self.output.with_suffix(".csv"), self.names, self.resumed)
        losses: list[float] = []
        due = self._position() + plan.every
        batches = self.data.batches(self.step, plan.steps, plan.batch)
        try:
            with contextlib.closing(batches):  # type: ignore[type-var]
                for batch in batches:
                    losses.append(self._advance(batch.to(self.device)))
                    self.step += 1
                    done = plan.share(self.step, self.seconds)
                    progress(done, f"step {self.step}, loss {losses[-1]:.3f}")
                    if self._position() >= due:
                        self._check(log, losses)
                        losses, due = [], self._position() + plan.every
                    if plan.minutes is not None and self.seconds > 60 * plan.minutes:
                        break
        finally:
            self._check(log, losses)
        return Outcome(self.step, self.seconds, self.best)

    def _position(self) -> float:
        return float(self.step) if self.plan.minutes is None else self.seconds / 60

    def _autocast(self) -> Any:
        kind = self.device.split(":")[0]
        return torch.autocast(kind, torch.bfloat16, enabled=kind in ("cpu", "cuda"))

    def _advance(self, batch: Batch) -> float:
        """Make one step; a batch whose gradient is not finite changes nothing."""
        rate = self.plan.rate_at(self.step, self.seconds)
        for group in (*self.optimizer.param_groups, *self.opponent.param_groups):
            group["lr"] = rate
        self.net.train()
        initial = initial_references(batch)
        loss = self._loss(batch, 1 - batch.known, initial)
        if self._descend(self.net, self.optimizer, loss):
            self.average.update(self.net, self.step)
        return float(loss.detach())

    def _loss(self, batch: Batch, mask: Tensor, initial: Tensor) -> Tensor:
        """Return the loss of the network that is trained, after the discriminator's step."""
        truth, features = batch.truth, self.features
        if isinstance(self.net, RefinedReferenceNetwork):
            with self._autocast():
                pyramid = self.net(truth, mask, initial, torch.maximum(*batch.valid)).pyramid
            return refined_reference_loss(pyramid, initial, truth, mask, features)
        with self._autocast():
            inpainted, refined = self.net(
                truth, mask, batch.neighbours, batch.alpha, initial, batch.valid
            )
        scores = None
        if self.adversarial:
            self._train_discriminator(truth, inpainted.image.detach(), mask)
            with self._autocast():
                scores = self.discriminator(inpainted.image, mask).scores.float()
        loss = generator_loss(inpainted.image, truth, mask, scores, inpainted.drawn)
        if self.plan.fine_tune and refined is not None:
            loss = loss + refined_reference_loss(refined.pyramid, initial, truth, mask, features)
        return loss

    def _train_discriminator(self, truth: Tensor, fake: Tensor, mask: Tensor) -> None:
        with self._autocast():
            scores = (self.discriminator(image, mask).scores.float() for image in (truth, fake))
            loss = discriminator_loss(*scores)
        self._descend(self.discriminator, self.opponent, loss)

    def _descend(self, net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> bool:
        """Make a step of an optimizer, unless the gradient is not finite."""
        optimizer.zero_grad(set_to_none=True)  # also what the other one's loss left here
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), self.plan.clip)
        finite = bool(torch.isfinite(norm))
        if finite:
            optimizer.step()
        return finite

    def _check(self, log: Log, losses: list[float]) -> None:
        """Validate the average, keep it if it is the best, save the state, write the log."""
        if not losses:
            return
        averaged = type(self.net)(cast(Any, self.net.config)).to(self.device)
        averaged.load_state_dict(self.average.values)
        averaged.eval()
        report = Report(-math.inf, math.nan, math.nan, ())
        if self.cases:
            with self._autocast():
                report = validate(cast(Any, _Filler(averaged)), self.cases, self.device)
        if not self.cases or report.structure > self.best:
            self.best = report.structure
            training = {"plan": asdict(self.plan), "step": self.step}
            training |= {"seconds": round(self.seconds)}
            if self.cases:
                training |= {"structure_psnr": report.structure}
            save_network(self.output, averaged, training)
        numbers = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "config": _as_json(self.net),
        }
        state = self.output.with_suffix(".state.safetensors")
        save_state(state, self.net, self.optimizer, self.average, numbers)
        if self.adversarial:
            other = _discriminator_state(state)
            no_average = _no_average(self.discriminator)
            save_state(other, self.discriminator, self.opponent, no_average, numbers)
        rate = self.plan.rate_at(self.step, self.seconds)
        scores = (report.structure, report.psnr, report.detail, *report.per_stack)
        log.add([self.step, self.seconds, rate, sum(losses) / len(losses), *scores])


class _Filler:
    """Lets the validation, which is made for the joint network, call the paper's."""

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
        batch = Batch(section, known, neighbours, valid, alpha)
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


def _as_json(net: PaperNetwork | RefinedReferenceNetwork) -> Any:
    """Return a configuration as it looks after a way through a file."""
    import json

    return json.loads(json.dumps(net.config.to_dict()))


def _discriminator_state(state: Path) -> Path:
    return state.with_name(state.name.replace(".state.", ".discriminator."))


def _no_average(net: nn.Module) -> Average:
    return Average(net, 0.0)
