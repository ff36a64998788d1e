"""Where the sections of a stack were imaged; what had to be searched for is remembered.

It is decided (:mod:`.no_data`) from the pixels that are read anyway. Only where a constant region
leaves them is more read, in its direction, until the border of the section is found.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import AnyImage, BoolImage, Box
from .border_regions import Sides, border_regions
from .no_data import is_constant, not_void

#: A constant region that leaves what was read is followed this far, in pixels.
_FAR = 2048
#: A region as long as this that still goes on is no tissue.
_LONG = 1024
#: A larger step is not taken at once, nor a smaller one.
_LEAST_STEP = 256
#: Answers that are remembered: those for which more had to be read.
_KEPT = 256
#: Spots by which a section that is constant as a whole is known, per side, and their side.
_SPOTS, _SPOT = 3, 32


class NoData:
    """Where the sections of one stack were imaged; safe to be used by several threads.

    Parameters
    ----------
    read
        ``read(z, box)`` returns pixels of the full resolution.
    shape
        (Y, X) of a section.
    declared, fill
        As for :func:`~.no_data.imaged_pixels`.
    """

    def __init__(
        self,
        read: Callable[[int, Box], AnyImage],
        shape: tuple[int, int],
        declared: float | None = None,
        fill: float | None = None,
    ) -> None:
        self._read = read
        self._shape = shape
        self._values = (declared, fill)
        self._kept: OrderedDict[tuple[int, Box, int], npt.NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    def imaged(self, z: int, box: Box, pixels: AnyImage) -> BoolImage:
        """Return where a part of a section was imaged.

        Parameters
        ----------
        z
            Section number.
        box
            The part.
        pixels
            (H, W), what was read of it.

        Returns
        -------
        BoolImage
            (H, W), False where there is no data.
        """
        declared, fill = self._values
        imaged = not_void(pixels, declared)
        found = list(border_regions(pixels, imaged, self._sides(box), fill))
        if not found:
            return imaged
        certain = all(region.padding or not any(region.leaves) for region in found)
        if certain and not is_constant(pixels):
            for region in found:
                if region.padding:
                    imaged[region.box.slices] &= ~region.mask
            return imaged
        key = (z, box, zlib.crc32(pixels.tobytes()))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            kept = np.packbits(self._followed(z, box, pixels))
            with self._lock:
                self._kept[key] = kept
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        count = imaged.size
        return np.unpackbits(kept, count=count).astype(bool).reshape(imaged.shape)

    def _sides(self, box: Box) -> Sides:
        height, width = self._shape
        return (box.y0 == 0, box.x0 == 0, box.y1 == height, box.x1 == width)

    def _followed(self, z: int, box: Box, pixels: AnyImage) -> BoolImage:
        """Return where a part was imaged, reading more where a constant region leaves it."""
        declared, fill = self._values
        whole = Box.whole(self._shape)
        seen = box
        while True:
            imaged = not_void(pixels, declared)
            if is_constant(pixels) and self._is_missing(z, pixels.flat[0]):
                return np.ones(box.shape, dtype=bool)
            again: list[bool] = [False] * 4
            for region in border_regions(pixels, imaged, self._sides(seen), fill):
                ours = region.box.intersection(box.shifted(-seen.y0, -seen.x0))
                if not region.mask[ours.within(region.box)].any():
                    continue
                open_ended = any(region.leaves) and not region.padding
                endless = max(seen.shape) >= _FAR and region.extent >= _LONG
                if region.padding or (open_ended and endless):
                    imaged[region.box.slices] &= ~region.mask
                elif open_ended and max(seen.shape) < _FAR:
                    again = [a or b for a, b in zip(again, region.leaves, strict=True)]
            if not any(again) or seen == whole:
                return imaged[box.within(seen)]
            seen = _towards(seen, again, self._shape)
            pixels = self._read(z, seen)

    def _is_missing(self, z: int, value: Any) -> bool:
        """Tell a section that is one value everywhere, by looking at spots all over it."""
        height, width = self._shape
        rows, columns = (
            np.linspace(0, max(side - _SPOT, 0), _SPOTS).astype(int) for side in (height, width)
        )
        for y in rows.tolist():
            for x in columns.tolist():
                spot = Box(y, x, min(y + _SPOT, height), min(x + _SPOT, width))
                if (self._read(z, spot) != value).any():
                    return False
        return True


def _towards(box: Box, sides: list[bool], shape: tuple[int, int]) -> Box:
    """Return a box grown by its own size towards some of its sides."""
    step = min(max(*box.shape, _LEAST_STEP), _FAR)
    top, left, bottom, right = (step * side for side in sides)
    return Box(
        max(box.y0 - top, 0),
        max(box.x0 - left, 0),
        min(box.y1 + bottom, shape[0]),
        min(box.x1 + right, shape[1]),
    )
