"""Bursts of noise: rows, regions or sections with far more grain than any neighbour has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...types import BoolImage, FloatImage
from ..features.maps import SectionMaps
from ..features.morphology import grow, highest, reached
from ..features.view import View, enlarge
from .detector import Finding
from .regions import large_regions

#: How far around a tile the neighbours are looked at, in tiles of the grid.
_NEAR = 2
#: Grain of this share of the contrast is none.
_NONE = 0.05
#: Within so much of the highest excess of a region all is noise.
_CERTAIN = 0.7
#: Share of the excess that the median pixel has.
_EVERYWHERE = 0.6
#: Gaps between rows that flicker, in pixels of the working level, at most.
_GAP = 8
#: How much brighter or darker than usual a region may be, in units of contrast, and how much of
#: its contrast (logarithm of the variance) may be gone: what lies on tissue hides it, noise does
#: not.
_AS_BRIGHT = 0.6
_HIDDEN = 1.7


@dataclass(frozen=True, slots=True)
class NoiseDetector:
    """Regions and sections with more grain than all neighbours nearby.

    Parameters
    ----------
    excess
        Logarithm of the variance of grain against the noisiest neighbour that is damage.
    smallest
        Least area of a region, as a share of the section.
    """

    excess: float = 0.7
    smallest: float = 0.025

    kinds: ClassVar[tuple[str, ...]] = ("noise",)

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        none = np.float32((_NONE * view.contrast) ** 2)
        own = view.section.grain + none
        most = view.over_neighbours(
            np.maximum,
            lambda n: n.gain**2 * n.moved(highest(n.features.grain, _NEAR), n.features.step),
        )
        excess = np.log(own / (most + none))
        if excess.max() < self.excess * view.strictness:
            return []
        core = enlarge(view, excess)
        found = large_regions(core, core, self.excess * view.strictness, self.smallest)
        if found is None:
            return []
        strength, region = found
        certain = region & (core > np.percentile(core[region], 90) - _CERTAIN)
        mask = self._to_border(view, own / (self._usual(view) + none), certain)
        if mask.mean() < self.smallest or not _shows_tissue(view, mask):
            return []
        if _usual_pixel(view, mask) < _EVERYWHERE * self.excess:
            return []
        return [Finding("noise", strength * view.strictness, mask)]

    def _usual(self, view: View) -> FloatImage:
        """Return the variance of grain of the neighbours, their mean, a grid map."""
        total = view.over_neighbours(
            np.add, lambda n: n.gain**2 * n.moved(n.features.grain, n.features.step)
        )
        return (total / len(view.neighbours)).astype(np.float32)

    def _to_border(self, view: View, times: FloatImage, certain: BoolImage) -> BoolImage:
        """Return a region up to where the variance is half-way between that inside and usual."""
        times = enlarge(view, times)
        noisy = times > (1 + float(np.median(times[certain]))) / 2
        gap = _GAP * view.section.zoom
        return grow(grow(reached(noisy, noisy & certain), gap), -gap)


def _usual_pixel(view: View, mask: BoolImage) -> float:
    """Return the excess of the median pixel: at sharp borders few are far off, in noise most."""

    def fine(maps: SectionMaps) -> FloatImage:
        return np.abs(maps.grey[::2, ::2] - maps.smooth[::2, ::2])

    some = mask[::2, ::2]
    own = float(np.median(fine(view.section)[some]))
    theirs = [
        n.gain * float(np.median(n.moved(fine(n.features), 2)[some])) for n in view.neighbours
    ]
    none = _NONE * view.contrast
    return 2 * float(np.log((own + none) / (max(theirs) + none)))


def _shows_tissue(view: View, mask: BoolImage) -> bool:
    """Tell noise on tissue from what covers it, be it noisy: debris, charging, what is missing."""
    section = view.section
    count = len(view.neighbours)
    mean = view.over_neighbours(np.add, lambda n: n.grey(n.features.mean, n.features.step)) / count
    contrast = view.over_neighbours(
        np.add,
        lambda n: n.moved(n.features.contrast, n.features.step) + np.float32(2 * np.log(n.gain)),
    )
    brighter = enlarge(view, (section.mean - mean).astype(np.float32))[mask] / view.contrast
    gained = enlarge(view, (section.contrast - contrast / count).astype(np.float32))[mask]
    return bool(abs(np.mean(brighter)) < _AS_BRIGHT and np.median(gained) > -_HIDDEN)
