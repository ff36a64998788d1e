"""Write accepted repairs into the stack they were made from, and take them out again.

Responsibilities: check first, refuse with the reason, then journal, pixels, pyramid and marks, in
this order; all or nothing. What a kill leaves is put right by :func:`.journal.recover`.

Not responsible for: copies of a stack (:mod:`.export`), what a good repair is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from . import durable
from ._apply import Target, bits, overlay, same_bits, write_grid
from ._entries import COMMITTED, REVERTED, REVERTING, UNFINISHED, Entry, Place
from ._footprints import make_piece, paste_originals
from ._journal import UNDO_REVERT, UNDO_WRITE, Journal
from ._levels import Level
from .errors import FlowInpaintError, InputError, StoreError
from .journal import JournalEntry
from .types import AnyImage, Box, Patch, Progress, SectionRepair, no_progress

if TYPE_CHECKING:
    from .stack import Stack


def write_back(
    stack: Stack,
    repairs: SectionRepair | Iterable[SectionRepair],
    *,
    progress: Progress = no_progress,
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
    repair is in the stack as a whole or not at all, once the stack was opened again.
    """
    wanted = [repairs] if isinstance(repairs, SectionRepair) else list(repairs)
    _check_writable(stack)
    _check_repairs(stack, wanted)
    journal = _journal_of(stack)
    with journal.writing() as messages, _all_or_nothing(journal, UNDO_WRITE) as begun:
        for message in messages:
            progress(0.0, message)
        layout = journal.layout_of(stack)
        target = journal.target(layout)
        for repair in wanted:
            _check_unchanged(target, repair, journal.live_near([repair.z], layout))
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
    progress(1.0, _summary(target, "written"))
    return tuple(numbers[index] for index in range(len(wanted)))


