"""Write accepted repairs into the stack they were made from, and take them out again.

Responsibilities: check first, refuse with the reason, then journal, pixels, pyramid and marks, in
this order; all or nothing. What a kill leaves is put right by what writes next, or by
:func:`.recovery.recover`.

Not responsible for: copies of a stack (:mod:`..export`), what a good repair is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from .. import folders
from ..disk.open_root import open_root
from ..errors import Cancelled, FlowInpaintError, InputError, StoreError, name_sections
from ..io.axes import Axes
from ..io.levels import Level, write_grid
from ..io.pyramid import factors_between
from ..io.still_there import check_there
from ..names import printable
from ..notes import Note, no_note
from ..section_repair import SectionRepair
from ..types import Progress, no_progress
from .changed_pixels import make_piece
from .checks import (
    check_later_edits,
    check_places,
    check_repairs,
    check_sections,
    check_unchanged,
    check_writable,
)
from .entries import COMMITTED, REVERTED, REVERTING, Entry, Moved
from .journal import Journal
from .recovery import JournalEntry
from .synthetic import check_labels, label_folder
from .target import Target, check_links, check_lossless, parts_of
from .writing_journal import UNDO_REVERT, UNDO_WRITE, WritingJournal

if TYPE_CHECKING:
    from ..io.stack import Stack

__all__ = ["check_in_place", "history", "revert", "write_back"]


def write_back(
    stack: Stack,
    repairs: SectionRepair | Iterable[SectionRepair],
    *,
    progress: Progress = no_progress,
    note: Note = no_note,
) -> tuple[int, ...]:
    """Replace the masked pixels of a stack by repaired ones, so that it can be undone.

    In this order: check; journal the original pixels, durably; write the pixels, every level of
    the pyramid where it depends on them, and the marks in ``labels/synthetic``; commit. Pixels
    outside the masks keep their bits.

    Parameters
    ----------
    stack
        A writable stack, the one the repairs were made from.
    repairs
        One repair or many. Those whose sections share chunks are written together, so
        that a chunk is written once.
    progress
        Called with (fraction, message); may raise ``Cancelled``.
    note
        Told what was taken for granted, or done otherwise than expected.

    Returns
    -------
    tuple of int
        The number of each repair, in the order given.

    Raises
    ------
    InputError
        A repair of another stack (section, shape or dtype), without pixels, or with NaN.
    StoreError
        The stack is read-only, not a local zarr store, being written to by another process,
        damaged, has changed since it was read, or its disk is full.
    Cancelled
        ``progress`` asked for it.

    Notes
    -----
    All or nothing: after an exception the stack is as it was before the call. After a kill each
    repair is in the stack as a whole or not at all, as soon as something is written again; who
    only reads is shown that before.
    """
    wanted = [repairs] if isinstance(repairs, SectionRepair) else list(repairs)
    check_writable(stack)
    check_repairs(stack, wanted)
    journal = WritingJournal.of(stack)
    assert journal is not None
    journal.elsewhere = True
    axes = stack.levels[0].axes
    with journal.writing() as messages, _all_or_nothing(journal, UNDO_WRITE, axes) as begun:
        for message in messages:
            note(message)
            progress(0.0, message)
        journal.check_pyramid_of(stack)
        layout = journal.layout_of(stack)
        target = journal.target(layout)
        _fill(stack, wanted)
        for repair in wanted:
            with _remembered(journal.live_near([repair.z], layout)) as live:
                check_unchanged(target, repair, live)
            for patch in repair.patches:
                check_links(target, repair.z, patch.box)
        journal.hold_space(target)
        numbers: dict[int, int] = {}
        groups = list(_groups(wanted, target.levels[0]))
        for number, group in enumerate(groups):
            for index in group:
                repair = wanted[index]
                live = journal.live_near([repair.z], layout)
                pieces = [make_piece(target, repair.z, patch, live) for patch in repair.patches]
                begun.append(journal.add(repair.z, repair.provenance, layout, pieces))
                numbers[index] = begun[-1].id
            _finish(journal, number / len(groups), "writing", progress)
        journal.note_numbers()
    _report(progress, note, target, "written")
    return tuple(numbers[index] for index in range(len(wanted)))


def _fill(stack: Stack, repairs: Iterable[SectionRepair]) -> None:
    """Get the chunks of what is kept beside a file ready; the lock is held."""
    if stack.beside is not None:
        for repair in repairs:
            for patch in repair.patches:
                stack.beside.fill(repair.z, patch.box)


def check_in_place(stack: Stack) -> None:
    """Refuse a stack that repairs could not be written into, before any is computed.

    Raises
    ------
    StoreError
        The stack is read-only or not a local zarr store, or compressed in a way that may not be
        lossless; something else is where our files, folders and labels go; or its journal belongs
        to another pyramid.
    InputError
        A level is not a whole-number reduction of the finer one.
    """
    check_writable(stack)
    for fine, coarse in pairwise(stack.levels):
        factors_between(fine, coarse)
    journal = Journal.of(stack)
    assert journal is not None
    for level in stack.levels:
        check_lossless(level, journal.root.joinpath(*parts_of(level.path)))
    with open_root(journal.root) as root:
        check_labels(root, stack.levels)
    journal.scan()
    journal.check_pyramid_of(stack)


def revert(
    stack: Stack,
    *,
    z: int | Collection[int] | None = None,
    repair_id: int | None = None,
    force: bool = False,
    progress: Progress = no_progress,
    note: Note = no_note,
) -> tuple[int, ...]:
    """Put the original pixels back, on every level, and remove the marks.

    Where a repair that stays covers the same pixels, its pixels stay: the stack is as if the
    reverted repair had never been written.

    Parameters
    ----------
    stack
        A writable stack.
    z
        Revert the repairs of this section, or of these.
    repair_id
        Revert this repair only. Without ``z`` and ``repair_id`` all are reverted.
    force
        Whether pixels that another program has changed since are overwritten.
    progress
        Called with (fraction, message); may raise ``Cancelled``.
    note
        Told what was taken for granted, or done otherwise than expected.

    Returns
    -------
    tuple of int
        The numbers of the repairs that were reverted, also of those whose interrupted revert was
        finished; empty where there was none.

    Raises
    ------
    InputError
        There is no such section or repair, or the repair has already been reverted.
    StoreError
        As for :func:`write_back`; also if the journal was changed, or another program has changed
        the synthetic pixels since.
    Cancelled
        ``progress`` asked for it; nothing was changed.
    """
    check_writable(stack, advice=False)
    sections = check_sections(stack, z)
    journal = WritingJournal.of(stack)
    assert journal is not None
    if not journal.exists:
        if repair_id is not None:
            raise InputError(f"there is no repair {repair_id}: {_why_none(stack, journal)}.")
        return ()
    with (
        journal.writing(force=force) as messages,
        _all_or_nothing(journal, UNDO_REVERT, stack.levels[0].axes) as begun,
    ):
        for message in messages:
            note(message)
            progress(0.0, message)
        finished = [e.id for e in journal.reverted if sections is None or e.z in sections]
        entries = _select(stack, journal, sections, repair_id)
        if not entries:
            return tuple(finished)
        layout = entries[0].header.layout
        target = journal.target(layout)
        for entry in entries:
            with _remembered(journal.live_near([entry.z], layout)) as live:
                _check_revert(journal, target, entry, live, force)
        journal.hold_space(target)
        rows = target.levels[0].axes.shape(write_grid(target.levels[0].source))[0]
        blocks = sorted({entry.z // rows for entry in entries})
        for number, block in enumerate(blocks):
            for entry in entries:
                if entry.z // rows == block:
                    begun.append(entry)
                    journal.move(entry, REVERTING)
            _finish(journal, number / len(blocks), "reverting", progress)
        journal.note_numbers()
    _report(progress, note, target, "reverted")
    return (*finished, *(entry.id for entry in entries))


def _why_none(stack: Stack, journal: Journal) -> str:
    """Return why there is no journal; where it was removed, the marks of repairs are left."""
    if not label_folder(journal.root, stack.levels).exists():
        return f"{stack.name} was never repaired"
    where = printable(journal.data / folders.JOURNAL)
    return (
        f"its journal was removed, without which nothing is reverted; restore {where} from a copy"
    )


def _check_revert(
    journal: Journal, target: Target, entry: Entry, live: Sequence[Entry], force: bool
) -> None:
    """Refuse to follow links, to use a changed entry, and to overwrite edits of others."""
    for region, _ in entry.masks:
        check_links(target, region.z, region.box)
    pieces = entry.pieces  # compared with their digests, also where nothing else is
    assert pieces
    if not force:
        options = f"--sections {entry.z} --force"
        command = journal.command("revert", entry.header.layout.axes, options)
        check_later_edits(target, [entry], live, command)


def history(stack: Stack) -> tuple[JournalEntry, ...]:
    """List the repairs of a stack, oldest first; nothing is written.

    Parameters
    ----------
    stack
        Any stack; one that is not a local zarr store has no history.

    Raises
    ------
    StoreError
        If the journal is damaged.
    """
    journal = Journal.of(stack)
    if journal is None:
        return ()
    check_there(stack)
    check_places(journal.root, stack.levels)
    for _ in range(3):  # a writer may rename an entry between listing and reading
        journal.scan()
        try:
            return tuple(_journal_entry(entry) for entry in _of_channel(stack, journal))
        except Moved:
            continue
    raise StoreError(f"another process is writing to {journal.shown}; try again.")


def _journal_entry(entry: Entry) -> JournalEntry:
    """Return an entry as the history lists it."""
    header = entry.header
    state = "unfinished" if entry.unfinished else entry.state
    boxes = tuple(regions[0].box for regions in header.regions if regions[0] is not None)
    pixels = header.provenance.mask_pixels
    return JournalEntry(entry.id, entry.z, boxes, pixels, state, header.time, header.provenance)


def _of_channel(stack: Stack, journal: Journal) -> list[Entry]:
    """Return the entries that were made in the channel and time the stack shows."""
    axes = stack.levels[0].axes
    return [entry for entry in journal.entries if entry.header.layout.axes == axes]


def _select(
    stack: Stack, journal: Journal, sections: set[int] | None, repair_id: int | None
) -> list[Entry]:
    """Return the committed entries that were asked for."""
    entries = [e for e in _of_channel(stack, journal) if sections is None or e.z in sections]
    if repair_id is not None:
        entries = [entry for entry in entries if entry.id == repair_id]
        if len(entries) > 1:
            raise InputError(
                f"repair {repair_id} exists in sections {' and '.join(str(e.z) for e in entries)}, "
                "because two copies of the stack were merged; choose by section."
            )
        if not entries:
            where = "" if sections is None else f" in section {sorted(sections)}"
            raise InputError(f"there is no repair {repair_id}{where}; see the history.")
        if entries[0].state == REVERTED:
            raise InputError(f"repair {repair_id} has already been reverted; see the history.")
    return [entry for entry in entries if entry.state == COMMITTED]


@contextmanager
def _remembered(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Free the memory of the pixels of ``entries`` after the block: there may be thousands."""
    try:
        yield entries
    finally:
        for entry in entries:
            entry.forget_pixels()


