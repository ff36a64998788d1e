"""What of a mask lies where nothing was imaged: that is no damage, and stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import BoolImage, Box, IntImage
from .windows import windows_of

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Pixels around the damage that are looked at: most damage does not reach as far.
_MARGIN = 16
#: No data of which so much is masked, and that is so much of the mask, is what the mask outlines:
#: a lost corner, say, that somebody painted. Then it is damage.
_OUTLINED, _MOSTLY = 0.95, 0.5


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
        "(padding); nothing is made up there"
    )


def _void(stack: Stack, z: int, damage: Box, hole: BoolImage) -> BoolImage:
    """Return which pixels of a hole are no data, and not damage; (H, W) bool over ``damage``."""
    import cv2

    shape = (stack.shape[1], stack.shape[2])
    seen = damage.expand(_MARGIN, shape)
    void = ~stack.imaged(z, seen, stack.read(z, seen))
    inside = damage.within(seen)
    if not (void[inside] & hole).any():
        return np.zeros_like(hole)
    masked = np.zeros_like(void)
    masked[inside] = hole
    _, names = cv2.connectedComponents(void.view(np.uint8), connectivity=8)
    sizes = np.bincount(names.ravel())
    covered = np.bincount(names[masked], minlength=sizes.size)
    outlined = (covered >= _OUTLINED * sizes) & (covered >= _MOSTLY * masked.sum())
    edges = np.concatenate([names[0], names[-1], names[:, 0], names[:, -1]])
    # NaN in the midst of tissue is a hole
    outlined |= ~np.isin(np.arange(sizes.size), edges)
    outlined[0] = True
    return hole & ~outlined[names][inside]
