"""Samples to train the repair from a section itself: crops with a hole in their midst.

Three quarters of the holes are irregular, as spots and tears are; the others are thin lines, or
specks, of which a section may have many. The first holes are narrow and many: across them much can
be told, and a network that begins with wide ones learns nothing for thousands of steps but that the
smooth fill is hard to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from ...networks.blocks import gaussian
from ...networks.single.smooth_fill import smooth_fill
from ...types import BoolImage
from ..data import Batch, Samples, StackSpec, cuts, imaged_crops
from ..distortions import normalise, polarity, restain, roughen, turned

#: Shares of the kinds of holes.
_KINDS = {"irregular": 0.75, "line": 0.15, "specks": 0.1}
#: Smoothness of the outlines of irregular holes, in pixels, about a third of their width: the
#: least, the largest at first, and the largest after this many steps.
_SMOOTH, _EASY_STEPS = (1.5, 4.0, 26.0), 2500
#: Ratio of one smoothness to the next: there are few, as their Gaussians are kept.
_STEP = 1.25
#: Share of a section that irregular holes cover: narrow ones, below this smoothness, and wide ones.
_NARROW, _COVERED_NARROW, _COVERED_WIDE = 6.0, (0.03, 0.4), (0.02, 0.18)
#: Widths of lines and radii of specks, pixels.
_WIDTHS, _RADII = (2.0, 14.0), (1.0, 9.0)
#: Crops with a larger share of holes than this are drawn again, at most this often.
_FULLEST, _DRAWS = 0.6, 5
#: Grey values farther from the mean of the known pixels, in their standard deviations, are cut off:
#: beside an empty place of a section the hole may hold anything.
_EXTREME = 5.0


@dataclass(frozen=True)
class SingleBatch(Batch):
    """What one step sees, (B, 1, H, W) each, normalised by the intact pixels.

    Parameters
    ----------
    truth
        The sections.
    filled
        The same, their holes filled smoothly.
    known
        1 outside the holes.
    """

    truth: Tensor
    filled: Tensor
    known: Tensor


class SingleSamples(Samples[SingleBatch]):
    """Draws crops of sections, with holes.

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
        self._stacks = [cuts(spec, size) for spec in specs]

    def batch(self, step: int, count: int) -> SingleBatch:
        """Return the batch of one step; the same step gives the same batch."""
        drawn = [self._sample(rng, widest_at(step)) for rng in self.draws(step, count)]
        truth, known = torch.stack(drawn)[:, :, None].unbind(dim=1)
        return SingleBatch(truth, smooth_fill(truth, known), known)

    def _sample(self, rng: np.random.Generator, widest: float) -> Tensor:
        """Return truth and known, (2, H, W); ``widest`` as in :func:`random_hole`."""
        views = self._stacks[int(rng.integers(len(self._stacks)))]
        pixels, imaged = views[int(rng.integers(len(views)))]
        z = int(rng.integers(len(pixels)))
        image = imaged_crops(pixels, imaged, (z,), self.size, rng)[0, 0]
        image = turned(image, rng)
        known = ~torch.from_numpy(random_hole(self.size, rng, widest))
        curve = float(rng.normal(0, 0.06))
        (image,) = roughen([restain(normalise(image, known), curve, rng)], rng)
        sign = polarity(rng)
        image = normalise(image, known).clamp(-_EXTREME, _EXTREME)
        return torch.stack([sign * image, known.float()])


def widest_at(step: int) -> float:
    """Return how smooth the outlines of holes are at most, in pixels, at a step of a training."""
    _, first, last = _SMOOTH
    return float(first * (last / first) ** min(step / _EASY_STEPS, 1))


def random_hole(size: int, rng: np.random.Generator, widest: float = _SMOOTH[2]) -> BoolImage:
    """Return a random mask (size, size), True = damaged, with damage near its middle.

    Parameters
    ----------
    size
        Side of the mask.
    rng
        Source of randomness.
    widest
        Largest smoothness of the outlines of irregular holes, pixels.
    """
    kind = rng.choice(list(_KINDS), p=list(_KINDS.values()))
    steps = np.log(widest / _SMOOTH[0]) / np.log(_STEP)
    smooth = _SMOOTH[0] * _STEP ** float(np.rint(rng.uniform(0, steps)))
    covered = float(rng.uniform(*(_COVERED_NARROW if smooth < _NARROW else _COVERED_WIDE)))
    for _ in range(_DRAWS):
        if kind == "irregular":
            mask = irregular_hole(size, rng, smooth, covered)
        else:
            mask = _line(size, rng) if kind == "line" else _specks(size, rng)
        if mask.mean() <= _FULLEST:
            break
    return mask


def irregular_hole(size: int, rng: np.random.Generator, smooth: float, covered: float) -> BoolImage:
    """Return smooth noise above a threshold, around one of the places where it is.

    Parameters
    ----------
    size
        Side of the mask.
    rng
        Source of randomness.
    smooth
        Width, in pixels, of the Gaussian that the noise is smoothed by.
    covered
        Share that would be damaged of a whole section. Of the mask it is more, as it lies around
        damage.
    """
    around = 2 * size
    noise = torch.from_numpy(rng.standard_normal((1, 1, around, around), dtype=np.float32))
    field = gaussian(noise, smooth)[0, 0] * (2 * smooth * float(np.sqrt(np.pi)))
    damaged = field.numpy() > NormalDist().inv_cdf(1 - covered)
    places = np.argwhere(damaged)
    if not len(places):
        places = np.array([np.unravel_index(int(field.argmax()), field.shape)])
        damaged = field.numpy() > 0.9 * float(field.max())
    return _around(damaged, places[int(rng.integers(len(places)))], size, rng)


def _around(
    damaged: BoolImage, place: np.ndarray, size: int, rng: np.random.Generator
) -> BoolImage:
    """Return a square of a larger mask that has ``place`` in its middle half."""
    corner = place - size // 2 - rng.integers(-size // 4, size // 4 + 1, 2)
    y, x = np.clip(corner, 0, np.array(damaged.shape) - size)
    return np.ascontiguousarray(damaged[y : y + size, x : x + size])


def _line(size: int, rng: np.random.Generator) -> BoolImage:
    """Return one to three wavy lines."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.uniform(0, 2 * np.pi)
        y, x = rng.uniform(0.2, 0.8, 2) * size
        along = (columns - x) * np.sin(angle) - (rows - y) * np.cos(angle)
        across = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        reach, period = rng.uniform(0, 6), rng.uniform(30, 120)
        across = across + reach * np.sin(2 * np.pi * along / period)
        mask |= np.abs(across) < rng.uniform(*_WIDTHS) / 2
    return mask


def _specks(size: int, rng: np.random.Generator) -> BoolImage:
    """Return some ellipses."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(int(rng.integers(2, 20))):
        angle, (y, x) = rng.uniform(0, np.pi), rng.uniform(0.05, 0.95, 2) * size
        a, b = rng.uniform(*_RADII, 2)
        along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        mask |= (along / a) ** 2 + (across / b) ** 2 <= 1
    return mask
