"""Debris, precipitate, dust, charging: darker or brighter than all neighbours are anywhere near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...filters import blur
from ...types import BoolImage, FloatImage
from ..features.maps import SectionMaps
from ..features.morphology import ConnectedComponents, grow, highest, lowest, reached
from ..features.view import View
from .detector import Finding

#: Change of the threshold of ``beyond``, which may be negative, per unit of strictness.
_BEYOND_STEP = 0.2
#: Tissue changes more from a section to the next but one.
_ACROSS_A_GAP = 1.3


def excess_over_neighbours(
    view: View,
    sign: int,
    radius: int,
    image: Callable[[SectionMaps], FloatImage],
    step: int = 1,
) -> FloatImage:
    """Return how far a section is beyond all its neighbours, in units of contrast.

    Parameters
    ----------
    view
        The section; must have neighbours.
    sign
        +1 looks for brighter, -1 for darker.
    radius
        A pixel is compared with all of the neighbours within this distance, in pixels of the map,
        since tissue moves.
    image
        Which smooth grey values are compared.
    step
        Pixels of the working level per pixel of the map.

    Notes
    -----
    All of it is float32: no difference of unsigned integers wraps around.
    """
    both, extreme = (np.maximum, highest) if sign > 0 else (np.minimum, lowest)
    limit = view.over_neighbours(both, lambda n: n.grey(extreme(image(n.features), radius), step))
    return np.asarray(sign * (image(view.section) - limit) / view.contrast, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class OutlierDetector:
    """Blobs that are outliers against both neighbours.

    Parameters
    ----------
    excess
        By how much the middle of a blob is beyond the neighbours nearby, in units of contrast.
    beyond
        By how much it is beyond nearly everything that the neighbours show anywhere, in units of
        contrast: dark tissue that appears is no precipitate.
    mass
        Least area times mean excess of a blob, in pixels of the working level.
    total
        Least sum of it over several blobs.
    tolerance
        How far around a pixel the neighbours are looked at, as a share of the section's side.
    """

    excess: float = 0.5
    beyond: float = 0.1
    mass: float = 80.0
    total: float = 160.0
    tolerance: float = 0.02

    kinds: ClassVar[tuple[str, ...]] = ("dark", "bright")

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        if not view.two_sided and view.gap > 1:
            return []  # what appears beyond a gap at the end of a stack may be anything
        findings = []
        for kind, sign, score, blobs in self._confirmed(view):
            soft = soft_regions(view, blobs, sign)
            findings.append(Finding(kind, score, blobs & ~soft, sharp=True))
            if soft.any():
                findings.append(Finding(kind, score, soft))
        return findings

    def _confirmed(self, view: View) -> list[tuple[str, int, float, BoolImage]]:
        """Return kind, sign, score and mask of blobs that are there on a second look as well.

        Much debris raises the contrast to which the neighbours are matched, and what is strong
        on one side moves the brightness: so they are matched anew to what it leaves.
        """
        signs = {"dark": -1, "bright": 1}
        first = {kind: self._blobs(view, sign) for kind, sign in signs.items()}
        masks = [found[1] for found in first.values() if found is not None]
        if not masks:
            return []
        again = view.rematched(grow(np.logical_or.reduce(masks), 3))
        seconds = ((k, s, self._blobs(again, s)) for k, s in signs.items() if first[k] is not None)
        return [(kind, sign, *found) for kind, sign, found in seconds if found is not None]

    def _blobs(self, view: View, sign: int) -> tuple[float, BoolImage] | None:
        """Return score and mask of all blobs, if one is large or several together are."""
        radius = view.radius(self.tolerance)
        excess = excess_over_neighbours(view, sign, radius, lambda f: f.smooth)
        strictness = view.strictness
        if view.gap > 1:
            strictness *= _ACROSS_A_GAP
        least = self.beyond + _BEYOND_STEP * (strictness - 1)
        beyond = self._beyond(view, sign)
        certain = (excess > self.excess * strictness**0.5) & (beyond > least)
        if not certain.any():
            return None
        components = ConnectedComponents(excess > self.excess / 3)
        masses = components.sums(excess)
        sure = masses[components.holding(certain)]
        zoom = view.section.zoom  # small sections have as few pixels of tissue as of damage
        large = sure[sure > zoom * self.total / 15]
        score = max(float(sure.max()) / self.mass, float(large.sum()) / self.total) / zoom
        if score < strictness:
            return None
        # beside damage that is beyond doubt smaller and weaker blobs are believed
        likely = (excess > 0.8 * self.excess) & (beyond > -self.beyond)
        return score, components.mask(components.holding(likely) & (masses > self.mass / 10))

    def _beyond(self, view: View, sign: int) -> FloatImage:
        """Return how far the section is beyond all grey values of its neighbours."""
        ranks = [n.gain * n.features.limits[sign > 0] + n.offset for n in view.neighbours]
        limit = np.float32(np.median(ranks))
        return sign * (view.section.smooth - limit) / view.contrast


def soft_regions(view: View, blobs: BoolImage, sign: int) -> BoolImage:
    """Return large blobs grown into the tissue that they fade into; nothing for others."""
    components = ConnectedComponents(blobs)
    core = components.mask(components.areas > 0.004 * blobs.size)
    if not core.any():
        return np.zeros_like(blobs)
    own = blur(view.section.grey, 3.0)
    usual = view.over_neighbours(np.add, lambda n: n.grey(n.features.grey))
    usual = blur((usual / len(view.neighbours)).astype(np.float32), 3.0)
    beyond = sign * (own - usual) / view.contrast
    radius = max(int(0.35 * np.sqrt(core.sum())), 4)
    near = grow(core, radius)
    grown = reached(grow(grow((beyond > 0.7) & near, -2), 2) | core, core)
    return grown if grown.sum() > 1.25 * core.sum() else np.zeros_like(blobs)
