"""Validation on held-out sections with the benchmark's own metrics.

The same definitions as :mod:`napari_flowinpaint.core.metrics` (a test compares them), in torch,
because a machine that only trains may have no OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics import STRUCTURE_SIGMA, data_range
from ..networks.blocks import gaussian, pad_to
from ..networks.joint import JointNet
from ..types import AnyImage, BoolImage
from .data import StackSpec
from .training_masks import training_mask

#: Masked shares, as in the benchmark.
FRACTIONS = (0.1, 0.3, 0.5)
#: How often another place is tried where less than this share of it was imaged.
_PLACES, _IMAGED = 20, 0.95


@dataclass(frozen=True)
class ValidationCase:
    """A damaged crop of a held-out section.

    Parameters
    ----------
    stack
        Number of the stack.
    fraction
        Masked share.
    truth, previous, following
        (H, W) float32 grey values.
    mask
        (H, W) bool, True = damaged.
    span
        Grey values between black and white.
    """

    stack: int
    fraction: float
    truth: Tensor
    previous: Tensor
    following: Tensor
    mask: BoolImage
    span: float


@dataclass(frozen=True)
class ValidationReport:
    """Mean scores over the cases: structure PSNR, PSNR (dB), detail; and per stack."""

    structure: float
    psnr: float
    detail: float
    per_stack: tuple[float, ...]

    @classmethod
    def of(
        cls, rows: Sequence[tuple[float, float, float]], stacks: Sequence[int]
    ) -> ValidationReport:
        """Return the means of the scores of cases, and per stack (or kind) of theirs."""
        scores, numbers = np.array(rows), np.array(stacks)
        structure, psnr, detail = (float(v) for v in scores.mean(axis=0))
        per_stack = tuple(float(scores[numbers == n, 0].mean()) for n in np.unique(numbers))
        return cls(structure, psnr, detail, per_stack)


def cases(
    specs: Sequence[StackSpec],
    size: int = 384,
    most: int = 3,
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
) -> list[ValidationCase]:
    """Return fixed cases: at most ``most`` sections of every stack at each masked share.

    Parameters
    ----------
    specs
        Held-out stacks; the middle one of their spacings is used.
    size
        Largest side of the crops.
    most
        Sections per stack.
    seed
        Seed of the places and masks.
    fractions
        The masked shares; 1 is a missing section.
    """
    found = []
    for number, spec in enumerate(specs):
        pixels, imaged = spec.read()
        spacing = spec.spacings[len(spec.spacings) // 2]
        possible = range(spacing, len(pixels) - spacing, 3 * spacing)
        picked = np.linspace(0, len(possible) - 1, min(most, len(possible))).astype(int)
        for z in (possible[i] for i in picked):
            for fraction in fractions:
                rng = np.random.default_rng((seed, z, round(1000 * fraction)))
                found.append(_case(pixels, imaged, number, z, spacing, fraction, size, rng))
    return found


def _case(
    pixels: AnyImage,
    imaged: BoolImage | None,
    stack: int,
    z: int,
    spacing: int,
    fraction: float,
    size: int,
    rng: np.random.Generator,
) -> ValidationCase:
    """Cut one case out of a stack."""
    side = min(size, *pixels.shape[1:])
    for _ in range(_PLACES):
        y, x = (int(rng.integers(n - side + 1)) for n in pixels.shape[1:])
        if imaged is None or imaged[z, y : y + side, x : x + side].mean() >= _IMAGED:
            break
    truth, previous, following = (
        torch.from_numpy(pixels[n, y : y + side, x : x + side].astype(np.float32))
        for n in (z, z - spacing, z + spacing)
    )
    whole = np.ones((side, side), dtype=bool)
    mask = training_mask(side, rng, (fraction, fraction)) if fraction < 1 else whole
    return ValidationCase(stack, fraction, truth, previous, following, mask, data_range(pixels[z]))


def predict(net: JointNet, case: ValidationCase, device: str = "cpu") -> Tensor:
    """Return the network's image in grey values, (H, W)."""
    known = torch.from_numpy(~case.mask)
    tissue = torch.cat([case.previous, case.following]) if case.mask.all() else case.truth[known]
    mean, std = tissue.mean(), tissue.std()
    height, width = case.truth.shape

    def ready(image: Tensor) -> Tensor:
        return pad_to(image[None, None].to(device), net.config.multiple)

    own = ready((case.truth - mean) / std * known)
    neighbours = [ready((n - n.mean()) / n.std()) for n in (case.previous, case.following)]
    shown = F.pad(
        known[None, None].float().to(device),
        (0, own.shape[-1] - width, 0, own.shape[-2] - height),
    )
    one = torch.ones_like(own)
    with torch.no_grad():
        output = net(
            own,
            shown,
            (neighbours[0], neighbours[1]),
            (one, one),
            torch.full((1,), 0.5, device=device),
        )
    return output.image[0, 0, :height, :width].float().cpu() * std + mean


def structure_psnr(
    repaired: Tensor, truth: Tensor, mask: BoolImage, span: float
) -> tuple[float, float, float]:
    """Return structure PSNR, PSNR (dB) and detail inside the mask.

    Parameters
    ----------
    repaired, truth
        (H, W) grey values.
    mask
        (H, W) bool.
    span
        Grey values between black and white.
    """
    inside = torch.from_numpy(mask)
    pair = torch.stack([repaired, truth])[:, None]
    smooth = gaussian(pair, STRUCTURE_SIGMA)
    fine = (pair - smooth)[:, 0][:, inside].square().mean(dim=1)

    def decibel(images: Tensor) -> float:
        error = float((images[0, 0] - images[1, 0])[inside].double().square().mean())
        return float(10 * np.log10(span**2 / max(error, 1e-12)))

    return decibel(smooth), decibel(pair), float(fine[0] / fine[1].clamp_min(1e-12))


def validate(
    net: JointNet, chosen: Sequence[ValidationCase], device: str = "cpu"
) -> ValidationReport:
    """Return the mean scores of a network."""
    return _report(chosen, [predict(net, case, device) for case in chosen])


def _report(chosen: Sequence[ValidationCase], filled: Sequence[Tensor]) -> ValidationReport:
    rows = []
    for case, image in zip(chosen, filled, strict=True):
        repaired = torch.where(torch.from_numpy(case.mask), image, case.truth)
        rows.append(structure_psnr(repaired, case.truth, case.mask, case.span))
    return ValidationReport.of(rows, [case.stack for case in chosen])
