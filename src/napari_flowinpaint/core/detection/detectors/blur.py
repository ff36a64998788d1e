"""Defocus: fine detail that the neighbours have is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...types import FloatImage
from ..features.maps import SectionMaps
from ..features.morphology import lowest
from ..features.view import View, enlarge
from .detector import Finding
from .regions import large_regions


@dataclass(frozen=True, slots=True)
class BlurredSectionDetector:
    """Sections that are less sharp than all neighbours.

    Parameters
    ----------
    loss
        How much lower the logarithm of fine against middle structures has to be (median over the
        section).
    share
        Least share of the section that is less sharp.
    """

    loss: float = 0.3
    share: float = 0.85

    kinds: ClassVar[tuple[str, ...]] = ("blur",)

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        drop = least_sharpness(view, 0) - view.section.sharpness
        whole = float(np.median(drop))
        if whole < self.loss * view.strictness or np.mean(drop > 0.3 * self.loss) < self.share:
            return []
        return [Finding("blur", whole / self.loss, np.ones(view.shape, dtype=bool))]


@dataclass(frozen=True, slots=True)
class BlurredRegionDetector:
    """Regions that are less sharp than all neighbours anywhere near.

    Parameters
    ----------
    loss
        How much lower the logarithm of fine against middle structures has to be.
    smallest
        Least area of a region, as a share of the section.
    large_loss, large
        The same for large regions, where less tells.
    """

    loss: float = 0.5
    smallest: float = 0.015
    large_loss: float = 0.35
    large: float = 0.12

    kinds: ClassVar[tuple[str, ...]] = ("blur",)

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        own = view.section.sharpness
        drops = [least_sharpness(view, radius) - own for radius in (0, 2)]
        if drops[1].max() < min(self.loss, self.large_loss) * view.strictness:
            return []
        edge, core = (enlarge(view, drop) for drop in drops)
        for loss, least in ((self.large_loss, self.large), (self.loss, self.smallest)):
            found = large_regions(edge, core, loss * view.strictness, least)
            if found is not None and found[0] >= 1:
                strength, mask = found
                return [Finding("blur", strength * view.strictness, mask)]
        return []


def least_sharpness(view: View, radius: int) -> FloatImage:
    """Return the least sharpness of any neighbour within a radius, a grid map."""
    return view.over_neighbours(
        np.minimum, lambda n: n.moved(_least(n.features, radius), n.features.step)
    )


def _least(maps: SectionMaps, radius: int) -> FloatImage:
    return maps.remembered(("sharpness", radius), lambda: lowest(maps.sharpness, radius))
