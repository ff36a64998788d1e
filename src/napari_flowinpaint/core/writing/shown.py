"""What reading shows of a stack with an interrupted write: what will be, once it is finished.

Looking does not write. So the pixels of unfinished entries are put right in memory, whenever they
are read, in the way of :mod:`.apply`; as soon as an entry is finished on disk, by whomever, what is
on disk is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import name_sections
from ..io import pyramid
from ..io.levels import Level, ReaderResult
from ..types import AnyImage, BoolImage
from .apply import bits, overlapping, overlay
from .entries import Entry
from .journal import Journal
from .pieces import SectionRegion


def as_recovered(opened: ReaderResult) -> ReaderResult:
    """Return a local zarr stack as it will be when interrupted writes are finished.

    Parameters
    ----------
    opened
        What is on disk.

    Returns
    -------
    ReaderResult
        With levels that show it, and a message that says what to do; the same where nothing was
        interrupted.
    """
    if opened.group_path is None:
        return opened
    origin = None if opened.beside is None else opened.origin
    told = None if origin is None else origin.file
    journal = Journal(opened.group_path, opened.levels[0].path, told)
    journal.scan()
    if not journal.unfinished:
        return opened
    levels = _Pending(journal, opened.levels).levels
    return replace(
        opened,
        levels=levels,
        messages=(*opened.messages, _message(journal, opened)),
    )


def _message(journal: Journal, opened: ReaderResult) -> str:
    """Say what is unfinished, and what to do."""
    if journal.busy:
        return f"Another process is writing to {journal.shown} right now."
    sections = name_sections(sorted({entry.z for entry in journal.unfinished}))
    command = journal.command("recover", opened.levels[0].axes)
    if opened.why_not_writable:
        why = opened.why_not_writable.partition(";")[0]
        where = f": run {command} where that is possible; here {why}."
    else:
        where = f": run {command}, or write to it."
    return (
        f"A write to {sections} was interrupted; the stack is shown as it will be when "
        f"that is finished{where}"
    )


class _Pending:
    """The unfinished entries of a stack.

    Parameters
    ----------
    journal
        Of the stack.
    levels
        Its pyramid as it is on disk.
    """

    def __init__(self, journal: Journal, levels: Sequence[Level]) -> None:
        self._journal = journal
        self._levels = tuple(levels)
        self._unfinished = journal.unfinished
        self._shown = tuple(
            replace(level, shown=partial(self.show, index)) for index, level in enumerate(levels)
        )

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid as it will be."""
        return self._shown

    def show(self, index: int, found: AnyImage, keys: tuple[Any, Any, Any]) -> AnyImage:
        """Return what is to be shown instead of ``found``, pixels of a level at ``keys``."""
        shape, below = self._levels[index].shape, self._levels[index].shown
        found = found if below is None else below(found, keys)
        regions = [np.atleast_1d(np.arange(n)[key]) for n, key in zip(shape, keys, strict=True)]
        out = found
        for region in self._places(index, {int(z) for z in regions[0]}):
            box = region.box
            rows = np.flatnonzero((regions[1] >= box.y0) & (regions[1] < box.y1))
            columns = np.flatnonzero((regions[2] >= box.x0) & (regions[2] < box.x1))
            if rows.size and columns.size:
                right = self._right(index, region)
                out = out.copy() if out is found else out
                whole = out.reshape([p.size for p in regions])
                there = np.ix_(regions[1][rows] - box.y0, regions[2][columns] - box.x0)
                for z in np.flatnonzero(regions[0] == region.z):
                    whole[np.ix_([z], rows, columns)] = right[there]
        return out

    def _places(self, index: int, sections: set[int]) -> list[SectionRegion]:
        """Return where unfinished entries touch sections of a level."""
        found = (
            regions[index]
            for entry in self._unfinished
            if self._concerns(entry, index, sections)
            for regions in entry.header.regions
        )
        return [region for region in found if region is not None and region.z in sections]

    def _concerns(self, entry: Entry, index: int, sections: set[int]) -> bool:
        """Return whether an entry may touch sections of a level and is still unfinished."""
        if index == 0 and entry.z not in sections:
            return False
        if not entry.is_there:  # somebody has finished it meanwhile
            return False
        layout = entry.header.layout
        return layout.axes == self._levels[0].axes and [
            (record.path, record.shape) for record in layout.levels
        ] == [(level.path, level.shape) for level in self._levels]

    def _right(self, index: int, region: SectionRegion) -> AnyImage:
        """Return the pixels of a level that a region will have."""
        z, box = region.z, region.box
        level = self._levels[index]
        before = level.read(z, box)
        entries = [e for e in self._unfinished if self._concerns(e, index, {z})]
        live = [e for e in self._journal.entries if e.live and self._concerns(e, index, {z})]
        pixels, touched = before.copy(), np.zeros(before.shape, dtype=bool)
        for _, _, changed, part in overlapping(entries, index, z, box):
            here, there = part.within(box), part.within(changed.region.box)
            pixels[here][changed.mask[there]] = changed.original[there][changed.mask[there]]
            touched[here] |= changed.mask[there]
        if index == 0:
            overlay(pixels, touched, live, z, box)
            pixels = self._keep_edits(pixels, before, touched, [*live, *entries], region)
        else:
            self._reduce(pixels, touched, live, index, region)
        for entry in (*entries, *live):
            entry.forget_pixels()
        return pixels

    def _keep_edits(
        self,
        pixels: AnyImage,
        before: AnyImage,
        touched: BoolImage,
        entries: Sequence[Entry],
        region: SectionRegion,
    ) -> AnyImage:
        """Show what another program has written since: recovery leaves it."""
        box, found = region.box, bits(before)
        known = ~touched
        for _, piece, changed, part in overlapping(entries, 0, region.z, box):
            here, there = part.within(box), part.within(changed.region.box)
            ours = (found[here] == bits(piece.new)[there]) | (
                found[here] == bits(changed.original)[there]
            )
            known[here] |= changed.mask[there] & ours
        return np.where(known, pixels, before)

    def _reduce(
        self,
        pixels: AnyImage,
        touched: BoolImage,
        live: Sequence[Entry],
        index: int,
        region: SectionRegion,
    ) -> None:
        """Make the pixels of a reduced level that ``live`` touch, of what is shown of the finer."""
        repaired = np.zeros(pixels.shape, dtype=bool)
        for _, _, changed, part in overlapping(live, index, region.z, region.box):
            mask = changed.mask[part.within(changed.region.box)]
            repaired[part.within(region.box)] |= mask
        repaired &= touched
        if repaired.any():
            entry = next(e for e in live if e.touches(index, region.z, region.box))
            rule = entry.header.layout.levels[index].rule
            fine, coarse = self._shown[index - 1], self._levels[index]
            made = pyramid.reduce(fine, coarse, rule, region.z, region.box)
            pixels[repaired] = made[repaired]
