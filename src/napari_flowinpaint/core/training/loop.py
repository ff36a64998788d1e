"""What all trainings share: schedule, loop, validation, best checkpoint, state, log.

On a CPU one thread computes and another one prepares the data: the tensors of a step are small,
and threads that wait for each other cost more than they gain.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from ..errors import InputError
from ..networks.registration import autocast
from ..networks.weights import save_network
from ..types import Progress, no_progress
from .data import Samples, StackSpec, Triplets
from .log import Log
from .state import ParameterAverage, load_state, read_numbers, save_state
from .validation import ValidationReport, cases, validate

#: After this many steps in a row without a finite gradient the training is given up.
_MOST_IDLE = 20
#: Entries of the plans that are paths.
_FILES = ("start", "refined", "vgg", "interpolation", "unfolding")


@dataclass(frozen=True)
class Schedule:
    """How long a training runs and on what; base of the plans.

    Parameters
    ----------
    size
        Named size of the network.
    steps
        Length of the schedule.
    minutes
        Time limit; the schedule is shortened to fit, so that the learning rate always ends low.
        None: no limit, and the same seed gives the same weights (on a CPU).
    batch, crop
        Samples per step and their side in pixels. Batches of one have crops of varied size: any
        from :data:`~napari_flowinpaint.core.training.data.LEAST` to ``crop``.
    rate
        Highest learning rate.
    clip
        Largest norm of the gradient.
    decay
        Of the moving average of the weights.
    every
        Minutes between two validations; steps if there is no time limit.
    seed
        Seed of weights and data.
    """

    size: str = "small"
    steps: int = 20_000
    minutes: float | None = None
    batch: int = 3
    crop: int = 256
    rate: float = 5e-4
    clip: float = 1.0
    decay: float = 0.998
    every: float = 5
    seed: int = 0

    def share(self, step: int, seconds: float) -> float:
        """Return how much of the training is done, 0..1."""
        done = step / self.steps
        if self.minutes is not None:
            done = max(done, seconds / (60 * self.minutes))
        return min(done, 1.0)

    def rate_at(self, step: int, seconds: float) -> float:
        """Return the learning rate: constant, unless a plan says otherwise."""
        return self.rate

    def training(self) -> type[Training[Any, Any]]:
        """Return what is trained.

        Raises
        ------
        InputError
            If the plan names a size, stage or part that does not exist.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """A schedule whose learning rate is warmed up, and then declines.

    Parameters
    ----------
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed
        As in :class:`Schedule`.
    warm_up
        Steps until the rate is reached.
    """

    warm_up: int = 100

    def rate_at(self, step: int, seconds: float) -> float:
        """Return the learning rate: warm-up, then a cosine down to 2 %."""
        decline = 0.5 * (1 + math.cos(math.pi * self.share(step, seconds)))
        return self.rate * min((step + 1) / self.warm_up, 1) * (0.02 + 0.98 * decline)


@dataclass(frozen=True)
class TrainingOutcome:
    """Result of a training: its steps, its seconds, the best validation."""

    steps: int
    seconds: float
    best: float


P = TypeVar("P", bound=Schedule)
N = TypeVar("N", bound=nn.Module)


