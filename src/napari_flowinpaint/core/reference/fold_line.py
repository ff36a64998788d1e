"""The line of a fold: its course, and where every pixel of a section lies relative to it.

A fold is painted, or found, as a band of some width. What moved around it is described relative to
the middle of that band: how far a pixel is from it, on which side, in which direction, and beside
which place along the line. A :class:`Curve` is that middle, :class:`LineFrame` the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import FloatImage

Points = npt.NDArray[np.float64]

#: Distance between the points of a curve, pixels.
SPACING = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The middle of a fold's line.

    Parameters
    ----------
    points
        (N, 2) float64, (y, x) of points a pixel apart; at least two. They may lie outside the
        section, where the line continues beyond its border.
    fades
        Whether the fold ends at the first, and at the last point: there its displacement is
        zero. False where the line meets the border or another line.
    """

    points: Points
    fades: tuple[bool, bool] = (False, False)

    @classmethod
    def through(cls, points: Points, fades: tuple[bool, bool] = (False, False)) -> Curve:
        """Return the curve through some points (N, 2), straight between them."""
        steps = np.hypot(*np.diff(points, axis=0).T)
        keep = np.concatenate([[True], steps > 1e-9])
        points, steps = points[keep], steps[steps > 1e-9]
        along = np.concatenate([[0.0], np.cumsum(steps)])
        count = max(round(float(along[-1]) / SPACING), 1) + 1
        places = np.linspace(0, along[-1], count)
        resampled = [np.interp(places, along, part) for part in points.T]
        return cls(np.stack(resampled, axis=1), fades)

    @property
    def length(self) -> float:
        """Length in pixels."""
        return SPACING * (len(self.points) - 1)

    def tangents(self) -> Points:
        """Return the unit vectors (N, 2) along the curve."""
        along = np.gradient(self.points, axis=0)
        size = np.maximum(np.hypot(*along.T), 1e-9)
        return np.asarray(along / size[:, None])

    def moved(self, by: Sequence[float]) -> Curve:
        """Return the curve moved by (y, x)."""
        return Curve(self.points + np.asarray(by, dtype=np.float64), self.fades)


@dataclass(frozen=True, slots=True, eq=False)
class LineFrame:
    """Where the pixels of a section lie relative to the lines of a fold.

    Parameters
    ----------
    distance
        (H, W) float32, pixels to the nearest line, at least 0.
    side
        (H, W) float32, 1 on one side of that line, -1 on the other.
    normal
        (2, H, W) float32, the unit vector (y, x) away from the nearest point of the line.
    curve
        (H, W) int32, which of the lines is the nearest.
    arc
        (H, W) float32, how far along it, in pixels from its first point.
    """

    distance: FloatImage
    side: FloatImage
    normal: npt.NDArray[np.float32]
    curve: npt.NDArray[np.int32]
    arc: FloatImage

    @classmethod
    def of(cls, curves: Sequence[Curve], shape: tuple[int, int]) -> LineFrame:
        """Measure a section of ``shape`` (Y, X) that one or more curves go through."""
        points = np.concatenate([curve.points for curve in curves])
        tangents = np.concatenate([curve.tangents() for curve in curves])
        numbers = np.concatenate([np.full(len(c.points), i) for i, c in enumerate(curves)])
        arcs = np.concatenate([SPACING * np.arange(len(c.points)) for c in curves])
        rims = np.concatenate([_rims(len(c.points)) for c in curves])
        near = _improved(_nearest(points, shape), points, tangents, numbers)
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        foot, along = points[near].astype(np.float32), tangents[near].astype(np.float32)
        dy, dx = rows - foot[..., 0], columns - foot[..., 1]
        ty, tx = along[..., 0], along[..., 1]
        forward = dy * ty + dx * tx  # along the line, from its nearest point
        across = dy * -tx + dx * ty  # positive on one side
        rim = rims[near]
        beyond = np.where(rim * forward > 0, forward, 0)
        distance = np.hypot(across, beyond)
        side = np.where(across < 0, -1, 1).astype(np.float32)
        size = np.maximum(distance, 1e-6)
        normal = np.stack([-tx * across + ty * beyond, ty * across + tx * beyond]) / size
        still = distance < 1e-3
        normal[0][still], normal[1][still] = (-tx * side)[still], (ty * side)[still]
        return cls(
            distance.astype(np.float32),
            side,
            normal.astype(np.float32),
            numbers[near].astype(np.int32),
            (arcs[near] + np.where(rim == 0, forward, 0)).astype(np.float32),
        )


def _improved(
    near: npt.NDArray[np.int64],
    points: Points,
    tangents: Points,
    numbers: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Move to nearer points of the same curve: a distance transform is off by 2 per cent."""
    first = np.searchsorted(numbers, numbers)
    last = np.searchsorted(numbers, numbers, side="right") - 1
    rows, columns = np.ogrid[: near.shape[0], : near.shape[1]]
    for _ in range(2):
        foot, along = points[near], tangents[near]
        dy, dx = rows - foot[..., 0], columns - foot[..., 1]
        step = np.rint((dy * along[..., 0] + dx * along[..., 1]) / SPACING).astype(np.int64)
        moved = np.clip(near + step, first[near], last[near])
        there = points[moved]
        closer = np.hypot(rows - there[..., 0], columns - there[..., 1]) < np.hypot(dy, dx)
        near = np.where(closer, moved, near)
    return near


def _rims(count: int) -> npt.NDArray[np.int8]:
    """Return -1 for the first point of a curve, 1 for its last, 0 between."""
    rims = np.zeros(count, dtype=np.int8)
    rims[0], rims[-1] = -1, 1
    return rims


def _nearest(points: Points, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return for every pixel the number of the nearest point (nearly: one of the nearest few)."""
    import cv2

    margin = max(shape) // 2
    height, width = (side + 2 * margin for side in shape)
    cells = np.rint(points + margin).astype(int)
    inside = ((cells >= 0) & (cells < (height, width))).all(axis=1)
    far = np.ones((height, width), dtype=np.uint8)
    which = np.zeros((height, width), dtype=np.int64)
    numbers = np.flatnonzero(inside)
    if numbers.size == 0:
        raise ValueError("no point of the line is near the section")
    y, x = cells[numbers].T
    far[y, x] = 0
    which[y, x] = numbers
    _, labels = cv2.distanceTransformWithLabels(far, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    # labels number the zero pixels, in an order of OpenCV's own
    of_label = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    of_label[labels[y, x]] = which[y, x]
    part = labels[margin : margin + shape[0], margin : margin + shape[1]]
    return np.asarray(of_label[part])
