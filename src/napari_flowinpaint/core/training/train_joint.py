"""Train the joint network: schedule, optimizer, step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError
from ..networks.joint import SIZES, JointConfig, JointNet, JointOutput
from ..networks.registration import autocast
from ..networks.weights import load_network
from .data import TrainingBatch
from .loop import CosineSchedule, Training
from .loss import joint_loss
from .narrow import narrowed

#: Batches by which the channels of a wider network are judged.
_JUDGING = 40


@dataclass(frozen=True)
class JointPlan(CosineSchedule):
    """How a training runs.

    Parameters
    ----------
    size, steps, minutes, batch, crop, rate, clip, decay, every, seed, warm_up
        As in :class:`~napari_flowinpaint.core.training.loop.CosineSchedule`; ``size`` is
        ``"small"`` or ``"base"``, see
        :data:`~napari_flowinpaint.core.networks.joint.SIZES`; the optimizer is AdamW.
    start
        Weights to begin with instead of random ones: longer training, or training on one's own
        tissue. The schedule starts from the beginning. Of a wider network the channels that matter
        most are taken; see :mod:`.narrow`.
    """

    start: str | None = None

    def training(self) -> type[JointRun]:
        """Return the training of this network."""
        return JointRun


class JointRun(Training[JointPlan, JointNet]):
    """One training in progress."""

    sizes = SIZES

    def _build(self) -> JointNet:
        steps = range(_JUDGING)
        return _network(self.plan, (self.data.batch(n, self.plan.batch) for n in steps))

    def _optimize(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.net.parameters(), self.plan.rate, weight_decay=0.05)

    def _loss(self, batch: TrainingBatch) -> Tensor:
        with autocast(self.device):
            output = self.net(
                batch.truth * batch.known, batch.known, batch.neighbours, batch.valid, batch.alpha
            )
        return self._loss_of(output, batch)

    def _loss_of(self, output: JointOutput, batch: TrainingBatch) -> Tensor:
        """Return the loss of what the network says of a batch."""
        return joint_loss(output, batch)


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
            raise InputError(f"{plan.start} has another size than '{plan.size}'.")
        # weights from before the fusion had a context get one, which adds nothing at first
        net.load_state_dict(first.state_dict(), strict=config.deep > 0)
    return net


def _is_narrower(config: JointConfig, other: JointConfig) -> bool:
    """Return whether a network has fewer channels in places, and is alike otherwise."""
    widths, others = ((c.hidden, *c.fusion, c.deep) for c in (config, other))
    alike = replace(other, hidden=config.hidden, fusion=config.fusion, deep=config.deep) == config
    smaller = all(a <= b for a, b in zip(widths, others, strict=True))
    return alike and smaller and config != other