class Training(ABC, Generic[P, N]):
    """One training in progress.

    A subclass says which network (:meth:`_build`, and :attr:`sizes`, the named ones), which
    optimizer (:meth:`_optimize`) and what is descended (:meth:`_loss`); what else it keeps goes
    through :meth:`_save_more` and :meth:`_load_more`.

    Parameters
    ----------
    train, held_out
        Stacks to train on, and to validate on.
    output
        The weights, half precision. Beside it: ``.state.safetensors`` to resume from,
        ``.csv`` and ``.svg``, the log.
    plan
        How.
    device
        Where.
    """

    sizes: ClassVar[Mapping[str, Any]]

    def __init__(
        self,
        train: Sequence[StackSpec],
        held_out: Sequence[StackSpec],
        output: Path,
        plan: P,
        device: str,
    ) -> None:
        self.plan, self.output, self.device = plan, output, device
        self.data = self._samples(train)
        self.cases = self._held_out(held_out)
        self.names = [f"{n}:{Path(s.path).stem}" for n, s in enumerate(held_out)]
        torch.manual_seed(plan.seed)
        self.net = self._ready(self._build())
        self.optimizer = self._optimize()
        self.average = ParameterAverage(self.net, plan.decay)
        self.step, self.before, self.best = 0, 0.0, -math.inf
        self.idle = 0
        self.started = time.monotonic()
        self.resumed: int | None = None

    def _samples(self, train: Sequence[StackSpec]) -> Samples[Any]:
        """Return what draws the batches."""
        return Triplets(train, self.plan.crop, self.plan.seed, varied=self.plan.batch == 1)

    def _held_out(self, held_out: Sequence[StackSpec]) -> Sequence[Any]:
        """Return the cases to validate on."""
        return cases(held_out)

    @abstractmethod
    def _build(self) -> N:
        """Return the network at the beginning of the training."""

    @abstractmethod
    def _optimize(self) -> torch.optim.Optimizer:
        """Return the optimizer of ``self.net``."""

    @abstractmethod
    def _loss(self, batch: Any) -> torch.Tensor:
        """Return the loss of a batch."""

    def _optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Return what follows the learning rate."""
        return (self.optimizer,)

    def _advance(self, batch: Any) -> float:
        """Make one step and return its loss; a gradient that is not finite changes nothing."""
        rate = self.rate
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                group["lr"] = rate
        self.net.train()
        loss = self._loss(batch)
        if self._descend(self.net, self.optimizer, loss):
            self.average.update(self.net, self.step)
        return float(loss.detach())

    def _adapter(self, net: N) -> Any:
        """Return what the validation calls; see :func:`.validation.validate`."""
        return net

    def _score(self, net: N) -> ValidationReport:
        """Return the scores of a network on the validation cases; there is at least one."""
        return validate(self._adapter(net), self.cases, self.device)

    def _save_more(self, state: Path, numbers: dict[str, Any]) -> None:
        """Save what else is needed to go on, beside the state."""

    def _load_more(self, state: Path) -> None:
        """Load it again."""

    @property
    def seconds(self) -> float:
        """Time spent, earlier runs of the same training included."""
        return self.before + time.monotonic() - self.started

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.plan.rate_at(self.step, self.seconds)

    def run(self, resume: Path | None, progress: Progress) -> TrainingOutcome:
        """Run to the end of the schedule or of the time, from a checkpoint or from the start."""
        if resume is not None:
            self._resume(resume)
        threads = torch.get_num_threads()
        if self.device == "cpu":
            torch.set_num_threads(1)
        try:
            return self._go(progress)
        finally:
            torch.set_num_threads(threads)

    def _resume(self, path: Path) -> None:
        numbers = read_numbers(path)
        if numbers["config"] != self._description():
            raise InputError(
                f"{path} is a checkpoint of another network, or of another size; choose another "
                "checkpoint."
            )
        load_state(path, self.net, self.optimizer, self.average)
        self.average.values = {k: v.to(self.device) for k, v in self.average.values.items()}
        self._load_more(path)
        self.step, self.before = int(numbers["step"]), float(numbers["seconds"])
        self.best, self.resumed = float(numbers["best"]), self.step

    def _go(self, progress: Progress) -> TrainingOutcome:
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
        return TrainingOutcome(self.step, self.seconds, self.best)

    def _position(self) -> float:
        """Return where the training is, in the unit of ``plan.every``."""
        return float(self.step) if self.plan.minutes is None else self.seconds / 60

    def _descend(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor
    ) -> bool:
        """Make a step of an optimizer, unless the gradient is not finite."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), self.plan.clip)
        finite = bool(torch.isfinite(norm))
        if finite:
            optimizer.step()
        self.idle = 0 if finite else self.idle + 1
        if self.idle >= _MOST_IDLE:
            raise InputError(
                f"{self.idle} steps in a row had no finite gradient and changed nothing; start "
                "again with a lower --rate."
            )
        return finite

    def _check(self, log: Log, losses: list[float]) -> None:
        """Validate the average, keep it if it is the best, save the state, write the log."""
        if not losses:
            return
        rate = self.rate
        averaged = self._averaged()
        report = ValidationReport(math.nan, math.nan, math.nan, ())
        if self.cases:
            with autocast(self.device):
                report = self._score(averaged)
        if not self.cases or report.structure > self.best:
            self.best = report.structure if self.cases else self.best
            save_network(self.output, self._finished(averaged), self._record())
        self._save()
        scores = (report.structure, report.psnr, report.detail, *report.per_stack)
        log.add([self.step, self.seconds, rate, sum(losses) / len(losses), *scores])

    def _averaged(self) -> N:
        """Return the moving average as a network."""
        config: Any = self.net.config
        averaged = self._ready(type(self.net)(config))
        averaged.load_state_dict(self.average.values)
        return averaged.eval()

    def _finished(self, net: N) -> nn.Module:
        """Return what is written of the best network."""
        return net

    def _ready(self, net: N) -> N:
        """Return a network on the device, channels last."""
        # torch's type stubs lack the memory format
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _record(self) -> dict[str, Any]:
        """Return the record of the training for the weights file."""
        plan = asdict(self.plan)
        # weights are passed on: they need not reveal where other files were on the disk
        plan |= {key: Path(plan[key]).name for key in _FILES if plan.get(key) is not None}
        record = {"plan": plan, "step": self.step, "seconds": round(self.seconds)}
        return record | ({"structure_psnr": self.best} if self.cases else {})

    def _save(self) -> None:
        state = self.output.with_suffix(".state.safetensors")
        numbers = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "config": self._description(),
        }
        save_state(state, self.net, self.optimizer, self.average, numbers)
        self._save_more(state, numbers)

    def _description(self) -> Any:
        """Return the network's configuration as it is read back from a file."""
        config: Any = self.net.config
        return json.loads(json.dumps(config.to_dict()))


def train_network(
    train: Sequence[StackSpec],
    held_out: Sequence[StackSpec],
    output: Path,
    plan: Schedule,
    *,
    resume: Path | None = None,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> TrainingOutcome:
    """Train what a plan says; the best moving average (by validation) is kept.

    Parameters
    ----------
    train, held_out
        Stacks to train on; stacks, or other sections of them, to validate on. Without any to
        validate on, the latest average is kept.
    output
        The weights, half precision. Beside it: ``.state.safetensors`` to resume from,
        ``.csv`` and ``.svg``, the log; ``.discriminator.safetensors`` where there is one.
    plan
        What, and how; defaults are for a CPU.
    resume
        A state to resume from.
    device
        Where.
    progress
        Called every step; raising ``Cancelled`` ends the training with its state saved.

    Raises
    ------
    InputError
        Bad stacks, sizes or checkpoint.
    Cancelled
        ``progress`` asked for it; weights and state are saved.
    """
    training = plan.training()
    if plan.size not in training.sizes:
        raise InputError(f"unknown size '{plan.size}'; choose one of: {', '.join(training.sizes)}.")
    return training(train, held_out, output, plan, device).run(resume, progress)
