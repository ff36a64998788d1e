"""Masks that are drawn as outlines: regions and lines, by section.

Coordinates are pixels, order (y, x), and whole numbers are the centres of pixels. A pixel belongs
to a region if its centre lies inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..types import AnyImage, BoolImage, Box
from .section_masks import SectionMasks

Points = npt.NDArray[np.float64]

#: Corners of an ellipse.
_CORNERS = 180
#: Longest piece in which a line is drawn, pixels.
_PIECE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A region, or a line.

    Parameters
    ----------
    rings
        (n, 2) corners of closed polygons, of which one within another is a hole; or of one line.
    width
        Of a line, in pixels; None for a region.
    """

    rings: tuple[Points, ...]
    width: float | None = None

    @property
    def box(self) -> Box:
        """A box, perhaps beyond the section, that holds it."""
        corners = np.concatenate(self.rings)
        margin = 2.0 + (self.width or 0.0)
        low = np.floor(corners.min(axis=0) - margin).astype(int)
        high = np.ceil(corners.max(axis=0) + margin).astype(int)
        return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


class OutlineMasks(SectionMasks):
    """Outlines by section, drawn when somebody looks.

    Parameters
    ----------
    outlines
        By section number.
    shape
        (Y, X) of a section.
    """

    def __init__(self, outlines: Mapping[int, Sequence[Outline]], shape: tuple[int, int]) -> None:
        self.shape = shape
        self.sections = tuple(sorted(outlines))
        self._outlines = {z: tuple(found) for z, found in outlines.items()}

    def box(self, z: int) -> Box | None:
        """Return a box that holds all outlines of a section; None where all lie beside it."""
        whole = Box.whole(self.shape)
        boxes = [o.box.intersection(whole) for o in self._outlines[z] if o.box.overlaps(whole)]
        if not boxes:
            return None
        union = boxes[0]
        for box in boxes[1:]:
            union = union.union(box)
        return union

    def read(self, z: int, box: Box) -> AnyImage:
        """Return the mask in a box of section ``z``, bool."""
        return draw(self._outlines[z], box)


def draw(outlines: Iterable[Outline], box: Box) -> BoolImage:
    """Return a box with outlines filled in.

    Parameters
    ----------
    outlines
        What to draw.
    box
        Of the section.

    Returns
    -------
    numpy.ndarray
        (H, W) bool of the box.
    """
    out = np.zeros(box.shape, dtype=bool)
    for outline in outlines:
        if not outline.box.overlaps(box):
            continue
        if outline.width is None:
            out |= _filled(outline.rings, box)
        else:
            out |= _line(outline.rings[0], outline.width, box)
    return out


def _filled(rings: Sequence[Points], box: Box) -> BoolImage:
    from skimage.draw import polygon

    out = np.zeros(box.shape, dtype=bool)
    for ring in rings:
        rows, columns = polygon(ring[:, 0] - box.y0, ring[:, 1] - box.x0, box.shape)
        out[rows, columns] ^= True
    return out


def _line(points: Points, width: float, box: Box) -> BoolImage:
    """Return the pixels whose centres are no farther than half the width from a line."""
    out = np.zeros(box.shape, dtype=bool)
    reach = max(width, 1.0) / 2
    for first, last in _short_pieces(points - (box.y0, box.x0)):
        low = np.maximum(np.ceil(np.minimum(first, last) - reach), 0).astype(int)
        high = np.minimum(np.floor(np.maximum(first, last) + reach) + 1, box.shape).astype(int)
        if (low >= high).any():
            continue
        rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
        along = last - first
        length = float(along @ along) or 1.0
        part = ((rows - first[0]) * along[0] + (columns - first[1]) * along[1]) / length
        part = np.clip(part, 0.0, 1.0)
        away = np.hypot(rows - first[0] - part * along[0], columns - first[1] - part * along[1])
        out[low[0] : high[0], low[1] : high[1]] |= away <= reach + 1e-9
    return out


def _short_pieces(points: Points) -> Iterator[tuple[Points, Points]]:
    """Yield the ends of pieces of a line; the box around a long slanting one would be large."""
    for first, last in pairwise(points if len(points) > 1 else np.repeat(points, 2, axis=0)):
        count = max(1, int(np.ceil(np.abs(last - first).max() / _PIECE)))
        yield from pairwise(np.linspace(first, last, count + 1))


def ellipse(corners: Points) -> Points:
    """Return the outline of an ellipse from the four corners of the rectangle around it."""
    centre = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    angle = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angle) * first + np.sin(angle) * second)
