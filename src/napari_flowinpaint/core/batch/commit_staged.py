"""Write what was accepted into the stack, once, so that it can be reverted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.levels import write_grid
from ..notes import Note, no_note
from ..section_repair import Provenance, SectionRepair
from ..types import Progress, no_progress
from ..writing.recovery import finish_interrupted
from ..writing.writeback import history, write_back
from .records import ACCEPTED, without_time
from .staging import Staging

if TYPE_CHECKING:
    from ..io.stack import Stack
    from ..masks.stack_mask import StackMask


def commit(
    stack: Stack,
    staging: Staging | Path | str,
    sections: Iterable[int] | None = None,
    *,
    within: StackMask | None = None,
    progress: Progress = no_progress,
    note: Note = no_note,
) -> dict[int, int]:
    """Write accepted repairs into the stack, each once, so that they can be reverted.

    Sections whose chunks hold several of them are written together. After a kill, call it again:
    what is in the stack already is not written twice.

    Parameters
    ----------
    stack
        The stack, writable.
    staging
        The staging folder.
    sections
        Write only these; None for all that are accepted.
    within
        No pixel outside of this mask is written, whatever the staging folder says.
    progress
        Called with (fraction, message); may raise ``Cancelled``: sections that were written before
        stay written.
    note
        Told what was taken for granted, or done otherwise than expected.

    Returns
    -------
    dict of int to int
        The number in the journal of every section that was written, now or by a call that was
        killed.

    Raises
    ------
    InputError, StoreError, Cancelled
        As for :func:`~napari_flowinpaint.core.writing.writeback.write_back`; also if a staged
        repair is not as it was made, or replaces pixels that are not ``within``.
    """
    for message in finish_interrupted(stack):
        note(message)
    staged = staging if isinstance(staging, Staging) else Staging(staging)
    wanted = None if sections is None else set(sections)
    looked = staged.sections if wanted is None else staged.get(sorted(wanted))
    accepted = [section.z for section in looked if section.decision == ACCEPTED]
    written: dict[int, int] = {}
    groups = list(groups_of(stack, accepted)) if accepted else []
    for number, group in enumerate(groups):

        def report(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(groups), message)

        repairs = list(staged.repairs(group, within))
        found = {repair.z: _number_of(stack, repair) for repair in repairs}
        missing = [repair for repair in repairs if found[repair.z] is None]
        numbers = write_back(stack, missing, progress=report, note=note) if missing else ()
        new = {repair.z: i for repair, i in zip(missing, numbers, strict=True)}
        done = {z: i for z, i in (found | new).items() if i is not None}
        staged.note_written(done)
        written |= done
    return written


def groups_of(stack: Stack, sections: Iterable[int]) -> list[list[int]]:
    """Return sections in groups that share chunks, ascending."""
    level = stack.levels[0]
    rows = level.axes.shape(write_grid(level.source))[0] if level.is_zarr else 1
    groups: dict[int, list[int]] = {}
    for z in sorted(sections):
        groups.setdefault(z // rows, []).append(z)
    return [groups[block] for block in sorted(groups)]


def _number_of(stack: Stack, repair: SectionRepair) -> int | None:
    """Return the number of this very repair in the stack's journal, None if it is not there."""
    known = _comparable(repair.provenance)
    for entry in history(stack):
        same = entry.z == repair.z and entry.state == "committed"
        if same and _comparable(entry.provenance) == known:
            return entry.id
    return None


def _comparable(provenance: Provenance) -> str:
    """Return a record as text: it is kept as JSON, which knows lists only."""
    return json.dumps(without_time(provenance).to_dict(), sort_keys=True)
