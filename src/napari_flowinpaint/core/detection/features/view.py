"""A section between its neighbours: registered, of one brightness, ready to be compared.

What makes comparison robust is decided here: up to two intact sections on each side; brightness and
contrast matched by medians over tiles, which half of a section being damaged does not move; and
neighbours moved to the section by whole pixels only where that is certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...filters import shrink_to
from ...types import BoolImage, FloatImage, VoxelSize
from .maps import SectionMaps, make_features, to_working
from .morphology import grow

#: Sections on each side that are compared with.
PER_SIDE = 2
#: Sections on each side that are looked at to find them.
REACH = 5
#: Least distance within which tissue is expected to move, pixels of the working level.
_LEAST_RADIUS = 6
#: How many times that is at the ends of a stack.
_AT_THE_END = 2
#: Neighbours that are further away tell little of what begins or ends here.
_NEAR = 2
#: A section with less than this share of the stack's usual texture is blank.
BLANK = 0.12
#: Thumbnails of fewer pixels a side tell of no shift.
_NARROW = 8
#: Sections are matched by this many pixels of the grid per side, about.
_VOTES = 32
#: Tiles whose log-variance is so far below that of the strongest have no structure.
_NO_STRUCTURE = 4.0
#: Least share of the tiles that have to be left where a mask takes votes away.
_ENOUGH_VOTES = 0.05
#: A shift must raise the correlation of the thumbnails by this much to be believed.
_SHIFT_GAIN = 0.06
#: Pixels around no data in which nothing is looked for.
_AROUND_NO_DATA = 6


@dataclass(frozen=True, slots=True)
class SectionShift:
    """How one section lies on another.

    Parameters
    ----------
    shift
        (dy, dx) in pixels of the working level: ``section(x) = neighbour(x + shift)``.
    before, after
        Correlation of the thumbnails in place and shifted.
    """

    shift: tuple[int, int]
    before: float
    after: float

    def reverse(self) -> SectionShift:
        """Return how the other section lies on this one."""
        return replace(self, shift=(-self.shift[0], -self.shift[1]))


def register(section: SectionMaps, neighbour: SectionMaps) -> SectionShift:
    """Find the whole-pixel shift between two sections, by phase correlation of their thumbnails.

    Notes
    -----
    A shift that does not make the sections clearly more similar is taken for none.
    """
    import cv2

    a, b = section.thumb, neighbour.thumb
    before = _correlation(a, b)
    if min(a.shape) < _NARROW:
        return SectionShift((0, 0), before, before)
    # faded out towards the border, which is no structure
    window = np.outer(*(np.hanning(n + 2)[1:-1] ** 0.5 for n in a.shape)).astype(np.float32)
    (dx, dy), _ = cv2.phaseCorrelate(a * window, b * window)
    y, x = round(dy), round(dx)
    most = min(a.shape) // 2
    if (y, x) == (0, 0) or max(abs(y), abs(x)) > most:
        return SectionShift((0, 0), before, before)
    after = _correlation(*_overlap(a, b, y, x))
    if after < before + _SHIFT_GAIN:
        return SectionShift((0, 0), before, before)
    scale = section.grey.shape[0] / a.shape[0]
    return SectionShift((round(dy * scale), round(dx * scale)), before, after)


def _overlap(a: FloatImage, b: FloatImage, y: int, x: int) -> tuple[FloatImage, FloatImage]:
    """Return the common part of ``a(p)`` and ``b(p + shift)``."""
    height, width = a.shape
    rows = slice(max(-y, 0), min(height, height - y))
    columns = slice(max(-x, 0), min(width, width - x))
    moved = (slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x))
    return a[rows, columns], b[moved]


def _correlation(a: FloatImage, b: FloatImage) -> float:
    import cv2

    norm = math.sqrt(cv2.norm(a, cv2.NORM_L2SQR) * cv2.norm(b, cv2.NORM_L2SQR))
    return cv2.sumElems(a * b)[0] / norm if norm > 1e-9 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourView:
    """A neighbour as it is compared with the section.

    Parameters
    ----------
    features
        Its maps.
    registration
        How the section lies on it.
    gain, offset
        ``gain * neighbour + offset`` has the contrast and brightness of the section.
    """

    features: SectionMaps
    registration: SectionShift
    gain: float
    offset: float

    def moved(self, image: FloatImage, step: int = 1) -> FloatImage:
        """Return a map of the neighbour as it lies under the section.

        Parameters
        ----------
        image
            A map of :attr:`features`.
        step
            Pixels of the working level per pixel of the map.
        """
        import cv2

        dy, dx = (round(n / step) for n in self.registration.shift)
        if dy == dx == 0:
            return image
        height, width = image.shape
        part = image[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
        border = (max(-dy, 0), max(dy, 0), max(-dx, 0), max(dx, 0))
        return np.asarray(cv2.copyMakeBorder(part, *border, cv2.BORDER_REFLECT))

    def shown(self) -> BoolImage | None:
        """Return where the neighbour was imaged, moved under the section; None for everywhere."""
        imaged = self.features.imaged
        return None if imaged is None else self.moved(imaged.astype(np.float32)) > 0.5

    def grey(self, image: FloatImage, step: int = 1) -> FloatImage:
        """Return a map of grey values, moved and matched to the section."""
        return self.gain * self.moved(image, step) + np.float32(self.offset)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """All that a detector gets to see.

    Parameters
    ----------
    section
        The section.
    previous, following
        Up to two intact neighbours on each side, the nearest first.
    contrast
        Standard deviation of the smooth grey values of the neighbours, matched to the section: the
        unit of grey differences.
    texture
        Usual texture of the stack (:attr:`SectionMaps.texture`).
    strictness
        Factor on all thresholds: 1 at a sensitivity of 0.5.
    between
        Correlation of two neighbours with each other, in place: the nearest of both sides, or the
        two of one side; NaN where there are no two.
    beside
        Correlation of the two neighbours of a side with each other, in place: on the side where it
        is less; NaN unless there are two on both sides.
    factor
        Pixels of the full resolution per pixel of the working level; below 1 where small sections
        are enlarged.
    value_range
        Smallest and largest value the stack's dtype can hold; infinite for float32.
    voxel_size
        z, y, x in nm at full resolution, or None.
    """

    section: SectionMaps
    previous: tuple[NeighbourView, ...]
    following: tuple[NeighbourView, ...]
    contrast: float
    texture: float
    strictness: float = 1.0
    between: float = float("nan")
    beside: float = float("nan")
    factor: float = 1.0
    value_range: tuple[float, float] = (-np.inf, np.inf)
    voxel_size: VoxelSize | None = None

    @property
    def neighbours(self) -> tuple[NeighbourView, ...]:
        """All neighbours."""
        return self.previous + self.following

    @property
    def two_sided(self) -> bool:
        """Whether there are neighbours before and after, both near."""
        z = self.section.z
        sides = (self.previous, self.following)
        return all(side and abs(side[0].features.z - z) <= _NEAR for side in sides)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) at the working level."""
        return self.section.grey.shape

    @property
    def side(self) -> int:
        """The shorter side."""
        return min(self.shape)

    @property
    def gap(self) -> int:
        """Distance, in sections, of the nearest neighbour on the side where it is further away."""
        sides = (self.previous, self.following)
        return max((abs(side[0].features.z - self.section.z) for side in sides if side), default=0)

    def radius(self, share: float) -> int:
        """Return how far around a pixel neighbours are looked at, since tissue moves.

        Parameters
        ----------
        share
            Of the section's side. Small sections do not move less, and what begins or ends at the
            end of a stack cannot be told from what lies on it: there the radius is larger.
        """
        near = max(round(share * self.side), _LEAST_RADIUS)
        return near if self.two_sided else _AT_THE_END * near

    @property
    def ignored(self) -> BoolImage | None:
        """(H, W) where nothing can be damage: not imaged, here or in all neighbours; or None.

        And as far around as smoothed maps reach.
        """
        return self._unseen(self.neighbours)

    @property
    def doubtful(self) -> BoolImage | None:
        """(H, W) where no neighbour was imaged before, or none after, or as :attr:`ignored`."""
        sides = [self._unseen(side) for side in (self.previous, self.following) if side]
        found = [unseen for unseen in sides if unseen is not None]
        return np.asarray(np.logical_or.reduce(found)) if found else self.ignored

    def _unseen(self, neighbours: tuple[NeighbourView, ...]) -> BoolImage | None:
        """Return where the section, or all of some neighbours, were not imaged, and around."""
        own = self.section.imaged
        theirs = [shown for n in neighbours if (shown := n.shown()) is not None]
        hidden = bool(theirs) and len(theirs) == len(neighbours)
        if own is None and not hidden:
            return None
        unseen = np.zeros(self.shape, dtype=bool) if own is None else ~own
        if hidden:
            unseen |= ~np.logical_or.reduce(theirs)
        return grow(unseen, _AROUND_NO_DATA * self.section.zoom)

    @property
    def blank(self) -> bool:
        """Whether there is no tissue to be seen at all."""
        return self.section.texture < BLANK * self.texture

    def without(self, mask: BoolImage) -> View:
        """Return the view with damage filled from the neighbours, to look for other damage.

        The neighbours are matched again to what is left of the section.
        """
        if not mask.any() or not self.neighbours:
            return self
        matched = self.rematched(mask)
        previous, following = matched.previous, matched.following
        filled = self.section.grey.copy()
        patches = [n.grey(n.features.grey)[mask] for n in previous[:1] + following[:1]]
        filled[mask] = np.mean(patches, axis=0)
        zoom = self.section.zoom
        if zoom > 1:
            filled = shrink_to(filled, tuple(n // zoom for n in filled.shape))
        section = make_features(self.section.z, filled, zoom)
        section = replace(section, imaged=self.section.imaged)
        return replace(self, section=section, previous=previous, following=following)

    def rematched(self, mask: BoolImage) -> View:
        """Return the view with the neighbours matched to what is left of the section."""
        known = shrink_to((~mask).astype(np.float32), self.section.mean.shape) > 0.99
        pairs = [(n.features, n.registration.shift) for n in self.neighbours]
        matched = [
            replace(n, gain=gain, offset=offset)
            for n, (gain, offset) in zip(
                self.neighbours, match(self.section, pairs, known), strict=True
            )
        ]
        before = len(self.previous)
        return replace(self, previous=tuple(matched[:before]), following=tuple(matched[before:]))

    def over_neighbours(
        self, reduce: Callable[..., FloatImage], maps: Callable[[NeighbourView], FloatImage]
    ) -> FloatImage:
        """Combine a map over all neighbours, for example by ``np.minimum``."""
        out: FloatImage | None = None
        for neighbour in self.neighbours:
            found = maps(neighbour)
            out = found.copy() if out is None else reduce(out, found)
        assert out is not None, "a view without neighbours compares with nothing"
        return out


def match(
    section: SectionMaps,
    neighbours: Sequence[tuple[SectionMaps, tuple[int, int]]],
    known: BoolImage | None = None,
) -> list[tuple[float, float]]:
    """Return gains and offsets that give neighbours the contrast and brightness of the section.

    Medians over the grid of differences of local means and of local log-contrast: tiles that are
    damaged, or show other tissue, are outvoted; those without any structure do not vote.

    Parameters
    ----------
    section
        The section.
    neighbours
        Its neighbours, and how the section lies on each.
    known
        Grid map of the tiles that may vote.
    """
    thin = max(min(section.mean.shape) // _VOTES, 1)  # the maps are smooth
    some = (slice(None, None, thin),) * 2
    # against the strongest in the section
    structured = section.contrast > np.percentile(section.contrast, 95) - _NO_STRUCTURE
    votes = structured[some]
    if known is not None and (votes & known[some]).mean() > _ENOUGH_VOTES:
        votes = votes & known[some]
    levels = []
    for neighbour, shift in neighbours:
        probe = NeighbourView(neighbour, SectionShift(shift, 0.0, 0.0), 1.0, 0.0)
        voting = _both_imaged(votes, section, probe, some)
        contrast, mean = (
            probe.moved(image, section.step)[some][voting]
            for image in (neighbour.contrast, neighbour.mean)
        )
        ratio = float(np.median(section.contrast[some][voting] - contrast))
        gain = math.exp(min(max(ratio / 2, -3), 3))
        offset = float(np.median(section.mean[some][voting] - np.float32(gain) * mean))
        levels.append((gain, offset))
    return levels


def _both_imaged(
    votes: BoolImage, section: SectionMaps, probe: NeighbourView, some: tuple[slice, slice]
) -> BoolImage:
    """Return the votes of tiles that were imaged in a section and in a neighbour."""
    left = votes
    for imaged in (section.imaged, probe.shown()):
        if imaged is not None:
            left = left & (shrink_to(imaged.astype(np.float32), section.mean.shape) > 0.99)[some]
    return left if left.mean() > _ENOUGH_VOTES else votes


def enlarge(view: View, grid: FloatImage) -> FloatImage:
    """Return a grid map at the working level of a view."""
    return to_working(grid, view.shape)
