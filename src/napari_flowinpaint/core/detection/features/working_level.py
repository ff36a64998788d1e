"""The working level, at which damage is searched.

That is a section reduced by a power of two, so that its longer side is about :data:`WORKING_SIDE`
pixels; taken from the pyramid as far as there is one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...filters import halve, shrink_to
from ...io.no_data import enclosed, mirror_tissue
from ...types import AnyImage, BoolImage, FloatImage

if TYPE_CHECKING:
    from ...io.levels import Level
    from ...io.stack import Stack

#: The longer side of a section at the working level is about this, within a factor of 1.42.
WORKING_SIDE = 512
#: Grey values beyond this are none: in float32 their squares do not add up.
_LARGEST = 1e12
#: Share of a working pixel that was imaged, if all of it was.
_WHOLLY = 0.999


def working_factor(shape: tuple[int, int], side: int = WORKING_SIDE) -> int:
    """Return by what power of two, as in most pyramids, a section of ``shape`` is reduced."""
    return int(2 ** max(round(np.log2(max(shape) / side)), 0))


def working_zoom(shape: tuple[int, int], side: int = WORKING_SIDE) -> int:
    """Return how many times a small section is enlarged: up to 4, a power of two.

    The widths that detectors work with suit sections of about ``side`` pixels.
    """
    return int(2 ** np.clip(round(np.log2(side / max(shape))), 0, 2))


def _working_level(stack: Stack, factor: int) -> Level:
    """Return the smallest level of the pyramid from which the working level can be made."""
    shape = stack.shape
    usable = [
        level
        for level in stack.levels[1:]
        if level.shape[0] == shape[0]
        and level.scale[0] == 1
        and all(round(s) <= factor and factor % round(s) == 0 for s in level.scale[1:])
    ]
    return max(usable, key=lambda item: item.scale[1], default=stack.levels[0])


@dataclass(frozen=True, slots=True, eq=False)
class WorkingSection:
    """A section at the working level.

    Parameters
    ----------
    grey
        (ceil(Y / factor), ceil(X / factor)) float32.
    imaged
        The same shape, bool; None where all of it was.
    """

    grey: FloatImage
    imaged: BoolImage | None = None

    def mirrored(self) -> FloatImage:
        """Return the grey values with tissue mirrored into no data, so that no edge is left."""
        return self.grey if self.imaged is None else mirror_tissue(self.grey, self.imaged)


def read_working(stack: Stack, z: int, factor: int) -> WorkingSection:
    """Read a section at the working level, from the smallest level of the pyramid that will do.

    Parameters
    ----------
    stack
        The stack.
    z
        Section number.
    factor
        From :func:`working_factor`.
    """
    level = _working_level(stack, factor)
    if level is not stack.levels[0]:
        with suppress(Exception):  # a damaged pyramid: the full resolution decides
            return _reduced(stack, level, level.read(z), factor)
    return _reduced(stack, stack.levels[0], stack.read(z), factor)


def _reduced(stack: Stack, level: Level, pixels: AnyImage, factor: int) -> WorkingSection:
    """Return a section that was read from a level, at the working level."""
    import cv2

    shape = stack.shape
    target = (-(-shape[1] // factor), -(-shape[2] // factor))
    imaged = stack.imaged_level(pixels)
    if stack.dtype.kind == "f":
        imaged |= enclosed(imaged) & ~np.isfinite(pixels)  # a hole
    steps = [round(np.log2(factor / s)) for s in level.scale[1:]]
    if steps[0] == steps[1]:
        for _ in range(steps[0]):
            # single precision from the first reduction on
            pixels = halve(pixels).astype(np.float32)
    grey = pixels.astype(np.float32, copy=False)
    if stack.dtype.kind == "f":
        grey = _numbers(grey)
    grey = grey if grey.shape == target else shrink_to(grey, target)
    if imaged.all():
        return WorkingSection(grey)
    whole = shrink_to(imaged.astype(np.float32), target) > _WHOLLY
    # pixels on the border are mixed with no data, by the pyramid or by the alignment
    return WorkingSection(grey, cv2.erode(whole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _numbers(grey: FloatImage) -> FloatImage:
    """Replace pixels that are no numbers to compute with by the median."""
    good = np.abs(grey) < _LARGEST
    if good.all():
        return grey
    usual = np.median(grey[good]) if good.any() else 0
    return np.where(good, grey, usual).astype(np.float32)
