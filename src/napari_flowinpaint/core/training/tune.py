"""Go on with the released network on one stack's own places, until it gains no more."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..metrics import data_range
from ..networks.joint import JointNet
from ..networks.weights import load_network
from ..types import Progress
from .data import Samples, StackSpec, TrainingBatch
from .distortions import normalise, turned
from .places import Place
from .train_joint import JointPlan, JointRun
from .training_masks import training_mask
from .validation import FRACTIONS, ValidationCase

#: Validations without a gain after which the network is not trained further.
_PATIENCE = 4


class _Enough(Exception):
    """The network gains nothing any more."""


class OwnSamples(Samples[TrainingBatch]):
    """Draws samples of a stack's own places: turned, mirrored and damaged, not distorted.

    Parameters
    ----------
    places
        Where.
    size
        Side of the crops, pixels; smaller where the places are.
    seed
        Seed of everything.
    """

    def __init__(self, places: Sequence[Place], size: int, seed: int) -> None:
        least = min(min(place.images.shape[1:]) for place in places)
        self.places, self.size, self.seed = places, min(size, least // 32 * 32), seed

    def batch(self, step: int, count: int) -> TrainingBatch:
        """Return the batch of one step; the same step gives the same batch."""
        samples = [self._sample(rng) for rng in self.draws(step, count)]
        truth, known, previous, following, before, after = (
            torch.stack(parts)[:, None] for parts in zip(*samples, strict=True)
        )
        return TrainingBatch(
            truth, known, (previous, following), (before, after), torch.full((count,), 0.5)
        )

    def _sample(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        place = self.places[int(rng.integers(len(self.places)))]
        y, x = (int(rng.integers(n - self.size + 1)) for n in place.images.shape[1:])
        part = (slice(None), slice(y, y + self.size), slice(x, x + self.size))
        order = [2, 1, 3] if rng.random() < 0.5 else [2, 3, 1]
        images = torch.from_numpy(place.images[part][order].astype(np.float32))
        intact = torch.from_numpy(place.intact[part][order])
        both = turned(torch.stack([images, intact.float()]), rng)
        shown = both[1] > 0.5
        known = ~torch.from_numpy(training_mask(self.size, rng)) & shown[0]
        where = (known, shown[1], shown[2])
        truth, *others = (
            normalise(image, seen if bool(seen.any()) else torch.ones_like(seen))
            for image, seen in zip(both[0], where, strict=True)
        )
        return truth, known.float(), *others, shown[1].float(), shown[2].float()


class _Tuning(JointRun):
    """Goes on with the released network on places of one stack; ends where it gains no more."""

    def __init__(
        self, places: Sequence[Place], held: Sequence[Place], output: Path, plan: JointPlan, at: str
    ) -> None:
        self._places, self._kept, self._idle = places, held, 0
        super().__init__([], [], output, plan, at)
        self.names = ["held back"]

    def _build(self) -> JointNet:
        net, _ = load_network(Path(str(self.plan.start)), architecture="joint")
        assert isinstance(net, JointNet)
        return net.requires_grad_(True)

    def _samples(self, train: Sequence[StackSpec]) -> Samples[Any]:
        return OwnSamples(self._places, self.plan.crop, self.plan.seed)

    def _held_out(self, held_out: Sequence[StackSpec]) -> Sequence[Any]:
        return [
            _case(place, fraction, (self.plan.seed, number))
            for number, place in enumerate(self._kept)
            for fraction in FRACTIONS
        ]

    def _check(self, log: Any, losses: list[float]) -> None:
        before = self.best
        super()._check(log, losses)
        self._idle = 0 if self.best > before else self._idle + bool(losses)
        if losses and self._idle >= _PATIENCE:
            self._idle = 0
            raise _Enough


def _case(place: Place, fraction: float, seed: tuple[int, ...]) -> ValidationCase:
    rng = np.random.default_rng((*seed, round(1000 * fraction)))
    side = min(place.images.shape[1:])
    truth, previous, following = (
        torch.from_numpy(place.images[n, :side, :side].astype(np.float32)) for n in (2, 1, 3)
    )
    mask = training_mask(side, rng, (fraction, fraction))
    span = data_range(place.images[2])
    return ValidationCase(0, fraction, truth, previous, following, mask, span)


def tune(
    places: Sequence[Place],
    held: Sequence[Place],
    output: Path,
    schedule: JointPlan,
    resume: bool,
    device: str,
    progress: Progress,
) -> Path | None:
    """Train the network that the schedule starts from, on places of one stack.

    Parameters
    ----------
    places, held
        What to learn from, and what is held back to judge by.
    output
        The weights; the state to resume from lies beside them.
    schedule
        How long, and how.
    resume
        Whether to resume from a state that lies there.
    device, progress
        As for :func:`~.adapt.adapt`.

    Returns
    -------
    Path or None
        ``output``; None where nothing was gained.
    """
    state = output.with_suffix(".state.safetensors")
    run = _Tuning(places, held, output, schedule, device)
    begun = run._score(run._averaged()).structure
    run.best = begun
    goes_on = state if resume and state.is_file() else None
    with suppress(_Enough):
        run.run(goes_on, lambda f, m: progress(f, f"training the network: {m}"))
    return output if run.best > begun and output.is_file() else None
