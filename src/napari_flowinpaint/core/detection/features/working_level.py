"""The working level, at which damage is searched.

That is a section reduced by a power of two, so that its longer side is about :data:`WORKING_SIDE`
pixels; taken from the pyramid as far as there is one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from ...filters import halve, shrink_to
from ...types import AnyImage, FloatImage

if TYPE_CHECKING:
    from ...io.levels import Level
    from ...io.stack import Stack

#: The longer side of a section at the working level is about this, within a factor of 1.42.
WORKING_SIDE = 512
#: Grey values beyond this are none: in float32 their squares do not add up.
_LARGEST = 1e12


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


def read_working(stack: Stack, z: int, factor: int) -> FloatImage:
    """Read a section at the working level, from the smallest level of the pyramid that will do.

    Parameters
    ----------
    stack
        The stack.
    z
        Section number.
    factor
        From :func:`working_factor`.

    Returns
    -------
    FloatImage
        (ceil(Y / factor), ceil(X / factor)) float32; pixels that are no numbers to compute with are
        replaced by the median.
    """
    level = _working_level(stack, factor)
    if level is not stack.levels[0]:
        with suppress(Exception):  # a damaged pyramid: the full resolution decides
            return _reduced(stack, level, level.read(z), factor)
    return _reduced(stack, stack.levels[0], stack.read(z), factor)


def _reduced(stack: Stack, level: Level, pixels: AnyImage, factor: int) -> FloatImage:
    """Return a section that was read from a level, at the working level."""
    shape = stack.shape
    steps = [round(np.log2(factor / s)) for s in level.scale[1:]]
    if steps[0] == steps[1]:
        for _ in range(steps[0]):
            # single precision from the first reduction on
            pixels = halve(pixels).astype(np.float32)
    grey = pixels.astype(np.float32, copy=False)
    if stack.dtype.kind == "f":
        grey = _numbers(grey)
    target = (-(-shape[1] // factor), -(-shape[2] // factor))
    return grey if grey.shape == target else shrink_to(grey, target)


def _numbers(grey: FloatImage) -> FloatImage:
    """Replace pixels that are no numbers to compute with by the median."""
    good = np.abs(grey) < _LARGEST
    if good.all():
        return grey
    usual = np.median(grey[good]) if good.any() else 0
    return np.where(good, grey, usual).astype(np.float32)
