"""Folds and cracks: a dark or bright line across the section.

As in "Learning to restore ssTEM images from deformation and corruption" (ECCV workshops 2020), 4.1,
the section is binarised and lines are found by the Hough transformation. What is binarised is not
the grey value itself but how far it is beyond the neighbours', so that membranes give no votes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...filters import enlarge_to
from ...types import BoolImage, FloatImage
from ..features.maps import SectionMaps
from ..features.morphology import ConnectedComponents, grow, reached
from ..features.view import View
from .detector import Finding
from .outliers import excess_over_neighbours

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]

#: Length of the stretches of a line of which course and width are measured, pixels.
_BIN = 4.0
#: Least ratio of length to mean width of a piece of a line.
_ELONGATION = 2.2
#: By how much a line is darker than what lies beside it in a window of so many pixels, in units of
#: contrast; the share of the line that has to be, and that of a line of a higher score.
_STEP = 0.2
_STRETCH = 61
_APART = 0.8
_CERTAIN = 1.5
_APART_CERTAIN = 0.6
#: Least score of a line that only its straightness tells from membranes.
_STRAIGHT = 1.2
#: How close to the border of the section a line may run, as a share of its side.
_BORDER = 0.04


@dataclass(frozen=True, slots=True)
class LineDetector:
    """Lines that are outliers against both neighbours.

    Parameters
    ----------
    excess
        By how much a pixel of a line is beyond the neighbours, in units of contrast.
    length
        Least length, as a share of the section's side.
    coverage
        Share of the line's length on which it has to be seen.
    slope
        Largest mean slope of its course against a straight line.
    wander
        How far it may stray from a straight line, as a share of the section's side.
    width
        Largest mean width, as a share of the section's side.
    tolerance
        How far around a pixel the neighbours are looked at, as a share of the section's side.
    """

    excess: float = 0.25
    length: float = 0.25
    coverage: float = 0.45
    slope: float = 0.5
    wander: float = 0.08
    width: float = 0.08
    tolerance: float = 0.015

    kinds: ClassVar[tuple[str, ...]] = ("fold", "crack")

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        findings = []
        for kind, sign in (("fold", -1), ("crack", 1)):
            line = self._seen_line(view, sign)
            if line is None or line[0] < view.strictness:
                line = max(line, self._straight_line(view, sign), key=_score)
            if line is not None:
                score, mask = line
                findings.append(Finding(kind, score, mask, sharp=True))
        # beside a line lies displaced tissue, which may look like another one
        return sorted(findings, key=lambda f: -f.score)[:1]

    def _excess(self, view: View, sign: int, what: str) -> FloatImage:
        """Return how far one map is beyond those of all neighbours nearby.

        Parameters
        ----------
        view
            The section; must have neighbours.
        sign
            +1 looks for brighter, -1 for darker.
        what
            ``smooth`` or ``wide`` grey values, or straight ``lines``: membranes are as dark as a
            fold may be, but hardly any is straight for so long.

        Returns
        -------
        FloatImage
            Float32, in units of contrast: (H, W) of ``smooth``, else of every second pixel,
            (ceil(H / 2), ceil(W / 2)).
        """
        image = partial(_map, what, sign)
        radius = view.radius(self.tolerance)
        if what == "smooth":
            return excess_over_neighbours(view, sign, radius, image)
        return excess_over_neighbours(view, sign, radius // 2, image, 2)

    def _seen_line(self, view: View, sign: int) -> tuple[float, BoolImage] | None:
        """Return a line of which much is beyond all that the neighbours show nearby."""
        # thin lines are blurred away with the membranes: a second look, at finer grain
        for what in ("wide", "smooth"):
            found = self._line(view, sign, what)
            if found is not None:
                return found
        return None

    def _straight_line(self, view: View, sign: int) -> tuple[float, BoolImage] | None:
        """Return a line that is no darker than membranes are, but straighter."""
        found = self._line(view, sign, "lines")
        return found if _score(found) >= _STRAIGHT * view.strictness else None

    def _line(self, view: View, sign: int, what: str) -> tuple[float, BoolImage] | None:
        """Return the score and the mask of the best line, or None."""
        excess = self._excess(view, sign, what)
        if excess.shape != view.shape:
            excess = enlarge_to(excess, view.shape)
        seen = ConnectedComponents(excess > 0.1, excess > self.excess * view.strictness)
        many = seen.indices.size
        if many < self.length * view.side or many > 0.5 * excess.size:
            return None
        best: tuple[float, BoolImage] | None = None
        for normal, offset in _hough(seen.mask()):
            found = self._follow(view, seen, normal, offset)
            if found is None or _score(best) >= found[0]:
                continue
            if _apart(view, sign, found[1]) > (_APART if found[0] < _CERTAIN else _APART_CERTAIN):
                best = found
        return best

    def _follow(
        self,
        view: View,
        seen: ConnectedComponents,
        normal: FloatImage,
        offset: float,
    ) -> tuple[float, BoolImage] | None:
        """Take what is seen within the band around a straight line, if it is a line."""
        y, x = np.divmod(seen.indices, view.shape[1])
        near = np.flatnonzero(np.abs(_away(y, x, normal, offset)) <= self.wander * view.side)
        y, x = y[near], x[near]
        long = _in_long_pieces(y, x, _along(y, x, normal), 0.06 * view.side)
        y, x = y[long], x[long]
        if not y.size:
            return None
        step = 8.0
        covers = _stretches(normal, step, y, x).size
        # a blob that is cut by the band is no line: most of what it touches lies outside
        whole = seen.areas[np.unique(seen.numbers[near[long]])].sum()
        if y.size / max(covers * step, 1) > self.width * view.side or y.size < 0.6 * whole:
            return None
        pieces = _mask(view.shape, y, x)
        rows, columns = np.ogrid[: view.shape[0], : view.shape[1]]
        away = _away(rows, columns, normal, offset)
        straight = np.abs(away) <= 1
        if _along_border(straight, round(_BORDER * view.side)):
            return None
        chord = _stretches(normal, step, *np.nonzero(straight)).size
        length, covered = chord * step, covers / max(chord, 1)
        # a short line, across a corner, has to be seen nearly all along
        least = self.coverage if length > 0.5 * view.side else 1.6 * self.coverage
        if length < self.length * view.side or covered < least:
            return None
        along = _along(rows, columns, normal)
        band = np.abs(away) <= self.wander * view.side
        slope, ribbon = _ribbon(view, pieces, band, away, along)
        if slope > self.slope or grow(ribbon, 2)[y, x].sum() < 0.8 * y.size:
            return None
        return covered / self.coverage, ribbon


def _away(y: IntArray, x: IntArray, normal: FloatImage, offset: float) -> FloatArray:
    """Return the distance of places from a straight line, pixels, positive along its normal."""
    return y * normal[0] + x * normal[1] - offset


def _along(y: IntArray, x: IntArray, normal: FloatImage) -> FloatArray:
    """Return how far along a straight line places are, pixels."""
    return y * normal[1] - x * normal[0]


def _stretches(normal: FloatImage, step: float, y: IntArray, x: IntArray) -> IntArray:
    """Return the numbers of the stretches along a straight line that places are in."""
    return np.unique((_along(y, x, normal) // step).astype(int))


def _mask(shape: tuple[int, int], y: IntArray, x: IntArray) -> BoolImage:
    mask = np.zeros(shape, dtype=bool)
    mask[y, x] = True
    return mask


def _apart(view: View, sign: int, mask: BoolImage) -> float:
    """Return the share of a line that is darker (or brighter) than what lies on either side.

    A strip of a hole is not, nor is a row of dark spots.
    """
    import cv2

    grey = sign * view.section.smooth
    around = (grow(mask, 10) & ~grow(mask, 4)).astype(np.float32)
    total, count = (
        cv2.boxFilter(image, -1, (_STRETCH, _STRETCH), normalize=False)
        for image in (grey * around, around)
    )
    beside = total[mask] / np.maximum(count[mask], 1)
    return float(np.mean(grey[mask] > beside + _STEP * view.contrast)) if mask.any() else 0.0


def _score(line: tuple[float, BoolImage] | None) -> float:
    return 0.0 if line is None else line[0]


def _map(what: str, sign: int, features: SectionMaps) -> FloatImage:
    if what == "lines":
        return features.bright_lines if sign > 0 else features.dark_lines
    return features.wide if what == "wide" else features.smooth


def _hough(seen: BoolImage) -> list[tuple[FloatImage, float]]:
    """Return the strongest straight lines as normal (y, x) and distance from the origin."""
    import cv2

    shrink = 2
    small = seen[::shrink, ::shrink]
    least = max(int(0.15 * min(small.shape)), 8)
    found = cv2.HoughLines(small.astype(np.uint8) * 255, 2.0, np.pi / 90, least)
    if found is None:
        return []
    # OpenCV sorts by votes; neighbouring cells are the same line
    lines: list[tuple[FloatImage, float]] = []
    taken: list[tuple[float, float]] = []
    for rho, theta in found[:200].reshape(-1, 2).tolist():
        if any(_same(rho, theta, *other, limit=0.08 * min(small.shape)) for other in taken):
            continue
        taken.append((rho, theta))
        lines.append((np.array([np.sin(theta), np.cos(theta)], np.float32), rho * shrink))
        if len(lines) == 3:
            break
    return lines


def _same(rho: float, theta: float, rho2: float, theta2: float, limit: float) -> bool:
    turn = abs(theta - theta2)
    if turn > np.pi / 2:
        turn, rho2 = np.pi - turn, -rho2
    return turn < np.pi / 12 and abs(rho - rho2) < limit


def _along_border(straight: BoolImage, margin: int) -> bool:
    """Tell whether most of a line lies so close to the section's border that it has one side."""
    inner = straight[margin:-margin, margin:-margin]
    return bool(2 * np.count_nonzero(inner) < np.count_nonzero(straight))


