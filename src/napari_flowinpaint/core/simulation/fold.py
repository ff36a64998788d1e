"""Support film folds: a dark line, and tissue that is drawn into it.

Algorithm 1 of "Learning to restore ssTEM images from deformation and corruption" (ECCV workshops
2020). A fold swallows a strip of width ``w2`` around a straight line and shows a dark line of width
``w1 < w2`` in its place; the tissue on either side moves towards the line, most next to it and
linearly less with the distance. The widths here are those of the whole strip and the whole line;
the paper's distances to the line are half of them.

What :meth:`Fold.draw` replaces is all that changes, the moved tissue included. What cannot be had
back by unfolding, and is the *mask* of the fold, is the dark line alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..reference.optical_flow import Flow, warp
from ..types import AnyImage, BoolImage, FloatImage
from .shapes import grey_range, to_dtype


@dataclass(frozen=True, slots=True)
class Fold:
    """A support film fold between two points on different borders.

    Parameters
    ----------
    width
        Width ``w1`` of the dark line, pixels (paper: 5 to 30).
    swallowed
        Width ``w2`` of the strip that disappears, pixels; at least ``width`` (paper: up to 80).
    decay
        Loss of displacement per pixel of distance, the paper's -alpha (1e-4 to 0.1). Tissue
        further than ``w2 / 2 + (w2 - w1) / 2 / decay`` from the line stays where it is.
    level
        Grey value of the line, from 0 (1st percentile of the section) to 1 (99th).
    """

    width: float = 12.0
    swallowed: float = 36.0
    decay: float = 0.05
    level: float = 0.0

    def draw(self, section: AnyImage, rng: np.random.Generator) -> tuple[FloatImage, BoolImage]:
        """See :class:`~.simulate.DamageModel`; the mask holds all that changes."""
        grey, line, flow = _fold(section, self, rng)
        return grey, line | (np.abs(flow).max(axis=0) > 0)


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
    """

    image: AnyImage
    line: BoolImage
    moved: BoolImage
    flow: Flow


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
    rng = np.random.default_rng(seed)
    grey, line, flow = _fold(section, fold, rng)
    moved = (np.abs(flow).max(axis=0) > 0) & ~line
    image = section.copy()
    changed = line | moved
    image[changed] = to_dtype(grey[changed], section.dtype)
    return FoldedSection(image, line, moved, flow)


def _line(
    shape: tuple[int, int], rng: np.random.Generator
) -> tuple[tuple[float, float], FloatImage]:
    """Draw a line between two borders: its normal (y, x) and the signed distance of every pixel."""
    height, width = shape
    sides = rng.permutation(4)[:2]
    along = rng.uniform(0.15, 0.85, 2)
    ends = [
        {0: (0, t * width), 1: (height, t * width), 2: (t * height, 0), 3: (t * height, width)}[
            int(side)
        ]
        for side, t in zip(sides, along, strict=True)
    ]
    (y1, x1), (y2, x2) = ends
    length = float(np.hypot(y2 - y1, x2 - x1))
    normal = ((x2 - x1) / length, -(y2 - y1) / length)
    rows, columns = np.ogrid[:height, :width]
    away = (rows - y1) * normal[0] + (columns - x1) * normal[1]
    return normal, away.astype(np.float32)


def _amplitude(fold: Fold, distance: FloatImage) -> FloatImage:
    """Return how far away (along the normal) tissue is sampled: A(d) of Algorithm 1."""
    lost = (fold.swallowed - fold.width) / 2
    amplitude = lost + fold.decay * (fold.swallowed / 2 - distance)
    return np.clip(amplitude, 0, None).astype(np.float32)


def _fold(
    section: AnyImage, fold: Fold, rng: np.random.Generator
) -> tuple[FloatImage, BoolImage, Flow]:
    """Return grey values, the line and the flow."""
    normal, away = _line(section.shape, rng)
    push = np.sign(away) * _amplitude(fold, np.abs(away))
    flow = np.stack([push * normal[0], push * normal[1]]).astype(np.float32)
    line = np.abs(away) <= fold.width / 2
    dark, light = grey_range(section)
    grain = 0.03 * (light - dark) * rng.standard_normal(section.shape, dtype=np.float32)
    # mirrored at the border, where warp() would draw streaks
    reach = int(np.ceil(np.abs(flow).max())) + 1
    padded = np.pad(section.astype(np.float32), reach, mode="symmetric")
    grey = warp(padded, np.pad(flow, ((0, 0), (reach, reach), (reach, reach))))
    grey = grey[reach:-reach, reach:-reach]
    grey[line] = dark + fold.level * (light - dark) + grain[line]
    return grey, line, flow
