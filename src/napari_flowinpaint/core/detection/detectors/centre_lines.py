"""Follow a line along its middle, so that its mask is as wide as the line and no wider."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...types import BoolImage, FloatImage
from ..features.morphology import ConnectedComponents, grow

IntArray = npt.NDArray[np.integer]

#: Places along a line over which its width is averaged, by their median.
_WIDTH_OVER = 31
#: How many times as wide as usual a line may be somewhere.
_WIDER = 1.5
#: What is narrower than this is no part of it, in units of three quarters of half its width.
_THINNER = 0.6


def followed(ribbon: BoolImage, shortest: int) -> BoolImage:
    """Return a mask of lines without the tissue that it runs into on their sides.

    Parameters
    ----------
    ribbon
        (H, W) mask of lines.
    shortest
        Least length of a branch, pixels; shorter ones are tissue.

    Returns
    -------
    BoolImage
        (H, W) what is near the middle of the lines: from end to end, and along branches.
    """
    import cv2

    padded = np.pad(ribbon, 1).astype(np.uint8)
    away = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5), np.float32)[1:-1, 1:-1]
    # a line is about as wide everywhere: what is much narrower leads away from it
    thin = round(_THINNER * float(np.percentile(away[ribbon], 75))) if ribbon.any() else 0
    ribbon = _with_narrow_places(grow(grow(ribbon, -thin), thin), ribbon)
    canvas = np.zeros(ribbon.shape, np.uint8)
    # every second pixel is enough of a course
    small = np.ascontiguousarray(ribbon[::2, ::2])
    pieces = ConnectedComponents(small)
    for number in np.flatnonzero(pieces.areas):
        for path in _paths(pieces.pixels(int(number)), away[::2, ::2], shortest // 2):
            y, x = np.divmod(path, small.shape[1])
            for row, column, radius in zip(2 * y, 2 * x, _radii(away[2 * y, 2 * x]), strict=True):
                cv2.circle(canvas, (int(column), int(row)), int(radius), 1, -1)
    return (canvas > 0) & ribbon


def _with_narrow_places(wide: BoolImage, ribbon: BoolImage) -> BoolImage:
    """Return what is wide, and what is narrow in a ribbon but leads from one to another of it."""
    import cv2

    _, names = cv2.connectedComponents(wide.astype(np.uint8), connectivity=8)
    _, narrow = cv2.connectedComponents((ribbon & ~wide).astype(np.uint8), connectivity=8)
    beside = cv2.dilate(narrow.astype(np.float32), np.ones((3, 3))).astype(int)
    # where two narrow places touch one, the one of the larger number is enough: both lead there
    met = np.unique(np.stack([beside[wide], names[wide]]), axis=1)
    leads = np.bincount(met[0], minlength=int(narrow.max()) + 1) > 1
    leads[0] = False
    return np.asarray(wide | leads[narrow])


def _radii(away: FloatImage) -> IntArray:
    """Return the radius of a line along it, without what it runs into."""
    from scipy.ndimage import median_filter

    smooth = median_filter(away, min(_WIDTH_OVER, away.size), mode="nearest")
    most = _WIDER * float(np.percentile(away, 30)) + 1
    return np.asarray(np.clip(np.rint(np.minimum(smooth, most)), 1, None), dtype=int)


def _paths(pixels: IntArray, away: FloatImage, shortest: int) -> list[IntArray]:
    """Return the pixels from one end of a line to the other, and those of its branches."""
    from scipy.sparse.csgraph import dijkstra

    graph = _graph(pixels, away)
    start = int(np.argmax(_distances(graph, [0])))
    costs, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    paths = [_way(before, int(np.argmax(np.where(np.isfinite(costs), costs, -1))))]
    for _ in range(4):
        known = np.concatenate(paths)
        costs, before, _ = dijkstra(
            graph, directed=False, indices=known, return_predecessors=True, min_only=True
        )
        branch = _way(before, int(np.argmax(np.where(np.isfinite(costs), costs, -1))))
        if branch.size < shortest:
            break
        paths.append(branch)
    return [pixels[path] for path in paths]


def _distances(graph: Any, sources: list[int]) -> FloatImage:
    from scipy.sparse.csgraph import dijkstra

    costs = dijkstra(graph, directed=False, indices=sources, min_only=True)
    return np.asarray(np.where(np.isfinite(costs), costs, -1), dtype=np.float32)


def _way(before: IntArray, end: int) -> IntArray:
    way = [end]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return np.array(way)


def _graph(pixels: IntArray, away: FloatImage) -> Any:
    """Return costs between adjacent pixels: the closer to the border, the dearer."""
    from scipy.sparse import coo_matrix

    height, width = away.shape
    names = np.full((height + 2) * (width + 2), -1)
    y, x = np.divmod(pixels, width)
    places = (y + 1) * (width + 2) + x + 1
    names[places] = np.arange(pixels.size)
    dear = 1 / np.maximum(away.ravel()[pixels], 0.5) ** 2
    rows, columns, costs = [], [], []
    for step, length in ((1, 1.0), (width + 2, 1.0), (width + 1, 2**0.5), (width + 3, 2**0.5)):
        other = names[places + step]
        one = np.flatnonzero(other >= 0)
        rows.append(one)
        columns.append(other[one])
        costs.append(length * (dear[one] + dear[other[one]]))
    entries = (np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(entries, shape=(pixels.size, pixels.size)).tocsr()
