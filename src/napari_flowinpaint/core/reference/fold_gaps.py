"""Pieces of one broken line: bands that continue each other are one fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import BoolImage
from .fold_line import Curve

_Vector = npt.NDArray[np.float64]

#: Largest gap between two ends that belong together: as a share of both pieces, and in pixels.
_SHARE, _MOST = 0.6, 160.0
#: They also point at each other, up to this sine of an angle.
_OFF = 0.4
#: Number of pixels at an end that decide where it points.
_LAST = 60


@dataclass(frozen=True, slots=True, eq=False)
class _Tip:
    """A free end of a line inside the section, and where it points."""

    piece: int
    place: _Vector
    way: _Vector
    length: float
    half: float


def bridged(
    mask: BoolImage, pieces: Sequence[tuple[Sequence[Curve], float]], unseen: BoolImage | None
) -> BoolImage | None:
    """Return a mask with the gaps between pieces of one line closed; None where there are none.

    Parameters
    ----------
    mask
        (H, W) bool.
    pieces
        The lines and the half width of each band of the mask.
    unseen
        (H, W) bool, where the section shows nothing: nothing is closed across it. None: nowhere.
    """
    import cv2

    tips = [
        tip for number, (lines, half) in enumerate(pieces) for tip in _tips(number, lines, half)
    ]
    pairs = sorted(
        (gap, a, b)
        for a, first in enumerate(tips)
        for b, second in enumerate(tips[:a])
        if (gap := _gap(first, second)) is not None
    )
    out, used = mask.astype(np.uint8), set[int]()
    for _, a, b in pairs:
        if a in used or b in used:
            continue
        used |= {a, b}
        # from within one band to within the other
        ends = [tip.place - tip.half * tip.way for tip in (tips[a], tips[b])]
        width = max(round(tips[a].half + tips[b].half), 1)
        (y0, x0), (y1, x1) = (np.rint(end).astype(int).tolist() for end in ends)
        cv2.line(out, (x0, y0), (x1, y1), 1, width)
    if unseen is not None:
        out[unseen & ~mask] = 0
    return out > 0 if used else None


def _tips(piece: int, lines: Sequence[Curve], half: float) -> Iterator[_Tip]:
    for line in lines:
        for fades, points in zip(line.fades, (line.points, line.points[::-1]), strict=True):
            if fades:
                way = points[0] - points[min(_LAST, len(points) - 1)]
                size = max(float(np.hypot(*way)), 1e-9)
                yield _Tip(piece, points[0], way / size, line.length, half)


def _gap(first: _Tip, second: _Tip) -> float | None:
    """Return the gap between two ends that continue each other; None for others."""
    between = second.place - first.place
    gap = float(np.hypot(*between))
    most = min(_SHARE * min(first.length, second.length), _MOST)
    if first.piece == second.piece or gap > most:
        return None
    # ends are known to about half a width only
    allowed = _OFF * gap + 0.5 * (first.half + second.half)
    for tip, way in ((first, between), (second, -between)):
        along = float(tip.way @ way)
        across = abs(float(tip.way[0] * way[1] - tip.way[1] * way[0]))
        if along < 0 or across > allowed:
            return None
    return gap if float(first.way @ second.way) < -0.5 else None
