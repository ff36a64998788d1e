"""Train a joint network to make sections that are missing as a whole.

The network and its training are those of :mod:`.train_joint`; what differs are the samples, of
which nothing is known but both neighbours. Where the section lay between them cannot be seen, so
these are not bent and shifted at random as they are for holes: how much real sections move decides
how much the network has to blur what it cannot place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.blocks import gaussian
from ..networks.joint import LOW_PASS, JointOutput
from .data import Samples, StackSpec, TrainingBatch, Triplets
from .distortions import normalise, restain
from .loss import log_error, pyramid_loss, weighted_l1
from .train_joint import JointPlan, JointRun
from .validation import ValidationCase, cases

#: Sections that serial sections of isotropic volumes are imitated by half of the time.
_USUAL = 4
#: Share of samples whose neighbours lie one and two distances away.
_UNEQUAL = 0.15
#: Share of samples that are rotated by any angle and scaled, and the range of scales.
_TURNED, _SCALES = 0.35, (0.8, 1.2)


class MissingTriplets(Triplets):
    """Draws samples of which both neighbours are all that is known."""

    def _sample(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return truth, known, previous, following, their validity, alpha."""
        spec, views = self._stacks[rng.integers(len(self._stacks))]
        # sections as they were cut count as much as those along all axes together
        pixels, _ = views[rng.integers(len(views)) if rng.random() < 0.5 else 0]
        before, after = _distances(spec, len(pixels), rng)
        z = int(rng.integers(before, len(pixels) - after))
        images = _crops(pixels[[z, z - before, z + after]], self.size, rng)
        alpha = before / (before + after)
        if rng.random() < 0.5:
            images, alpha = images[[0, 2, 1]], 1 - alpha
        images = torch.rot90(images, int(rng.integers(4)), (-2, -1))
        if rng.random() < 0.5:
            images = images.flip(-1)
        shown = torch.ones_like(images[0], dtype=torch.bool)
        curve = float(rng.normal(0, 0.06))
        truth, *neighbours = (
            normalise(
                restain(normalise(image, shown), curve + float(rng.normal(0, 0.02)), rng), shown
            )
            for image in images
        )
        valid = shown.float()
        position = torch.tensor([alpha], dtype=torch.float32)
        return truth, torch.zeros_like(valid), *neighbours, valid, valid, position


def _crops(sections: np.ndarray, size: int, rng: np.random.Generator) -> Tensor:
    """Return the same place of a section and its neighbours, (3, size, size) float32."""
    turned = rng.random() < _TURNED and min(sections.shape[1:]) >= int(1.3 * size)
    side = int(1.3 * size) if turned else size
    y, x = rng.integers(np.array(sections.shape[1:]) - side + 1)
    images = torch.from_numpy(sections[:, y : y + side, x : x + side].astype(np.float32))
    if not turned:
        return images
    angle, scale = float(rng.uniform(0, np.pi / 2)), float(rng.uniform(*_SCALES)) * size / side
    turn = scale * np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    grid = F.affine_grid(
        torch.from_numpy(turn[None]).float(), [1, 3, size, size], align_corners=False
    )
    return F.grid_sample(images[None], grid, padding_mode="reflection", align_corners=False)[0]


def _distances(spec: StackSpec, depth: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the distances to previous and following: equal mostly, else one twice the other."""
    possible = [s for s in spec.spacings if 2 * s < depth]
    usual = _USUAL in possible and rng.random() < 0.5
    near = _USUAL if usual else int(rng.choice(possible))
    return (near, 2 * near if rng.random() < _UNEQUAL and depth > 3 * near + 1 else near)


@dataclass(frozen=True)
class MissingPlan(JointPlan):
    """How a training runs; see :class:`.train_joint.JointPlan`."""

    def training(self) -> type[MissingRun]:
        """Return the training of this network."""
        return MissingRun


class MissingRun(JointRun):
    """One training in progress."""

    def _samples(self, train: Sequence[StackSpec]) -> Samples[TrainingBatch]:
        return MissingTriplets(train, self.plan.crop, self.plan.seed)

    def _held_out(self, held_out: Sequence[StackSpec]) -> Sequence[ValidationCase]:
        return cases(held_out, fractions=(1.0,))

    def _loss_of(self, output: JointOutput, batch: TrainingBatch) -> Tensor:
        """Return a loss that the squared error of the structure leads: it asks for a mean."""
        weight, smooth = torch.ones_like(batch.known), gaussian(batch.truth, LOW_PASS)
        error = gaussian(output.image, LOW_PASS) - smooth
        loss = 0.5 * log_error(error, weight) + 0.3 * weighted_l1(error, weight)
        loss = loss + 0.3 * weighted_l1(output.image - batch.truth, weight)
        for warped in output.warped:
            loss = loss + 0.15 * weighted_l1(gaussian(warped, LOW_PASS) - smooth, weight)
        return loss + 0.3 * pyramid_loss(output, batch, weight)