def _in_long_pieces(y: IntArray, x: IntArray, along: FloatArray, shortest: float) -> BoolImage:
    """Tell which pixels are in connected pieces that go some way along the line, and are no blobs.

    ``along`` is how far along the line the pixels are.
    """
    import cv2

    if not y.size:
        return np.zeros(0, dtype=bool)
    y, x = y - y.min() + 1, x - x.min() + 1
    grown = grow(_mask((int(y.max()) + 2, int(x.max()) + 2), y, x), 1)
    count, names = cv2.connectedComponents(grown.view(np.uint8), connectivity=4)
    # few pixels are seen: sorted by piece, these go fast
    owners = names[y, x]
    order = np.argsort(owners, kind="stable")
    numbers, starts, sizes = np.unique(owners[order], return_index=True, return_counts=True)
    places = along[order]
    reach = np.maximum.reduceat(places, starts) - np.minimum.reduceat(places, starts)
    # length times length over area: 1.3 for a disc
    kept = np.zeros(count, dtype=bool)
    kept[numbers] = (reach >= shortest) & (reach * reach >= _ELONGATION * sizes)
    return np.asarray(kept[owners])


def _ribbon(
    view: View, pieces: BoolImage, band: BoolImage, away: FloatImage, along: FloatImage
) -> tuple[float, BoolImage]:
    """Return the mean slope of a line and its mask: a ribbon of smooth course and width.

    Its width is where the grey value is half-way between the line and its surroundings. Where
    it cannot be told from the tissue, course and width go on from either side.
    """
    from scipy.ndimage import gaussian_filter1d, median_filter

    grey = view.section.smooth
    around = grow(pieces, 12) & ~grow(pieces, 6)
    inside, outside = float(np.median(grey[pieces])), float(np.median(grey[around]))
    sign = 1.0 if inside > outside else -1.0
    half = sign * (grey - (inside + outside) / 2) > 0
    line = reached(half & grow(pieces, 6) & band, pieces & half)
    first = float(along[band].min())
    bins = ((along - first) // _BIN).astype(int)
    count = int(bins[band].max()) + 1
    pixels = np.bincount(bins[line], minlength=count)[:count].astype(float)
    centre = np.bincount(bins[line], weights=away[line], minlength=count)[:count]
    known = np.flatnonzero(pixels >= _BIN)
    if known.size < 3:
        return float("inf"), pieces
    places = np.arange(count)
    course = np.interp(places, known, centre[known] / pixels[known])
    width = np.interp(places, known, pixels[known] / _BIN)
    course = gaussian_filter1d(median_filter(course, 5, mode="nearest"), 1.5, mode="nearest")
    width = gaussian_filter1d(median_filter(width, 9, mode="nearest"), 2.0, mode="nearest")
    position = (along - first) / _BIN - 0.5
    offset = np.abs(away - np.interp(position, places, course))
    slope = float(np.abs(np.diff(course)).mean()) / _BIN
    return slope, np.asarray(band & (offset <= np.interp(position, places, width) / 2))
