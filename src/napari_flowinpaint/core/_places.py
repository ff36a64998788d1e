"""Where a damage can be tried: intact places that are repaired as if they were damaged alike.

The truth is known there, and what guides the repair is as far away as for the real damage:

* the mask moved (or mirrored) to another place of the damaged section, guided by the same
  neighbours;
* the same mask at the same place of a section nearby, guided by sections at the same distances,
  so at the same ``alpha``;
* near the ends of a stack, the same mask on a neighbour, guided by the nearest sections it has, at
  whatever ``alpha`` that makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ._reading import Job
from .neighbours import Masks, find_neighbour, shows
from .types import BoolImage, Box

Neighbours = tuple[int | None, int | None]

#: Moved masks lie at least this far from where they were, in pixels and in their own sizes.
_LEAST_MOVE = 64
_MOVES = (2.0, 3.0)
_DIRECTIONS = 8
#: A moved mask of which more than this share lies on damage is none.
_MOST_LOST = 0.5
#: How much of a mask lies on damage is looked up in about so many rows and columns.
_LOOKS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """An intact place to be repaired as if it were damaged.

    Parameters
    ----------
    z
        Section number.
    box
        The damaged box, moved.
    hole
        (H, W) bool over ``box``; some of it may lie on real damage, where no truth is known.
    neighbours
        Section numbers of what guides there.
    """

    z: int
    box: Box
    hole: BoolImage
    neighbours: Neighbours


def damage_of(job: Job) -> Masks:
    """Return the damage of every section, that of the section to be repaired included."""

    def masks(z: int, box: Box) -> BoolImage:
        found = job.masks(z, box)
        return found | job.mask[box.slices] if z == job.z else found

    return masks


def places_of(job: Job, damage: Box, hole: BoolImage, neighbours: Neighbours) -> Iterator[Place]:
    """Yield places for the damage of one window, the best first; at most six, perhaps none.

    Parameters
    ----------
    job
        The request.
    damage
        The damaged box.
    hole
        (H, W) bool over ``damage``.
    neighbours
        What guides the real repair; no place has fewer.
    """
    own = _moved(job, damage, hole, neighbours)
    before, after = (_beside(job, damage, hole, neighbours, step) for step in (-1, 1))
    for source in (own, before, after) * 2:
        place = next(source, None)
        if place is not None:
            yield place


def _moved(job: Job, damage: Box, hole: BoolImage, neighbours: Neighbours) -> Iterator[Place]:
    """Yield the mask moved within its section: where it meets least damage, the nearest first."""
    masks = damage_of(job)
    found: list[tuple[int, int, Box, BoolImage]] = []
    for box, moved in _moves(job, damage, hole):
        step = max(1, max(box.shape) // _LOOKS)
        thin = moved[::step, ::step]
        hit = thin & job.mask[box.slices][::step, ::step]
        lost = float(hit.sum()) / max(float(thin.sum()), 1.0)
        if lost <= _MOST_LOST:
            found.append((round(10 * lost), len(found), box, moved))
    for _, _, box, moved in sorted(found, key=lambda entry: entry[:2]):
        guides = [n for n in neighbours if n is not None]
        if all(shows(job.stack, n, box, moved, masks) for n in guides):
            yield Place(job.z, box, moved, neighbours)


def _moves(job: Job, damage: Box, hole: BoolImage) -> Iterator[tuple[Box, BoolImage]]:
    """Yield boxes in the section with the hole in them: shifted all around, then mirrored."""
    height, width = damage.shape
    rng = np.random.default_rng((job.options.seed, job.z, damage.y0, damage.x0))
    first = rng.uniform(0, 2 * np.pi)
    for sizes in _MOVES:
        reach = max(sizes * max(height, width), _LEAST_MOVE)
        for angle in first + 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS:
            y = damage.y0 + round(reach * float(np.sin(angle)))
            x = damage.x0 + round(reach * float(np.cos(angle)))
            yield _box_at(job, y, x, damage.shape), hole
    rows, columns = job.mask.shape
    for flip_y, flip_x in ((True, True), (True, False), (False, True)):
        y = rows - damage.y1 if flip_y else damage.y0
        x = columns - damage.x1 if flip_x else damage.x0
        moved = hole[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
        yield _box_at(job, y, x, damage.shape), moved


def _box_at(job: Job, y: int, x: int, shape: tuple[int, int]) -> Box:
    """Return a box of a shape at, or as near as the section permits to, a position."""
    y = min(max(y, 0), job.mask.shape[0] - shape[0])
    x = min(max(x, 0), job.mask.shape[1] - shape[1])
    return Box(y, x, y + shape[0], x + shape[1])


def _beside(
    job: Job, damage: Box, hole: BoolImage, neighbours: Neighbours, step: int
) -> Iterator[Place]:
    """Yield the mask where it is on sections of one side: guided alike, then guided otherwise."""
    masks = damage_of(job)
    gaps = [None if n is None else n - job.z for n in neighbours]
    reach = job.options.max_gap + sum(abs(gap) for gap in gaps if gap is not None)
    tried = set()
    for distance in range(1, reach + 1):
        z = job.z + step * distance
        before, after = (None if gap is None else z + gap for gap in gaps)
        needed = [n for n in (z, before, after) if n is not None]
        if all(shows(job.stack, n, damage, hole, masks) for n in needed):
            tried.add(z)
            yield Place(z, damage, hole, (before, after))
    target = neighbours[0] if step < 0 else neighbours[1]
    if target is None or target in tried:
        return
    before, after = (
        find_neighbour(job.stack, target, damage, hole, side, job.options.max_gap, masks)
        for side in (-1, 1)
    )
    if sum(n is not None for n in (before, after)) >= sum(gap is not None for gap in gaps):
        yield Place(target, damage, hole, (before, after))
