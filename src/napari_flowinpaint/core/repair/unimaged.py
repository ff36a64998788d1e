"""What of a mask lies where nothing was imaged: that is no damage, and stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..io.no_data import padding_of
from ..types import BoolImage, Box, IntImage
from .windows import windows_of

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Pixels around the damage that are looked at: most damage does not reach as far.
_MARGIN = 16


def imaged_damages(stack: Stack, z: int, mask: BoolImage) -> tuple[list[tuple[Box, IntImage]], int]:
    """Return the windows of a mask without what was not imaged, and how many pixels that is.

    Parameters
    ----------
    stack
        The stack.
    z
        Section number.
    mask
        (Y, X) bool.

    Returns
    -------
    damages
        Damaged boxes, with the component numbers inside each, as :func:`.windows_of` yields them.
    unimaged
        How many pixels of the mask are left out.
    """
    damages, unimaged = [], 0
    for damage, components in windows_of(mask):
        hole = components > 0
        void = _void(stack, z, damage, hole)
        count = int(np.count_nonzero(void))
        unimaged += count
        if count:
            components = np.where(void, 0, components).astype(np.int32)
            inner = Box.of_mask(components > 0)
            if inner is None:
                continue
            components = np.ascontiguousarray(components[inner.slices])
            damage = inner.shifted(damage.y0, damage.x0)
        damages.append((damage, components))
    return damages, unimaged


def describe_unimaged(z: int, pixels: int) -> str:
    """Return in one line that part of a mask is left as it is."""
    return (
        f"{pixels} masked pixel{'s' * (pixels != 1)} of section {z} lie where nothing was imaged "
        "(padding) and stay as they are"
    )


def _void(stack: Stack, z: int, damage: Box, hole: BoolImage) -> BoolImage:
    """Return which pixels of a hole are no data, and not damage; (H, W) bool over ``damage``."""
    shape = (stack.shape[1], stack.shape[2])
    seen = damage.expand(_MARGIN, shape)
    masked = np.zeros(seen.shape, dtype=bool)
    masked[damage.within(seen)] = hole
    imaged = stack.imaged(z, seen, stack.read(z, seen))
    return hole & padding_of(imaged, masked)[damage.within(seen)]
