"""The masks of a batch, as they lie in its staging folder."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..types import AnyImage, BoolImage, Box
from .staging_folder import StagingFolder


class StagedMasks:
    """The masks in a staging folder, called as the repair of a section calls them.

    Parameters
    ----------
    stage
        The staging folder.
    shape
        (Z, Y, X) of the stack.
    """

    def __init__(self, stage: StagingFolder, shape: tuple[int, int, int]) -> None:
        self._stage = stage
        self._shape = shape
        self._sections = frozenset(self._stage.masks())
        self._read = lru_cache(maxsize=16)(self._stage.get_mask)

    def __call__(self, z: int, box: Box) -> BoolImage:
        """Return the damage of a section in a box, (H, W) bool."""
        mask = np.zeros(box.shape, dtype=bool)
        found = self._read(z) if z in self._sections else None
        if found is not None:
            here = found[0].intersection(box)
            mask[here.within(box)] = found[1][here.within(found[0])]
        return mask

    def section(self, z: int) -> BoolImage:
        """Return the damage of a whole section, (Y, X) bool."""
        return self(z, Box.whole(self._shape[1:]))

    def kinds(self, z: int) -> AnyImage | None:
        """Return the kinds of damage of a whole section, (Y, X) labels; None where unknown."""
        found = self._stage.get_kinds(z) if z in self._sections else None
        if found is None:
            return None
        labels = np.zeros(self._shape[1:], dtype=np.uint8)
        labels[found[0].slices] = found[1]
        return labels
