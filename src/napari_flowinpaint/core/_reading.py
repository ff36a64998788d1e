"""What a repair reads: its request, which sections can guide a window, and the window's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError, RepairRefused
from .gate import check_gate
from .methods import Method, check_method, choose_method
from .neighbours import Masks, axial_position, find_neighbour, is_grey, no_masks, read_neighbour
from .synthetic import marks_of
from .types import AnyImage, BoolImage, Box, FloatImage, IntImage, RepairOptions, Window

if TYPE_CHECKING:
    from .stack import Stack


@dataclass(frozen=True)
class Job:
    """The arguments of :func:`~napari_flowinpaint.core.repair.repair_section`.

    ``masks`` tells damage and synthetic pixels of every section, ``marks`` the latter alone.
    """

    stack: Stack
    z: int
    mask: BoolImage
    masks: Masks
    marks: Masks
    thickness: Sequence[float] | None
    method: str | Method
    device: str
    options: RepairOptions


def make_job(
    stack: Stack,
    z: int,
    mask: BoolImage,
    masks: Masks | None,
    thickness: Sequence[float] | None,
    method: str | Method,
    device: str,
    options: RepairOptions | None,
) -> Job:
    """Return a request with its defaults filled in."""
    marks = marks_of(stack) or no_masks
    every = marks if masks is None else _either(marks, masks)
    options = options or RepairOptions()
    return Job(stack, z, mask, every, marks, thickness, method, device, options)


def _either(first: Masks, second: Masks) -> Masks:
    """Return the damage that one of two tells of."""
    return lambda z, box: first(z, box) | second(z, box)


def check_job(job: Job) -> None:
    """Refuse what cannot be a valid request, before anything is read."""
    if isinstance(job.method, str):
        check_method(job.method)
    depth, height, width = job.stack.shape
    if not 0 <= job.z < depth:
        raise InputError(f"section {job.z} does not exist; the stack has sections 0 to {depth - 1}")
    if job.mask.shape != (height, width):
        raise InputError(
            f"the mask is {job.mask.shape} but the section is {(height, width)}; "
            "give a mask of the section's shape (Y, X)"
        )
    if job.mask.dtype != np.bool_:
        raise InputError(f"the mask is {job.mask.dtype}; give a bool mask, True where damaged")
    if job.thickness is not None and len(job.thickness) != depth:
        raise InputError(
            f"{len(job.thickness)} thicknesses are given for {depth} sections; give one each"
        )
    check_gate(job.options)
    if job.options.max_gap < 1:
        raise InputError(f"max_gap is {job.options.max_gap}; it must be at least 1")
    if job.options.halo is not None and job.options.halo < 1:
        raise InputError(f"halo is {job.options.halo}; it must be at least 1 pixel")
    if not job.mask.any():
        raise InputError(f"the mask of section {job.z} is empty; paint the damage first")


def find_both(job: Job, damage: Box, mask: BoolImage) -> tuple[int | None, int | None]:
    """Return the section numbers of the usable neighbours before and after."""
    before, after = (
        find_neighbour(job.stack, job.z, damage, mask, step, job.options.max_gap, job.masks)
        for step in (-1, 1)
    )
    return before, after


def method_for(job: Job, neighbours: tuple[int | None, int | None]) -> Method:
    """Return the method for the neighbours at hand, or refuse with the reason."""
    usable = sum(n is not None for n in neighbours)
    if isinstance(job.method, str):
        name, method = job.method, choose_method(job.method, usable)
    else:
        name, method = job.method.name, job.method
    if method is not None and method.neighbours <= usable:
        return method
    found = "no usable neighbour" if usable == 0 else "only one usable neighbour"
    raise RepairRefused(
        f"section {job.z} has {found} within {job.options.max_gap} section(s), too few for method "
        f"'{name}'; permit a larger gap (max_gap) or choose another method"
    )


def read_window(
    job: Job,
    damage: Box,
    components: IntImage,
    method: Method,
    neighbours: tuple[int | None, int | None],
) -> tuple[Window, AnyImage, IntImage]:
    """Read a window with its halo; return it, the raw pixels and the placed components."""
    halo = method.halo(damage) if job.options.halo is None else job.options.halo
    box = damage.expand(halo, job.mask.shape)
    placed = np.zeros(box.shape, dtype=np.int32)
    placed[damage.within(box)] = components
    raw = job.stack.read(job.z, box)
    section = raw.astype(np.float32)
    intact = ~(job.mask[box.slices] | job.marks(job.z, box))
    if not is_grey(section[intact]).all():
        raise InputError(
            f"section {job.z} contains NaN or infinite values (or above 1e12) outside the mask; "
            "mask them or replace them first"
        )
    previous, following = (read_neighbour(job.stack, n, box, job.masks) for n in neighbours)
    window = Window(
        z=job.z,
        box=box,
        section=section,
        mask=placed > 0,
        intact=intact,
        previous=previous,
        following=following,
        alpha=axial_position(job.z, *neighbours, job.thickness),
        value_range=job.stack.value_range,
        voxel_size=job.stack.voxel_size,
    )
    return window, raw, placed


def to_dtype(image: FloatImage, dtype: np.dtype) -> AnyImage:
    """Round and clip grey values into ``dtype``; float32 stays as it is."""
    if dtype.kind == "f":
        return image.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(image), limits.min, limits.max).astype(dtype)
