"""Support film folds: a dark line, and tissue that is drawn into it.

Algorithm 1 of "Learning to restore ssTEM images from deformation and corruption" (ECCV workshops
2020). A fold swallows a strip of width ``w2`` around a straight line and shows a dark line of width
``w1 < w2`` in its place; the tissue on either side moves towards the line, most next to it and
linearly less with distance. The widths here are those of the whole strip and the whole line;
the paper's distances to the line are half of them. Lines may also be curved and end inside the
section, and cracks are folds with the other sign: tissue that is torn apart.

The mask that :meth:`Fold.draw` returns holds all that changes, the moved tissue included. Only the
dark line cannot be recovered by unfolding: it is the *mask* of the fold elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..reference.fold_line import Curve, LineFrame
from ..reference.optical_flow import Flow, warp
from ..types import AnyImage, BoolImage, FloatImage, to_dtype
from .shapes import grey_range

#: How far lines continue beyond the borders, as a share of the distance between their ends.
_BEYOND = 0.5
#: Length over which the displacement of a fold fades towards its end, pixels.
_FADING = 150.0


@dataclass(frozen=True, slots=True)
class Fold:
    """A support film fold between two points on different borders, or a crack.

    Parameters
    ----------
    width
        Width ``w1`` of the dark line, pixels (paper: 5 to 30).
    swallowed
        Width ``w2`` of the strip that disappears, pixels (paper: up to 80; its Algorithm 1 takes
        both widths for one side, so that this is ``2 w2 - w1`` of its letters). Less than
        ``width`` makes a crack: tissue that is torn apart, from which ``swallowed`` is missing.
    decay
        Loss of displacement per pixel of distance, the paper's -alpha (1e-4 to 0.1). Tissue
        further than ``w2 / 2 + |w2 - w1| / 2 / decay`` from the line stays where it is.
    level
        Grey value of the line, from 0 (1st percentile of the section) to 1 (99th).
    bend
        How far the line's middle is off the straight way between its ends, as a share of their
        distance; it curves that way like an arc. The paper's lines are straight: 0.
    part
        Share of the way that the line takes, from its first end: below 1 it ends inside the
        section, and its displacement fades towards that end.
    uneven
        How much the displacement varies along the line, as a share of it.
    """

    width: float = 12.0
    swallowed: float = 36.0
    decay: float = 0.05
    level: float = 0.0
    bend: float = 0.0
    part: float = 1.0
    uneven: float = 0.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`~.simulate.DamageModel`; the mask holds all that changes."""
        drawn = _fold(section, self, rng)
        return drawn.grey, drawn.changed


@dataclass(frozen=True, slots=True, eq=False)
class FoldedSection:
    """A folded section and how to unfold it.

    Parameters
    ----------
    image
        (Y, X), the section's dtype.
    line
        (Y, X) bool: the dark line, whose content is lost.
    moved
        (Y, X) bool: the tissue that moved, without the line.
    flow
        (2, Y, X) float32, the fold: ``image(x) = section(x + flow(x))`` outside the line.
    unfolding
        (2, Y, X) float32, the way back: ``section(x) = image(x + unfolding(x))`` where nothing
        is lost.
    lost
        (Y, X) bool: the tissue of the section that the fold swallowed.
    distance
        (Y, X) float32, to the rim of the dark line, pixels, negative in it.
    """

    image: AnyImage
    line: BoolImage
    moved: BoolImage
    flow: Flow
    unfolding: Flow
    lost: BoolImage
    distance: FloatImage


