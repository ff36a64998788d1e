"""Intact places of a stack to learn from, and others that are held back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import InputError, StoreError
from ..repair.neighbours import Masks, is_grey
from ..types import AnyImage, BoolImage, Box
from ..window import Neighbour, Window
from ..writing.marks import marks_of

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Places to learn from and to hold back, at most, and the largest side of one, pixels.
_MOST, _MOST_HELD, _SIDE = 48, 6, 384
#: Least intact share of a place in a section and both neighbours.
_INTACT = 0.95
#: Other places that are tried in a section.
_TRIES = 6
#: Least distance, in sections, between those learned from and those held back.
_APART = 3
#: From this many sections on, those held back are spread over the stack.
_MANY = 40


@dataclass(frozen=True, eq=False)
class Place:
    """A place in a section and in two sections on each side.

    Parameters
    ----------
    z, box
        The section, and where.
    images
        (5, H, W), dtype of the stack; sections z - 2 to z + 2.
    intact
        (5, H, W) bool, where these show tissue that is not damaged.
    """

    z: int
    box: Box
    images: AnyImage
    intact: npt.NDArray[np.bool_]

    def window(self, mask: BoolImage) -> Window:
        """Return the window of a repair of some damage, (H, W) bool."""
        numbers = range(self.z - 2, self.z + 3)
        shown = [
            Neighbour(number, image.astype(np.float32), intact)
            for number, image, intact in zip(numbers, self.images, self.intact, strict=True)
        ]
        return Window(
            z=self.z,
            box=self.box,
            section=np.where(mask, 0, shown[2].image),
            mask=mask,
            intact=shown[2].valid & ~mask,
            previous=shown[1],
            following=shown[3],
            alpha=0.5,
            value_range=(-np.inf, np.inf),
            further=(shown[0], shown[4]),
        )


def choose_places(
    stack: Stack, masks: Masks, skip: frozenset[int], seed: int
) -> tuple[list[Place], list[Place]]:
    """Return places to learn from, and places of other sections that are held back.

    Parameters
    ----------
    stack
        The stack; no more than the places is kept in memory.
    masks
        Returns the damage of a section.
    skip
        Sections that are not to be looked at.
    seed
        Seed of the places.

    Raises
    ------
    InputError
        If there are too few.
    """
    depth = stack.shape[0]
    used = [z for z in range(2, depth - 2) if not skip & set(range(z - 1, z + 2))]
    held = _held(used)
    free = [z for z in used if all(abs(z - other) >= _APART for other in held)]
    kept = _found(stack, masks, held, _MOST_HELD, seed)
    learn = _found(stack, masks, free, _MOST, seed)
    if not kept or len(learn) < 2:
        whole = Box.whole(stack.shape[1:])
        known = bool(skip) or any(masks(z, whole).any() for z in range(depth))
        raise InputError(
            f"{stack.name} has too few intact sections to learn from and to hold back: about ten "
            "in a row are "
            f"needed{'; mask or flag fewer, or use the released weights' if known else ''}."
        )
    return learn, kept


def _held(used: list[int]) -> list[int]:
    """Return the sections that are held back: spread over a deep stack, the end of another."""
    if len(used) >= _MANY:
        picked = np.linspace(0, len(used) - 1, 2 * _MOST_HELD + 1).astype(int)[1::2]
        return [used[number] for number in picked]
    return used[-max(len(used) // 5, 1) :]


def _found(stack: Stack, masks: Masks, sections: list[int], most: int, seed: int) -> list[Place]:
    """Return a place in every section, or in sections spread over them."""
    if not sections:
        return []
    count = min(most, len(sections))
    picked = [sections[i] for i in np.linspace(0, len(sections) - 1, count).astype(int)]
    # two places each where there are few sections and they are large
    per = int(np.clip(most // len(picked), 1, 4)) if min(stack.shape[1:]) > 1.5 * _SIDE else 1
    tried = ((z, n) for z in dict.fromkeys(picked) for n in range(per))
    return [found for z, n in tried for found in _tried(stack, masks, z, (seed, z, n))][:most]


def _tried(stack: Stack, masks: Masks, z: int, seed: tuple[int, ...]) -> Iterator[Place]:
    """Yield an intact place of a section, if one is found."""
    rng = np.random.default_rng(seed)
    height, width = (min(_SIDE, n) for n in stack.shape[1:])
    for _ in range(_TRIES):
        y = int(rng.integers(stack.shape[1] - height + 1))
        x = int(rng.integers(stack.shape[2] - width + 1))
        box = Box(y, x, y + height, x + width)
        try:
            read = [_read(stack, masks, number, box) for number in range(z - 2, z + 3)]
        except StoreError:
            return
        shares = [float(intact.mean()) for _, intact in read]
        if min(shares[1:4]) >= _INTACT and min(shares) > 0:
            images = [np.where(good, i, i[good].mean()).astype(i.dtype) for i, good in read]
            yield Place(z, box, np.stack(images), np.stack([intact for _, intact in read]))
            return


def _read(stack: Stack, masks: Masks, z: int, box: Box) -> tuple[AnyImage, BoolImage]:
    """Read a place in a section, and where it shows tissue that is not damaged."""
    pixels, imaged = stack.read_imaged(z, box)
    if pixels.min() == pixels.max():  # missing
        return pixels, np.zeros(box.shape, dtype=bool)
    good = imaged & is_grey(pixels) & ~masks(z, box)
    marks = marks_of(stack)
    return pixels, good if marks is None else good & ~marks(z, box)