def _groups(repairs: Sequence[SectionRepair], level: Level) -> Iterator[list[int]]:
    """Yield the indices of repairs to be written together: whose sections share chunks.

    Two repairs of one section are never in one group: the second is written over the first.
    """
    rows = level.axes.shape(write_grid(level.source))[0]
    group: list[int] = []
    for index in sorted(range(len(repairs)), key=lambda i: repairs[i].z):
        sections = [repairs[i].z for i in group]
        z = repairs[index].z
        if group and (z // rows != sections[0] // rows or z in sections):
            yield group
            group = []
        group.append(index)
    yield group


def _finish(journal: WritingJournal, fraction: float, verb: str, progress: Progress) -> None:
    """Bring the entries of one group to their end, asking before every chunk whether to go on."""
    sections = name_sections(entry.z for entry in journal.unfinished)
    journal.finish(lambda: progress(fraction, f"{sections}: {verb}"))


def _report(progress: Progress, note: Note, target: Target, verb: str) -> None:
    """Say that a job is done; it is too late to cancel it."""
    if not all(rule.exact for rule in target.rules):
        told = (
            "the pyramid was made by an unknown rule, so the touched pixels of its reduced levels "
            "are means of the finer ones"
        )
        note(told)
        verb = f"{verb}; {told}"
    with suppress(Cancelled):
        progress(1.0, verb)


@contextmanager
def _all_or_nothing(
    journal: WritingJournal, way_back: Mapping[str, str], axes: Axes
) -> Iterator[list[Entry]]:
    """Undo a job if it fails; the job puts what it begins into the yielded list."""
    begun: list[Entry] = []
    try:
        yield begun
    except BaseException as error:
        try:
            journal.undo(way_back, begun)
        except Exception as second:
            raise StoreError(
                f"{journal.explain(second)}; the next write or "
                f"{journal.command('recover', axes)} puts right what was begun."
            ) from error
        if isinstance(error, FlowInpaintError) or not isinstance(error, Exception):
            raise
        raise StoreError(f"{journal.explain(error)}; nothing was changed.") from error
