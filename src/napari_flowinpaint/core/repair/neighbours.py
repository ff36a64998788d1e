"""Which sections can guide the repair of a window, and where the section lies between them.

A neighbour is usable when it is not blank and its own damage leaves the pixels under the
window's mask alone; damage elsewhere in the window only makes those pixels ``valid=False``.
The search walks outwards, section by section, and gives up after ``max_gap`` sections, because
structure further away says nothing about the damaged one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..types import AnyImage, BoolImage, Box, Neighbour

if TYPE_CHECKING:
    from ..io.stack import Stack

#: ``masks(z, box)`` returns the damage of section ``z`` inside ``box``, (H, W) bool.
Masks = Callable[[int, Box], BoolImage]

#: Section numbers of previous and following; None where that side has no usable one.
Neighbours = tuple[int | None, int | None]

#: Pixels around the damage that are looked at to tell whether a section is blank.
_MARGIN = 16

#: Grey values beyond this are no grey values: in float32 their squares do not add up.
_LARGEST = 1e12


def is_grey(image: AnyImage) -> BoolImage:
    """Return where pixels are numbers to compute with: not NaN, not infinite, not absurd."""
    return np.abs(image.astype(np.float32, copy=False)) < _LARGEST


def no_masks(z: int, box: Box) -> BoolImage:
    """Say that no other section is damaged."""
    return np.zeros(box.shape, dtype=bool)


def find_neighbours(
    stack: Stack, z: int, box: Box, mask: BoolImage, max_gap: int, masks: Masks
) -> Neighbours:
    """Return the nearest usable sections before and after; see :func:`find_neighbour`."""
    before, after = (find_neighbour(stack, z, box, mask, step, max_gap, masks) for step in (-1, 1))
    return before, after


def find_neighbour(
    stack: Stack,
    z: int,
    box: Box,
    mask: BoolImage,
    step: int,
    max_gap: int,
    masks: Masks,
    beyond: int = 0,
) -> int | None:
    """Return the number of the nearest usable section on one side of a box, or None.

    Parameters
    ----------
    stack
        The stack.
    z
        The damaged section.
    box
        The damaged box in the section.
    mask
        (H, W) bool over ``box``, True = damaged.
    step
        -1 searches before the section, +1 after it.
    max_gap
        Largest permitted distance in sections.
    masks
        Damage of the other sections.
    beyond
        Sections up to this distance are passed over.
    """
    for distance in range(beyond + 1, max_gap + 1):
        candidate = z + step * distance
        if not 0 <= candidate < stack.shape[0]:
            return None
        if shows(stack, candidate, box, mask, masks):
            return candidate
    return None


def shows(stack: Stack, z: int, box: Box, mask: BoolImage, masks: Masks) -> bool:
    """Return whether a section exists and is intact and not blank under a mask.

    Parameters
    ----------
    stack
        The stack.
    z
        Any number.
    box
        The box of the mask.
    mask
        (H, W) bool over ``box``.
    masks
        Damage of every section.
    """
    if not 0 <= z < stack.shape[0] or (masks(z, box) & mask).any():
        return False
    # A little more than the damage is looked at: a hole of one pixel alone is always constant.
    seen = box.expand(_MARGIN, (stack.shape[1], stack.shape[2]))
    hidden = np.zeros(seen.shape, dtype=bool)
    hidden[box.within(seen)] = mask
    return is_usable(stack.read(z, seen), hidden)


def read_neighbour(stack: Stack, z: int | None, box: Box, masks: Masks) -> Neighbour | None:
    """Read a neighbour under a whole window; damaged pixels of its own get its mean value."""
    if z is None:
        return None
    image = stack.read(z, box).astype(np.float32)
    valid = is_grey(image) & ~masks(z, box)
    image[~valid] = image[valid].mean()
    return Neighbour(z, image, valid)


def is_usable(image: AnyImage, mask: BoolImage) -> bool:
    """Return whether a neighbour shows anything where the section is damaged.

    A missing section is stored as a constant plane; a section that does not cover the hole is
    constant there. Either would paint a flat patch.
    """
    under = image[mask]
    if not is_grey(under).all() or image.min() == image.max():
        return False
    return under.size < 16 or bool(under.min() < under.max())


def axial_position(
    z: int, previous: int | None, following: int | None, thickness: Sequence[float] | None = None
) -> float:
    """Return ``alpha`` of section ``z`` between its neighbours (0 at previous, 1 at following).

    Parameters
    ----------
    z, previous, following
        Section numbers; a missing side gives 0.5, which no method uses.
    thickness
        Thickness of every section of the stack, any unit, where known. The distance between
        the centres of two sections is then half of either plus all between them.

    Examples
    --------
    >>> axial_position(5, 4, 7)
    0.3333333333333333
    """
    if previous is None or following is None:
        return 0.5
    if thickness is None:
        return (z - previous) / (following - previous)

    def distance(a: int, b: int) -> float:
        return float((thickness[a] + thickness[b]) / 2 + sum(thickness[a + 1 : b]))

    before, after = distance(previous, z), distance(z, following)
    return before / (before + after)
