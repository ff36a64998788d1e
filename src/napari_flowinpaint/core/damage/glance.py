"""A first look at a section that costs little: whether a detector could find anything in it.

Most sections are intact, and most detectors find nothing. What they compare pixel by pixel is
bounded here by extremes over tiles (:mod:`.tiles`), four to sixteen times fewer, and by the maps on
the grid, which are as small. The bounds hold for every pixel: a detector that is not asked would
have returned nothing. Whoever lets a detector find more has to see to its bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..types import BoolImage, FloatImage
from .detectors import (
    BlurredRegionDetector,
    Detector,
    HoleDetector,
    LineDetector,
    MissingDetector,
    OutlierDetector,
    StainingDetector,
)
from .detectors.blur import least_sharpness
from .detectors.flat import CANDIDATE
from .detectors.lines import straight_lines
from .features import highest, reached
from .tiles import Tiled
from .view import NeighbourView, View

Band = Literal["smooth", "wide"]


class Glance:
    """Bounds of one view, each computed once.

    Parameters
    ----------
    view
        The section between its neighbours.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._excess: dict[tuple[int, Band, int, tuple[int, ...]], FloatImage] = {}

    def worth_looking(self, detector: Detector) -> bool:
        """Return False where ``detector.look(view)`` would certainly return nothing.

        A detector that nothing is known about always looks.
        """
        if self.view.blank or not self.view.neighbours:
            return True
        glance = _GLANCES.get(type(detector))
        return glance is None or glance(self, detector)

    def excess(self, sign: int, radius: int, band: Band, side: int) -> FloatImage:
        """Return a bound of :func:`~.detectors.outliers.excess_over_neighbours`.

        Parameters
        ----------
        sign, radius
            As there.
        band
            Which grey values are compared.
        side
            Side of a tile, 4 or 2 pixels.

        Returns
        -------
        FloatImage
            For every tile a value that no pixel in it exceeds.
        """
        view = self.view
        radii = tuple(max(radius - _residual(n, side), 0) for n in view.neighbours)
        found = self._excess.get((sign, band, side, radii))
        if found is None:
            reduce = np.maximum if sign > 0 else np.minimum
            limit: FloatImage | None = None
            for neighbour, near in zip(view.neighbours, radii, strict=True):
                known = _tiles(getattr(neighbour.features.tiles, band), side).nearby(sign, near)
                their = neighbour.grey(known, side)
                limit = their if limit is None else reduce(limit, their)
            own = _tiles(getattr(view.section.tiles, band), side).at(sign)
            found = np.asarray((sign / view.contrast) * (own - limit), dtype=np.float32)
            self._excess[sign, band, side, radii] = found
        return found

    def flat(self, tolerance: float) -> BoolImage:
        """Return the tiles that may hold a candidate of :func:`~.detectors.flat._flat`."""
        view = self.view
        radius = view.radius(tolerance)
        own = view.section.tiles.local_std
        least = np.full_like(own.low, view.texture)
        total = np.zeros_like(own.low)
        for neighbour in view.neighbours:
            known, rest = neighbour.features.tiles.local_std, _residual(neighbour, own.side)
            low = known.nearby(-1, max(radius - rest, 0))
            high = known.high if rest == 0 else highest(known.high, 1)
            least = np.minimum(least, neighbour.gain * neighbour.moved(low, own.side))
            total += neighbour.gain * neighbour.moved(high, own.side)
        usual = total / (3 * len(view.neighbours))
        return np.asarray(own.low < CANDIDATE * np.maximum(least, usual))


def _tiles(known: Tiled, side: int) -> Tiled:
    while known.side > side and known.finer is not None:
        known = known.finer
    return known


def _residual(neighbour: NeighbourView, side: int) -> int:
    """Return by how many pixels a shift is no whole number of tiles."""
    return max(abs(s - side * round(s / side)) for s in neighbour.registration.shift)


