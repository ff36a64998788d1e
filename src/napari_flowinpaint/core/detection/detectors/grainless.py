"""Regions that lack the grain of a section: films that tissue shines through, weak blur.

The noise of the camera is in all of an image. Where less of it is than in every neighbour,
something was added or taken away after the image was recorded, or the tissue is out of focus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...types import BoolImage
from ..features.morphology import ConnectedComponents, lowest
from ..features.view import View, enlarge
from .blur import least_sharpness
from .detector import Finding

#: How far around a tile the neighbours are looked at, in tiles of the grid.
_NEAR = 2
#: Grain of this share of the contrast is none.
_NONE = 0.02
#: Loss of the logarithm of fine against middle structures of what is blurred, and of the logarithm
#: of the variance of structures of what is covered.
_BLURRED = 0.25
_HIDDEN = 1.0


@dataclass(frozen=True, slots=True)
class GrainlessDetector:
    """Regions with less grain than all neighbours nearby.

    Parameters
    ----------
    lack
        Logarithm of the variance of grain that is gone, against the neighbour with least.
    smallest
        Least area of a region, as a share of the section.
    """

    lack: float = 1.1
    smallest: float = 0.0012

    kinds: ClassVar[tuple[str, ...]] = ("blur", "hole", "staining")

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.two_sided:
            return []
        none = np.float32((_NONE * view.contrast) ** 2)
        least = view.over_neighbours(
            np.minimum,
            lambda n: n.gain**2 * n.moved(lowest(n.features.grain, _NEAR), n.features.step),
        )
        lack = np.log((least + none) / (view.section.grain + none))
        lack -= max(float(np.median(lack)), 0.0)  # a section may have less grain as a whole
        level = self.lack * view.strictness
        if lack.max() < level:
            return []
        fine = enlarge(view, lack)
        regions = ConnectedComponents(fine > level / 2, fine > level)
        findings = []
        for number in np.flatnonzero(regions.areas >= self.smallest * fine.size):
            mask = regions.mask(np.arange(regions.areas.size) == number)
            strength = float(np.percentile(fine[mask], 90))
            findings.append(Finding(_kind(view, mask), strength / self.lack, mask))
        return findings


def _kind(view: View, mask: BoolImage) -> str:
    """Name a region: blurred, flat, or covered."""
    lost = enlarge(view, least_sharpness(view, 0) - view.section.sharpness)
    if float(np.median(lost[mask])) > _BLURRED:
        return "blur"
    contrast = view.over_neighbours(
        np.minimum,
        lambda n: n.moved(n.features.contrast, n.features.step) + np.float32(2 * np.log(n.gain)),
    )
    hidden = enlarge(view, contrast - view.section.contrast)
    return "hole" if float(np.median(hidden[mask])) > _HIDDEN else "staining"
