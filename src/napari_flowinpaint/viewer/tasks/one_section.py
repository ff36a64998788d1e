"""The damage of the section that is shown, and its repair."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...core.errors import RepairRefused
from ...core.repair_options import RepairRequest
from ...core.types import Box, IntImage, Progress
from .refusals import SectionRefused, every_place, places_of
from .review import Review, find_components
from .stack_repairs import check_acceptable

if TYPE_CHECKING:
    from ...core.io.stack import Stack
    from ...core.masks.sparse_mask import SparseMask

#: Largest damaged box, in pixels, under which the neighbours are looked up while painting.
_CHEAP = 2048 * 2048
#: Most windows whose neighbours are looked up then.
_FEW = 12


@dataclass(frozen=True, eq=False)
class SectionJob:
    """One resolved request with everything it needs; painting does not change it."""

    request_id: int
    request: RepairRequest
    stack: Stack
    mask: SparseMask


@dataclass(frozen=True)
class MaskStatus:
    """What is damaged in a section.

    ``neighbours`` are those of each window; None if finding them would take too long. ``methods``
    says in words what ``auto`` takes, and why; empty if a method was chosen.
    """

    z: int
    components: int
    pixels: int
    neighbours: tuple[tuple[int | None, int | None], ...] | None
    methods: str = ""


class _Made(NamedTuple):
    """What is going to repair a window, and why."""

    method: str
    why: str


def repair(job: SectionJob, *, progress: Progress) -> Review:
    """Repair a section and prepare what is needed to look at it.

    Raises
    ------
    SectionRefused
        If all of its damage was refused.
    FlowInpaintError
        If the repair could not be written into the stack later.
    """
    from ...core.masks.stack_mask import StackMask
    from ...core.repair.repair_section import repair_section

    request = job.request

    def engine(fraction: float, message: str) -> None:
        progress(0.95 * fraction, message)

    progress(0.0, f"section {request.z}: reading the mask")
    check_acceptable(job.stack)
    around = job.mask.damaged_box(request.z)
    damage = StackMask(job.mask, job.stack.shape)
    try:
        result = repair_section(
            job.stack,
            request.z,
            job.mask.read(request.z),
            masks=job.mask.read,
            kinds=None if around is None else damage.section_kinds(request.z, around),
            method=request.method,
            device=request.device,
            options=request.options,
            progress=engine,
        )
    except RepairRefused as error:
        reason = str(error)
        places = every_place(job.mask, request.z, reason)
        raise SectionRefused(request.z, reason, places) from error
    left = places_of(job.mask, request.z, result.refused)
    review = Review(result, job.stack.read(result.z, result.box), find_components(result), left)
    progress(1.0, f"section {request.z}: repaired")
    return review


def mask_status(
    stack: Stack | None, mask: SparseMask, request: RepairRequest, *, progress: Progress
) -> MaskStatus:
    """Count the damage of a section; find its neighbours and its methods, where that is cheap."""
    import cv2

    from ...core.repair.windows import windows_of

    progress(0.0, "counting the damage")
    z = request.z
    around = mask.damaged_box(z)
    damage = None if around is None else mask.read(z, around)
    inner = None if damage is None else Box.of_mask(damage)
    if around is None or damage is None or inner is None:
        return MaskStatus(z, 0, 0, None)
    damage = damage[inner.slices]
    pixels = int(np.count_nonzero(damage))
    if stack is None or damage.size > _CHEAP:
        count, _ = cv2.connectedComponents(damage.view(np.uint8), connectivity=8)
        return MaskStatus(z, count - 1, pixels, None)
    windows = list(windows_of(damage))
    count = max(int(components.max()) for _, components in windows)
    if len(windows) > _FEW:
        return MaskStatus(z, count, pixels, None)
    y, x = around.y0 + inner.y0, around.x0 + inner.x0
    damages = [(box.shifted(y, x), components) for box, components in windows]
    return MaskStatus(z, count, pixels, *_guides(stack, mask, request, around, damages))


def _guides(
    stack: Stack,
    mask: SparseMask,
    request: RepairRequest,
    around: Box,
    damages: Iterable[tuple[Box, IntImage]],
) -> tuple[tuple[tuple[int | None, int | None], ...], str]:
    """Return the neighbours of each window of a section, and the methods that ``auto`` takes."""
    from ...core.masks.stack_mask import StackMask
    from ...core.methods.choice import AUTO, describe_methods
    from ...core.repair.guided_window import guide_by
    from ...core.repair.job import make_job
    from ...core.repair.neighbours import find_neighbours

    z, options = request.z, request.options
    kinds = StackMask(mask, stack.shape).section_kinds(z, around)
    job = make_job(
        stack, z, mask.read(z), mask.read, None, request.method, request.device, options, kinds
    )
    neighbours, made = [], []
    for place, components in damages:
        found = find_neighbours(stack, z, place, components > 0, options.max_gap, job.masks)
        neighbours.append(found)
        with suppress(RepairRefused):
            guided = guide_by(job, place, components, found)
            made.append(_Made(guided.method.name, guided.why))
    return tuple(neighbours), describe_methods(made) if request.method == AUTO else ""
