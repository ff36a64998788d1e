"""Rectangles of pixels: where something lies in a section."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolImage = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle of pixels, half-open: rows ``y0 <= y < y1``, columns ``x0 <= x < x1``."""

    y0: int
    x0: int
    y1: int
    x1: int

    @classmethod
    def of_mask(cls, mask: BoolImage) -> Box | None:
        """Return the bounding box of the True pixels of ``mask``, or None if there are none."""
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            return None
        y0, y1 = int(rows[0]), int(rows[-1]) + 1
        columns = np.flatnonzero(mask[y0:y1].any(axis=0))
        return cls(y0, int(columns[0]), y1, int(columns[-1]) + 1)

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Box:
        """Return the box of a whole section of ``shape`` (Y, X)."""
        return cls(0, 0, shape[0], shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.y1 - self.y0, self.x1 - self.x0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in a section."""
        return (slice(self.y0, self.y1), slice(self.x0, self.x1))

    def expand(self, halo: int, shape: tuple[int, int]) -> Box:
        """Return the box grown by ``halo`` pixels on every side, cut at a section's ``shape``."""
        return Box(
            max(self.y0 - halo, 0),
            max(self.x0 - halo, 0),
            min(self.y1 + halo, shape[0]),
            min(self.x1 + halo, shape[1]),
        )

    def shifted(self, dy: int, dx: int) -> Box:
        """Return the box moved by ``dy`` rows and ``dx`` columns."""
        return Box(self.y0 + dy, self.x0 + dx, self.y1 + dy, self.x1 + dx)

    def union(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        return Box(
            min(self.y0, other.y0),
            min(self.x0, other.x0),
            max(self.y1, other.y1),
            max(self.x1, other.x1),
        )

    def intersection(self, other: Box) -> Box:
        """Return the pixels both boxes have; without pixels where they do not overlap."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Box(y0, x0, max(min(self.y1, other.y1), y0), max(min(self.x1, other.x1), x0))

    def overlaps(self, other: Box) -> bool:
        """Return whether the two boxes share a pixel."""
        return (
            self.y0 < other.y1 and other.y0 < self.y1 and self.x0 < other.x1 and other.x0 < self.x1
        )

    def within(self, other: Box) -> tuple[slice, slice]:
        """Return the index of this box in an array that covers ``other``."""
        return (
            slice(self.y0 - other.y0, self.y1 - other.y0),
            slice(self.x0 - other.x0, self.x1 - other.x0),
        )
