"""Which damage is a gap of an isotropic volume: missing sections, or a plane through all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..filters import ENDLESS, run_lengths
from ..methods import get_method
from ..reference.gap_geometry import WIDEST, bars_of, is_isotropic, not_isotropic
from ..types import BoolImage, Box, IntImage
from .job import RepairJob
from .neighbours import Neighbours

#: The method for gaps.
GAP = "gap_patches"
#: Sections on either side that it looks at, at most.
REACH = 63
#: Pixels around damage that tell whether a gap has two sides.
_MARGIN = 16
#: Damage goes through all sections if so much of it does: it may drift sideways.
_MOSTLY = 0.5
#: What may be done about a narrow gap that is not filled as one.
_FROM_ITSELF = "for small damage --method single_section paints from the section itself"


def gap_kind(job: RepairJob, damage: Box, hole: BoolImage, neighbours: Neighbours) -> str:
    """Return in words what gap of an isotropic volume damage is part of; "" if of none.

    That is where a section is missing as a whole, and where no neighbour shows what is damaged,
    because it is damaged in all sections alike, and the damage is narrow.
    """
    if not is_isotropic(job.stack.voxel_size):
        return ""
    if _is_slab(job, damage, hole, neighbours):
        return "missing from an isotropic volume"
    if _is_plane(job, damage, hole, neighbours):
        return "a gap through the sections of an isotropic volume"
    return ""


def why_no_gap(job: RepairJob, damage: Box, hole: BoolImage, neighbours: Neighbours) -> str:
    """Return in words why a missing section is not filled as a gap; "" where that is plain."""
    size, whole = job.stack.voxel_size, damage.shape == job.mask.shape and bool(hole.all())
    if not whole or (size is not None and not is_isotropic(size)):
        return ""
    previous, following = neighbours
    if previous is not None and following is not None:
        if following - previous - 1 > WIDEST:
            return f"wider than the {WIDEST} sections that are filled as a gap"
        return "not filled as a gap, as the voxel size is not known" if size is None else ""
    reach = job.options.max_gap
    seen = (
        previous is not None or job.z < reach,
        following is not None or job.z + reach >= job.stack.shape[0],
    )
    return "" if all(seen) else f"its other side is more than {reach} sections away"


def goes_on(job: RepairJob, damage: Box, hole: BoolImage) -> bool:
    """Return whether sections beyond the permitted gap do not show damage, either.

    Of those as far as :data:`REACH` a few are looked at: masks of large sections take long to read.
    """
    nearest = job.options.max_gap + 1
    distances = [nearest << n for n in range(REACH.bit_length()) if nearest << n <= REACH]
    return bool(_through(job, damage, hole, distances)[hole].mean() > _MOSTLY)


def advice_for_gap(job: RepairJob, damage: Box, hole: BoolImage) -> str:
    """Return what else can be done about damage that no section shows; "" if one may show it."""
    size = job.stack.voxel_size
    if is_missing(job, damage, hole):
        return ""
    if _through(job, damage, hole, _permitted(job))[hole].mean() <= _MOSTLY:
        return ""
    mask, gone = _around(job, damage, hole)
    narrow = not bars_of(mask, ~gone)[1].any()
    if size is not None and not is_isotropic(size):
        told = f"; it is a gap in every section, but {not_isotropic(size)}, so it cannot be filled"
        return f"{told} as one; {_FROM_ITSELF}" if narrow else ""
    everywhere = f"; all sections within {job.options.max_gap} are damaged there"
    width = int(np.minimum(*(run_lengths(gone, axis) for axis in (0, 1)))[mask].max())
    if not narrow and width >= ENDLESS:
        return (
            f"{everywhere}, and only one side of it is known in this one (it reaches the border of "
            "the stack, or other damage): crop the stack, or leave it out of the mask"
        )
    if not narrow:
        return (
            f"{everywhere}, and it is {width} pixels wide: method '{GAP}' fills gaps of up to "
            f"{WIDEST}, so mask only what is lost, or leave it out of the mask"
        )
    if size is None:
        return (
            f"{everywhere}, and the voxel size, which is not known, decides whether it is filled "
            f"as a gap: if the volume is isotropic, choose method '{GAP}', or give the voxel size "
            f"with --voxel-size Z,Y,X; {_FROM_ITSELF}"
        )
    if not get_method(GAP).ready():
        return f"{everywhere}: method '{GAP}' fills such gaps, but its weights are not installed"
    return f"{everywhere}: choose method '{GAP}', which fills such gaps"


def apart_from_gap(job: RepairJob, damage: Box, components: IntImage) -> list[tuple[Box, IntImage]]:
    """Return the damage that goes through all sections, and what of a window does not, apart.

    So a hole beside a gap, or one that runs into it, is repaired from its own neighbours.

    Parameters
    ----------
    job
        The request.
    damage, components
        A window.

    Returns
    -------
    list
        Two windows, or none where it is all of one sort, or its whole section is missing.
    """
    hole = components > 0
    through = _through(job, damage, hole, _permitted(job))
    rest = hole & ~through
    if not through.any() or not rest.any() or _is_slab(job, damage, hole, (None, None)):
        return []
    found = []
    for where in (through, rest):
        inner = Box.of_mask(where)
        assert inner is not None
        part = np.where(where, components, 0).astype(np.int32)[inner.slices]
        found.append((inner.shifted(damage.y0, damage.x0), np.ascontiguousarray(part)))
    return found


def _permitted(job: RepairJob) -> range:
    """Return how far away sections may guide."""
    return range(1, job.options.max_gap + 1)


def _through(job: RepairJob, damage: Box, hole: BoolImage, distances: Iterable[int]) -> BoolImage:
    """Return what of a hole is damaged in all sections so far away from it, (H, W) bool."""
    through = hole
    for distance in distances:
        for z in (job.z - distance, job.z + distance):
            if 0 <= z < job.stack.shape[0] and through.any():
                through = through & job.masks(z, damage)
    return through


def sections_around(z: int, neighbours: Neighbours, depth: int) -> range:
    """Return the sections that are looked at to fill a gap in section ``z``, about."""
    previous, following = neighbours
    if previous is not None and following is not None:
        return range(max(previous - WIDEST, 0), min(following + WIDEST + 1, depth))
    return range(max(z - REACH, 0), min(z + REACH + 1, depth))


def _is_slab(job: RepairJob, damage: Box, hole: BoolImage, neighbours: Neighbours) -> bool:
    """Return whether the section is missing where it was imaged, and not at the end of the stack.

    Without neighbours, too: those beside it may be damaged by a gap that crosses this one.
    """
    previous, following = neighbours
    if (previous is None) != (following is None):
        return False  # the end of the stack
    if previous is not None and following is not None and following - previous - 1 > WIDEST:
        return False
    return is_missing(job, damage, hole)


def is_missing(job: RepairJob, damage: Box, hole: BoolImage) -> bool:
    """Return whether damage is all of a section that was imaged."""
    whole = Box.whole(job.mask.shape)
    if damage.shape == whole.shape and hole.all():
        return True
    pixels = int(job.mask.sum())
    if 2 * pixels < job.mask.size:
        return False  # most of it is there: that tells more than the sections around
    raw = job.stack.read(job.z)
    left = raw[job.stack.imaged(job.z, whole, raw) & ~job.mask]
    # what is stored of a missing section, where its neighbours have padding, tells nothing
    return left.size == 0 or bool(left.min() == left.max())


def _is_plane(job: RepairJob, damage: Box, hole: BoolImage, neighbours: Neighbours) -> bool:
    """Return whether damage is narrow, and in the sections beside it as well."""
    if all(neighbour is not None for neighbour in neighbours):
        return False
    mask, gone = _around(job, damage, hole)
    bars, rest = bars_of(mask, ~gone)
    return bool(bars) and not rest.any()


def _around(job: RepairJob, damage: Box, hole: BoolImage) -> tuple[BoolImage, BoolImage]:
    """Return a hole with what is around it, and all damage there; (H, W) bool each."""
    seen = damage.expand(_MARGIN, job.mask.shape)
    mask = np.zeros(seen.shape, dtype=bool)
    mask[damage.within(seen)] = hole
    return mask, mask | job.damage(job.z, seen)
