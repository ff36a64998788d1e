"""Which sections can guide the repair of a window, and where the section lies between them.

A neighbour is usable when it is not blank, was imaged under at least half of the window's mask, and
its own damage leaves the pixels there alone; damage and no data elsewhere in the window only make
those pixels ``valid=False``. Where one neighbour was not imaged, the other alone guides.
The search walks outwards, section by section, and gives up after ``max_gap`` sections, because
structure further away says nothing about the damaged one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StoreError
from ..types import AnyImage, BoolImage, Box
from ..window import Neighbour

if TYPE_CHECKING:
    from ..io.stack import Stack

#: ``masks(z, box)`` returns the damage of section ``z`` inside ``box``, (H, W) bool.
Masks = Callable[[int, Box], BoolImage]

#: Section numbers of previous and following; None where that side has no usable one.
Neighbours = tuple[int | None, int | None]

#: A section, and where it shows the damage.
_Candidate = tuple[int | None, BoolImage]

#: Pixels around the damage that are looked at to tell whether a section is blank.
_MARGIN = 16

#: Least share of the damage under which a neighbour has to be imaged.
LEAST_SHOWN = 0.5
#: What it costs where no neighbour shows the damage, where only one does, and to go one section
#: further, all of them for the whole of the damage.
_UNSEEN, _SEEN_ONCE, _FURTHER = 10.0, 1.0, 0.6

#: Grey values beyond this are no grey values: in float32 their squares do not add up.
_LARGEST = 1e12


def is_grey(image: AnyImage) -> BoolImage:
    """Return where pixels are numbers to compute with: not NaN, not infinite, not absurd."""
    return np.abs(image.astype(np.float32, copy=False)) < _LARGEST


def no_masks(z: int, box: Box) -> BoolImage:
    """Say that no other section is damaged."""
    return np.zeros(box.shape, dtype=bool)


def further_sections(z: int, neighbours: Neighbours, depth: int, max_gap: int) -> tuple[int, ...]:
    """Return the sections next beyond the neighbours on both sides; none if one is not there.

    They guide nothing by themselves; the rehearsal tells how much they count. So they need not
    be intact, but lie within the permitted gap.
    """
    previous, following = neighbours
    if previous is None or following is None:
        return ()
    beyond = (previous - 1, following + 1)
    there = beyond[0] >= 0 and beyond[1] < depth and max(z - beyond[0], beyond[1] - z) <= max_gap
    return beyond if there else ()


def find_neighbours(
    stack: Stack, z: int, box: Box, mask: BoolImage, max_gap: int, masks: Masks
) -> Neighbours:
    """Return the best usable sections before and after: the nearest ones, as a rule.

    A section that was not imaged under part of the damage (padding) competes with those beyond it:
    two sections that together show all of the damage are better than one that shows it twice.

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
    max_gap
        Largest permitted distance in sections.
    masks
        Damage of the other sections.
    """
    nothing: _Candidate = (None, np.zeros(mask.shape, dtype=bool))
    before, after = (
        list(_candidates(stack, z, box, mask, step, max_gap, masks)) or [nothing]
        for step in (-1, 1)
    )
    pairs = [(p, f) for p in before for f in after]

    def cost(pair: tuple[_Candidate, _Candidate]) -> float:
        shown = sum(covered[mask].astype(np.uint8) for _, covered in pair)
        further = sum(abs(n - z) - 1 for n, _ in pair if n is not None)
        neither, one = (float(np.mean(shown == count)) for count in (0, 1))
        return _UNSEEN * neither + _SEEN_ONCE * one + _FURTHER * further

    (previous, _), (following, _) = min(pairs, key=cost)
    return previous, following


def _candidates(
    stack: Stack, z: int, box: Box, mask: BoolImage, step: int, max_gap: int, masks: Masks
) -> Iterator[_Candidate]:
    """Yield usable sections on one side and what they show, up to the first that shows all."""
    for distance in range(1, max_gap + 1):
        candidate = z + step * distance
        shown = what_shows(stack, candidate, box, mask, masks)
        if shown is None:
            continue
        yield candidate, shown
        if shown.all():
            return


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
    stack, z, box, mask, max_gap, masks
        As for :func:`find_neighbours`.
    step
        -1 searches before the section, +1 after it.
    beyond
        Sections up to this distance are passed over.
    """
    for distance in range(beyond + 1, max_gap + 1):
        if what_shows(stack, z + step * distance, box, mask, masks) is not None:
            return z + step * distance
    return None


def shows(stack: Stack, z: int, box: Box, mask: BoolImage, masks: Masks) -> bool:
    """Return whether a section exists and shows something everywhere under a mask.

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
    shown = what_shows(stack, z, box, mask, masks)
    return shown is not None and bool(shown.all())


def what_shows(stack: Stack, z: int, box: Box, mask: BoolImage, masks: Masks) -> BoolImage | None:
    """Return where a section shows what is under a mask; None if it is no neighbour at all.

    Parameters
    ----------
    stack, z, box, mask, masks
        As for :func:`shows`.

    Returns
    -------
    shown
        (H, W) bool over ``box``, True where imaged and outside of the mask; None if there is no
        such section, or it is damaged or blank under the mask, or shows less than half of it.
    """
    if not 0 <= z < stack.shape[0] or (masks(z, box) & mask).any():
        return None
    # A little more than the damage is looked at: a hole of one pixel alone is always constant.
    seen = box.expand(_MARGIN, (stack.shape[1], stack.shape[2]))
    pixels = stack.read(z, seen)
    imaged = stack.imaged(z, seen, pixels)
    hidden = np.zeros(seen.shape, dtype=bool)
    hidden[box.within(seen)] = mask
    under = hidden & imaged
    if under.sum() < LEAST_SHOWN * hidden.sum() or not is_usable(pixels, under, imaged):
        return None
    return imaged[box.within(seen)] | ~mask


def read_neighbour(stack: Stack, z: int | None, box: Box, masks: Masks) -> Neighbour | None:
    """Read a neighbour under a whole window; pixels that show nothing get its mean value."""
    if z is None:
        return None
    pixels, imaged = stack.read_imaged(z, box)
    image = pixels.astype(np.float32)
    valid = is_grey(image) & ~masks(z, box) & imaged
    image[~valid] = image[valid].mean() if valid.any() else 0
    return Neighbour(z, image, valid)


def read_further(
    stack: Stack, z: int, neighbours: Neighbours, box: Box, max_gap: int, masks: Masks
) -> tuple[Neighbour, ...]:
    """Read the :func:`further_sections` under a whole window.

    None where one of them cannot be read: a repair can do without.
    """
    found = []
    for number in further_sections(z, neighbours, stack.shape[0], max_gap):
        try:
            read = read_neighbour(stack, number, box, masks)
        except StoreError:
            return ()
        found += [] if read is None else [read]
    return tuple(found)


def is_usable(image: AnyImage, mask: BoolImage, imaged: BoolImage | None = None) -> bool:
    """Return whether a neighbour shows anything where the section is damaged.

    A missing section is stored as a constant plane; a section that does not cover the hole is
    constant there. Either would paint a flat patch.
    """
    under = image[mask]
    around = image if imaged is None else image[imaged]
    if not is_grey(under).all() or around.min() == around.max():
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
