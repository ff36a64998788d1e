"""Pieces of one line, seen with gaps: where tissue is as dark as a fold it cannot be followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...types import BoolImage, FloatImage
from ..features.morphology import ConnectedComponents, grow

#: How far, in pixels, a piece points beyond its ends, and over how many pixels its ends tell where.
_POINTS = 16
_END = 20
#: Width, in pixels, within which what pieces point at has to meet.
_MEETS = 3


@dataclass(frozen=True, slots=True, eq=False)
class LinePiece:
    """A piece of a line.

    Parameters
    ----------
    mask
        (H, W) its pixels.
    length
        Its length, pixels.
    """

    mask: BoolImage
    length: float

    def ends(self) -> list[tuple[FloatImage, FloatImage]]:
        """Return both ends, as point (x, y) and direction in which it would go on."""
        import cv2

        rows, columns = np.nonzero(self.mask)
        points = np.stack([columns, rows], axis=1).astype(np.float32)
        axis = cv2.fitLine(points, cv2.DIST_L2, 0, 0.01, 0.01).ravel()[:2]
        along = points @ axis
        found = []
        for sign in (-1, 1):
            last = points[sign * along > (sign * along).max() - _END]
            x, y = cv2.fitLine(last, cv2.DIST_L2, 0, 0.01, 0.01).ravel()[:2]
            way = np.array([x, y], np.float32) * np.sign(x * axis[0] + y * axis[1] or 1) * sign
            middle = last.mean(axis=0)
            found.append((middle + way * float(((last - middle) @ way).max()), way))
        return found


def chained(pieces: Sequence[LinePiece]) -> list[LinePiece]:
    """Join pieces that point at each other; each chain is as long as its pieces together.

    Returns
    -------
    list of LinePiece
        Chains, their gaps closed; pieces that no other joins as they are.
    """
    import cv2

    if len(pieces) < 2:
        return list(pieces)
    ends = [piece.ends() for piece in pieces]
    canvas = np.zeros(pieces[0].mask.shape, np.uint8)
    for piece, both in zip(pieces, ends, strict=True):
        canvas[grow(piece.mask, 1)] = 1
        for point, way in both:
            cv2.line(canvas, _pixel(point), _pixel(point + _POINTS * way), 1, _MEETS)
    numbers = np.zeros(canvas.shape, int)
    components = ConnectedComponents(canvas > 0)
    numbers.ravel()[components.indices] = components.numbers
    names = [int(numbers[piece.mask][0]) for piece in pieces]
    chains = []
    for name in dict.fromkeys(names):
        own = [n for n, other in enumerate(names) if other == name]
        mask = np.logical_or.reduce([pieces[n].mask for n in own]).astype(np.uint8)
        for n in own if len(own) > 1 else []:
            _close(mask, ends[n], [end for other in own if other != n for end in ends[other]])
        chains.append(LinePiece(mask > 0, sum(pieces[n].length for n in own)))
    return chains


def _pixel(point: FloatImage) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _close(
    mask: npt.NDArray[np.uint8],
    ends: Sequence[tuple[FloatImage, FloatImage]],
    others: Sequence[tuple[FloatImage, FloatImage]],
) -> None:
    """Draw what is missing from the ends of a piece to the nearest ends that point at them."""
    import cv2

    for point, way in ends:
        facing = [other for other, back in others if float(way @ back) < 0]
        away = [float(np.hypot(*(other - point))) for other in facing]
        if away and min(away) <= 2 * _POINTS + _MEETS:
            cv2.line(mask, _pixel(point), _pixel(facing[int(np.argmin(away))]), 1, 1)
