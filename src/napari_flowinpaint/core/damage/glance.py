"""A first look at a section that costs little: whether a detector could find anything in it.

Most sections are intact, and most detectors find nothing. What they compare pixel by pixel is
bounded here by extremes over tiles (:mod:`.tiles`), four to sixteen times fewer, and by the maps on
the grid, which are as small. The bounds hold for every pixel: a detector that is not asked would
have returned nothing. Whoever lets a detector find more has to see to its bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import BoolImage, FloatImage
from .detectors import Detector
from .detectors.blur import BlurredRegionDetector, least_sharpness
from .detectors.flat import CANDIDATE, HoleDetector, MissingDetector
from .detectors.lines import LineDetector, straight_lines
from .detectors.outliers import OutlierDetector
from .detectors.staining import StainingDetector, unusual_loss
from .features import MAPS, Features
from .morphology import Pieces, highest
from .tiles import Tiled
from .view import NeighbourView, View

#: Sides of the tiles that are looked at, in pixels: the larger cost less, and leave few to split.
_SIDES = (4, 2)


class Glance:
    """Bounds of one view, each computed once.

    Parameters
    ----------
    view
        The section between its neighbours.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._excess: dict[tuple[int, int], FloatImage] = {}
        self._flat: dict[int, BoolImage] = {}
        self._largest_flat: dict[int, int] = {}

    def asked(self, detector: Detector) -> Detector | None:
        """Return the detector that has to look, None where it would certainly find nothing.

        It may be one that looks for less: the rest is certainly not there.
        """
        if self.view.blank or not self.view.neighbours or self.always(detector):
            return detector
        return _GLANCES[type(detector)](self, detector)

    @staticmethod
    def always(detector: Detector) -> bool:
        """Return whether a detector always looks: it costs little, or nothing is known of it."""
        return type(detector) not in _GLANCES

    def excess(
        self, sign: int, radius: int, what: str, side: int, where: BoolImage | None = None
    ) -> FloatImage:
        """Return a bound of how far a section is beyond its neighbours, in units of contrast.

        That is of :meth:`.LineDetector.excess_of`.

        Parameters
        ----------
        sign, radius
            As there; the radius in pixels.
        what
            ``smooth`` or ``wide`` grey values, or ``lines``.
        side
            Side of a tile, 4 or 2 pixels.
        where
            The tiles that matter, few of them; all by default.

        Returns
        -------
        FloatImage
            For every tile a value that no pixel in it exceeds; 0 where it does not matter.
        """
        if side == 4:
            return self._coarse_excess(sign, radius)[MAPS.index(what)]
        if where is None:
            return self._beyond(sign, radius, lambda f: f.fine_tiles(what, sign))
        found = np.zeros(where.shape, dtype=np.float32)
        places = np.flatnonzero(where)
        found.ravel()[places] = self._beyond(
            sign, radius, lambda f: f.fine_tiles(what, sign), places
        )
        return found

    def loose_excess(
        self, sign: int, radius: int, what: str, places: npt.NDArray[np.intp]
    ) -> FloatImage:
        """Return a looser bound than :meth:`excess` of tiles of 2 pixels, which costs little.

        Of the neighbours it takes what is known by tiles of 4.

        Parameters
        ----------
        sign, radius, what
            As there.
        places
            Which tiles, in the flat map, (N,).

        Returns
        -------
        FloatImage
            (N,), of these tiles.
        """
        own, fine = (_own(self.view.section, what, sign, side) for side in _SIDES)
        rows, columns = np.divmod(places, fine.shape[1])
        parents = rows // 2 * own.shape[1] + columns // 2
        less = own.ravel()[parents] - fine.ravel()[places]
        coarse = self.excess(sign, radius, what, 4).ravel()[parents]
        return np.asarray(coarse - less * np.float32(sign / self.view.contrast))

    def _coarse_excess(self, sign: int, radius: int) -> FloatImage:
        """Return :meth:`excess` of all maps, over tiles of 4 pixels: together they cost less."""
        radius -= radius % 4  # a smaller radius is a bound as well, and the detectors share it
        if (sign, radius) not in self._excess:
            self._excess[sign, radius] = self._beyond(sign, radius, lambda f: f.coarse_tiles)
        return self._excess[sign, radius]

    def _beyond(
        self,
        sign: int,
        radius: int,
        tiles: Callable[[Features], Tiled],
        places: npt.NDArray[np.intp] | None = None,
    ) -> FloatImage:
        """Return :meth:`excess` of all tiles, or of those at ``places`` of the flat map."""
        view, limit = self.view, np.float32(-np.inf * sign)
        extreme = np.maximum if sign > 0 else np.minimum
        for neighbour in view.neighbours:
            known = tiles(neighbour.features)
            near = max(radius - _residual(neighbour, known.side), 0)
            moved = neighbour.moved(known.nearby(sign, near), known.side)
            their = neighbour.gain * (moved if places is None else moved.take(places))
            their += np.float32(neighbour.offset)
            limit = extreme(limit, their, out=their)
        own = tiles(view.section).at(sign)
        found: FloatImage = np.subtract(own if places is None else own.take(places), limit)
        found *= np.float32(sign / view.contrast)
        return found

    def flat(self, tolerance: float) -> BoolImage:
        """Return the tiles that may hold a candidate of :func:`~.detectors.flat._flat`."""
        view = self.view
        radius = view.radius(tolerance)
        if radius in self._flat:
            return self._flat[radius]
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
        found = self._flat[radius] = np.asarray(own.low < CANDIDATE * np.maximum(least, usual))
        return found

    def has_flat(self, tolerance: float, least: float) -> bool:
        """Tell whether connected tiles of :meth:`flat` have at least this share of the area."""
        flat = self.flat(tolerance)
        least *= flat.size
        if np.count_nonzero(flat) < max(least, 1):
            return False
        radius = self.view.radius(tolerance)
        if radius not in self._largest_flat:
            self._largest_flat[radius] = int(Pieces(flat).areas.max())
        return self._largest_flat[radius] >= least


