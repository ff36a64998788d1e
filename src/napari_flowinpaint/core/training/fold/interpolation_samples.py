"""Sections between their neighbours, and samples to train the interpolation on.

Every section is normalised as a whole, not crop by crop: the neighbours show how bright a place is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...metrics import data_range
from ...types import AnyImage
from ..data import Batch, Samples, StackSpec, cuts
from ..distortions import polarity, turned


@dataclass(frozen=True, eq=False)
class Between:
    """A section between its neighbours.

    Parameters
    ----------
    stack
        Number of the stack.
    sections
        The section, the previous one and the following one, (Y, X) each, grey values.
    """

    stack: int
    sections: tuple[AnyImage, AnyImage, AnyImage]

    def normalised(self) -> Tensor:
        """Return all three, (3, Y, X) float32, each with mean 0 and standard deviation 1."""
        return torch.stack([_normalised(section) for section in self.sections])

    @property
    def span(self) -> float:
        """Grey values between black and white of the section, in its standard deviations."""
        own = self.sections[0]
        return data_range(own) / max(float(own.std()), 1e-3)


def _normalised(section: AnyImage) -> Tensor:
    image = torch.from_numpy(section.astype(np.float32))
    return (image - image.mean()) / image.std().clamp_min(1e-3)


def all_between(specs: Sequence[StackSpec], size: int) -> list[list[Between]]:
    """Return, for every stack, its sections that have neighbours on both sides.

    Parameters
    ----------
    specs
        The stacks; of each, the first of its spacings is used.
    size
        Least side of the sections, pixels: those of cuts that are smaller are left out.
    """
    return [list(_of_stack(n, spec, size)) for n, spec in enumerate(specs)]


def _of_stack(number: int, spec: StackSpec, size: int) -> Iterator[Between]:
    spacing = spec.spacings[0]
    for pixels, _ in cuts(spec, size):  # no data are mirrored tissue
        for z in range(spacing, len(pixels) - spacing):
            yield Between(number, (pixels[z], pixels[z - spacing], pixels[z + spacing]))


def few(between: Sequence[Between], most: int) -> list[Between]:
    """Return at most ``most`` of the sections, evenly spread."""
    picked = np.linspace(0, len(between) - 1, min(most, len(between))).astype(int)
    return [between[n] for n in picked]


def crop(images: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Return a random square of images (N, Y, X)."""
    y, x = (int(rng.integers(n - size + 1)) for n in images.shape[1:])
    return images[:, y : y + size, x : x + size]


def restained(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return an image with another contrast and brightness, as the paper changes them."""
    return image * float(np.exp(rng.normal(0, 0.08))) + float(rng.normal(0, 0.08))


@dataclass(frozen=True)
class InterpolationBatch(Batch):
    """What one step of the interpolation sees: (B, 1, H, W) each, normalised."""

    truth: Tensor
    previous: Tensor
    following: Tensor


class InterpolationSamples(Samples[InterpolationBatch]):
    """Draws crops of sections and their neighbours.

    Parameters
    ----------
    specs
        The stacks; each is drawn from equally often.
    size
        Side of the crops, pixels.
    seed
        Seed of everything.
    """

    def __init__(self, specs: Sequence[StackSpec], size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self._stacks = all_between(specs, size)

    def batch(self, step: int, count: int) -> InterpolationBatch:
        """Return the batch of one step; the same step gives the same batch."""
        drawn = [self._sample(rng) for rng in self.draws(step, count)]
        return InterpolationBatch(*torch.stack(drawn)[:, :, None].unbind(dim=1))

    def _sample(self, rng: np.random.Generator) -> Tensor:
        """Return truth, previous and following, (3, H, W)."""
        stack = self._stacks[rng.integers(len(self._stacks))]
        images = stack[rng.integers(len(stack))].normalised()
        truth, previous, following = turned(crop(images, self.size, rng), rng)
        if rng.random() < 0.5:
            previous, following = following, previous
        sign = polarity(rng)
        shown = [restained(sign * image, rng) for image in (previous, following)]
        return torch.stack([sign * truth, *shown])
