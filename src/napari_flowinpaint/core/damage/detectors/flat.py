"""Missing sections and regions, holes, saturation: where there is no texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...types import BoolImage, FloatImage
from ..features import FLAT_WINDOW, grow, lowest
from ..view import BLANK, View
from .base import Finding


@dataclass(frozen=True, slots=True)
class MissingDetector:
    """Sections without texture, and large or rectangular regions of them.

    Parameters
    ----------
    texture
        Flat is what has less than this share of the texture that every neighbour has nearby.
    tolerance
        How far "nearby" is, as a share of the section's side.
    share
        From this share of the section on a flat region is *missing*.
    rectangle
        From this share on where it is a rectangle, as a lost tile of a mosaic is.
    """

    texture: float = 0.3
    tolerance: float = 0.02
    share: float = 0.3
    rectangle: float = 0.03

    kinds: ClassVar[tuple[str, ...]] = ("missing",)

    def look(self, view: View) -> list[Finding]:
        """See :class:`~.base.Detector`."""
        if view.blank:
            everything = np.ones(view.shape, dtype=bool)
            score = view.texture * BLANK / max(view.section.texture, 0.05 * BLANK * view.texture)
            return [Finding("missing", score, everything)]
        regions = _flat_regions(view, self.texture, self.tolerance, self.rectangle)
        return [
            Finding("missing", score, mask, sharp=True)
            for score, mask in regions
            if mask.mean() > self.share or _is_rectangle(mask)
        ]


@dataclass(frozen=True, slots=True)
class HoleDetector:
    """Regions without texture: holes, and where the detector was saturated.

    Parameters
    ----------
    texture, tolerance
        As for :class:`MissingDetector`.
    smallest
        Least area of a region, as a share of the section.
    """

    texture: float = 0.3
    tolerance: float = 0.02
    smallest: float = 0.0004

    kinds: ClassVar[tuple[str, ...]] = ("hole",)

    def look(self, view: View) -> list[Finding]:
        """See :class:`~.base.Detector`."""
        if view.blank:
            return []
        regions = _flat_regions(view, self.texture, self.tolerance, self.smallest)
        return [Finding("hole", score, mask, sharp=True) for score, mask in regions]


def _flat_regions(
    view: View, texture: float, tolerance: float, smallest: float
) -> list[tuple[float, BoolImage]]:
    """Return score and mask of the regions with less than a share of the neighbours' texture."""
    reference = _reference(view, tolerance)
    limit = texture / view.strictness
    found = []
    for core in _regions(view.section.local_std < limit * reference, smallest):
        whole = grow(core, FLAT_WINDOW // 2)
        if _sharp(view, core, whole):
            inside = float(np.median(view.section.local_std[core]))
            usual = float(np.median(reference[core]))
            found.append((min(texture * usual / max(inside, 0.01 * usual), 20.0), whole))
    return found


def _reference(view: View, tolerance: float) -> FloatImage:
    """Return the least texture around every pixel in any of the neighbours."""
    if not view.neighbours:
        return np.full(view.shape, 0.4 * view.texture, dtype=np.float32)
    radius = view.radius(tolerance)
    least = view.over_neighbours(
        np.minimum, lambda n: n.gain * n.moved(lowest(n.features.local_std, radius))
    )
    return np.minimum(least, view.texture)


def _is_rectangle(mask: BoolImage) -> bool:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    return bool(mask.sum() > 0.92 * box)


def _regions(flat: BoolImage, smallest: float) -> list[BoolImage]:
    """Return the connected pieces that are large enough, largest first, at most 32."""
    from scipy.ndimage import label

    names, count = label(flat)
    if count == 0:
        return []
    sizes = np.bincount(names.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:32]
    least = max(smallest * flat.size, 6)
    return [names == name for name in order if sizes[name] >= least]


def _sharp(view: View, core: BoolImage, whole: BoolImage) -> bool:
    """Tell a hole from the middle of a cloud or of charging, where tissue fades in slowly."""
    ring = grow(whole, 6) & ~grow(whole, 2)
    if ring.sum() < 16 or not view.neighbours:
        return True
    grey = view.section.grey
    plateau = float(np.median(grey[core]))
    nearest = view.neighbours[0]
    tissue = nearest.grey(nearest.features.grey)[ring]
    spread = float(grey[ring].std() / max(float(tissue.std()), 1e-6))
    step = abs(float(grey[ring].mean()) - plateau)
    usual = abs(float(tissue.mean()) - plateau)
    # where the plateau is as grey as the tissue the step tells nothing
    return spread > 0.55 and (step > 0.5 * usual or usual < 0.5 * view.contrast)