def fold_section(section: AnyImage, fold: Fold, *, seed: int) -> FoldedSection:
    """Fold a section.

    Parameters
    ----------
    section
        (Y, X) of any dtype of a stack. Not changed.
    fold
        How wide, how strong.
    seed
        Draws the line; the same seed gives the same fold as
        :func:`~.simulate.damage_section` does.
    """
    drawn = _fold(section, fold, np.random.default_rng(seed))
    changed = drawn.changed
    image = section.copy()
    image[changed] = to_dtype(drawn.grey[changed], section.dtype)
    moved = changed & ~drawn.line
    told = (drawn.flow, drawn.unfolding, drawn.lost, drawn.distance)
    return FoldedSection(image, drawn.line, moved, *told)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A fold in grey values, and what :class:`FoldedSection` records of it."""

    grey: FloatImage
    line: BoolImage
    flow: Flow
    unfolding: Flow
    lost: BoolImage
    distance: FloatImage

    @property
    def changed(self) -> BoolImage:
        """All that the fold changes."""
        changed: BoolImage = self.line | (np.abs(self.flow).max(axis=0) > 0)
        return changed


def draw_line(shape: tuple[int, int], fold: Fold, rng: np.random.Generator) -> Curve:
    """Draw the middle of a fold's line between two borders of a section of ``shape`` (Y, X).

    It continues beyond the borders, and ends where the fold does.
    """
    height, width = shape
    sides = rng.permutation(4)[:2]
    along = rng.uniform(0.15, 0.85, 2)
    ends = [
        {0: (0, t * width), 1: (height, t * width), 2: (t * height, 0), 3: (t * height, width)}[
            int(side)
        ]
        for side, t in zip(sides, along, strict=True)
    ]
    start, way = np.array(ends[0]), np.subtract(ends[1], ends[0])
    inside = fold.part < 1
    t = np.linspace(-_BEYOND, fold.part if inside else 1 + _BEYOND, 400)[:, None]
    arc = 4 * fold.bend * t * (1 - t) * np.array([way[1], -way[0]])
    return Curve.through(start + t * way + arc, (False, inside))


def amplitude(fold: Fold, distance: FloatImage) -> FloatImage:
    """Return how far away (along the normal) tissue is sampled: A(d) of Algorithm 1.

    Positive where tissue moved towards the line, negative where it moved away (a crack).
    """
    lost = (fold.swallowed - fold.width) / 2
    edge = max(fold.swallowed, fold.width) / 2
    size = np.clip(abs(lost) + fold.decay * (edge - distance), 0, None)
    return np.asarray(np.sign(lost) * size, dtype=np.float32)


def _came_from(fold: Fold, distance: FloatImage, along: FloatImage) -> FloatImage:
    """Return at what distance the fold put tissue: ``d`` of ``d + along * A(d) = distance``.

    Less than half the line's width, or less than 0, for what it swallowed.
    """
    lost = (fold.swallowed - fold.width) / 2
    furthest = max(fold.swallowed, fold.width) / 2 + abs(lost) / fold.decay
    slope = np.sign(lost) * along * fold.decay
    inside = (distance - slope * furthest) / (1 - slope)
    return np.asarray(np.where(distance < furthest, inside, distance), dtype=np.float32)


def _along(fold: Fold, curve: Curve, arc: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return the factor of the displacement at places ``arc`` along the line."""
    out = np.ones_like(arc)
    if fold.uneven:
        waves = rng.uniform(150, 400, 2), rng.uniform(0, 2 * np.pi, 2)
        for period, phase in zip(*waves, strict=True):
            out += fold.uneven / 2 * np.sin(2 * np.pi * arc / period + phase)
    if curve.fades[1]:
        fading = min(_FADING, curve.length / 2)
        out *= np.sqrt(np.clip((curve.length - arc) / fading, 0, 1))
    return out


def _fold(section: AnyImage, fold: Fold, rng: np.random.Generator) -> _Drawn:
    """Fold a section."""
    curve = draw_line(section.shape, fold, rng)
    frame = LineFrame.of([curve], section.shape)
    along = _along(fold, curve, frame.arc, rng)
    flow = (amplitude(fold, frame.distance) * along * frame.normal).astype(np.float32)
    before = _came_from(fold, frame.distance, along)
    unfolding = ((before - frame.distance) * frame.normal).astype(np.float32)
    half = np.float32(fold.width / 2) * _taper(curve, frame.arc)
    line = frame.distance <= half
    dark, light = grey_range(section)
    grain = 0.03 * (light - dark) * rng.standard_normal(section.shape, dtype=np.float32)
    # mirrored at the border, where warp() would draw streaks
    reach = int(np.ceil(np.abs(flow).max())) + 1
    padded = np.pad(section.astype(np.float32), reach, mode="symmetric")
    grey = warp(padded, np.pad(flow, ((0, 0), (reach, reach), (reach, reach))))
    grey = grey[reach:-reach, reach:-reach]
    grey[line] = dark + fold.level * (light - dark) + grain[line]
    return _Drawn(grey, line, flow, unfolding, before <= half, frame.distance - half)


def _taper(curve: Curve, arc: FloatImage) -> FloatImage:
    """Return the line's width along it, as a share: it comes to a point where the fold ends."""
    if not curve.fades[1]:
        return np.ones_like(arc)
    return np.sqrt(np.clip((curve.length - arc) / (_FADING / 2), 0, 1))
