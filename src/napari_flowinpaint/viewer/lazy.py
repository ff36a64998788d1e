"""Levels of a pyramid as napari needs them: slices of them are lazy as well.

napari first slices a level to the visible rows and columns of all sections, and then takes one
section of that. An array that reads as soon as it is sliced, such as a zarr array, would read the
whole depth of the stack whenever the slider moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.writing.entries import DISPLACED


class LazyArray:
    """An array-like whose slices are lazy; pixels are read once a section is asked for.

    Understands integers, slices with positive steps, and ``...``; :func:`numpy.asarray` reads all.
    Nothing is kept, so that a viewer that asks again after a write sees the new pixels.

    Parameters
    ----------
    source
        What is read: any array-like that can be sliced.
    ranges
        Which part of it, one range per axis; all of it by default.
    """

    def __init__(self, source: Any, ranges: Sequence[range] | None = None) -> None:
        self._source = source
        self._ranges = tuple(map(range, source.shape)) if ranges is None else tuple(ranges)
        self.shape = tuple(map(len, self._ranges))
        self.dtype = np.dtype(source.dtype)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<LazyArray {self.shape} {self.dtype}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self._read(self._ranges), dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (self.ndim + 1 - len(keys))
        keys += [slice(None)] * (self.ndim - len(keys))
        if len(keys) != self.ndim:
            raise IndexError(f"too many indices for {self.ndim} axes: {key!r}")
        part = [numbers[k] for numbers, k in zip(self._ranges, keys, strict=True)]
        if all(isinstance(numbers, range) for numbers in part):
            return LazyArray(self._source, part)
        return self._read(part)

    def _read(self, part: Sequence[range | int]) -> npt.NDArray[Any]:
        steps = [n.step for n in part if isinstance(n, range)]
        if min(steps, default=1) < 1:
            raise IndexError("negative steps are not supported; reverse what was read")
        return np.asarray(
            self._source[
                tuple(slice(n.start, n.stop, n.step) if isinstance(n, range) else n for n in part)
            ]
        )


class MarksAsShown:
    """Marks of repairs as numbers that napari shows: (Z, Y, X) uint16.

    napari gives colours of their own to labels below 2**16, unless Numba is installed; the marks
    of displaced pixels are above 2**31.

    Parameters
    ----------
    source
        A level of ``labels/synthetic``.
    """

    #: Mark of displaced pixels minus the number of the repair; the largest number.
    MOVED, LARGEST = 2**15, 2**15 - 1

    def __init__(self, source: Any) -> None:
        self._source = source
        self.shape = tuple(source.shape)
        self.dtype = np.dtype(np.uint16)

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint16]:
        marks = np.asarray(self._source[key], np.uint32)
        numbers = np.minimum(marks % DISPLACED, self.LARGEST)
        return np.asarray(np.where(marks > DISPLACED, numbers + self.MOVED, numbers), np.uint16)


def shown_levels(levels: Sequence[Any]) -> list[Any]:
    """Return the levels of a pyramid so that napari reads what it shows, and no more.

    Parameters
    ----------
    levels
        Array-likes (Z, Y, X), full resolution first. A single one is not a pyramid and is returned
        unchanged, as are NumPy and dask arrays, whose slices cost nothing.
    """
    if len(levels) == 1:
        return list(levels)
    return [
        level if type(level).__module__.partition(".")[0] in ("numpy", "dask") else LazyArray(level)
        for level in levels
    ]
