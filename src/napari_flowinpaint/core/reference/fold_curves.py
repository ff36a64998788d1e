"""From a painted band to the line in its middle: thinning, pruning, joining, smoothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import blur
from ..types import BoolImage
from .fold_gaps import bridged
from .fold_line import Curve, LineFrame, Points
from .fold_middle import middle_of

#: A band at least this many times as long as it is wide is a line; anything else is a hole.
LEAST_ELONGATION = 3.0
#: Degrees of the polynomials that are tried, and how far off the line they may be, pixels.
_DEGREES = (1, 2, 3, 4, 6, 8, 10, 13, 17, 22)
_OFF = 0.5
#: Beyond a border a line keeps the curvature of its last pixels (this many), which fades over a
#: distance, in pixels.
_END = 150
_TURNING = 150.0
#: How often a line is moved into the middle of its band, and made smooth again.
_CENTRINGS = 2
#: Half widths over which lines that cross share a band: they may cross at 30 degrees.
_CROSSING = 8
_NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]

Pixel = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class FoldBand:
    """One connected band of a mask, and the lines in its middle.

    Parameters
    ----------
    band
        (H, W) bool.
    curves
        One; more where it branches.
    half_width
        Half the width of its widest place, outliers excepted, pixels.
    crossing
        Whether lines only cross: none ends at another.
    """

    band: BoolImage
    curves: tuple[Curve, ...]
    half_width: float
    crossing: bool = True


def fold_bands(mask: BoolImage, unseen: BoolImage | None = None) -> list[FoldBand]:
    """Return the bands of a mask that are lines, the largest first.

    Pieces that continue each other are one band. Lines that cross are separate bands.

    Parameters
    ----------
    mask
        (H, W) bool, True where the fold's line is painted.
    unseen
        (H, W) bool, where nothing was imaged, as in padding: lines continue there, as beyond the
        border. None: nowhere.
    """
    found = _connected(mask, unseen)
    if len(found) > 1:
        closed = bridged(mask, [(band.curves, band.half_width) for band in found], unseen)
        if closed is not None:
            found = _connected(closed, unseen)
    return [one for band in found for one in _uncrossed(band)]


def _connected(mask: BoolImage, unseen: BoolImage | None) -> list[FoldBand]:
    """Return the connected bands of a mask that are lines, the largest first."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    order = sorted(range(1, count), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))
    found = [_band_of(labels == number, unseen) for number in order]
    return [band for band in found if band is not None]


def _band_of(band: BoolImage, unseen: BoolImage | None) -> FoldBand | None:
    """Return a connected band with its lines, or None where it is not one."""
    import cv2
    from skimage.morphology import skeletonize

    smooth = blur(np.pad(band, 3, mode="edge").astype(np.float32), 1.5)[3:-3, 3:-3]
    thin = skeletonize(smooth > 0.5)
    padded = np.pad(band, 1, mode="edge").astype(np.uint8)
    inside = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5), dtype=np.float32)
    inside = inside[1:-1, 1:-1]
    if thin.sum() < 8:
        return None
    # outside the section the band continues
    half = float(np.percentile(inside[thin], 90))
    paths = _prune(_paths(thin), inside, half)
    lines = [_smoothed(path, half) for path in _join(_contracted(paths, half))]
    kept = [(line, free) for line, free in lines if _length(line) > LEAST_ELONGATION * half]
    curves = [_curve(line, band, half, free, unseen) for line, free in kept]
    total = sum(_length(line) for line, _ in lines)
    if not curves or total + 2 * half < LEAST_ELONGATION * 2 * half:
        return None
    return FoldBand(band, tuple(curves), half, all(all(free) for _, free in kept))