def _pieces(mask: BoolImage) -> Any:
    """Return left, top, width, height and area of the connected pieces."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return stats[1:]


def _largest(mask: BoolImage) -> float:
    """Return the area of the largest connected piece, as a share of the whole."""
    return float(_pieces(mask)[:, 4].max()) / mask.size if mask.any() else 0.0


# ---- the bounds of the detectors


def _missing(glance: Glance, detector: MissingDetector) -> bool:
    return _largest(glance.flat(detector.tolerance)) >= detector.rectangle


def _hole(glance: Glance, detector: HoleDetector) -> bool:
    return _largest(glance.flat(detector.tolerance)) >= detector.smallest


def _line(glance: Glance, detector: LineDetector) -> bool:
    """Tell whether a line may be seen; with large tiles first, which cost less."""
    bands: tuple[Band, ...] = ("wide", "smooth")
    return any(
        all(_may_be_line(glance, detector, sign, band, side) for side in (4, 2))
        for sign in (-1, 1)
        for band in bands
    )


def _may_be_line(glance: Glance, detector: LineDetector, sign: int, band: Band, side: int) -> bool:
    """Tell whether long pieces cover as much of a straight line as has to be seen."""
    view = glance.view
    excess = glance.excess(sign, view.radius(detector.tolerance), band, side)
    certain = excess > detector.excess * view.strictness
    if not certain.any():
        return False
    seen = reached(excess > 0.1, certain)
    pieces = _pieces(seen)
    reach = side * np.hypot(pieces[:, 2], pieces[:, 3])
    covered = float((reach[reach >= 0.06 * view.side] + 8).sum())
    if covered < min(0.5, 1.6 * detector.length) * detector.coverage * view.side:
        return False
    # every second pixel of what is seen lies in a tile of 2 pixels of its own
    height, width = (-(-n // 2) for n in view.shape)
    return side != 2 or straight_lines(seen[:height, :width]).size > 0


def _outlier(glance: Glance, detector: OutlierDetector) -> bool:
    return any(
        all(_may_be_blobs(glance, detector, sign, side) for side in (4, 2)) for sign in (-1, 1)
    )


def _may_be_blobs(glance: Glance, detector: OutlierDetector, sign: int, side: int) -> bool:
    """Tell whether blobs may have the least mass."""
    from scipy.ndimage import label

    view = glance.view
    excess = glance.excess(sign, view.radius(detector.tolerance), "smooth", side)
    certain = excess > detector.excess * view.strictness**0.5
    if not certain.any():
        return False
    own = _tiles(view.section.tiles.smooth, side).at(sign)
    limit = np.median([n.gain * n.features.limits[sign > 0] + n.offset for n in view.neighbours])
    least = detector.beyond + 0.2 * (view.strictness - 1)
    certain &= sign * (own - np.float32(limit)) / view.contrast > least
    if not certain.any():
        return False
    names, _ = label(reached(excess > detector.excess / 3, certain), np.ones((3, 3), bool))
    masses = np.bincount(names.ravel(), weights=side**2 * excess.ravel())[1:]
    zoom = view.section.zoom
    large = masses[masses > zoom * detector.total / 15]
    score = max(masses.max() / detector.mass, large.sum() / detector.total) / zoom
    return bool(score >= view.strictness)


def _blur(glance: Glance, detector: BlurredRegionDetector) -> bool:
    view = glance.view
    loss = least_sharpness(view, 2) - view.section.sharpness
    return _inner(loss > detector.loss * view.strictness) >= 0.15 * detector.smallest


def _staining(glance: Glance, detector: StainingDetector) -> bool:
    view = glance.view
    loss = -2 * float(np.log(max(n.gain for n in view.neighbours)))
    if loss > detector.section_contrast * view.strictness:
        return True
    if _largest(glance.flat(HoleDetector().tolerance)) >= detector.smallest:
        return True
    core = detector.deviation(view, 2) > view.strictness
    return _inner(core) >= 0.15 * detector.smallest


def _inner(core: BoolImage) -> float:
    """Return the share of pixels that may be high when a map on the grid is enlarged."""
    if not core.any():
        return 0.0
    return float(highest(core.astype(np.float32), 1).mean())


_GLANCES: dict[type, Callable[[Glance, Any], bool]] = {
    MissingDetector: _missing,
    HoleDetector: _hole,
    LineDetector: _line,
    OutlierDetector: _outlier,
    BlurredRegionDetector: _blur,
    StainingDetector: _staining,
}
