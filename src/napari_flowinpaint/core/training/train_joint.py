"""Train the joint network: schedule, optimizer, step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import InputError
from ..networks.joint import SIZES, JointConfig, JointNet
from ..networks.registration import autocast
from ..networks.weights import load_network
from ..types import Progress, no_progress
from .data import StackSpec, TrainingBatch
from .loop import Schedule, Training, TrainingOutcome
from .loss import joint_loss
from .narrow import narrowed

#: Batches by which the channels of a wider network are judged.
_JUDGING = 40


@dataclass(frozen=True)
class JointPlan(Schedule):
    """How a training runs.

    Parameters
    ----------
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed
        As in :class:`~napari_flowinpaint.core.training.loop.Schedule`; ``size`` is ``"small"``
        or ``"base"``, see :data:`~napari_flowinpaint.core.networks.joint.SIZES`; the optimizer is
        AdamW.
    warm_up
        Steps until the rate is reached.
    start
        Weights to begin with instead of random ones: longer training, or training on one's own
        tissue. The schedule begins anew. Of a wider network the channels that matter most are
        taken; see :mod:`.narrow`.
    """

    warm_up: int = 100
    start: str | None = None

    def rate_at(self, step: int, seconds: float) -> float:
        """Return the learning rate: warm-up, then a cosine down to 2 %."""
        decline = 0.5 * (1 + math.cos(math.pi * self.share(step, seconds)))
        return self.rate * min((step + 1) / self.warm_up, 1) * (0.02 + 0.98 * decline)


def train_joint(
    train: Sequence[StackSpec],
    held_out: Sequence[StackSpec],
    output: Path,
    plan: JointPlan | None = None,
    *,
    resume: Path | None = None,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> TrainingOutcome:
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
    plan = plan or JointPlan()
    if plan.size not in SIZES:
        raise InputError(f"unknown size '{plan.size}'; choose one of: {', '.join(SIZES)}")
    return _JointRun(train, held_out, output, plan, device).run(resume, progress)


class _JointRun(Training[JointPlan, JointNet]):
    """One training in progress."""

    def _build(self) -> JointNet:
        steps = range(_JUDGING)
        return _network(self.plan, (self.data.batch(n, self.plan.batch) for n in steps))

    def _optimize(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), self.plan.rate, weight_decay=0.05)

    def _advance(self, batch: TrainingBatch) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.net.train()
        with autocast(self.device):
            output = self.net(
                batch.truth * batch.known, batch.known, batch.neighbours, batch.valid, batch.alpha
            )
        loss = joint_loss(output, batch)
        if self._descend(self.net, self.optimizer, loss):
            self.average.update(self.net, self.step)
        return float(loss.detach())


def _network(plan: JointPlan, batches: Iterable[TrainingBatch]) -> JointNet:
    """Return the network at the beginning of the training; what is narrowed, judged by batches."""
    net = JointNet(SIZES[plan.size])
    if plan.start is not None:
        first, _ = load_network(Path(plan.start), architecture="joint")
        assert isinstance(first, JointNet)
        config = first.config
        grown = config if config.deep else replace(config, deep=net.config.deep)
        if config.deep and _is_narrower(net.config, config):
            return narrowed(first.requires_grad_(True), net.config, batches)
        if grown != net.config:
            raise InputError(f"{plan.start} has another size than '{plan.size}'")
        # weights from before the fusion had a context go on with one: it begins by adding nothing
        net.load_state_dict(first.state_dict(), strict=config.deep > 0)
    return net


def _is_narrower(config: JointConfig, other: JointConfig) -> bool:
    """Return whether a network has fewer channels in places, and is alike otherwise."""
    widths, others = ((c.hidden, *c.fusion, c.deep) for c in (config, other))
    alike = replace(other, hidden=config.hidden, fusion=config.fusion, deep=config.deep) == config
    smaller = all(a <= b for a, b in zip(widths, others, strict=True))
    return alike and smaller and config != other
