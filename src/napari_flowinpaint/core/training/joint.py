"""Train the joint network: loop, schedule, time limit, resume, best checkpoint.

On a CPU one thread computes and another one prepares the data: the tensors of a step are small,
and threads that wait for each other cost more than they bring.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..networks.joint import SIZES, JointConfig, JointNet
from ..networks.weights import load_network, save_network
from ..types import Progress, no_progress
from .data import StackSpec, Triplets
from .log import Log
from .loss import joint_loss
from .state import Average, load_state, read_numbers, save_state
from .validation import Case, Report, cases, validate


@dataclass(frozen=True)
class Plan:
    """How a training runs.

    Parameters
    ----------
    size
        ``"small"`` or ``"base"``, see :data:`~napari_flowinpaint.core.networks.joint.SIZES`.
    steps
        Length of the schedule.
    minutes
        Time limit; the schedule is shortened to fit, so that the learning rate always ends low.
        None: no limit, and the same seed gives the same weights (on a CPU).
    batch, crop
        Samples per step and their side in pixels.
    rate
        Highest learning rate (AdamW).
    warm_up
        Steps until the rate is reached.
    clip
        Largest norm of the gradient.
    decay
        Of the moving average of the weights.
    every
        Minutes, or steps where there is no time limit, between two validations.
    seed
        Seed of weights and data.
    start
        Weights to begin with instead of random ones: longer training, or training on one's own
        tissue. The schedule begins anew.
    """

    size: str = "small"
    steps: int = 20_000
    minutes: float | None = None
    batch: int = 3
    crop: int = 256
    rate: float = 5e-4
    warm_up: int = 100
    clip: float = 1.0
    decay: float = 0.998
    every: float = 5
    seed: int = 0
    start: str | None = None

    def rate_at(self, step: int, seconds: float) -> float:
        """Return the learning rate: warm-up, then a cosine down to 2 %."""
        done = step / self.steps
        if self.minutes is not None:
            done = max(done, seconds / (60 * self.minutes))
        return (
            self.rate
            * min((step + 1) / self.warm_up, 1)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1))))
        )


@dataclass(frozen=True)
class Outcome:
    """What a training came to: its steps, its seconds, the best validation."""

    steps: int
    seconds: float
    best: float


def train_joint(
    train: Sequence[StackSpec],
    held_out: Sequence[StackSpec],
    output: Path,
    plan: Plan | None = None,
    *,
    resume: Path | None = None,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> Outcome:
    """Train a joint network; the best moving average (by validation) is kept.

    Parameters
    ----------
    train, held_out
        Stacks to train on; stacks, or other sections of them, to validate on. Without any to
        validate on, the latest average is kept.
    output
        The weights, half precision. Beside it: ``.state.safetensors`` to resume from,
        ``.csv`` and ``.svg``, the log.
    plan
        How; defaults are for a CPU.
    resume
        A state to go on from.
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
    plan = plan or Plan()
    if plan.size not in SIZES:
        raise InputError(f"unknown size '{plan.size}'; choose one of: {', '.join(SIZES)}")
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
    """One training in progress."""

    def __init__(
        self,
        train: Sequence[StackSpec],
        held_out: Sequence[StackSpec],
        output: Path,
        plan: Plan,
        device: str,
    ) -> None:
        self.plan, self.output, self.device = plan, output, device
        self.data = Triplets(train, plan.crop, plan.seed)
        self.cases: list[Case] = cases(held_out)
        self.names = [f"{n}:{Path(s.path).stem}" for n, s in enumerate(held_out)]
        torch.manual_seed(plan.seed)
        self.net = _ready(_network(plan), device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), plan.rate, weight_decay=1e-4)
        self.average = Average(self.net, plan.decay)
        self.step, self.before, self.best = 0, 0.0, -math.inf
        self.started = time.monotonic()
        self.resumed: int | None = None

    @property
    def seconds(self) -> float:
        """Time spent, earlier runs of the same training included."""
        return self.before + time.monotonic() - self.started

    @property
    def state_path(self) -> Path:
        """Where the checkpoint to resume from is."""
        return self.output.with_suffix(".state.safetensors")

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        numbers = read_numbers(path)
        if JointConfig.from_dict(numbers["config"]) != self.net.config:
            raise InputError(f"{path} is a checkpoint of another size of the network")
        load_state(path, self.net, self.optimizer, self.average)
        self.average.values = {k: v.to(self.device) for k, v in self.average.values.items()}
        self.step, self.before = int(numbers["step"]), float(numbers["seconds"])
        self.best, self.resumed = float(numbers["best"]), self.step

    def go(self, progress: Progress) -> Outcome:
        """Run to the end of the schedule or of the time."""
        plan = self.plan
        self.output.parent.mkdir(parents=True, exist_ok=True)
        log = Log(self.output.with_suffix(".csv"), self.names, self.resumed)
        losses: list[float] = []
        due = self._next_due()
        batches = self.data.batches(self.step, plan.steps, plan.batch)
        try:
            with contextlib.closing(batches):  # type: ignore[type-var]
                for batch in batches:
                    rate = plan.rate_at(self.step, self.seconds)
                    losses.append(self._advance(batch, rate))
                    self.step += 1
                    progress(self._share(), f"step {self.step}, loss {losses[-1]:.3f}")
                    if self._position() >= due:
                        self._check(log, losses, rate)
                        losses, due = [], self._next_due()
                    if plan.minutes is not None and self.seconds > 60 * plan.minutes:
                        break
        finally:
            self._check(log, losses, plan.rate_at(self.step, self.seconds))
        return Outcome(self.step, self.seconds, self.best)

    def _position(self) -> float:
        return float(self.step) if self.plan.minutes is None else self.seconds / 60

    def _next_due(self) -> float:
        return self._position() + self.plan.every

    def _share(self) -> float:
        done = self.step / self.plan.steps
        if self.plan.minutes is not None:
            done = max(done, self.seconds / (60 * self.plan.minutes))
        return min(done, 1.0)

    def _autocast(self) -> Any:
        kind = self.device.split(":")[0]
        return torch.autocast(kind, torch.bfloat16, enabled=kind in ("cpu", "cuda"))

    def _advance(self, batch: Any, rate: float) -> float:
        """Make one step; a batch whose gradient is not finite changes nothing."""
        batch = batch.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.net.train()
        with self._autocast():
            output = self.net(
                batch.truth * batch.known, batch.known, batch.neighbours, batch.valid, batch.alpha
            )
        loss = joint_loss(output, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.plan.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.net, self.step)
        return float(loss.detach())

    def _check(self, log: Log, losses: list[float], rate: float) -> None:
        """Validate the average, keep it if it is the best, save the state, write the log."""
        if not losses:
            return
        averaged = _ready(JointNet(self.net.config), self.device)
        averaged.load_state_dict(self.average.values)
        averaged.eval()
        report = Report(math.nan, math.nan, math.nan, ())
        if self.cases:
            with self._autocast():
                report = validate(averaged, self.cases, self.device)
        if not self.cases or report.structure > self.best:
            self.best = report.structure if self.cases else self.best
            save_network(self.output, averaged, self._describe(report))
        numbers = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "config": self.net.config.to_dict(),
        }
        save_state(self.state_path, self.net, self.optimizer, self.average, numbers)
        loss = sum(losses) / len(losses)
        scores = (report.structure, report.psnr, report.detail, *report.per_stack)
        log.add([self.step, self.seconds, rate, loss, *scores])

    def _describe(self, report: Report) -> dict[str, Any]:
        """Return what the weights file tells of its training."""
        return {
            "plan": asdict(self.plan),
            "step": self.step,
            "seconds": round(self.seconds),
            "structure_psnr": report.structure,
        }


def _network(plan: Plan) -> JointNet:
    """Return the network at the beginning of the training."""
    net = JointNet(SIZES[plan.size])
    if plan.start is not None:
        first, _ = load_network(Path(plan.start), architecture="joint")
        if first.config != net.config:
            raise InputError(f"{plan.start} has another size than '{plan.size}'")
        net.load_state_dict(first.state_dict())
    return net


def _ready(net: JointNet, device: str) -> JointNet:
    """Return the network on a device, channels last."""
    # torch's type stubs lack the memory format
    return net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
