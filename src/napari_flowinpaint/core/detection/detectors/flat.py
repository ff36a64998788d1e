"""Missing sections and regions, holes, saturation: where there is no texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...types import BoolImage, FloatImage
from ..features.maps import FLAT_WINDOW, SectionMaps
from ..features.morphology import grow, lowest, reached
from ..features.view import BLANK, View, enlarge
from .blur import least_sharpness
from .detector import Finding

#: Pixels with less than this share of the least texture nearby may belong to a flat region, or
#: with less than a third of it of the usual texture in their place.
_CANDIDATE = 0.6
#: Share of the way to the grey value inside that tissue close to a hole lies, at most.
_DRAWN = 0.38
#: Standard deviation of what is flat and as grey as tissue, at most, in units of contrast.
_SHADED = 0.06
#: How far the grey value of a flat region may be from its median, in units of contrast, and how far
#: around it more of it is looked for, in pixels.
_ALIKE = 0.2
_REACH = 8
#: The ring, in pixels from a flat region before it is enlarged, in which sharpness counts; the loss
#: there of the logarithm of fine against middle structures tells that it is just blurred.
_AROUND = (8, 24)
_LOST = 0.2

#: Least length of a flat region that is a line, as a share of the section's side, and in units of
#: its mean width.
_LONG = 0.4
_SLENDER = 6.0


@dataclass(frozen=True, slots=True)
class MissingDetector:
    """Sections without texture, and large or rectangular regions of them.

    Parameters
    ----------
    texture
        Flat is a region with less than this share of the texture of its neighbours.
    tolerance
        How far around a pixel the neighbours are looked at, as a share of the section's side.
    share
        From this share of the section on a flat region is *missing*.
    rectangle
        From this share on where it is a rectangle, as a lost tile of a mosaic is.
    """

    texture: float = 0.3
    tolerance: float = 0.02
    share: float = 0.16
    rectangle: float = 0.03

    kinds: ClassVar[tuple[str, ...]] = ("missing",)

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank:
            everything = np.ones(view.shape, dtype=bool)
            score = view.texture * BLANK / max(view.section.texture, 0.05 * BLANK * view.texture)
            return [Finding("missing", score, everything)]
        findings = []
        for score, core, whole in _flat(view, self.texture, self.tolerance, self.rectangle):
            rectangle = _is_rectangle(whole)
            # a rectangle may be as bright as the tissue around it: that is no cloud
            sharp = rectangle or (whole.mean() > self.share and is_sharp(view, core, whole))
            # noise may be left in a tile; what is blurred has no straight borders
            blurred = is_unsharp(view, whole) if rectangle else is_blurred(view, core, whole)
            if sharp and not blurred:
                findings.append(Finding("missing", score, whole, sharp=True))
        return findings


@dataclass(frozen=True, slots=True)
class HoleDetector:
    """Regions without texture: holes, and where the detector was saturated; wide lines as well.

    Parameters
    ----------
    texture, tolerance
        As for :class:`MissingDetector`.
    smallest
        Least area of a region, as a share of the section; smaller ones are left to the detector
        of debris.
    """

    texture: float = 0.3
    tolerance: float = 0.02
    smallest: float = 0.003

    kinds: ClassVar[tuple[str, ...]] = ("hole", "fold", "crack")

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank:
            return []
        regions = _flat_regions(view, self.texture, self.tolerance, self.smallest)
        return [Finding(_shape(view, mask), score, mask, sharp=True) for score, mask in regions]


def _shape(view: View, mask: BoolImage) -> str:
    """Tell a hole from a wide line: one that is straight and much longer than wide."""
    import cv2

    rows, columns = np.nonzero(mask)
    points = np.stack([columns, rows], axis=1).astype(np.float32)
    length = max(cv2.minAreaRect(points)[1])
    if length < _LONG * view.side or length < _SLENDER * points.shape[0] / length:
        return "hole"
    inside = float(np.median(view.section.smooth[mask]))
    return "crack" if inside > float(np.median(view.section.smooth)) else "fold"


def _flat_regions(
    view: View, texture: float, tolerance: float, smallest: float
) -> list[tuple[float, BoolImage]]:
    """Return score and mask of regions with less than a share of the neighbours' texture.

    Candidates are pixels around which every neighbour has clearly more texture; what decides is
    the texture of a whole region against that of the neighbours in the same place.
    """
    return [
        (score, whole)
        for score, core, whole in _flat(view, texture, tolerance, smallest)
        if is_sharp(view, core, whole) and not is_blurred(view, core, whole)
    ]


def fading_regions(view: View, smallest: float) -> BoolImage:
    """Return flat regions into which tissue fades slowly: the middles of clouds."""
    out = np.zeros(view.shape, dtype=bool)
    hole = HoleDetector()
    for _, core, whole in _flat(view, hole.texture, hole.tolerance, smallest):
        if not is_sharp(view, core, whole) and not is_unsharp(view, whole):
            out |= whole
    return out


def _flat(
    view: View, texture: float, tolerance: float, smallest: float
) -> list[tuple[float, BoolImage, BoolImage]]:
    """Return score, core and mask of all flat regions."""
    radius, own = view.radius(tolerance), view.section.local_std
    few = _candidates(view, radius, own, 2)[0]  # every second pixel tells whether there are any
    if np.count_nonzero(few) < smallest * few.size / 2:
        return []
    candidates, usual = _candidates(view, radius, own, 1)
    found = []
    for core in _regions(candidates, smallest):
        inside, around = float(np.median(own[core])), float(np.median(usual[core]))
        score = min(texture * around / max(inside, 0.01 * around), 20.0)
        if score >= view.strictness:
            found.append((score, core, grow(core, FLAT_WINDOW // 2)))
    return found


def _candidates(
    view: View, radius: int, own: FloatImage, thin: int
) -> tuple[BoolImage, FloatImage]:
    """Return where every neighbour has clearly more texture, and the usual one; every n-th pixel.

    Either every neighbour has more nearby, or they have much more in the same place, on the mean.
    """
    some = (slice(None, None, thin),) * 2
    own = own[some]
    if view.neighbours:
        least = view.over_neighbours(
            np.minimum, lambda n: n.gain * n.moved(_least_texture(n.features, radius))[some]
        )
        total = view.over_neighbours(np.add, lambda n: n.gain * n.moved(n.features.local_std)[some])
        least = np.minimum(least, np.float32(view.texture))
        usual = (total / len(view.neighbours)).astype(np.float32)
    else:
        usual = np.full(own.shape, 0.5 * view.texture, dtype=np.float32)
        least = np.full(own.shape, 0.25 * view.texture, dtype=np.float32)
    return (own < _CANDIDATE * least) | (own < _CANDIDATE / 3 * usual), usual


def _least_texture(maps: SectionMaps, radius: int) -> FloatImage:
    return maps.remembered(("texture", radius), lambda: lowest(maps.local_std, radius))


def _is_rectangle(mask: BoolImage) -> bool:
    """Tell a rectangle, with a ragged border, from a blob: its corners are filled."""
    # a few rows and columns of noise at the border do not make the box larger
    rows, columns = (mask.sum(axis=axis) for axis in (1, 0))
    y, x = (np.flatnonzero(count > 0.1 * count.max()) for count in (rows, columns))
    box = mask[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
    height, width = (max(n // 8, 1) for n in box.shape)
    top, bottom = box[:height], box[-height:]
    corners = (top[:, :width], top[:, -width:], bottom[:, :width], bottom[:, -width:])
    return bool(box.mean() > 0.85 and all(corner.mean() > 0.5 for corner in corners))


def _regions(flat: BoolImage, smallest: float) -> list[BoolImage]:
    """Return the connected pieces that are large enough, largest first, at most 32."""
    import cv2

    least = max(smallest * flat.size, 6)
    if np.count_nonzero(flat) < least:
        return []
    _, names = cv2.connectedComponents(flat.astype(np.uint8), connectivity=4)
    sizes = np.bincount(names.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:32]
    return [names == name for name in order if sizes[name] >= least]


def is_sharp(view: View, core: BoolImage, whole: BoolImage) -> bool:
    """Tell a hole from the middle of a cloud or of charging, where tissue fades in slowly.

    In a ring close to the border, grey values are as far from those inside, and vary as much, as
    the tissue of a neighbour does there. Charging saturates beyond all tissue: what fades in
    around it is, on the mean, brighter than the neighbours.
    """
    own = view.section.smooth
    plateau = float(np.median(own[core]))
    if not view.neighbours:
        return True
    if _beyond_tissue(view, plateau):
        return _drawn(view, plateau, whole) < _DRAWN
    near = 3 + view.section.zoom  # borders of enlarged sections are less steep
    ring = grow(whole, near + 2) & ~grow(whole, near)
    if ring.sum() < 16:
        return True
    tissue = view.neighbours[0].grey(view.neighbours[0].features.smooth)[ring]
    step = float(np.median(np.abs(own[ring] - plateau)))
    usual = float(np.median(np.abs(tissue - plateau)))
    spread = float(own[ring].std() / max(float(tissue.std()), 1e-6))
    return spread > 0.75 and step > 0.53 * usual


def _drawn(view: View, plateau: float, whole: BoolImage) -> float:
    """Return how far tissue at the border of a flat region is on the way to its grey value.

    That is 0 if on the mean it is as bright as in the neighbours, and 1 if as the region, of which
    no tissue is as bright (or dark).
    """
    own = view.section.smooth
    # noise may have hidden some of it
    alike = np.abs(own - plateau) < _ALIKE * view.contrast
    whole = reached(alike & grow(whole, _REACH * view.section.zoom), whole)
    ring = grow(whole, 4) & ~grow(whole, 2)
    if ring.sum() < 16:
        return 0.0
    there = float(np.mean([n.grey(n.features.smooth)[ring] for n in view.neighbours]))
    return (float(own[ring].mean()) - there) / (plateau - there)


def _beyond_tissue(view: View, grey: float) -> bool:
    """Tell whether hardly anything in the neighbours is as dark, or as bright."""
    shown = [n.gain * n.features.smooth[::4, ::4] + n.offset for n in view.neighbours]
    low, high = np.percentile(shown, (1, 99))
    return not low < grey < high


def is_blurred(view: View, core: BoolImage, whole: BoolImage) -> bool:
    """Tell the flat middle of a blurred region, around which fine detail is gone as well."""
    if not view.neighbours:
        return False
    own = view.section.smooth[core]
    if float(own.std()) > _SHADED * view.contrast and not _beyond_tissue(
        view, float(np.median(own))
    ):
        return True
    return is_unsharp(view, whole)


def is_unsharp(view: View, whole: BoolImage) -> bool:
    """Tell whether fine detail is gone around a region."""
    near, far = (view.section.zoom * n for n in _AROUND)
    ring = grow(whole, far) & ~grow(whole, near)
    # what the border of a hole adds to fine detail is far from enough to hide that
    lost = least_sharpness(view, 0) - view.section.sharpness
    return bool(ring.any()) and float(np.median(enlarge(view, lost)[ring])) > _LOST
