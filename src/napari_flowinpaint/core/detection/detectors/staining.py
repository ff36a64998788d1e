"""Staining clouds and weak staining: local mean and contrast off those of the neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...filters import blur, shrink_to
from ...types import BoolImage, FloatImage
from ..features.maps import SectionMaps
from ..features.morphology import grow, highest, lowest
from ..features.view import NeighbourView, View, enlarge
from .detector import Finding
from .flat import fading_regions
from .outliers import soft_regions
from .regions import large_regions

#: Tissue begins and ends at the ends of a stack: thresholds are higher there.
_AT_THE_END = 1.3
#: Deviation that is damage whatever is usual in the stack.
_ALONE = 1.1
#: Deviation times unusualness below which nothing else is looked at.
_SUSPECT = 2.0
#: Least share of a region, in units of the smallest region, that is damage without doubt.
_CORE = 0.75
#: Windows, in pixels of half the working level, of the range of grey values: of neighbours, and by
#: how much larger that of the section is, since tissue moves.
_RANGE = 6
_MOVES = 2
#: How far the mean grey of a cloud is from that of the section, in units of contrast, before it
#: speaks for an organelle, and how much.
_MIXED = 0.3
_OWN_GREY = 3.0
#: How much brighter than the median of the section charging is on the mean, units of contrast.
_GLARE = 0.7
#: Share of a region that is brighter than nearly all tissue if it is charging.
_SATURATED = 0.25


@dataclass(frozen=True, slots=True)
class StainingDetector:
    """Regions of too little contrast or of another mean grey, sections of too little contrast.

    Parameters
    ----------
    contrast
        Loss of log-variance against all neighbours nearby that is damage by itself.
    mean
        Deviation of the local mean, in units of contrast, that is damage by itself; half of
        either is enough together.
    odds
        Deviation times how many times the usual difference of contrast it comes with, that is
        damage.
    section_contrast
        Loss of log-variance of a whole section (median).
    smallest
        Least area of a region, as a share of the section.
    """

    contrast: float = 1.0
    mean: float = 1.0
    odds: float = 11.5
    section_contrast: float = 0.7
    smallest: float = 0.008

    kinds: ClassVar[tuple[str, ...]] = ("staining", "bright")

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        # the gain is section over neighbour: small against every neighbour of a weak section
        loss = -2 * float(np.log(max(n.gain for n in view.neighbours)))
        if loss > self.section_contrast * view.strictness:
            everything = np.ones(view.shape, dtype=bool)
            return [Finding("staining", loss / self.section_contrast, everything)]
        level = view.strictness * (1 if view.two_sided else _AT_THE_END)
        core = enlarge(view, self.evidence(view))
        # where nothing is left of the tissue, and it fades in around: beyond doubt
        core[fading_regions(view, self.smallest)] = 2 * level
        loose = enlarge(view, self.deviation(view, 0))
        found = large_regions(loose, core, level, self.smallest, 0.4, _CORE)
        if found is None:
            core = enlarge(view, self.glare(view))
            found = large_regions(loose, core, level, self.smallest, 0.4)
            return [] if found is None else self._charging(view, *found, core, level)
        charging = self._charging(view, *found, core, level)
        if charging:
            return charging
        strength, mask = found
        # it fades out: what is left of it at the border is too weak to be seen
        fade = max(int(0.12 * np.sqrt(mask.sum())), 1)
        return [Finding("staining", strength * level, grow(mask, fade))]

    def _charging(
        self, view: View, strength: float, mask: BoolImage, core: FloatImage, level: float
    ) -> list[Finding]:
        """Return a region of which much is brighter than tissue is: charging, not a cloud."""
        certain = (core > level) & mask
        shown = [n.gain * n.features.smooth[::4, ::4] + n.offset for n in view.neighbours]
        saturated = certain & (view.section.smooth > np.percentile(shown, 99))
        if saturated.sum() < _SATURATED * certain.sum():
            return []
        grown = soft_regions(view, grow(grow(saturated, 4), -4), 1)
        region = grown if grown.any() else certain
        if region.sum() < self.smallest * region.size:
            return []
        return [Finding("bright", strength * level, region)]

    def glare(self, view: View) -> FloatImage:
        """Return the deviation where a section is bright, which may be charging, a grid map."""
        mean = view.section.mean
        bright = mean > np.float32(float(np.median(mean)) + _GLARE * view.contrast)
        return np.where(bright, self.deviation(view, 2), 0)

    def evidence(self, view: View) -> FloatImage:
        """Return how much speaks for a cloud, a grid map: 1 where it is enough.

        That is a deviation of contrast and mean, with the range of grey values that is missing,
        where contrast is unusually low for this stack; or a deviation that is large enough alone.
        """
        alone = self.deviation(view, 2) / _ALONE
        unusual = _unusual_loss(view)
        odds = self.deviation(view, 1) * unusual
        both = (odds + 2 * _missing_range(view) * unusual) / _one_tissue(view)
        return np.maximum(alone, np.where(odds > _SUSPECT, both / self.odds, 0))

    def deviation(self, view: View, radius: int) -> FloatImage:
        """Return contrast and mean together, 1 where they are too far off."""
        section, neighbours = view.section, view.neighbours

        def moved(n: NeighbourView, image: FloatImage) -> FloatImage:
            return n.moved(image, n.features.step)

        weakest = np.full_like(section.contrast, np.inf)
        darkest, lightest = weakest.copy(), np.full_like(weakest, -np.inf)
        for n in neighbours:
            contrast = moved(n, lowest(n.features.contrast, radius))
            np.minimum(weakest, contrast + np.float32(2 * np.log(n.gain)), out=weakest)
            dark = n.gain * moved(n, lowest(n.features.mean, radius)) + np.float32(n.offset)
            np.minimum(darkest, dark, out=darkest)
            light = dark
            if radius:
                light = n.gain * moved(n, highest(n.features.mean, radius)) + np.float32(n.offset)
            np.maximum(lightest, light, out=lightest)
        weakest -= section.contrast
        darkest -= section.mean
        off = np.maximum(darkest, section.mean - lightest) / np.float32(view.contrast)
        return np.maximum(weakest, 0) / self.contrast + np.maximum(off, 0) / self.mean


def _unusual_loss(view: View) -> FloatImage:
    """Return the loss of contrast against the nearest neighbours in units of what is usual.

    A grid map; usual is the median deviation over the section, which a cloud does not change much.
    """
    nearest = sorted(view.neighbours, key=lambda n: abs(n.features.z - view.section.z))[:2]
    theirs = [
        n.moved(n.features.contrast, n.features.step) + np.float32(2 * np.log(n.gain))
        for n in nearest
    ]
    loss = np.add.reduce(theirs) / np.float32(len(theirs)) - view.section.contrast
    loss -= np.median(loss)
    usual = 1.4826 * float(np.median(np.abs(loss)))
    return np.maximum(loss / np.float32(max(usual, 1e-3)), 0)


def _one_tissue(view: View) -> FloatImage:
    """Return a divisor, a grid map: 1, and more where all is dark, or all is bright.

    A cloud leaves a mixture of dark and bright tissue; one organelle that fills a window has a
    grey value of its own.
    """
    mean = view.section.mean
    away = np.abs(mean - np.float32(np.median(mean))) / np.float32(view.contrast)
    return 1 + _OWN_GREY * np.clip(away - _MIXED, 0, None)


def _missing_range(view: View) -> FloatImage:
    """Return by how much less dark and less bright a section gets than every neighbour nearby.

    A grid map, in units of contrast: within a window somewhat larger than that of the neighbours,
    its darkest is not as dark as theirs, and its brightest not as bright.
    """
    own, near = view.section.small, _RANGE + _MOVES
    least = view.over_neighbours(np.minimum, lambda n: n.grey(_range(n.features)[1], 2))
    most = view.over_neighbours(np.maximum, lambda n: n.grey(_range(n.features)[0], 2))
    missing = np.clip(least - highest(own, near), 0, None)
    missing += np.clip(lowest(own, near) - most, 0, None)
    return shrink_to(blur(missing, 2.0), view.section.mean.shape) / np.float32(view.contrast)


def _range(maps: SectionMaps) -> tuple[FloatImage, FloatImage]:
    """Return the lowest and the highest grey value nearby."""
    return maps.remembered(
        "range", lambda: (lowest(maps.small, _RANGE), highest(maps.small, _RANGE))
    )
