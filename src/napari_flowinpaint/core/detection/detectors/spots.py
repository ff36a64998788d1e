"""Debris, precipitate, dust, small holes: spots that no tissue in the neighbours looks like.

A spot is compared with the neighbours as a whole, at its own size, by the discs that fit into it
(:mod:`..features.discs`). Two things speak for damage: it is darker (or brighter) than every disc
of that size in any neighbour nearby, and than nearly all anywhere; and it is flatter than any of
them, since what lies on a section hides its texture, and its noise. Both are in units of what
the neighbours themselves show at that size, so that one threshold serves all tissue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...filters import enlarge_to
from ...types import BoolImage, Box, FloatImage
from ..features.maps import FLAT_WINDOW, SectionMaps
from ..features.morphology import ConnectedComponents, grow, highest, reached
from ..features.view import PER_SIDE, View
from .detector import Finding
from .flat import is_sharp, is_unsharp
from .outliers import (
    beyond_all,
    matched,
    most_of,
    newer_than_neighbours,
    soft_regions,
    some_of,
    tail_of,
)
from .staining import StainingDetector

IntArray = npt.NDArray[np.integer]

#: A range of grey values below this, in units of contrast, is none.
_NOTHING = 0.02
#: Flatness that is as usual, or less, speaks against a spot by so much at most.
_TEXTURED = -0.5
#: Tissue changes more from a section to the next but one.
_ACROSS_A_GAP = 1.3
#: Difference between neighbours, in units of contrast, that is taken for usual in any case, by the
#: size of discs, of which there are few large ones; and what flatness may add to it.
_LEAST_NEW = (0.4, 0.4, 0.4, 0.5, 0.8)
_FLAT_AT_MOST = 0.5
#: Flatness that speaks against what is new, at most.
_ROUGH = -0.8
#: What is less new than this tells nothing. Flatness counts so much beside what is new, within
#: these limits.
_HARDLY_NEW = 0.5
_FLATLY = 1.1
_FLATNESS = (-1.0, 2.0)
#: Factor on these where there are fewer neighbours than usual.
_FEW = 1.4
#: Factor on the evidence at the ends of a stack: organelles grow there that nothing beyond shows.
_ONE_SIDED = 1.15
#: Share of the threshold at which a spot ends.
_BORDER = 0.4
#: What is below this share of it at any sensitivity is not looked at.
_SURELY_NOT = 0.5
#: Share of both together that two regions have in common if they are one.
_SAME_PLACE = 0.3
#: What is so near to a region that fades belongs to it, in pixels.
_FRINGE = 3
#: Of the smallest discs there are so many that some look odd: how flat they have to be.
_MANY_FLAT = 2.0
#: Share of the threshold that weaker spots have to reach beside one that is beyond doubt.
_BESIDE = 0.55
#: Share of the threshold that one of several spots may have at most without telling anything.
_SEVERAL = 0.7
#: The ring around a spot in which tissue is looked at, before enlarging, and the share of the
#: neighbours' range of grey values in small discs below which it is blurred.
_AROUND = (7, 20)
_GRAIN = 0.65
#: Percentage of tissue that is as dark, or as bright, as what is called dark or bright.
_TISSUE = 8.0
#: How far the outline of a spot may be from what is certain, as a share of its diameter about, and
#: at least, in pixels; and the share of tissue as grey that makes the outline uncertain.
_REACH = 0.35
_LEAST_REACH = 4
_CONFUSED = 0.3


@dataclass(frozen=True, slots=True)
class SpotDetector:
    """Spots that are outliers against all neighbours.

    Parameters
    ----------
    evidence
        By the size of discs: deviation, in standard deviations of discs of its size, plus flatness
        (logarithm), that is damage.
    outlier
        Least deviation of a dark or bright spot.
    new
        By the size of discs: deviation from the neighbours nearby, in units of what is rare between
        these, plus flatness, that is damage.
    flatly_new
        The same of spots that are flat, which may be less new.
    flat
        Least flatness of a spot that is as grey as tissue: a hole.
    slack
        By how many standard deviations a spot may be within what neighbours show somewhere.
    smallest
        Least area of a spot, in pixels of the working level.
    tolerance
        How far around a pixel the neighbours are looked at, as a share of the section's side.
    """

    evidence: tuple[float, ...] = (3.0, 1.6, 1.6, 1.8, 1.8)
    outlier: float = 0.25
    flat: float = 0.9
    new: tuple[float, ...] = (2.16, 2.3, 2.5, 2.2, 1.8)
    flatly_new: tuple[float, ...] = (1.9, 2.0, 2.3, 2.0, 1.6)
    slack: float = 0.3
    smallest: float = 20.0
    tolerance: float = 0.02

    kinds: ClassVar[tuple[str, ...]] = ("dark", "bright", "hole", "staining")

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        if not view.two_sided and view.gap > 1:
            return []  # what appears beyond a gap at the end of a stack may be anything
        strictness = view.strictness * (_ACROSS_A_GAP if view.gap > 1 else 1)
        found = self._spots(view, strictness)
        if found:
            # much debris moves the brightness to which the neighbours are matched
            around = grow(np.logical_or.reduce([spots.mask for spots in found]), 3)
            found = self._spots(view.rematched(around), strictness)
        findings, fading = [], np.zeros(view.shape, dtype=bool)
        for spots in found:
            soft = _soft(view, spots)
            if soft is not None:
                findings += _fading(view, Finding(spots.kind, spots.score, soft))
                fading |= soft | findings[-1].mask
        for spots in found:
            mask = spots.mask & ~reached(spots.mask, spots.mask & grow(fading, _FRINGE))
            # what was believed because of a cloud has to stand for itself
            score = _together(spots.evidence, mask, strictness) if fading.any() else spots.score
            if score > strictness:
                findings.append(Finding(spots.kind, score, mask, sharp=True))
        return findings

    def _spots(self, view: View, strictness: float) -> list[_Spots]:
        """Return the spots of every kind; kinds do not overlap."""
        scores = self.scores(view)
        total = np.maximum.reduce(scores)
        if not (total > _SEVERAL * strictness).any():
            return []
        # beside a spot that is beyond doubt weaker ones are believed
        spots = ConnectedComponents(total > _BORDER * strictness, total > _BESIDE * strictness)
        spots = ConnectedComponents(spots.mask(spots.areas > self.smallest * view.section.zoom))
        kinds = np.array([_kind(view, scores, spots.pixels(n)) for n in range(spots.areas.size)])
        out = []
        for kind in self.kinds:
            mask = spots.mask((kinds == kind) & (spots.areas > 0))
            best = _together(total, mask, strictness)
            if best > strictness:
                # what is as grey as tissue has no outline by its grey value
                outline = grow(mask, 2) if kind == "hole" else _outlined(view, mask)
                out.append(_Spots(kind, best, outline, total))
        return out

    def scores(self, view: View) -> tuple[FloatImage, FloatImage, FloatImage]:
        """Return how much speaks for dark and bright spots and for holes, of the best size.

        Returns
        -------
        tuple of FloatImage
            (H, W) each, in units of the thresholds.
        """
        best: list[FloatImage] = []
        for number in range(len(view.section.discs)):
            for kind, found in enumerate(self._size(view, number)):
                if len(best) <= kind:
                    best.append(enlarge_to(found, view.shape))
                elif found.max() > _BORDER * _SURELY_NOT:  # else it adds nothing
                    np.maximum(best[kind], enlarge_to(found, view.shape), out=best[kind])
        return best[0], best[1], best[2]

    def _size(self, view: View, number: int) -> tuple[FloatImage, FloatImage, FloatImage]:
        """Return the scores for discs of one size."""
        own, sides = view.section.discs[number], (view.previous, view.following)
        theirs = [
            (n, n.features.discs[number]) for n in view.neighbours if number < len(n.features.discs)
        ]
        radius = max(round(view.radius(self.tolerance) / own.step), 1)
        nearest = [
            i for i, (n, _) in enumerate(theirs) if any(n is side[0] for side in sides if side)
        ]
        flattest = sorted(n.gain * _flattest(n.features, number) for n, _ in theirs)
        # of one neighbour that is damaged itself nothing is believed
        least = np.float32(flattest[(len(flattest) - 1) // 2])
        nothing = np.float32(_NOTHING * view.contrast)
        flat = np.log((least + nothing) / (own.span + nothing))
        evidence, flatness, few = self.evidence[number], self.flat, 1.0
        texture = np.maximum(flat, _TEXTURED)
        if view.two_sided and len(theirs) < 2 * PER_SIDE:
            evidence, few = _FEW * evidence, _FEW
        elif not view.two_sided:
            evidence *= _ONE_SIDED
        if number == 0:
            flatness *= _MANY_FLAT
        outliers = []
        for sign in (-1, 1):
            grey = _discs(view.section, number, sign)
            around = [(n, _nearby(n.features, number, sign, radius)) for n, _ in theirs]
            near = most_of(matched(n, sign, m, own.step) for n, m in around)
            tails = [n.gain * _tail(n.features, number, sign) + sign * n.offset for n, _ in theirs]
            own_tail = _tail(view.section, number, sign)
            beyond = beyond_all(grey, own_tail, tails, near, self.slack)
            score = (beyond + texture) / np.float32(evidence)
            score = np.where(beyond > self.outlier, score, 0)
            if view.two_sided and len(theirs) > 2:
                floor = _LEAST_NEW[number] * view.contrast
                some = some_of(grey)
                others = [
                    matched(n, sign, _discs(n.features, number, sign), own.step, some)
                    for n, _ in theirs
                ]
                nearby = [matched(n, sign, m, own.step, some) for n, m in around]
                new = newer_than_neighbours(grey, others, nearby, near, nearest, floor)
                score = np.maximum(score, self._newness(new, flat, number) / np.float32(few))
            outliers.append(score.astype(np.float32))
        return outliers[0], outliers[1], (flat / np.float32(flatness)).astype(np.float32)

    def _newness(self, new: FloatImage, flat: FloatImage, number: int) -> FloatImage:
        """Return how much speaks for discs by what is new there, be it flat or not."""
        out = np.zeros(new.shape, np.float32)
        some = new > _HARDLY_NEW
        new, flat = new[some], flat[some]
        shown = (new + np.clip(flat, _ROUGH, _FLAT_AT_MOST)) / self.new[number]
        flatly = (new + _FLATLY * np.clip(flat, *_FLATNESS)) / self.flatly_new[number]
        shown = np.maximum(np.maximum(shown, flatly), 0)
        # less than enough is common: it tells little at a high sensitivity
        out[some] = np.where(shown < 1, shown * shown, shown)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class _Spots:
    """All spots of a kind: what they are together, and how much speaks for each pixel."""

    kind: str
    score: float
    mask: BoolImage
    evidence: FloatImage


def _soft(view: View, spots: _Spots) -> BoolImage | None:
    """Return the region in which large spots fade into tissue, None where there is none."""
    sign = {"dark": -1, "bright": 1}.get(spots.kind, 0)
    if not sign:
        return None
    soft = soft_regions(view, spots.mask, sign)
    core = soft & spots.mask
    return soft if core.any() and not is_sharp(view, core, grow(core, 2)) else None


def _fading(view: View, soft: Finding) -> list[Finding]:
    """Return what fades into tissue as a staining cloud, or charging; where it is none as it is.

    What is dark and fades is a weak cloud: debris has a border.
    """
    clouds = StainingDetector().detect(view)
    covered = np.logical_or.reduce([np.zeros_like(soft.mask), *(cloud.mask for cloud in clouds)])
    if (covered & soft.mask).sum() > _SAME_PLACE * (covered | soft.mask).sum():
        return clouds
    return [replace(soft, kind="staining" if soft.kind == "dark" else soft.kind)]


def _discs(maps: SectionMaps, number: int, sign: int) -> FloatImage:
    """Return how bright discs of a size are, or how dark, as a map that is high there."""
    discs = maps.discs[number]
    return discs.bright if sign > 0 else maps.remembered(("dark", number), lambda: -discs.dark)


def _nearby(maps: SectionMaps, number: int, sign: int, radius: int) -> FloatImage:
    key = ("nearby", number, sign, radius)
    return maps.remembered(key, lambda: highest(_discs(maps, number, sign), radius))


def _tail(maps: SectionMaps, number: int, sign: int) -> FloatImage:
    return maps.remembered(("tail", number, sign), lambda: tail_of(_discs(maps, number, sign)))


def _flattest(maps: SectionMaps, number: int) -> float:
    return maps.remembered(("flattest", number), lambda: float(maps.discs[number].span.min()))


def _together(total: FloatImage, mask: BoolImage, strictness: float) -> float:
    """Return the score of several spots: what each has beyond what single ones may have."""
    spots = ConnectedComponents(mask)
    best = [float(total.ravel()[spots.pixels(int(n))].max()) for n in np.flatnonzero(spots.areas)]
    least = _SEVERAL * strictness
    summed = least + sum(max(score - least, 0.0) for score in best)
    return max(*best, summed) if best and max(best) > least else 0.0


def _kind(view: View, scores: tuple[FloatImage, ...], pixels: IntArray) -> str:
    """Name a spot: dark or bright as tissue hardly is, else by what speaks most for it."""
    if not pixels.size:
        return ""
    grey = float(np.median(view.section.smooth.ravel()[pixels]))
    shown = [n.gain * n.features.smooth[::4, ::4] + n.offset for n in view.neighbours]
    low, high = np.percentile(shown, (_TISSUE, 100 - _TISSUE))
    if not low < grey < high:
        return "dark" if grey <= low else "bright"
    strengths = [float(score.ravel()[pixels].max()) for score in scores]
    kind = SpotDetector.kinds[int(np.argmax(strengths))]
    if kind == "hole":
        spot = np.zeros(view.shape, dtype=bool)
        spot.ravel()[pixels] = True
        if (
            not is_sharp(view, spot, grow(spot, FLAT_WINDOW // 2))
            or is_unsharp(view, spot)
            or _grainless(view, spot)
        ):
            return ""  # the middle of a cloud, or blurred
    return kind


def _grainless(view: View, spot: BoolImage) -> bool:
    """Tell whether tissue around a spot lacks the grain of the neighbours: it is blurred there."""
    near, far = (view.section.zoom * n for n in _AROUND)
    ring = grow(spot, far) & ~grow(spot, near)
    if not ring.any():
        return False
    own = float(np.median(view.section.discs[0].span[ring]))
    theirs = [
        n.gain * float(np.median(n.moved(n.features.discs[0].span)[ring])) for n in view.neighbours
    ]
    return own < _GRAIN * min(theirs)


def _outlined(view: View, mask: BoolImage) -> BoolImage:
    """Let every spot reach to where grey values are half-way to those around it.

    Discs do not fit into its corners, and of a spot that fades out only the middle is certain.
    """
    out = mask.copy()
    spots = ConnectedComponents(mask)
    for number in np.flatnonzero(spots.areas):
        pixels = spots.pixels(int(number))
        reach = max(round(_REACH * float(np.sqrt(pixels.size))), _LEAST_REACH)
        y, x = np.divmod(pixels, mask.shape[1])
        box = Box(int(y.min()), int(x.min()), int(y.max()) + 1, int(x.max()) + 1)
        place = box.expand(3 * reach, (mask.shape[0], mask.shape[1])).slices
        own = np.zeros_like(mask)
        own.ravel()[pixels] = True
        out[place] |= _one_outline(view.section.smooth[place], own[place], mask[place], reach)
    return out


def _one_outline(grey: FloatImage, own: BoolImage, every: BoolImage, reach: int) -> BoolImage:
    around = grow(own, 2 * reach) & ~grow(every, reach)
    if not around.any():
        return own
    inside, outside = float(np.median(grey[own])), float(np.median(grey[around]))
    half = (grey - (inside + outside) / 2) * np.sign(inside - outside) > 0
    if half[around].mean() > _CONFUSED:
        return own
    # membranes that lead away are thin
    thin = max(round(0.3 * float(np.sqrt(own.sum() / np.pi))), 2)
    solid = grow(grow(half, -thin), thin) & grow(own, reach)
    return reached(solid | own, own)


__all__ = ["SpotDetector"]
