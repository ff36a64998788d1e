"""The way that planning, repairing and predicting the quality of a section have in common.

A :class:`RepairJob` is what was asked for. :func:`each_window` goes through its windows, finds the
neighbours that can guide each and the method for them, and keeps the windows that are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import InputError, RepairRefused
from ..io.no_data import enclosed
from ..kinds import KINDS
from ..methods import Method, check_method, choose_method
from ..reference.texture import check_texture
from ..refusal import Refusal, describe_reasons
from ..types import (
    AnyImage,
    BoolImage,
    Box,
    FloatImage,
    IntImage,
    Progress,
    RepairOptions,
    Window,
    no_progress,
)
from ..writing.marks import marks_of
from .fold_kinds import by_kind, join_folds, kind_of
from .gate import check_gate
from .neighbours import (
    Masks,
    Neighbours,
    axial_position,
    find_neighbours,
    is_grey,
    no_masks,
    read_neighbour,
    what_shows,
)
from .unimaged import describe_unimaged, imaged_damages

if TYPE_CHECKING:
    from ..io.stack import Stack

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True, eq=False)
class GuidedWindow:
    """A window of which it is known what guides it and what repairs it; its pixels are not read.

    Parameters
    ----------
    damage
        The damaged box, without context.
    components
        (H, W) int32 over ``damage``: number of the connected component, 0 outside all.
    neighbours
        What guides it.
    method
        What repairs it.
    notes
        What should be known of it, in words.
    left
        Damage in it that no neighbour shows: it is left.
    kind
        Kind of its damage, where it is known and decides about the method.
    """

    damage: Box
    components: IntImage
    neighbours: Neighbours
    method: Method
    notes: tuple[str, ...] = ()
    left: tuple[Refusal, ...] = ()
    kind: str | None = None

    @property
    def hole(self) -> BoolImage:
        """(H, W) bool over ``damage``, True where pixels are to be replaced."""
        return self.components > 0

    @property
    def pixels(self) -> int:
        """How many pixels are to be replaced."""
        return int(np.count_nonzero(self.components))


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


def each_window(
    job: RepairJob,
    use: Callable[[GuidedWindow, Progress], T],
    progress: Progress = no_progress,
) -> tuple[list[T], tuple[Refusal, ...]]:
    """Do something with every window of a request that can be guided.

    Parameters
    ----------
    job
        The request.
    use
        Called with a window and a progress of its own; may refuse it by ``RepairRefused``.
    progress
        Called with (fraction, message); may raise ``Cancelled``.

    Returns
    -------
    found
        What ``use`` returned; at least one.
    refused
        Windows that nothing can guide, or that ``use`` refused.

    Raises
    ------
    RepairRefused
        If every window was refused.
    """
    damages, unimaged = imaged_damages(job.stack, job.z, job.mask)
    notes = (describe_unimaged(job.z, unimaged),) if unimaged else ()
    if not damages:
        raise RepairRefused(*notes)
    damages = join_folds(job, damages)
    found: list[T] = []
    refused: list[Refusal] = []
    for number, (damage, components) in enumerate(damages):
        report = partial(report_part, progress, number, len(damages))
        report(0.0, f"section {job.z}: reading the neighbours")
        try:
            window = _guide(job, damage, components)
            found.append(use(replace(window, notes=notes + window.notes), report))
            refused += window.left
        except RepairRefused as error:
            refused.append(Refusal(damage, int(np.count_nonzero(components)), str(error)))
    if not found:
        raise RepairRefused(describe_reasons(refused))
    return found, tuple(refused)


def report_part(progress: Progress, number: int, count: int, fraction: float, message: str) -> None:
    """Report the progress of one of several parts that are alike."""
    progress((number + fraction) / count, message)


def _guide(job: RepairJob, damage: Box, components: IntImage) -> GuidedWindow:
    """Find neighbours and method for the damage of one window, or refuse with the reason."""
    neighbours = find_neighbours(
        job.stack, job.z, damage, components > 0, job.options.max_gap, job.masks
    )
    return guide_by(job, damage, components, neighbours)


def guide_by(
    job: RepairJob, damage: Box, components: IntImage, neighbours: Neighbours
) -> GuidedWindow:
    """Choose the method for the damage of one window with its neighbours.

    What none of the neighbours shows is left.

    Raises
    ------
    RepairRefused
        If they are too few.
    """
    usable = sum(n is not None for n in neighbours)
    kind = kind_of(job, damage, components)
    if isinstance(job.method, str):
        name = by_kind(job.method, kind)
        method = choose_method(name, usable)
    else:
        name, method = job.method.name, job.method
    if method is None or method.neighbours > usable:
        found = "no usable neighbour" if usable == 0 else "only one usable neighbour"
        raise RepairRefused(
            f"section {job.z} has {found} within {job.options.max_gap} section(s), too few for "
            f"method '{name}'; permit a larger gap (max_gap) or choose another method"
        )
    window = GuidedWindow(damage, components, neighbours, method, kind=kind)
    unseen = window.hole & ~_shown(job, window)
    if not usable or not unseen.any():
        return window
    window = replace(window, components=np.where(unseen, 0, components).astype(np.int32))
    if components.all() and components.shape == job.stack.shape[1:]:
        # A lost section does not tell where its own padding was; its neighbours do.
        padding = unseen & ~enclosed(~unseen)
        unseen &= ~padding
        if padding.any():
            window = replace(window, notes=(describe_unimaged(job.z, int(padding.sum())),))
        if not unseen.any():
            return window
    named = [str(n) for n in neighbours if n is not None]
    where = f"section {named[0]} was not" if usable == 1 else f"neither {' nor '.join(named)} was"
    reason = (
        f"section {job.z} has damage where {where} imaged (padding); permit a larger gap "
        "(max_gap), or leave it out of the mask"
    )
    return replace(window, left=(Refusal(damage, int(unseen.sum()), reason),))


def _shown(job: RepairJob, window: GuidedWindow) -> BoolImage:
    """Return where one of the neighbours of a window shows the damage, (H, W) bool."""
    shown = np.zeros(window.components.shape, dtype=bool)
    for z in window.neighbours:
        if z is not None:
            found = what_shows(job.stack, z, window.damage, window.hole, job.masks)
            if found is not None:
                shown |= found
    return shown


def read_window(job: RepairJob, found: GuidedWindow) -> tuple[Window, AnyImage, IntImage]:
    """Read a window with its halo; return it, the raw pixels and the placed components.

    A halo ends where nothing was imaged: a padded section has the same windows as it has without
    its padding.
    """
    box = job.with_halo(found.damage, found.method)
    raw, imaged = job.stack.read_imaged(job.z, box)
    placed = np.zeros(box.shape, dtype=np.int32)
    placed[found.damage.within(box)] = found.components
    imaged |= placed > 0
    inner = Box.of_mask(imaged)
    if inner is not None and inner.shape != box.shape:
        raw, placed, imaged = (
            np.ascontiguousarray(image[inner.slices]) for image in (raw, placed, imaged)
        )
        box = inner.shifted(box.y0, box.x0)
    intact = imaged & ~(job.mask[box.slices] | job.marks(job.z, box))
    section = raw.astype(np.float32)
    if not is_grey(section[intact]).all():
        raise InputError(
            f"section {job.z} contains values above 1e12 outside the mask; mask them or replace "
            "them first"
        )
    if not imaged.all():
        section[~imaged] = section[intact].mean() if intact.any() else 0
    window = guide_window(job, job.z, box, section, placed > 0, intact, found.neighbours, job.masks)
    return replace(window, imaged=imaged), raw, placed


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
    )


def to_dtype(image: FloatImage, dtype: np.dtype) -> AnyImage:
    """Round and clip grey values into ``dtype``; float32 stays as it is."""
    if dtype.kind == "f":
        return image.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(image), limits.min, limits.max).astype(dtype)
