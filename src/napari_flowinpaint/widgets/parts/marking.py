"""Mark whole sections as damaged, wherever the slider stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...viewer.tasks import mask_tools
from .jobs import JobRunner
from .messages import Messages
from .wording import listed

if TYPE_CHECKING:
    from ...core.masks.sparse_mask import SectionTiles, SparseMask
    from ...core.types import Progress
    from ...viewer.session import Session


def mask_whole(
    mask: SparseMask, sections: tuple[int, ...], *, progress: Progress
) -> dict[int, SectionTiles]:
    """Return the tiles of sections that are masked as a whole; runs in a thread."""
    return {z: mask_tools.edit_mask(mask, z, "missing", 0, progress=progress) for z in sections}


def mark_damaged(
    session: Session, jobs: JobRunner, messages: Messages, sections: tuple[int, ...], then: str
) -> None:
    """Mask sections as a whole and put them on the list, in a thread.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of a dock.
    sections
        Section numbers.
    then
        What the user may do next, in words.
    """
    image = session.require_image()
    if session.masks.layer(image) is None:
        session.check_settled(image)
        session.masks.new(image, paint=False)
    mask = session.require_mask().data
    mask.commit()
    frozen = mask.frozen()

    def done(tiles: dict[int, SectionTiles]) -> None:
        if session.masks.mask(image) is not mask:
            return
        session.masks.set_sections(image, tiles)
        flags = session.flags.of(image)
        if flags is not None:
            for z in sections:
                flags.list.add(z, "missing")
        plural = "s" * (len(sections) > 1)
        are = "are" if plural else "is"
        messages.say(f"section{plural} {listed(sections)} {are} masked as a whole; {then}")

    jobs.start("mark", mask_whole, frozen, sections, done=done, failed=messages.fail)