def revert(
    stack: Stack,
    *,
    z: int | Collection[int] | None = None,
    repair_id: int | None = None,
    progress: Progress = no_progress,
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
    progress
        Called with (fraction, message); may raise ``Cancelled``.

    Returns
    -------
    tuple of int
        The numbers of the repairs that were reverted; empty where there was none.

    Raises
    ------
    InputError
        There is no such section or repair, or the repair is reverted already.
    StoreError
        As for :func:`write_back`; also if another program has changed the synthetic pixels since.
    Cancelled
        ``progress`` asked for it; nothing was changed.
    """
    _check_writable(stack)
    sections = _sections(stack, z)
    journal = _journal_of(stack)
    if not journal.folder.is_dir():
        if repair_id is not None:
            raise InputError(f"there is no repair {repair_id}: {stack.name} was never repaired.")
        return ()
    with journal.writing() as messages, _all_or_nothing(journal, UNDO_REVERT) as begun:
        for message in messages:
            progress(0.0, message)
        entries = _select(stack, journal, sections, repair_id)
        if not entries:
            return ()
        layout = entries[0].header.layout
        target = journal.target(layout)
        for entry in entries:
            _check_synthetic(target, entry, journal.live_near([entry.z], layout))
        journal.hold_space(target)
        rows = target.levels[0].axes.shape(write_grid(target.levels[0].source))[0]
        blocks = sorted({entry.z // rows for entry in entries})
        for number, block in enumerate(blocks):
            for entry in entries:
                if entry.z // rows == block:
                    begun.append(entry)
                    journal.move(entry, REVERTING)
            _finish(journal, number / len(blocks), "reverting", progress)
    progress(1.0, _summary(target, "reverted"))
    return tuple(entry.id for entry in entries)


def history(stack: Stack) -> tuple[JournalEntry, ...]:
    """List the repairs of a stack, oldest first; nothing is written.

    Parameters
    ----------
    stack
        Any stack; one that is no local zarr store has no history.

    Raises
    ------
    StoreError
        If the journal is damaged.
    """
    if stack.group_path is None or not stack.levels[0].is_zarr:
        return ()
    journal = _journal_of(stack)
    for _ in range(3):  # a writer may rename an entry between listing and reading
        journal.scan()
        try:
            return tuple(_told(entry) for entry in _of_channel(stack, journal))
        except FileNotFoundError:
            continue
    raise StoreError(f"another process is writing to {stack.group_path}; try again.")


def pixel_digest(pixels: AnyImage) -> str:
    """Return the SHA-256 of pixels, as :attr:`.Patch.source_digest` has it."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _told(entry: Entry) -> JournalEntry:
    """Return an entry as the history tells it."""
    header = entry.header
    state = "unfinished" if entry.state in UNFINISHED else entry.state
    boxes = tuple(places[0].box for places in header.places if places[0] is not None)
    pixels = header.provenance.mask_pixels
    return JournalEntry(entry.id, entry.z, boxes, pixels, state, header.time, header.provenance)


def _journal_of(stack: Stack) -> Journal:
    """Return the journal of a local zarr stack."""
    assert stack.group_path is not None
    return Journal(stack.group_path / stack.levels[0].path)


def _of_channel(stack: Stack, journal: Journal) -> list[Entry]:
    """Return the entries that were made in the channel and time the stack shows."""
    axes = stack.levels[0].axes
    return [entry for entry in journal.entries if entry.header.layout.axes == axes]


def _check_writable(stack: Stack) -> None:
    """Refuse what cannot be written in place."""
    if stack.writable and stack.group_path is not None and stack.levels[0].is_zarr:
        return
    reason = stack.why_not_writable or "only local zarr stores can be; use --output"
    raise StoreError(f"{stack.path or stack.name} cannot be written in place: {reason}.")


def _check_repairs(stack: Stack, repairs: Sequence[SectionRepair]) -> None:
    """Refuse repairs that do not fit the stack; nothing is read."""
    if not repairs:
        raise InputError("there is no repair to write; repair a section first.")
    depth, height, width = stack.shape
    for repair in repairs:
        what = f"the repair of section {repair.z}"
        if not 0 <= repair.z < depth:
            raise InputError(f"{what} does not fit: {stack.name} has sections 0 to {depth - 1}.")
        if repair.shape != (height, width) or np.dtype(repair.dtype) != stack.dtype:
            raise InputError(
                f"{what} is {np.dtype(repair.dtype)} of shape {tuple(repair.shape)}, but "
                f"{stack.name} has sections of {stack.dtype} {(height, width)}; repair it again."
            )
        if not any(patch.mask.any() for patch in repair.patches):
            raise InputError(f"{what} replaces no pixel; accept at least one component.")
        for patch in repair.patches:
            _check_patch(patch, stack, what)


def _check_patch(patch: Patch, stack: Stack, what: str) -> None:
    """Refuse a patch that does not fit the section, or whose origin is unknown."""
    box = patch.box
    fits = 0 <= box.y0 < box.y1 <= stack.shape[1] and 0 <= box.x0 < box.x1 <= stack.shape[2]
    if not fits or not patch.result.shape == patch.mask.shape == box.shape:
        raise InputError(f"{what} has a window that does not fit the section; repair it again.")
    if patch.result.dtype != stack.dtype:
        raise InputError(f"{what} has pixels of {patch.result.dtype}, not {stack.dtype}.")
    if stack.dtype.kind == "f" and not np.isfinite(patch.result[patch.mask]).all():
        raise InputError(f"{what} contains NaN or infinite pixels; repair it by another method.")
    if patch.source_digest is None:
        raise InputError(
            f"{what} does not tell from which pixels it was made (source_digest); repair it again."
        )


def _sections(stack: Stack, z: int | Collection[int] | None) -> set[int] | None:
    """Return the chosen sections, None for all."""
    if z is None:
        return None
    sections = {int(z)} if isinstance(z, (int, np.integer)) else {int(n) for n in z}
    for section in sorted(sections):
        if not 0 <= section < stack.shape[0]:
            raise InputError(
                f"section {section} does not exist: {stack.name} has sections 0 to "
                f"{stack.shape[0] - 1}."
            )
    return sections


def _select(
    stack: Stack, journal: Journal, sections: set[int] | None, repair_id: int | None
) -> list[Entry]:
    """Return the committed entries that were asked for."""
    entries = [e for e in _of_channel(stack, journal) if sections is None or e.z in sections]
    if repair_id is not None:
        entries = [entry for entry in entries if entry.id == repair_id]
        if not entries:
            where = "" if sections is None else f" in section {sorted(sections)}"
            raise InputError(f"there is no repair {repair_id}{where}; see the history.")
        if entries[0].state == REVERTED:
            raise InputError(f"repair {repair_id} is reverted already; see the history.")
    return [entry for entry in entries if entry.state == COMMITTED]


def _check_unchanged(target: Target, repair: SectionRepair, live: Sequence[Entry]) -> None:
    """Refuse a repair whose section has changed since it was read.

    Repairs that were written since do not count as a change (another component of the same
    mask, accepted before): they are taken off again, the newest first, until the pixels are those
    the repair was made from.
    """
    level = target.levels[0]
    for patch in repair.patches:
        window = level.read(repair.z, patch.box)
        unchanged = pixel_digest(window) == patch.source_digest
        layers = _layers(window, live, repair.z, patch.box)
        foreign = bits(layers[-1]) != bits(window)
        if not unchanged and not foreign.any():
            unchanged = any(pixel_digest(layer) == patch.source_digest for layer in layers[:-1])
        if not unchanged:
            raise StoreError(
                f"section {repair.z} has changed since it was read, so the repair no longer fits "
                "it; nothing was written: repair the section again."
            )
        if foreign[patch.mask].any():
            raise StoreError(_FOREIGN.format(z=repair.z))


_FOREIGN = (
    "synthetic pixels of section {z} were changed by another program since they were written, so "
    "the journal no longer fits them; nothing was changed: restore the section, or use --output."
)


def _layers(window: AnyImage, live: Sequence[Entry], z: int, box: Box) -> list[AnyImage]:
    """Return a window as it was before any repair, after the first, and so on to now."""
    here = [entry for entry in live if entry.z == z and entry.touches(0, z, box)]
    layer = window.copy()
    paste_originals(layer, here, 0, Place(z, box))
    layers = [layer]
    everywhere = np.ones(box.shape, dtype=bool)
    for entry in here:
        layer = layer.copy()
        overlay(layer, everywhere, [entry], z, box)
        layers.append(layer)
    return layers


def _check_synthetic(target: Target, entry: Entry, live: Sequence[Entry]) -> None:
    """Refuse to revert an entry whose pixels somebody else has changed since."""
    for _, footprint in entry.footprints(0):
        box = footprint.place.box
        found = target.levels[0].read(entry.z, box)
        expected = _layers(found, live, entry.z, box)[-1]
        if not same_bits(found[footprint.mask], expected[footprint.mask]):
            raise StoreError(_FOREIGN.format(z=entry.z))


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


def _finish(journal: Journal, fraction: float, verb: str, progress: Progress) -> None:
    """Bring the entries of one group to their end, asking before every chunk whether to go on."""
    sections = ", ".join(str(entry.z) for entry in journal.unfinished)
    journal.finish(lambda: progress(fraction, f"section {sections}: {verb}"))


def _summary(target: Target, verb: str) -> str:
    """Return the last message of a job."""
    if all(rule.exact for rule in target.rules):
        return verb
    return (
        f"{verb}; the pyramid was made by an unknown rule, so the touched pixels of its reduced "
        "levels are means of the finer ones"
    )


@contextmanager
def _all_or_nothing(journal: Journal, way_back: Mapping[str, str]) -> Iterator[list[Entry]]:
    """Undo a job if it fails; the job puts what it begins into the yielded list."""
    begun: list[Entry] = []
    try:
        yield begun
    except BaseException as error:
        try:
            journal.undo(way_back, begun)
        except Exception as second:
            raise StoreError(
                f"{durable.explain(second, journal.data)}; what was begun is put right when the "
                "stack is opened again."
            ) from error
        if isinstance(error, FlowInpaintError) or not isinstance(error, Exception):
            raise
        raise StoreError(f"{durable.explain(error, journal.data)}; nothing was changed.") from error
