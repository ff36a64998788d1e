"""Draw damage at random: any kind, at random size and strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..kinds import KINDS
from ..types import AnyImage, BoolImage
from .degrade import Blur, ContrastLoss, Misaligned, NoiseBurst, Saturated
from .fold import Fold, fold_section
from .simulate import (
    Charging,
    DamageModel,
    Debris,
    Hole,
    Line,
    Missing,
    StainingCloud,
    damage_section,
)

_Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedDamage:
    """A section that was damaged on purpose.

    Parameters
    ----------
    image
        (Y, X), the section's dtype.
    mask
        (Y, X) bool, True = damaged, to be replaced. Of a fold this is the dark line.
    changed
        (Y, X) bool, True where a pixel may differ; more than ``mask`` for a fold, whose
        surroundings are moved.
    """

    image: AnyImage
    mask: BoolImage
    changed: BoolImage


def simulate(section: AnyImage, damage: DamageModel, *, seed: int) -> SimulatedDamage:
    """Damage one section; distinguish what has to be replaced from what was only moved.

    Parameters
    ----------
    section
        (Y, X) uint8, uint16, int16 or float32. Not changed.
    damage
        What kind, how much.
    seed
        The same seed gives the same damage.
    """
    if isinstance(damage, Fold):
        folded = fold_section(section, damage, seed=seed)
        return SimulatedDamage(folded.image, folded.line, folded.line | folded.moved)
    image, mask = damage_section(section, damage, seed=seed)
    return SimulatedDamage(image, mask, mask)


def draw_damage(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> DamageModel:
    """Draw damage of a kind, of random size and strength.

    Parameters
    ----------
    kind
        A name of :data:`DRAWN`.
    rng
        Source of randomness.
    shape
        (Y, X) of the section; sizes in pixels follow it.

    Returns
    -------
    DamageModel
        For :func:`simulate`; its place and outline are drawn there.

    Raises
    ------
    InputError
        If there is no such kind, or it is not drawn into a section.
    """
    if kind not in _DRAW:
        raise InputError(f"damage {kind!r} cannot be drawn; choose one of: {', '.join(DRAWN)}.")
    return _DRAW[kind](rng, float(min(shape)))


def _share(rng: _Rng, low: float, high: float) -> float:
    """Return a random number between two, uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _missing(rng: _Rng, side: float) -> DamageModel:
    whole = rng.random() < 0.5
    fraction = 1.0 if whole else rng.uniform(0.08, 0.6)
    noise = 0.0 if rng.random() < 0.5 else rng.uniform(0.0, 0.03)
    return Missing(fraction, bright=bool(rng.random() < 0.5), noise=noise)


def _hole(rng: _Rng, side: float) -> DamageModel:
    fraction, bright = _share(rng, 0.01, 0.15), bool(rng.random() < 0.6)
    return Saturated(fraction, bright) if rng.random() < 0.4 else Hole(fraction, bright)


def _debris(rng: _Rng, side: float, *, bright: bool) -> Debris:
    smallest = max(0.006 * side, 3.0)
    largest = smallest * rng.uniform(2, 5)
    count = int(rng.integers(3, 41))
    return Debris(count, (smallest, largest), bright, rng.uniform(0.05, 0.3))


def _dark(rng: _Rng, side: float) -> DamageModel:
    return _debris(rng, side, bright=False)


def _bright(rng: _Rng, side: float) -> DamageModel:
    if rng.random() < 0.5:
        return Charging(_share(rng, 0.02, 0.2), rng.uniform(0.7, 1.3))
    return _debris(rng, side, bright=True)


def _staining(rng: _Rng, side: float) -> DamageModel:
    choice = rng.random()
    if choice < 0.6:
        return StainingCloud(_share(rng, 0.03, 0.3), rng.uniform(0.6, 0.95))
    fraction = 1.0 if choice < 0.8 else rng.uniform(0.08, 0.4)
    return ContrastLoss(fraction, rng.uniform(0.5, 0.85))


def _blur(rng: _Rng, side: float) -> DamageModel:
    fraction = 1.0 if rng.random() < 0.5 else rng.uniform(0.08, 0.5)
    sigma = max(0.004 * side, 1.5) * rng.uniform(1, 2.5)
    return Blur(fraction, sigma, rng.uniform(0, 0.5))


def _fold(rng: _Rng, side: float) -> DamageModel:
    width = side / 512 * rng.uniform(5, 20)
    if rng.random() < 0.3:  # a line that wanders and moves nothing
        return Line(width, wander=0.02 * side)
    swallowed = width + side / 512 * rng.uniform(0, 50)
    return Fold(width, swallowed, _share(rng, 0.005, 0.1), rng.uniform(0, 0.1))


def _crack(rng: _Rng, side: float) -> DamageModel:
    return Line(side / 512 * rng.uniform(5, 20), bright=True, wander=side * rng.uniform(0, 0.04))


def _misaligned(rng: _Rng, side: float) -> DamageModel:
    angle = 0.0 if rng.random() < 0.5 else rng.uniform(-8, 8)
    return Misaligned(side * rng.uniform(0.06, 0.25), angle)


def _noise(rng: _Rng, side: float) -> DamageModel:
    return NoiseBurst(_share(rng, 0.06, 0.5), rng.uniform(0.5, 1.2))


_DRAW: dict[str, Callable[[_Rng, float], DamageModel]] = {
    "missing": _missing,
    "hole": _hole,
    "fold": _fold,
    "crack": _crack,
    "dark": _dark,
    "bright": _bright,
    "staining": _staining,
    "blur": _blur,
    "misaligned": _misaligned,
    "noise": _noise,
}

#: Kinds that are drawn into a section: all but a copy, which is another section.
DRAWN = tuple(kind for kind in KINDS if kind in _DRAW)
