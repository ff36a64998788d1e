"""What was refused of a section, place by place; functions that run in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.errors import RepairRefused
from ...core.masks.sparse_mask import SparseMask
from ...core.refusal import Refusal
from ...core.types import BoolImage, Box

#: Outlines of more points than this, in all, would be slow to draw.
_MOST_POINTS = 4000
#: So many places are listed.
_MOST_PLACES = 200


@dataclass(frozen=True, eq=False)
class RefusedPlace:
    """Damage that was left, and why.

    Parameters
    ----------
    box
        Bounding box in the section.
    pixels
        Damaged pixels in it.
    reason
        Why, in one line.
    outlines
        Closed lines around it, (N, 2) float32 each, y and x in pixels of the section.
    """

    box: Box
    pixels: int
    reason: str
    outlines: tuple[npt.NDArray[np.float32], ...]


class SectionRefused(RepairRefused):
    """All damage of a section was refused.

    Parameters
    ----------
    z
        Section number.
    reason
        Why, in one line.
    places
        Where.
    """

    def __init__(self, z: int, reason: str, places: Sequence[RefusedPlace]) -> None:
        super().__init__(reason)
        self.z = z
        self.places = tuple(places)


def places_of(mask: SparseMask, z: int, refused: Sequence[Refusal]) -> tuple[RefusedPlace, ...]:
    """Return the places of windows that were refused, with their outlines in the mask."""
    return tuple(
        RefusedPlace(r.box, r.pixels, r.reason, _outlines(mask.read(z, r.box), r.box))
        for r in refused[:_MOST_PLACES]
    )


def places_in(
    around: Box, damage: BoolImage, refused: Sequence[Refusal]
) -> tuple[RefusedPlace, ...]:
    """Return the places of refused windows, for damage that is known in a box."""
    found = []
    for refusal in refused[:_MOST_PLACES]:
        inner = around.intersection(refusal.box)
        outlines = _outlines(damage[inner.within(around)], inner)
        found.append(RefusedPlace(refusal.box, refusal.pixels, refusal.reason, outlines))
    return tuple(found)


def every_place(mask: SparseMask, z: int, reason: str) -> tuple[RefusedPlace, ...]:
    """Return all components of a section's mask as places that were refused."""
    import cv2

    around = mask.damaged_box(z)
    if around is None:
        return ()
    damage = mask.read(z, around)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(damage.view(np.uint8))
    found = []
    for number in range(1, min(count, _MOST_PLACES + 1)):
        left, top, width, height, pixels = map(int, stats[number])
        inner = Box(top, left, top + height, left + width)
        box = inner.shifted(around.y0, around.x0)
        outlines = _outlines(labels[inner.slices] == number, box)
        found.append(RefusedPlace(box, pixels, reason, outlines))
    return tuple(found)


def _outlines(damage: BoolImage, box: Box) -> tuple[npt.NDArray[np.float32], ...]:
    """Return closed lines around the damage in a box."""
    import cv2

    padded = np.pad(damage.astype(np.uint8), 1)
    ringed = cv2.dilate(padded, np.ones((3, 3), np.uint8))  # around it, not on it
    lines, _ = cv2.findContours(ringed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    lines = [line[:, 0] for line in lines if len(line) > 2]
    lines = sorted(lines, key=len, reverse=True)
    kept = np.cumsum([len(line) for line in lines]) <= _MOST_POINTS
    origin = np.array([box.y0 - 1, box.x0 - 1])
    return tuple(
        (np.concatenate([line, line[:1]])[:, ::-1] + origin).astype(np.float32)
        for line, few in zip(lines, kept, strict=True)
        if few
    )
