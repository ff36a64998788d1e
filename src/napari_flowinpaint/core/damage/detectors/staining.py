"""Staining clouds and weak staining: local mean and contrast off those of the neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...types import BoolImage, FloatImage
from ..features import grow, highest, lowest
from ..view import NeighbourView, View, enlarge
from ._regions import large_regions
from .base import Finding
from .flat import fading_regions
from .outliers import soft_regions

#: Tissue begins and ends at the ends of a stack: thresholds are higher there.
_AT_THE_END = 1.3
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
    section_contrast
        Loss of log-variance of a whole section (median).
    smallest
        Least area of a region, as a share of the section.
    """

    contrast: float = 1.0
    mean: float = 1.0
    section_contrast: float = 0.7
    smallest: float = 0.008

    kinds: ClassVar[tuple[str, ...]] = ("staining", "bright")

    def look(self, view: View) -> list[Finding]:
        """See :class:`~.base.Detector`."""
        if view.blank or not view.neighbours:
            return []
        # the gain is section over neighbour: small against every neighbour of a weak section
        loss = -2 * float(np.log(max(n.gain for n in view.neighbours)))
        if loss > self.section_contrast * view.strictness:
            everything = np.ones(view.shape, dtype=bool)
            return [Finding("staining", loss / self.section_contrast, everything)]
        strict = self.deviation(view, 2)
        loose = self.deviation(view, 0)
        level = view.strictness * (1 if view.two_sided else _AT_THE_END)
        core = enlarge(view, strict)
        # where nothing is left of the tissue, and it fades in around: beyond doubt
        core[fading_regions(view, self.smallest)] = 2 * level
        found = large_regions(enlarge(view, loose), core, level, self.smallest, 0.4)
        if found is None:
            return []
        strength, mask = found
        bright = self._charging(view, (core > level) & mask)
        if bright is not None:
            return [Finding("bright", strength * level, bright)]
        # it fades out: what is left of it at the border is too weak to be seen
        fade = max(int(0.12 * np.sqrt(mask.sum())), 1)
        return [Finding("staining", strength * level, grow(mask, fade))]

    def _charging(self, view: View, core: BoolImage) -> BoolImage | None:
        """Return a region of which much is brighter than tissue is: charging, not a cloud."""
        shown = [n.gain * n.features.smooth[::4, ::4] + n.offset for n in view.neighbours]
        saturated = core & (view.section.smooth > np.percentile(shown, 99))
        if saturated.sum() < _SATURATED * core.sum():
            return None
        grown = soft_regions(view, grow(grow(saturated, 4), -4), 1)
        return grown if grown.any() else core

    def deviation(self, view: View, radius: int) -> FloatImage:
        """Return contrast and mean together, 1 where they are too far off."""
        section = view.section

        def contrast(n: NeighbourView) -> FloatImage:
            least = n.moved(lowest(n.features.contrast, radius), n.features.step)
            return least + np.float32(2 * np.log(n.gain))

        weak = view.over_neighbours(np.minimum, contrast) - section.contrast
        dark = view.over_neighbours(
            np.minimum, lambda n: n.grey(lowest(n.features.mean, radius), n.features.step)
        )
        light = view.over_neighbours(
            np.maximum, lambda n: n.grey(highest(n.features.mean, radius), n.features.step)
        )
        off = np.maximum(dark - section.mean, section.mean - light) / view.contrast
        return np.clip(weak, 0, None) / self.contrast + np.clip(off, 0, None) / self.mean
