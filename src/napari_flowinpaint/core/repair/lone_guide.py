"""What is to be said of a missing section that a single neighbour guides: it becomes its copy."""

from __future__ import annotations

from ..errors import name_sections
from ..types import Box
from .gap_windows import is_missing
from .guided_window import GuidedWindow
from .job import RepairJob
from .neighbours import find_neighbour


def copied_from(job: RepairJob, found: GuidedWindow) -> tuple[str, ...]:
    """Return a flag where all of a section is missing and one neighbour alone guides it.

    No intact pixel tells how it differs from that neighbour, so it comes out as the neighbour is,
    and other missing sections that the same one guides come out alike.

    Returns
    -------
    tuple of str
        Empty where two neighbours or the section's own pixels tell more.
    """
    guides = [z for z in found.neighbours if z is not None]
    if len(guides) != 1 or not is_missing(job, found.damage, found.hole):
        return ()
    alike = _guided_alike(job, found, guides[0])
    told = f"section {job.z} is missing as a whole and repeats section {guides[0]} unchanged: "
    told += "nothing shows how it differs"
    if alike:
        told += f"; {name_sections(alike)}, missing as well, "
        told += f"show{'s' * (len(alike) == 1)} the same"
    return (told,)


def _guided_alike(job: RepairJob, found: GuidedWindow, guide: int) -> list[int]:
    """Return the other missing sections that the same neighbour alone guides, ascending."""
    step = 1 if job.z > guide else -1
    whole, alike = Box.whole(job.mask.shape), []
    for z in range(guide + step, guide + step * (job.options.max_gap + 1), step):
        if not 0 <= z < job.stack.shape[0]:
            break
        if z == job.z:
            continue
        if not (job.masks(z, whole) | ~job.mask).all():
            break
        other = find_neighbour(
            job.stack, z, found.damage, found.hole, step, job.options.max_gap, job.masks
        )
        if other is None:
            alike.append(z)
    return sorted(alike)
