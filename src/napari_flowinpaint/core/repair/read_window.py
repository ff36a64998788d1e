"""The pixels of a window: those of its section, and those of the neighbours that guide it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import InputError
from ..types import AnyImage, BoolImage, Box, FloatImage, IntImage
from ..window import Volume, Window
from .guided_window import GuidedWindow
from .job import RepairJob
from .neighbours import Masks, Neighbours, axial_position, is_grey, read_further, read_neighbour


def check_window(job: RepairJob, found: GuidedWindow, box: Box) -> None:
    """Let a method refuse a window (``box``, halo included) for the shape of its damage alone."""
    check = getattr(found.method, "check", None)
    if check is not None:
        placed = _place(found, box) > 0
        check(job.z, placed, _undamaged(job, box), job.options)


def _place(found: GuidedWindow, box: Box) -> IntImage:
    """Return the components of a window over ``box``, (H, W) int32."""
    placed = np.zeros(box.shape, dtype=np.int32)
    placed[found.damage.within(box)] = found.components
    return placed


def _undamaged(job: RepairJob, box: Box) -> BoolImage:
    """Return what of the section is neither damaged nor synthetic, (H, W) bool over ``box``."""
    return ~(job.mask[box.slices] | job.marks(job.z, box))


def read_window(job: RepairJob, found: GuidedWindow) -> tuple[Window, AnyImage, IntImage]:
    """Read a window with its halo; return it, the raw pixels and the placed components.

    A halo ends where nothing was imaged: a padded section has the same windows as it has without
    its padding.
    """
    box = job.with_halo(found.damage, found.method)
    raw, imaged = job.stack.read_imaged(job.z, box)
    placed = _place(found, box)
    imaged |= placed > 0
    inner = Box.of_mask(imaged)
    if inner is not None and inner.shape != box.shape:
        raw, placed, imaged = (
            np.ascontiguousarray(image[inner.slices]) for image in (raw, placed, imaged)
        )
        box = inner.shifted(box.y0, box.x0)
    intact = imaged & _undamaged(job, box)
    section = raw.astype(np.float32)
    if not is_grey(section[intact]).all():
        raise InputError(
            f"section {job.z} contains values above 1e12 outside the mask; mask them or replace "
            "them first"
        )
    if not imaged.all():
        section[~imaged] = section[intact].mean() if intact.any() else 0
    window = guide_window(job, job.z, box, section, placed > 0, intact, found.neighbours, job.masks)
    volume = Volume(job.stack.shape, partial(_read_trusted, job))
    return replace(window, imaged=imaged, volume=volume), raw, placed


def _read_trusted(job: RepairJob, z: int, box: Box) -> tuple[FloatImage, BoolImage]:
    """Read part of a section for :class:`~napari_flowinpaint.core.window.Volume`."""
    raw, imaged = job.stack.read_imaged(z, box)
    image = raw.astype(np.float32)
    trusted = imaged & is_grey(image) & ~job.damage(z, box)
    if raw.size > 1 and raw.min() == raw.max():  # a missing section is stored as a constant
        trusted[:] = False
    return np.where(trusted, image, 0), trusted


def guide_window(
    job: RepairJob,
    z: int,
    box: Box,
    section: FloatImage,
    mask: BoolImage,
    intact: BoolImage,
    neighbours: Neighbours,
    masks: Masks,
) -> Window:
    """Return a window of the stack with the pixels of its neighbours."""
    previous, following = (read_neighbour(job.stack, n, box, masks) for n in neighbours)
    return Window(
        z=z,
        box=box,
        section=section,
        mask=mask,
        intact=intact,
        previous=previous,
        following=following,
        alpha=axial_position(z, *neighbours, job.thickness),
        value_range=job.stack.value_range,
        voxel_size=job.stack.voxel_size,
        section_shape=(job.stack.shape[1], job.stack.shape[2]),
        further=read_further(job.stack, z, neighbours, box, job.options.max_gap, masks),
    )
