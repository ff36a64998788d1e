"""What is asked of one section, checked: the way to plan, repair and predict begins with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..kinds import KINDS
from ..methods import Method, check_method, get_method
from ..methods.choice import AUTO
from ..methods.learned import LearnedMethod
from ..reference.texture import check_texture
from ..repair_options import RepairOptions
from ..types import AnyImage, BoolImage, Box
from ..writing.marks import marks_of
from .gate import check_gate
from .neighbours import Masks, no_masks

if TYPE_CHECKING:
    from ..io.stack import Stack


@dataclass(frozen=True, slots=True, eq=False)
class RepairJob:
    """The checked arguments of :func:`~.repair_section.repair_section`.

    ``masks`` tells damage and synthetic pixels of every section, ``marks`` the latter alone;
    ``kinds`` is the kind of the section's damage, (Y, X) labels, where known.
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
    kinds: AnyImage | None = None

    def damage(self, z: int, box: Box) -> BoolImage:
        """Return ``masks`` with the damage that is to be repaired, (H, W) bool over ``box``."""
        found = self.masks(z, box)
        return found | self.mask[box.slices] if z == self.z else found

    def with_halo(self, damage: Box, method: Method) -> Box:
        """Return a damaged box with the context that was asked for, or that the method wants."""
        halo = method.halo(damage) if self.options.halo is None else self.options.halo
        return damage.expand(halo, self.mask.shape)


def make_job(
    stack: Stack,
    z: int,
    mask: BoolImage,
    masks: Masks | None,
    thickness: Sequence[float] | None,
    method: str | Method,
    device: str,
    options: RepairOptions | None,
    kinds: AnyImage | None = None,
) -> RepairJob:
    """Return a request with its defaults filled in, or refuse what cannot be a valid one."""
    marks = marks_of(stack) or no_masks
    every = marks if masks is None else _either(marks, masks)
    options = options or RepairOptions()
    job = RepairJob(stack, z, mask, every, marks, thickness, method, device, options, kinds)
    _check(job)
    return job


def _either(first: Masks, second: Masks) -> Masks:
    """Return the damage that one of two tells of."""
    return lambda z, box: first(z, box) | second(z, box)


def _check(job: RepairJob) -> None:
    """Raise :class:`InputError` for what shows before anything is read."""
    method = job.method
    if isinstance(method, str):
        check_method(method)
        method = method if method == AUTO else get_method(method)
    if isinstance(method, LearnedMethod):
        method.weights_file(job.options)
    depth, height, width = job.stack.shape
    if not 0 <= job.z < depth:
        raise InputError(f"section {job.z} does not exist; the stack has sections 0 to {depth - 1}")
    if job.mask.shape != (height, width):
        raise InputError(
            f"the mask is {job.mask.shape} but the section is {(height, width)}; "
            "give a mask of the section's shape (Y, X)"
        )
    if job.kinds is not None and job.kinds.shape != job.mask.shape:
        raise InputError(
            f"the kinds are {job.kinds.shape} but the mask is {job.mask.shape}; give labels of the "
            "section's shape (Y, X)"
        )
    if job.mask.dtype != np.bool_:
        raise InputError(f"the mask is {job.mask.dtype}; give a bool mask, True where damaged")
    if job.thickness is not None and len(job.thickness) != depth:
        raise InputError(
            f"{len(job.thickness)} thicknesses are given for {depth} sections; give one each"
        )
    check_gate(job.options)
    if job.options.kind is not None and job.options.kind not in KINDS:
        raise InputError(f"unknown kind '{job.options.kind}'; choose one of: {', '.join(KINDS)}")
    check_texture(job.options.texture)
    if job.options.max_gap < 1:
        raise InputError(f"max_gap is {job.options.max_gap}; it must be at least 1")
    if job.options.halo is not None and job.options.halo < 1:
        raise InputError(f"halo is {job.options.halo}; it must be at least 1 pixel")
    if not job.mask.any():
        raise InputError(f"the mask of section {job.z} is empty; paint the damage first")
