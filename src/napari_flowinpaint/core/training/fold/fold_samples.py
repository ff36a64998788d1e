"""Folded sections to train unfolding and fusion on, made by Algorithm 1 of the paper.

Widths, decay, contrast and brightness are drawn as in its section 5.2. Half of the lines are
curved, half of the folds swallow more in one place than in another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...simulation.fold import Fold, FoldedSection, fold_section
from ...types import FloatImage
from ..data import Batch, Samples, StackSpec
from ..distortions import polarity, turned
from .interpolation_samples import Between, all_between, crop, few, restained

#: Interpolates a section from its neighbours: (previous, following), (Y, X) each, normalised.
Interpolate = Callable[[Tensor, Tensor], Tensor]
#: Sections of a stack that are trained on, at most; all of them are interpolated beforehand.
_MOST = 48


@dataclass(frozen=True)
class FoldBatch(Batch):
    """What one step sees, normalised; (B, 1, H, W) except the flow.

    Parameters
    ----------
    truth
        The sections before they were folded.
    reference
        Interpolated from their neighbours.
    degraded
        Folded.
    distance
        Signed distance to the dark line, pixels, negative in it.
    flow
        (B, 2, H, W), what unfolds them.
    lost
        1 where the fold swallowed the tissue.
    """

    truth: Tensor
    reference: Tensor
    degraded: Tensor
    distance: Tensor
    flow: Tensor
    lost: Tensor


@dataclass(frozen=True, eq=False)
class Restorable:
    """A section and its interpolation from the neighbours, (2, Y, X) float16, normalised."""

    stack: int
    span: float
    images: Tensor


def restorable(
    specs: Sequence[StackSpec], size: int, interpolate: Interpolate, most: int = _MOST
) -> list[list[Restorable]]:
    """Return the sections of every stack, interpolated from their neighbours.

    Parameters
    ----------
    specs
        The stacks.
    size
        Least side of the sections, pixels.
    interpolate
        The first of the trained networks.
    most
        Sections per stack.
    """

    def ready(between: Between) -> Restorable:
        truth, previous, following = between.normalised()
        images = torch.stack([truth, interpolate(previous, following)]).half()
        return Restorable(between.stack, between.span, images)

    return [[ready(b) for b in few(stack, most)] for stack in all_between(specs, size)]


class FoldSamples(Samples[FoldBatch]):
    """Draws crops of sections, and folds them.

    Parameters
    ----------
    stacks
        See :func:`restorable`; each stack is drawn from equally often.
    size
        Side of the crops, pixels.
    seed
        Seed of everything.
    """

    def __init__(self, stacks: Sequence[Sequence[Restorable]], size: int, seed: int) -> None:
        self.size, self.seed, self._stacks = size, seed, stacks

    def batch(self, step: int, count: int) -> FoldBatch:
        """Return the batch of one step; the same step gives the same batch."""
        drawn = [self._sample(rng) for rng in self.draws(step, count)]
        layers = torch.stack(drawn)
        truth, reference, degraded, distance, _, _, lost = layers[:, :, None].unbind(dim=1)
        return FoldBatch(truth, reference, degraded, distance, layers[:, 4:6].contiguous(), lost)

    def _sample(self, rng: np.random.Generator) -> Tensor:
        """Return the layers of a batch, (7, H, W)."""
        stack = self._stacks[int(rng.integers(len(self._stacks)))]
        images = stack[int(rng.integers(len(stack)))].images
        room = min(images.shape[1:])
        # some crops lie beside the fold: its tissue moves, too
        side = min(self.size * 3 // 2, room) if rng.random() < 0.25 else self.size
        truth, reference = turned(crop(images, side, rng), rng).float()
        sign = polarity(rng)
        layers = folded(sign * truth, sign * reference, random_fold(rng), rng)
        return crop(layers, self.size, rng)


def random_fold(rng: np.random.Generator) -> Fold:
    """Draw a fold as the paper does, w1 from 5 to 30, w2 from w1 to 80, alpha from -0.1 to -0.0001.

    Its widths are distances to the line for most of the folds, and widths of the whole strip for
    the others.
    """
    width = float(rng.uniform(5, 30))
    swallowed = float(rng.uniform(width, 80))
    if rng.random() < 0.7:
        swallowed = 2 * swallowed - width
    curved, uneven = rng.random(2) < 0.5
    return Fold(
        width,
        swallowed,
        float(rng.uniform(0.0001, 0.1)),
        float(rng.uniform(0, 0.15)),
        bend=float(rng.uniform(-0.15, 0.15)) if curved else 0.0,
        part=float(rng.uniform(0.5, 0.9)) if rng.random() < 0.1 else 1.0,
        uneven=float(rng.uniform(0, 0.4)) if uneven else 0.0,
    )


def folded(truth: Tensor, reference: Tensor, fold: Fold, rng: np.random.Generator) -> Tensor:
    """Fold a section; return the layers of a batch.

    Parameters
    ----------
    truth, reference
        (H, W), normalised.
    fold
        How.
    rng
        Draws the line, how widely it is painted, contrast and brightness.

    Returns
    -------
    Tensor
        (7, H, W): truth, reference, degraded, distance, flow (y, x), lost.
    """
    section = fold_section(truth.numpy(), fold, seed=int(rng.integers(2**31)))
    distance = section.distance - np.float32(rng.uniform(0, 4))
    degraded = _discoloured(section, distance, rng)
    shown = restained(torch.from_numpy(degraded), rng)
    layers = [truth, restained(reference, rng), shown, torch.from_numpy(distance)]
    flow, lost = torch.from_numpy(section.unfolding), torch.from_numpy(section.lost)
    return torch.stack([*layers, *flow, lost.float()])


def _discoloured(
    section: FoldedSection, distance: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """Change contrast and brightness beside the line; half of the sections stay as they are."""
    image: FloatImage = section.image
    if rng.random() < 0.5:
        return image
    near = np.exp(-np.clip(distance, 0, None) / np.float32(rng.uniform(10, 120)))
    contrast = 1 - np.float32(rng.uniform(-0.1, 0.5)) * near
    return np.asarray(image * contrast + np.float32(rng.normal(0, 0.3)) * near, dtype=np.float32)
