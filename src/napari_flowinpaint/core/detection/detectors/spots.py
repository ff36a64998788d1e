"""Debris, precipitate, dust, small holes: spots that no tissue in the neighbours looks like.

A spot is compared with the neighbours as a whole, at its own size, by the discs that fit into it
(:mod:`..features.discs`). Two things speak for damage: it is darker (or brighter) than every disc
of that size in any neighbour nearby, and than nearly all anywhere; and it is flatter than any of
them, since what lies on a section hides its texture, and its noise. Both are in units of what
the neighbours themselves show at that size, so that one threshold serves all tissue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...filters import enlarge_to
from ...types import BoolImage, Box, FloatImage
from ..features.maps import FLAT_WINDOW
from ..features.morphology import ConnectedComponents, grow, highest, reached
from ..features.view import PER_SIDE, View
from .detector import Finding
from .flat import is_sharp, is_unsharp
from .outliers import beyond_all, newer_than_neighbours, soft_regions

IntArray = npt.NDArray[np.integer]

#: A range of grey values below this, in units of contrast, is none.
_NOTHING = 0.02
#: Flatness that is as usual, or less, speaks against a spot by so much at most.
_TEXTURED = -0.5
#: Tissue changes more from a section to the next but one.
_ACROSS_A_GAP = 1.3
#: Difference between neighbours, in units of contrast, that is taken for usual in any case, by the
#: size of discs, of which there are few large ones; and what flatness may add to it.
_LEAST_NEW = (0.4, 0.4, 0.5, 0.8)
_FLAT_AT_MOST = 0.5
#: Factor on these where there are fewer neighbours than usual.
_FEW = 1.4
#: Share of the threshold at which a spot ends.
_BORDER = 0.4
#: Of the smallest discs there are so many that some look odd: factors on both thresholds; how flat
#: they are counts twice.
_MANY = 2.33
_MANY_FLAT = 2.0
#: Yet what is rare of them is told from very many: factor on what is new.
_SMALLEST_NEW = 0.8
#: Share of the threshold that weaker spots have to reach beside one that is beyond doubt.
_BESIDE = 0.45
#: Share of the threshold that one of several spots may have at most without telling anything.
_SEVERAL = 0.6
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
        Deviation, in standard deviations of discs of its size, plus flatness (logarithm), that is
        damage.
    outlier
        Least deviation of a dark or bright spot.
    new
        Deviation from the neighbours nearby, in units of what is rare between these, plus flatness,
        that is damage.
    flat
        Least flatness of a spot that is as grey as tissue: a hole.
    slack
        By how many standard deviations a spot may be within what neighbours show somewhere.
    smallest
        Least area of a spot, in pixels of the working level.
    tolerance
        How far around a pixel the neighbours are looked at, as a share of the section's side.
    """

    evidence: float = 1.8
    outlier: float = 0.25
    flat: float = 0.9
    new: float = 2.7
    slack: float = 0.3
    smallest: float = 20.0
    tolerance: float = 0.02

    kinds: ClassVar[tuple[str, ...]] = ("dark", "bright", "hole")

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
            around = grow(np.logical_or.reduce([mask for _, _, mask in found]), 3)
            found = self._spots(view.rematched(around), strictness)
        findings = []
        for kind, score, mask in found:
            sign = {"dark": -1, "bright": 1}.get(kind, 0)
            soft = soft_regions(view, mask, sign) if sign else np.zeros_like(mask)
            if (mask & ~soft).any():
                findings.append(Finding(kind, score, mask & ~soft, sharp=True))
            if soft.any():
                findings.append(Finding(kind, score, soft))
        return findings

    def _spots(self, view: View, strictness: float) -> list[tuple[str, float, BoolImage]]:
        """Return kind, score and mask of spots; kinds do not overlap."""
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
                out.append((kind, best, outline))
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
            maps = [enlarge_to(m, view.shape) for m in self._size(view, number)]
            best = maps if not best else [np.maximum(a, b) for a, b in zip(best, maps, strict=True)]
        return best[0], best[1], best[2]

    def _size(self, view: View, number: int) -> tuple[FloatImage, FloatImage, FloatImage]:
        """Return the scores for discs of one size."""
        own, sides = view.section.discs[number], (view.previous, view.following)
        theirs = [
            (n, n.features.discs[number]) for n in view.neighbours if number < len(n.features.discs)
        ]
        radius = max(round(view.radius(self.tolerance) / own.step), 1)
        darks = [-n.grey(discs.dark, own.step) for n, discs in theirs]
        brights = [n.grey(discs.bright, own.step) for n, discs in theirs]
        nearest = [
            i for i, (n, _) in enumerate(theirs) if any(n is side[0] for side in sides if side)
        ]
        flattest = sorted(n.gain * float(d.span.min()) for n, d in theirs)
        # of one neighbour that is damaged itself nothing is believed
        least = np.float32(flattest[(len(flattest) - 1) // 2])
        nothing = np.float32(_NOTHING * view.contrast)
        flat = np.log((least + nothing) / (own.span + nothing))
        evidence, flatness, newer = self.evidence, self.flat, self.new
        texture = np.maximum(flat, _TEXTURED)
        if view.two_sided and len(theirs) < 2 * PER_SIDE:
            evidence, newer = _FEW * evidence, _FEW * newer
        if number == 0:
            evidence, flatness, texture = _MANY * evidence, _MANY_FLAT * flatness, 2 * texture
            newer *= _SMALLEST_NEW
        outliers = []
        for grey, others in ((-own.dark, darks), (own.bright, brights)):
            nearby = [highest(m, radius) for m in others]
            beyond = beyond_all(grey, others, nearby, self.slack)
            score = (beyond + texture) / np.float32(evidence)
            score = np.where(beyond > self.outlier, score, 0)
            if view.two_sided and len(theirs) > 2:
                floor = _LEAST_NEW[number] * view.contrast
                new = newer_than_neighbours(grey, others, nearby, nearest, floor)
                kept = np.minimum(texture, _FLAT_AT_MOST)
                shown = np.maximum(new + kept, 0) / np.float32(newer)
                # less than enough is common: it tells little at a high sensitivity
                score = np.maximum(score, np.where(shown < 1, shown * shown, shown))
            outliers.append(score.astype(np.float32))
        return outliers[0], outliers[1], (flat / np.float32(flatness)).astype(np.float32)


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
