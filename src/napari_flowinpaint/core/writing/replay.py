"""Take the repairs of a stack along into a copy of it.

A copy of the pixels alone would turn synthetic pixels into unmarked ones. So the copy gets the
original pixels, and every live repair is written into it again: the pixels are those of the
stack, the marks, the provenance and the way back are there too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ..disk.open_root import open_root
from ..errors import InputError, StoreError
from ..io.levels import Level
from ..names import printable
from ..section_repair import Patch, SectionRepair, pixel_digest
from ..types import AnyImage, Box
from .apply import bits, overlay
from .changed_pixels import paste_originals
from .entries import Entry
from .journal import Journal
from .pieces import SectionRegion, displaced_by
from .synthetic import has_section, read_labels
from .writing_journal import put_marks

if TYPE_CHECKING:
    from ..io.stack import Stack


class EarlierRepairs:
    """The repairs that were written into a stack; nothing is written to it.

    Parameters
    ----------
    stack
        Any stack; only a local zarr store can have been repaired in place.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._touched: dict[int, list[Entry]] = {}
        self._live: list[Entry] = []
        self._journal = journal = Journal.of(stack)
        if journal is None:
            return
        journal.scan()
        self._found = [entry.name for entry in journal.entries]
        axes = stack.levels[0].axes
        for entry in [*journal.unfinished, *(e for e in journal.entries if e.live)]:
            if entry.header.layout.axes == axes:
                self._touched.setdefault(entry.z, []).append(entry)
        self._live = [e for e in journal.entries if e.live and e.header.layout.axes == axes]

    def check_unchanged(self) -> None:
        """Refuse to go on if the stack was written to since: synthetic pixels may be unmarked.

        Raises
        ------
        StoreError
            If there are other repairs than there were, or other states.
        """
        if self._journal is None:
            return
        now = Journal(self._journal.root, self._journal.path)
        now.scan()
        if [entry.name for entry in now.entries] != self._found:
            raise StoreError(
                f"{printable(self._stack.path)} was repaired or reverted by another process while "
                "it was copied; nothing was saved: try again when that has finished."
            )

    def __len__(self) -> int:
        return len(self._live)

    def original(self, z: int, box: Box | None = None) -> AnyImage:
        """Return section ``z``, or the box of it, as it was before any repair."""
        section = self._stack.read(z, box)
        part = SectionRegion(z, box or Box.whole(self._stack.shape[1:]))
        entries = self._touched.get(z, ())
        if entries:
            section = section.copy()
            paste_originals(section, entries, 0, part)
            for entry in entries:
                entry.forget_pixels()
        return section

    def repair(self, number: int) -> SectionRepair:
        """Return a repair that is in the stack, as it was written.

        Raises
        ------
        InputError
            If there is none of this number.
        """
        for entry in self._live:
            if entry.id == number:
                try:
                    return self._repair(entry, self._stack)
                finally:
                    entry.forget_pixels()
        raise InputError(f"there is no repair {number} in {self._stack.name}; it was reverted.")

    def copy_marks(self, copy: Stack) -> None:
        """Put marks on ``copy`` that no repair of the journal accounts for: its own was removed.

        Parameters
        ----------
        copy
            A writable stack of the same sections, its levels halved in y and x, without repairs:
            those that are written later get larger numbers.
        """
        if self._journal is None:
            return
        with open_root(self._journal.root) as root:
            labels = read_labels(root, self._stack.levels)
        if labels is None:
            return
        sections = (z for z in range(copy.shape[0]) if has_section(labels, z))
        unknown = ((z, self._unknown_marks(labels, z)) for z in sections)
        marked = ((z, marks) for z, marks in unknown if marks.any())
        first = next(marked, None)
        if first is not None:
            put_marks(copy, chain([first], marked))

    def without_originals(self) -> tuple[int, ...]:
        """Return the sections with marks that no repair of the journal accounts for."""
        if self._journal is None:
            return ()
        with open_root(self._journal.root) as root:
            labels = read_labels(root, self._stack.levels)
        if labels is None:
            return ()
        sections = (z for z in range(self._stack.shape[0]) if has_section(labels, z))
        return tuple(z for z in sections if self._unknown_marks(labels, z).any())

    def _unknown_marks(self, labels: Level, z: int) -> AnyImage:
        """Return the marks of a section that no repair accounts for, uint32."""
        marks = labels.read(z).copy()
        for entry in self._touched.get(z, ()):
            for region, mask in entry.masks:
                marks[region.box.slices][mask] = 0
            entry.forget_pixels()
        return marks

    def repairs(self, copy: Stack) -> Iterator[SectionRepair]:
        """Yield the repairs, in the order they were written, made to fit ``copy``.

        Parameters
        ----------
        copy
            A stack of the :meth:`original` sections, into which each repair is written before the
            next one is asked for.
        """
        for entry in self._live:
            yield self._repair(entry, copy)
            entry.forget_pixels()

    def _repair(self, entry: Entry, copy: Stack) -> SectionRepair:
        """Return a repair, made to fit ``copy``."""
        return SectionRepair(
            z=entry.z,
            shape=copy.shape[1:],
            dtype=copy.dtype,
            patches=tuple(self._patches(entry, copy)),
            provenance=entry.header.provenance,
        )

    def _patches(self, entry: Entry, copy: Stack) -> Iterator[Patch]:
        """Yield the windows of a repair."""
        provenance = entry.header.provenance
        for number, (piece, changed) in enumerate(entry.changed_pixels(0)):
            box, mask = changed.region.box, changed.mask
            before = copy.read(entry.z, box)
            result = np.where(mask, self._as_found(entry, piece.new, box), before)
            yield Patch(
                box=box,
                components=np.where(mask, number + 1, 0).astype(np.int32),
                initial_reference=before,
                refined_reference=before,
                result=result.astype(copy.dtype, copy=False),
                confidence=np.ones(box.shape, dtype=np.float32),
                neighbours=(None, None),
                alpha=provenance.alpha[number] if number < len(provenance.alpha) else 0.5,
                method=provenance.method,
                source_digest=pixel_digest(before),
                displaced=displaced_by(piece.moved, mask),
            )

    def _as_found(self, entry: Entry, new: AnyImage, box: Box) -> AnyImage:
        """Return repaired pixels; where another program has changed them since, these."""
        found = self._stack.read(entry.z, box)
        if entry.unfinished and self._stack.levels[0].shown is None:  # it may be old
            return new
        expected = found.copy()
        live = [e for e in self._live if e.z == entry.z]
        overlay(expected, np.ones(box.shape, dtype=bool), live, entry.z, box)
        return np.where(bits(expected) == bits(found), new, found)