def _uncrossed(band: FoldBand) -> list[FoldBand]:
    """Return a band of lines that cross as one band for each line, the longest first."""
    if len(band.curves) < 2 or not band.crossing:
        return [band]
    nearest = LineFrame.of(band.curves, band.band.shape).curve
    parts = []
    for number, curve in enumerate(band.curves):
        here = LineFrame.of((curve,), band.band.shape).distance <= band.half_width
        here = band.band & (here | (nearest == number))
        parts.append(FoldBand(here, (curve,), band.half_width))
    return sorted(parts, key=lambda part: -int(part.band.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """A piece of a skeleton: its pixels, and the junctions it starts and ends at (-1: none)."""

    pixels: Points
    joints: tuple[int, int]


def _paths(thin: BoolImage) -> list[_Path]:
    """Cut a skeleton at its junctions."""
    import cv2

    around = cv2.filter2D(thin.astype(np.uint8), -1, np.ones((3, 3), np.uint8))
    junction = thin & (around > 3)
    _, joint_of = cv2.connectedComponents(junction.astype(np.uint8), connectivity=8)
    rest = thin & ~junction
    left: set[Pixel] = {(int(y), int(x)) for y, x in np.argwhere(rest)}
    joints = np.asarray(joint_of, dtype=np.int32)
    centres = [
        np.argwhere(joints == number).mean(axis=0) for number in range(1, int(joints.max()) + 1)
    ]
    return list(_walk(left, joints, centres))


def _around(pixel: Pixel) -> Iterator[Pixel]:
    for dy, dx in _NEIGHBOURS:
        yield pixel[0] + dy, pixel[1] + dx


def _walk(
    left: set[Pixel], joints: npt.NDArray[np.int32], centres: list[npt.NDArray[np.float64]]
) -> Iterator[_Path]:
    """Follow each piece of a skeleton from one end to the other."""
    height, width = joints.shape
    while left:
        ends = [p for p in left if sum(q in left for q in _around(p)) <= 1]
        pixel = min(ends) if ends else min(left)  # a ring has no end
        path = []
        while True:
            left.discard(pixel)
            path.append(pixel)
            following = [q for q in _around(pixel) if q in left]
            if not following:
                break
            pixel = min(following, key=lambda q: abs(q[0] - pixel[0]) + abs(q[1] - pixel[1]))
        met = []
        for end in (path[0], path[-1]):
            near = [q for q in _around(end) if 0 <= q[0] < height and 0 <= q[1] < width]
            met.append(next((int(joints[q]) - 1 for q in near if joints[q]), -1))
        if len(path) == 1 and met[0] >= 0:
            met[1] = -1
        points = [np.array(p, dtype=np.float64) for p in path]
        if met[0] >= 0:
            points.insert(0, centres[met[0]])
        if met[1] >= 0:
            points.append(centres[met[1]])
        if len(points) > 1:
            yield _Path(np.array(points), (met[0], met[1]))


def _length(points: Points) -> float:
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def _prune(paths: list[_Path], inside: npt.NDArray[np.float32], half: float) -> list[_Path]:
    """Remove spurs: free ends no longer than the band is wide."""
    kept = []
    for path in paths:
        free = (path.joints[0] < 0) != (path.joints[1] < 0)
        if free and len(paths) > 1 and _length(path.pixels) < 2.5 * half + 4:
            continue
        kept.append(path)
    return _freed(kept or paths)


def _freed(paths: list[_Path]) -> list[_Path]:
    """Let ends be free where nothing else meets them (any more)."""
    met = [joint for path in paths for joint in path.joints]
    return [
        _Path(path.pixels, (_met(path.joints[0], met), _met(path.joints[1], met))) for path in paths
    ]


def _met(joint: int, met: list[int]) -> int:
    return joint if met.count(joint) > 1 else -1


def _contracted(paths: list[_Path], half: float) -> list[_Path]:
    """Make one junction of two that lie within a band's width: lines cross there."""
    paths = list(paths)
    ends = [(j, path.pixels[-at]) for path in paths for at, j in enumerate(path.joints) if j >= 0]
    places = dict(ends)
    for joint, place in places.items():  # without a piece between them
        for other in [j for j in places if j < joint and _near(place, places[j], half)]:
            middle = (place + places[other]) / 2
            paths = [_moved(path, {joint, other}, other, middle) for path in paths]
    while True:
        short = [
            (_length(path.pixels), i)
            for i, path in enumerate(paths)
            if min(path.joints) >= 0 and path.joints[0] != path.joints[1]
        ]
        if not short or min(short)[0] > _CROSSING * half + 6:
            return paths
        bridge = paths.pop(min(short)[1])
        gone, stays = bridge.joints
        middle = bridge.pixels.mean(axis=0)
        paths = [_moved(path, {gone, stays}, stays, middle) for path in paths]


def _near(first: Points, second: Points, distance: float) -> bool:
    return float(np.hypot(*(first - second))) < distance


def _moved(path: _Path, old: set[int], new: int, place: npt.NDArray[np.float64]) -> _Path:
    """Return a path that meets ``new``, at a place, instead of some ``old`` junctions."""
    pixels, joints = path.pixels.copy(), list(path.joints)
    for end, at in ((0, 0), (1, -1)):
        if joints[end] in old:
            joints[end], pixels[at] = new, place
    return _Path(pixels, (joints[0], joints[1]))


def _join(paths: list[_Path]) -> list[_Path]:
    """At every junction, join in pairs the pieces that continue each other most straightly."""
    paths = list(paths)
    joints = [j for path in paths for j in path.joints if j >= 0]
    for joint in sorted(joints):  # as often as pieces meet there
        meeting = [i for i, path in enumerate(paths) if joint in path.joints]
        best: tuple[float, int, int] | None = None
        for a, first in enumerate(meeting):
            for second in meeting[a + 1 :]:
                turn = float(_leaving(paths[first], joint) @ _leaving(paths[second], joint))
                if best is None or turn < best[0]:
                    best = (turn, first, second)
        if best is None or best[0] > -0.5:
            continue
        _, first, second = best
        start = _turned(paths[first], joint, last=True)
        end = _turned(paths[second], joint, last=False)
        joined = _Path(
            np.concatenate([start.pixels, end.pixels[1:]]), (start.joints[0], end.joints[1])
        )
        paths = [path for i, path in enumerate(paths) if i not in (first, second)] + [joined]
    return paths


def _turned(path: _Path, joint: int, last: bool) -> _Path:
    """Return a path so that it ends (or starts) at a junction."""
    if (path.joints[1] == joint) == last:
        return path
    return _Path(path.pixels[::-1], path.joints[::-1])


def _leaving(path: _Path, joint: int) -> npt.NDArray[np.float64]:
    """Return the direction in which a path leaves a junction."""
    points = _turned(path, joint, last=False).pixels
    way = points[min(len(points) - 1, 25)] - points[0]
    return np.asarray(way / max(float(np.hypot(*way)), 1e-9))


def _smoothed(path: _Path, half: float) -> tuple[Points, tuple[bool, bool]]:
    """Smooth the staircase of a path; say which of its ends are free.

    By the simplest polynomial that follows it: displaced tissue lies up to a section's width away
    from a line, so that a degree in its direction counts. Where none follows it, by a low-pass.
    """
    points, free = path.pixels, (path.joints[0] < 0, path.joints[1] < 0)
    skip = min(int(2 * half) + 4, len(points) // 5)
    # thinning bends the very ends of a line into the corners of its band
    kept = points[skip if free[0] else 0 : len(points) - (skip if free[1] else 0)]
    return _fitted(kept, half), free


def _fitted(points: Points, half: float) -> Points:
    """Return the simplest polynomial that follows points; where none does, a low-pass."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    along = 2 * along / max(float(along[-1]), 1e-9) - 1
    for degree in _DEGREES:
        fitted = np.polynomial.Legendre.fit
        series = [
            fitted(along, part, min(degree, len(points) - 1), domain=[-1, 1]) for part in points.T
        ]
        line = np.stack([one(along) for one in series], axis=1)
        off = np.hypot(*(line - points).T)
        if np.sqrt(np.mean(off**2)) < _OFF + 0.03 * half:
            return line
    return _low_passed(points, half)


def _curve(
    line: Points,
    band: BoolImage,
    half: float,
    free: tuple[bool, bool],
    unseen: BoolImage | None,
) -> Curve:
    """Return a line in the middle of its band, to the band's ends or beyond the border."""
    for _ in range(_CENTRINGS):
        whole, _ = _extended(line, band, half, free, unseen, beyond=False)
        centred, known = middle_of(whole, band, half, unseen)
        if known.sum() < 0.5 * len(line):
            break
        line = _fitted(centred[known], half)
    return Curve.through(*_extended(line, band, half, free, unseen))


def _low_passed(points: Points, half: float) -> Points:
    """Return points with a Gaussian over their neighbours along the line."""
    from scipy.ndimage import gaussian_filter1d

    sigma = min(max(2 * half, 8.0), len(points) / 6)
    # continued like a point reflection, so that the ends stay and keep their direction
    reach = min(len(points) - 1, int(3 * sigma))
    before = 2 * points[0] - points[reach:0:-1]
    after = 2 * points[-1] - points[-2 : -2 - reach : -1]
    whole = gaussian_filter1d(np.concatenate([before, points, after]), sigma, axis=0)
    return np.asarray(whole[reach : reach + len(points)])


def _extended(
    line: Points,
    band: BoolImage,
    half: float,
    free: tuple[bool, bool],
    unseen: BoolImage | None,
    beyond: bool = True,
) -> tuple[Points, tuple[bool, bool]]:
    """Continue a line from its free ends to the band's own ends, or far beyond the border."""
    height, width = band.shape
    fades = []
    for end in (0, 1):
        if end:
            line = line[::-1]
        if not free[end]:
            fades.append(False)
        else:
            way, bend = _leaves(line, half)
            reach = _reach(band, line[0], way)
            tip = line[0] + reach * way
            near = 1.5 * half + 4
            at_border = min(*tip, height - 1 - tip[0], width - 1 - tip[1]) < near
            at_border |= unseen is not None and _any_near(unseen, tip, near)
            far = max(height, width) / 2 if at_border and beyond else 0.0
            arc = _arc(line[0], way, bend, reach + far)
            if _comes_back(arc, band.shape):
                arc = _arc(line[0], way, 0.0, reach + far)
            line = np.concatenate([arc[::-1], line])
            fades.append(not at_border)
        if end:
            line = line[::-1]
    return line, (fades[0], fades[1])


def _any_near(where: BoolImage, place: npt.NDArray[np.float64], distance: float) -> bool:
    """Return whether any of a mask is within a distance of a place."""
    rows, columns = (max(int(v - distance), 0) for v in place)
    part = where[rows : int(place[0] + distance) + 1, columns : int(place[1] + distance) + 1]
    y, x = np.nonzero(part)
    return bool((np.hypot(y + rows - place[0], x + columns - place[1]) < distance).any())


def _leaves(line: Points, half: float) -> tuple[npt.NDArray[np.float64], float]:
    """Return the direction in which a line continues before its first point, and its curvature."""
    points = line[:_END]
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    (ay, ax), (by, bx), _ = np.polyfit(along, points, 2)
    way = np.array([-by, -bx]) / max(float(np.hypot(by, bx)), 1e-9)
    bend = float(2 * (ay * way[1] - ax * way[0]))
    doubt = 8 * (_OFF + 0.05 * half) / max(float(along[-1]), 1.0) ** 2
    return way, bend / (1 + (doubt / max(abs(bend), 1e-9)) ** 2)


def _arc(
    start: npt.NDArray[np.float64], way: npt.NDArray[np.float64], bend: float, length: float
) -> Points:
    """Return points on an arc that leaves ``start`` in a direction, and later straightens."""
    turned = bend * _TURNING * (1 - np.exp(-np.arange(1, int(length) + 1) / _TURNING))
    cos, sin = np.cos(turned), np.sin(turned)
    steps = np.stack([way[0] * cos + way[1] * sin, way[1] * cos - way[0] * sin], axis=1)
    return np.asarray(start + np.cumsum(steps, axis=0))


def _comes_back(points: Points, shape: tuple[int, ...]) -> bool:
    """Return whether a line leaves the section and enters it again."""
    inside = ((points >= 0) & (points <= np.subtract(shape, 1))).all(axis=1)
    return bool((np.diff(inside.astype(np.int8)) > 0).any())


def _reach(band: BoolImage, start: npt.NDArray[np.float64], way: npt.NDArray[np.float64]) -> float:
    """Return how far a band extends from a point, pixels."""
    reach = 0.0
    while True:
        y, x = (round(float(v)) for v in start + (reach + 1) * way)
        if not (0 <= y < band.shape[0] and 0 <= x < band.shape[1]) or not band[y, x]:
            return reach
        reach += 1
