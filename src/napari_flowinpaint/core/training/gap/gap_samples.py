"""Patches with gaps, cut from isotropic volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from ...networks.gap.gap_network import GapConfig
from ...reference.gap_interpolation import fill_gap
from ...types import AnyImage
from ..data import Batch, Samples, StackSpec

#: Narrowest gap that is trained, voxels.
NARROWEST = 1
#: How often, and up to how much, volumes are enlarged: smaller voxels.
_ENLARGED, _MOST_ENLARGED = 0.35, 2.0
#: How often a patch has another gap: beside the first, or across it.
_BESIDE, _ACROSS = 0.12, 0.1
#: How often the known voxels are noisier, contrast is curved, or inverted.
_NOISY, _CURVED, _BRIGHT = 0.2, 0.3, 0.1


@dataclass(frozen=True)
class GapBatch(Batch):
    """What one step sees, (B, D, H, W) except the width, normalised.

    Parameters
    ----------
    values
        The patches, filled where missing.
    doubt
        Half of the difference between the predictions from the two faces of the gap, 0 outside it.
    missing
        1 where nothing was known.
    truth
        The patches.
    inside
        1 in the gap in the middle.
    width
        (B,) whole numbers, width of the gap in the middle, layers.
    """

    values: Tensor
    doubt: Tensor
    missing: Tensor
    truth: Tensor
    inside: Tensor
    width: Tensor


def volumes(specs: Sequence[StackSpec], depth: int, side: int) -> list[list[AnyImage]]:
    """Return volumes as seen along each of their axes that leaves room for patches.

    Raises
    ------
    InputError
        Where a volume is too small.
    """
    found = []
    for spec in specs:
        pixels, _ = spec.read()
        views = [pixels.transpose(order) for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
        views = [v for v in views if len(v) >= depth and min(v.shape[1:]) >= side]
        if not views:
            raise InputError(f"{spec.path} is smaller than patches of {depth} x {side} x {side}.")
        found.append(views)
    return found


class GapSamples(Samples[GapBatch]):
    """Draws patches: gaps of any width and orientation, turned and mirrored in all ways.

    Parameters
    ----------
    specs
        The volumes; each is drawn from equally often.
    config
        Of the network: how deep patches are, and how wide gaps may be.
    side
        Side of the patches along the gap, voxels.
    seed
        Seed of everything.
    """

    def __init__(self, specs: Sequence[StackSpec], config: GapConfig, side: int, seed: int) -> None:
        self.config, self.side, self.seed = config, side, seed
        self._volumes = volumes(specs, config.depth, side)

    def batch(self, step: int, count: int) -> GapBatch:
        """Return the batch of one step; the same step gives the same batch."""
        drawn = [self._sample(rng) for rng in self.draws(step, count)]
        return GapBatch(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))

    def of_width(self, width: int, count: int) -> GapBatch:
        """Return patches with gaps of one width, always the same ones."""
        drawn = [
            self._sample(np.random.default_rng((self.seed, width, number, 1)), width)
            for number in range(count)
        ]
        return GapBatch(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))

    def _sample(self, rng: np.random.Generator, width: int | None = None) -> tuple[Tensor, ...]:
        views = self._volumes[int(rng.integers(len(self._volumes)))]
        view = views[int(rng.integers(len(views)))]
        block = _cut(view, (self.config.depth, self.side, self.side), rng)
        drawn = int(rng.integers(NARROWEST, self.config.widest + 1))
        width = width or drawn
        first = self.config.place(width)
        missing = np.zeros(block.shape, dtype=bool)
        missing[first : first + width] = True
        inside = missing.copy()
        _more_gaps(missing, first, width, rng)
        block = _restained(block, ~missing, rng)
        known = block
        if rng.random() < _NOISY:
            noise = rng.standard_normal(block.shape, dtype=np.float32)
            known = block + np.float32(rng.uniform(0.1, 0.5)) * noise
        parts = (*fill_gap(known, missing, first, width), missing, block, inside)
        images = (torch.from_numpy(np.ascontiguousarray(part)).float() for part in parts)
        return (*images, torch.tensor(width))


def _cut(view: AnyImage, shape: tuple[int, ...], rng: np.random.Generator) -> AnyImage:
    """Return a patch (D, H, W) float32 of a random place, turned at random, maybe enlarged."""
    zoom = float(rng.uniform(1, _MOST_ENLARGED)) if rng.random() < _ENLARGED else 1.0
    size = [max(round(n / zoom), 4) for n in shape]
    corner = [int(rng.integers(n - s + 1)) for n, s in zip(view.shape, size, strict=True)]
    cut = view[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))]
    block = cut.astype(np.float32)
    if zoom > 1:
        volume = torch.from_numpy(block)[None, None]
        block = F.interpolate(volume, size=shape, mode="trilinear", align_corners=False)[
            0, 0
        ].numpy()
    block = np.rot90(block, int(rng.integers(4)), (1, 2))
    for axis in range(3):
        if rng.random() < 0.5:
            block = np.flip(block, axis)
    return np.ascontiguousarray(block)


def _more_gaps(missing: AnyImage, first: int, width: int, rng: np.random.Generator) -> None:
    """Mark another gap: beside the one in the middle, or across it."""
    side = missing.shape[1]
    if rng.random() < _BESIDE:  # at times the volume ends there
        before, after = missing[: first - 1], missing[first + width + 1 :][::-1]
        side_of = before if rng.random() < 0.5 else after
        more, start = int(rng.integers(2, 15)), 0
        if rng.random() < 0.5:
            start = int(rng.integers(max(len(side_of), 1)))
        side_of[start : start + more] = True
    if rng.random() < _ACROSS:
        more = int(rng.integers(2, 13))
        start = int(rng.integers(side - more))
        if rng.random() < 0.5:
            missing[:, start : start + more] = True
        else:
            missing[:, :, start : start + more] = True


def _restained(block: AnyImage, known: AnyImage, rng: np.random.Generator) -> AnyImage:
    """Return a patch with mean 0 and deviation 1 where known, of another staining."""
    seen = block[known]
    block = (block - seen.mean()) / max(float(seen.std()), 1e-3)
    if rng.random() < _CURVED:
        block = block + np.float32(rng.normal(0, 0.08)) * np.clip(block, -2.5, 2.5) ** 2
        block = (block - block[known].mean()) / max(float(block[known].std()), 1e-3)
    sign = np.float32(-1 if rng.random() < _BRIGHT else 1)
    return (sign * block).astype(np.float32)
