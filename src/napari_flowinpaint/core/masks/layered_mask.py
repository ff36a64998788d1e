"""The masks of several searches as one: of every section, what the last search of it found.

Nothing is copied and nothing is kept in memory; pixels are read when somebody looks.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from .sparse_mask import MaskVolume


class LayeredMask:
    """A read-only label volume, axes zyx, uint8.

    Parameters
    ----------
    shape
        (Z, Y, X).
    under
        What shows in sections that no layer has; anything but 0 is damage. None for nothing.
    labels
        Whether the values of ``under`` are kinds of damage; otherwise its damage is 1.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self, shape: tuple[int, int, int], under: MaskVolume | None = None, *, labels: bool = False
    ) -> None:
        self.shape = shape
        self._under = under
        self._labels = labels
        self._layers: tuple[tuple[MaskVolume, frozenset[int]], ...] = ()

    def with_layer(self, volume: MaskVolume, sections: Collection[int]) -> LayeredMask:
        """Return this with one more layer on top, which has these sections.

        Parameters
        ----------
        volume
            Kinds of damage, axes zyx, of the same shape.
        sections
            Those in which it is shown.
        """
        new = LayeredMask(self.shape, self._under, labels=self._labels)
        new._layers = (*self._layers, (volume, frozenset(sections)))
        return new

    def __getitem__(self, index: tuple[slice, slice, slice]) -> npt.NDArray[np.uint8]:
        """Return the pixels between slices, one for each axis."""
        zs, ys, xs = (
            range(*part.indices(length)) for part, length in zip(index, self.shape, strict=True)
        )
        out = np.zeros((len(zs), len(ys), len(xs)), dtype=np.uint8)
        for row, z in enumerate(zs):
            source, labels = self._of(z)
            if source is not None:
                pixels = np.asarray(source[(slice(z, z + 1), *index[1:])])[0]
                out[row] = pixels if labels else pixels != 0
        return out

    def _of(self, z: int) -> tuple[Any, bool]:
        """Return where a section is, and whether its values are kinds."""
        for volume, sections in reversed(self._layers):
            if z in sections:
                return volume, True
        return self._under, self._labels
