"""Which damage is unfolded, and what is repaired together with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kinds import KINDS, UNFOLDED
from ..methods import get_method
from ..methods.choice import AUTO
from ..types import Box, IntImage
from .job import RepairJob

#: A damaged box, and the numbers of the components in it.
Damage = tuple[Box, IntImage]


def kind_of(job: RepairJob, damage: Box, components: IntImage) -> str | None:
    """Return the kind that was told; else that of the largest fold or crack of a window, or None.

    A component is one if most of it is. What else is in the window is repaired with it: the tissue
    there may have moved.
    """
    if job.options.kind is not None or job.kinds is None:
        return job.options.kind
    labels = job.kinds[damage.slices]
    pixels = np.bincount(components.ravel())
    largest, found = 0, None
    for name in UNFOLDED:
        own = np.bincount(components[labels == KINDS[name].label], minlength=pixels.size)
        own[0] = 0
        size = int(own[2 * own > pixels].max(initial=0))
        if size > largest:
            largest, found = size, name
    return found


def overruled_kind(job: RepairJob, damage: Box, components: IntImage) -> str:
    """Return the kind that the mask tells of most damage, where another one was told; else "".

    What was told counts: whoever names a kind has looked, where a search may have erred.
    """
    if job.options.kind is None or job.kinds is None:
        return ""
    pixels = np.bincount(job.kinds[damage.slices][components > 0].ravel())
    told = [kind for kind in KINDS.values() if kind.label in range(2, pixels.size)]
    found = max(told, key=lambda kind: pixels[kind.label], default=None)
    if found is None or not pixels[found.label] or found.name == job.options.kind:
        return ""
    return found.name if {found.name, job.options.kind} & {*UNFOLDED} else ""


def join_folds(job: RepairJob, damages: Sequence[Damage]) -> list[Damage]:
    """Join damage that lies in the window of a fold with the fold.

    Its tissue moves with the fold's, which windows of their own would not know of.
    """
    todo = [
        (damage, components, _unfolds(job, damage, components)) for damage, components in damages
    ]
    done: list[Damage] = []
    while todo:
        box, components, moves = todo.pop(0)
        near = [other for other in todo if _together(job, (box, moves), (other[0], other[2]))]
        if not near:
            done.append((box, components))
            continue
        todo = [other for other in todo if not any(other is one for one in near)]
        parts = [(box, components), *((b, c) for b, c, _ in near)]
        todo.insert(0, (*_joined(parts), True))
    return done


def _unfolds(job: RepairJob, damage: Box, components: IntImage) -> bool:
    """Return whether tissue around some damage is going to be moved."""
    method = job.method
    if isinstance(method, str):
        if method == AUTO:
            return kind_of(job, damage, components) in UNFOLDED
        method = get_method(method)
    return bool(getattr(method, "moves_tissue", False))


def _together(job: RepairJob, first: tuple[Box, bool], second: tuple[Box, bool]) -> bool:
    """Return whether damage, and what moves around it, may lie in each other's reach."""
    if not (first[1] or second[1]):
        return False
    unfold = get_method("unfold")
    a, b = (job.with_halo(box, unfold) if moves else box for box, moves in (first, second))
    return a.overlaps(b)


def _joined(parts: Sequence[Damage]) -> Damage:
    """Return several damaged boxes as one."""
    box = parts[0][0]
    for other, _ in parts[1:]:
        box = box.union(other)
    components = np.zeros(box.shape, dtype=np.int32)
    for place, found in parts:
        inside = components[place.within(box)]
        inside[found > 0] = found[found > 0]
    return box, components