def _own(features: Features, what: str, sign: int, side: int) -> FloatImage:
    if side == 4:
        return features.coarse_tiles.at(sign)[MAPS.index(what)]
    return features.fine_tiles(what, sign).at(sign)


def _residual(neighbour: NeighbourView, side: int) -> int:
    """Return by how many pixels a shift is no whole number of tiles."""
    shift = neighbour.registration.shift
    return 0 if shift == (0, 0) else max(abs(s - side * round(s / side)) for s in shift)


# ---- the bounds of the detectors


def _missing(glance: Glance, detector: MissingDetector) -> MissingDetector | None:
    return detector if glance.has_flat(detector.tolerance, detector.rectangle) else None


def _hole(glance: Glance, detector: HoleDetector) -> HoleDetector | None:
    return detector if glance.has_flat(detector.tolerance, detector.smallest) else None


def _line(glance: Glance, detector: LineDetector) -> LineDetector | None:
    """Tell in which ways a line may be seen."""
    radius = glance.view.radius(detector.tolerance)
    coarse = {way: glance.excess(way[0], radius, way[1], 4) for way in detector.ways}
    fine = {}
    for way, tiles in _line_tiles(glance.view, detector, 4, coarse).items():
        some = _split(tiles)
        fine[way] = np.zeros(some.shape, dtype=np.float32)
        places = np.flatnonzero(some)
        fine[way].ravel()[places] = glance.loose_excess(way[0], radius, way[1], places)
    seen = _line_tiles(glance.view, detector, 2, fine)
    # every second pixel of what is seen lies in a tile of 2 pixels of its own
    height, width = (-(-n // 2) for n in glance.view.shape)
    ways = tuple(
        way for way, tiles in seen.items() if straight_lines(tiles[:height, :width]).size > 0
    )
    return replace(detector, ways=ways) if ways else None


def _line_tiles(
    view: View, detector: LineDetector, side: int, bounds: dict[tuple[int, str], FloatImage]
) -> dict[tuple[int, str], BoolImage]:
    """Return the tiles seen in ways in which long pieces cover as much as has to be seen."""
    if not bounds:
        return {}
    level = detector.excess * view.strictness
    # below one another, an empty row apart: many calls would cost more than what they do
    height, width = next(iter(bounds.values())).shape
    some, certain = (np.zeros((len(bounds), height + 1, width), dtype=bool) for _ in range(2))
    for n, excess in enumerate(bounds.values()):
        np.greater(excess, 0.1, out=some[n, :height])
        np.greater(excess, level, out=certain[n, :height])
    pieces = Pieces(some.reshape(-1, width), certain.reshape(-1, width))
    least = min(0.5, 1.6 * detector.length) * detector.coverage * view.side
    long = _may_be_long(pieces, side, 0.06 * view.side, least, len(bounds))
    seen = pieces.mask().reshape(some.shape)[:, :height]
    return {way: tiles for way, tiles, is_long in zip(bounds, seen, long, strict=True) if is_long}


def _may_be_long(pieces: Pieces, side: int, shortest: float, least: float, maps: int) -> BoolImage:
    """Tell of maps below one another whether long pieces may cover so many pixels of a line."""
    owner_map = np.zeros(pieces.areas.size, dtype=np.intp)
    owner_map[pieces.owners] = pieces.places // (pieces.shape[0] // maps * pieces.shape[1])
    # a piece is longest where its tiles lie corner to corner
    longest = pieces.areas * (side * 2**0.5)
    long = longest >= shortest
    long &= (np.bincount(owner_map[long], longest[long] + 8, maps) >= least)[owner_map]
    reach = side * pieces.extents(long)
    far = reach >= shortest
    return np.asarray(np.bincount(owner_map[long][far], reach[far] + 8, maps) >= least)


def _outlier(glance: Glance, detector: OutlierDetector) -> OutlierDetector | None:
    signs = tuple(sign for sign in detector.signs if _may_be_blobs(glance, detector, sign))
    return replace(detector, signs=signs) if signs else None


def _may_be_blobs(glance: Glance, detector: OutlierDetector, sign: int) -> bool:
    """Tell whether blobs may have the least mass."""
    view, section = glance.view, glance.view.section
    zoom, radius = section.zoom, view.radius(detector.tolerance)
    level, edge = detector.excess * view.strictness**0.5, detector.excess / 3
    limit = median(n.gain * n.features.limits[sign > 0] + n.offset for n in view.neighbours)
    least = (detector.beyond + 0.2 * (view.strictness - 1)) * view.contrast

    def certain(excess: FloatImage, own: FloatImage) -> BoolImage:
        return np.asarray((excess > level) & (sign * (own - np.float32(limit)) > least))

    def enough(masses: npt.NDArray[np.floating]) -> bool:
        large = masses[masses > zoom * detector.total / 15].sum()
        score = max(masses.max(initial=0) / detector.mass, large / detector.total)
        return bool(score >= view.strictness * zoom)

    coarse = glance.excess(sign, radius, "smooth", 4)
    own, fine = (_own(section, "smooth", sign, side) for side in _SIDES)
    sure = certain(coarse, own)
    if not sure.any():
        return False
    pieces = Pieces(coarse > edge, sure)
    if not enough(16 * pieces.sums(coarse)):
        return False
    # smaller tiles against what the larger ones tell of the neighbours, which is at hand
    places, owners = _children(pieces.places, coarse.shape[1]), pieces.owners.repeat(4)
    excess = glance.loose_excess(sign, radius, "smooth", places)
    held = np.zeros(pieces.areas.size, dtype=bool)
    held[owners[certain(excess, fine.ravel()[places])]] = True
    if not enough(held * np.bincount(owners, 4 * excess * (excess > edge), held.size)):
        return False
    excess = glance.excess(sign, radius, "smooth", 2, _split(pieces.mask()))
    pieces = Pieces(excess > edge, certain(excess, fine))
    return enough(4 * pieces.sums(excess))


def _children(places: npt.NDArray[np.intp], width: int) -> npt.NDArray[np.intp]:
    """Return places of the four tiles of half the side, by those of tiles in a map so wide."""
    rows, columns = np.divmod(places, width)
    first = 4 * width * rows + 2 * columns
    return np.add.outer(first, (0, 1, 2 * width, 2 * width + 1)).ravel()


def _split(tiles: BoolImage) -> BoolImage:
    """Return a map of tiles as one of tiles of half the side."""
    # two bytes that are alike: as numbers of 16 bits they go at once
    wide = (tiles.view(np.uint8) * np.uint16(257)).repeat(2, axis=0)
    return wide.view(np.bool_)


def _blur(glance: Glance, detector: BlurredRegionDetector) -> BlurredRegionDetector | None:
    view = glance.view
    level, least = detector.loss * view.strictness, 0.15 * detector.smallest
    own = view.section.sharpness
    # a radius can only take away, and costs more
    some = all(_inner(least_sharpness(view, n) - own > level) >= least for n in (0, 2))
    return detector if some else None


def _staining(glance: Glance, detector: StainingDetector) -> StainingDetector | None:
    view = glance.view
    loss = -2 * float(np.log(max(n.gain for n in view.neighbours)))
    if loss > detector.section_contrast * view.strictness:
        return detector
    if glance.has_flat(HoleDetector().tolerance, detector.smallest):
        return detector
    level, unusual = view.strictness, unusual_loss(view)
    shares = (0.75 * detector.smallest, 0.15 * detector.smallest)
    # what costs less first: tissue is taken not to move
    still = detector.deviation(view, 0)

    def cores(alone: FloatImage, odds: FloatImage) -> tuple[BoolImage, BoolImage]:
        cloud, far_off = detector.suspicion(alone, odds, unusual) > level, alone > level
        # what is bright takes a median, which costs more
        return cloud, detector.bright(view) & far_off if far_off.any() else far_off

    maybe = cores(still, still)
    if not any(_inner(core) >= least for core, least in zip(maybe, shares, strict=True)):
        return None
    edge = still > 0.4 * level
    surely = cores(detector.deviation(view, 2), detector.deviation(view, 1))
    some = any(_has_region(edge, core, least) for core, least in zip(surely, shares, strict=True))
    return detector if some else None


def _has_region(edge: BoolImage, core: BoolImage, least: float) -> bool:
    """Tell whether one connected region may hold so much of a core when both are enlarged."""
    if not core.any():
        return False
    around, inner = (highest(n.astype(np.uint8), 1) > 0 for n in (edge | core, core))
    pieces = Pieces(around)
    inside = pieces.owners[inner.ravel()[pieces.places]]
    return bool(np.bincount(inside).max() >= least * core.size)


def _inner(core: BoolImage) -> float:
    """Return the share of pixels that may be high when a map on the grid is enlarged."""
    if not core.any():
        return 0.0
    return float(highest(core.astype(np.float32), 1).mean())


_GLANCES: dict[type, Callable[[Glance, Any], Detector | None]] = {
    MissingDetector: _missing,
    HoleDetector: _hole,
    LineDetector: _line,
    OutlierDetector: _outlier,
    BlurredRegionDetector: _blur,
    StainingDetector: _staining,
}
