"""The journal of a stack that is written to: its lock, and the way of an entry to its end.

Not responsible for: what an entry holds (:mod:`.entries`), what pixels should be
(:mod:`.apply`), whether a repair may be written (:mod:`.writeback`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import folders
from ..disk.folder import Folder
from ..disk.lock import locked
from ..disk.open_root import open_root
from ..errors import (
    FlowInpaintError,
    StoreError,
    explain_failed_write,
    is_disk_full,
    name_sections,
)
from ..io.levels import Level
from ..names import printable
from ..section_repair import Provenance
from ..types import AnyImage
from .apply import apply, mark
from .checks import check_later_edits
from .entries import (
    ABORTING,
    COMMITTED,
    DISPLACED,
    LARGEST_ID,
    PREPARED,
    REVERTED,
    REVERTING,
    Entry,
)
from .entry_format import write_entry
from .journal import RESTORE_PYRAMID, Journal, pyramids, same_arrays
from .pieces import Header, Layout, Piece, SectionRegion
from .synthetic import has_section, open_labels
from .synthetic_attributes import RepairTold, describe, largest_number, note_largest
from .target import Target, check_links, open_level, parts_of

if TYPE_CHECKING:
    from ..io.stack import Stack

_README = """This folder belongs to the array it lies in. Here napari-flowinpaint keeps what it
replaced: the original pixels of every repaired region, the masks, and where the synthetic pixels
come from. It is needed to revert repairs and to put the stack right after a crash. Keep it with
the data.
"""
#: Disk space that is held back beyond the largest chunk, in bytes.
_SPARE = 1 << 20
_FINISHED = {PREPARED: COMMITTED, REVERTING: REVERTED}
#: The way back of an entry, by the job that is undone.
UNDO_WRITE = {PREPARED: ABORTING, COMMITTED: ABORTING}
UNDO_REVERT = {REVERTING: PREPARED, REVERTED: PREPARED}
_UNDO_INTERRUPTED = {PREPARED: ABORTING, REVERTING: PREPARED}
_WORDS = {PREPARED: "write", REVERTING: "revert", ABORTING: "cancelled write"}
#: What we leave in the scratch folder when we are killed.
_RESERVE = "reserve"
_LEFT_OVER = re.compile(
    rf"\.[0-9a-f]{{32}}\.part|[0-9a-f]{{32}}|{_RESERVE}|(entry|discarded)-\d+.*"
)


class WritingJournal(Journal):
    """The journal of an array that is written to.

    Parameters
    ----------
    root, path, told
        As for :class:`.journal.Journal`.
    """

    def __init__(self, root: Path, path: str, told: Path | None = None) -> None:
        super().__init__(root, path, told)
        self._targets: dict[Any, Target] = {}
        #: What is to be said of repairs just written or reverted, by layout and number.
        self._told: dict[Layout, dict[int, RepairTold | None]] = {}
        #: Whether what is written could be written to a copy instead, for messages.
        self.elsewhere = False
        #: Repairs whose interrupted revert was finished by :meth:`writing`.
        self.reverted: list[Entry] = []

    @contextmanager
    def writing(self, timeout: float | None = None, *, force: bool = False) -> Iterator[list[str]]:
        """Hold the lock, with every unfinished entry brought to its end first.

        Parameters
        ----------
        timeout
            Seconds to wait for another writer; None for the usual ones.
        force
            Whether pixels that another program has changed since are overwritten in doing so.

        Yields
        ------
        list of str
            What had to be put right, in plain words.

        Raises
        ------
        StoreError
            If another process writes, the folder may not be written to, or an unfinished entry
            cannot be brought to its end.
        """
        with ExitStack() as opened:
            try:
                self._held = opened.enter_context(open_root(self.root))
                opened.callback(self._let_go)
                home = self._held.folder(*parts_of(self.path)).folder(folders.JOURNAL, create=True)
                home.folder(folders.ENTRIES, create=True).close()
                self.scratch = home.folder(folders.SCRATCH, create=True)
                opened.enter_context(locked(home, printable(self.data), timeout))
            except OSError as error:
                raise StoreError(self.explain(error)) from error
            self.scan()
            try:
                self._tidy()
                if home.stat(folders.README) is None:
                    home.write(folders.README, _README.encode(), self.scratch)
                messages = self._recover(force)
            except OSError as error:
                raise StoreError(self.explain(error)) from error
            try:
                yield messages
            finally:
                self.end()
                with suppress(OSError):
                    self._tidy()

    def explain(self, error: BaseException) -> str:
        """Return in plain words why the stack could not be written, and what to do."""
        return explain_failed_write(error, printable(self.data), self.elsewhere)

    def _let_go(self) -> None:
        self._held = None

    def _tidy(self) -> None:
        """Remove unfinished files, and the pixels of reverted entries."""
        self._empty_scratch()
        for entry in self.entries:
            if entry.state == REVERTED:
                with entry.home.folder(entry.name) as folder:
                    folder.remove_file("pixels.npz")

    def end(self) -> None:
        """Let no write that is still under way reach the disk after this."""
        for target in self._targets.values():
            target.end()
        self._targets.clear()

    def _recover(self, force: bool) -> list[str]:
        """Bring every unfinished entry to its end; undo writes the disk has no room for."""
        unfinished = self.unfinished
        if not unfinished:
            return []
        begun = {e.key: (_WORDS[e.state], e.state == ABORTING) for e in unfinished}
        undone = False
        try:
            self._check_unfinished(force)
            try:
                self.finish()
            except OSError as error:
                if not is_disk_full(error):  # where nothing may be written, nothing is undone
                    raise
                undone = True
                self.undo(_UNDO_INTERRUPTED)
            self.reverted = [entry for entry in unfinished if entry.state == REVERTED]
            self.note_numbers()
        except FlowInpaintError:
            raise
        except Exception as error:
            sections = name_sections(sorted({entry.z for entry in unfinished}))
            command = self.command("recover", unfinished[0].header.layout.axes)
            raise StoreError(
                f"{self.explain(error)}; the write to {sections} is half done until the next write "
                f"or {command} finishes it."
            ) from error
        return [
            f"The interrupted {word} of repair {number} (section {z}) was "
            f"{'undone' if undone or aborting else 'finished'}."
            for (number, z), (word, aborting) in begun.items()
        ]

    def _check_unfinished(self, force: bool) -> None:
        """Refuse to go on where recovery would follow links or overwrite edits of others."""
        for layout, entries in self.by_layout(self.unfinished):
            target = self.target(layout)
            live = self.live_near([entry.z for entry in entries], layout)
            for entry in entries:
                for region, _ in entry.masks:
                    check_links(target, region.z, region.box)
            if not force:
                command = self.command("recover", layout.axes, "--force")
                check_later_edits(target, entries, live, command)
            for read in (*entries, *live):
                read.forget_pixels()

    def target(self, layout: Layout) -> Target:
        """Open the arrays of a layout for writing.

        Marks that are missing on the label image are made again.

        Raises
        ------
        StoreError
            If they are not what the layout says, or not the levels of this stack.
        """
        key = (layout.axes, tuple((level.path, level.shape) for level in layout.levels))
        if key not in self._targets:
            root = self._base(layout)
            levels = tuple(
                open_level(root, record, layout, self.scratch) for record in layout.levels
            )
            labels = open_labels(
                root, levels, self.scratch, lambda new: self._mark_missing(new, layout)
            )
            self._mark_missing(labels, layout)
            rules = tuple(record.rule for record in layout.levels[1:])
            self._targets[key] = Target(levels, labels, rules, largest_number(labels))
        return self._targets[key]

    def _base(self, layout: Layout) -> Folder:
        """Open the folder that the paths of a layout start from, having checked them.

        A journal could have come from anywhere: only arrays that the metadata of the stack itself
        name as its levels are ever written to.
        """
        root = self._open_root()
        paths = [level.path for level in layout.levels]
        if paths == [""]:
            return root.folder(*parts_of(self.path))
        if self.path and paths[0] == self.path and paths in pyramids(root):
            return root
        raise StoreError(
            f"the journal of {printable(self.data)} belongs to a pyramid that {self.shown} does "
            f"not name in its metadata; {RESTORE_PYRAMID}."
        )

    def _mark_missing(self, labels: tuple[Level, ...], layout: Layout) -> None:
        """Make the marks of live entries again, of which nothing is on the label image."""
        sections = {entry.z for entry in self.entries if entry.live}
        for z in sorted(sections):
            if not has_section(labels[0], z):
                with suppress(StoreError):  # what is damaged must not keep others from being marked
                    self._mark(labels, layout, {z})

    def _mark(self, labels: tuple[Level, ...], layout: Layout, sections: set[int]) -> list[Entry]:
        """Make the marks of the live entries of some sections right; return whose were not."""
        marked = []
        for entry in [e for e in self.entries if e.live and e.z in sections]:
            known = entry.header.layout
            if known.axes == layout.axes and same_arrays(known.levels, layout.levels):
                live = self.live_near([entry.z], layout)
                if mark(labels, [entry], live):
                    marked.append(entry)
                for read in live:
                    read.forget_pixels()
        return marked

    def check_marks(self) -> list[Entry]:
        """Compare the marks of all live entries with the label image; return whose were made again.

        Marks are on disk before the pixels they stand for; but a disk may lose them.
        """
        marked = []
        for layout, entries in self.by_layout([e for e in self.entries if e.live]):
            marked += self._mark(self.target(layout).labels, layout, {e.z for e in entries})
        return marked

    def add(self, z: int, provenance: Provenance, layout: Layout, pieces: Sequence[Piece]) -> Entry:
        """Add an entry, complete and prepared; no pixel of the stack changes."""
        number = max((entry.id for entry in self.entries), default=0)
        number = max(number, self.target(layout).largest_number) + 1
        if number > LARGEST_ID:
            raise StoreError(
                f"the journal of {printable(self.data)} has no number left after {number - 1}; "
                "use --output (or Save as OME-Zarr)."
            )
        regions: list[tuple[SectionRegion | None, ...]] = [
            tuple(None if f is None else f.region for f in piece.changed_pixels) for piece in pieces
        ]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header = Header(number, z, now, provenance, layout, tuple(regions))
        draft, name = f"entry-{number}", Entry.name_of(number, z, PREPARED)
        with self.scratch.make_folder(draft) as folder:
            write_entry(folder, header, tuple(pieces))
        home = self._open(folders.JOURNAL, folders.ENTRIES)
        assert home is not None
        self.scratch.rename(draft, home, name)
        entry = Entry(home, name, number, z, PREPARED)
        entry.header, entry.pieces = header, tuple(pieces)
        self.entries.append(entry)
        return entry

    def move(self, entry: Entry, state: str) -> None:
        """Change the state of an entry."""
        name = Entry.name_of(entry.id, entry.z, state)
        if name != entry.name and entry.home.stat(name) is not None:
            self._set_aside(entry.home, name)
        entry.home.rename(entry.name, new=name)
        entry.name, entry.state = name, state

    def _set_aside(self, home: Folder, name: str) -> None:
        """Give a folder that does not count another name, which is not that of an entry."""
        number = 1
        while home.stat(f"{name}.{number}") is not None:
            number += 1
        home.rename(name, new=f"{name}.{number}")

    def note_numbers(self) -> None:
        """Remember the numbers of the repairs beside their marks."""
        largest = max((e.id for e in self.entries if not e.unfinished), default=0)
        for target in self._targets.values():
            note_largest(target.labels, max(largest, target.largest_number))
        for layout, told in self._told.items():
            target = self.target(layout)
            describe(self._base(layout), target.levels, self.scratch, told)
        self._told.clear()

    def finish(self, step: Callable[[], None] = lambda: None) -> None:
        """Bring every unfinished entry to its end.

        Parameters
        ----------
        step
            Called before every chunk; what it raises stops the work, which can be taken up again.
        """
        for layout, entries in self.by_layout(self.unfinished):
            live = self.live_near([entry.z for entry in entries], layout)
            apply(self.target(layout), entries, live, step)
            told = self._told.setdefault(layout, {})
            told.update({entry.id: _told(entry) for entry in entries})
            for entry in entries:
                self._settle(entry)
            for entry in (*entries, *live):
                entry.forget_pixels()

    def _settle(self, entry: Entry) -> None:
        """Put an entry whose pixels are right into its final state."""
        if entry.state in _FINISHED:
            self.move(entry, _FINISHED[entry.state])
            return
        rubbish = f"discarded-{entry.id}-{entry.z}"
        entry.home.rename(entry.name, self.scratch, rubbish)
        self.entries.remove(entry)
        self.scratch.remove_tree(rubbish)

    def undo(self, way_back: Mapping[str, str], begun: Sequence[Entry] = ()) -> None:
        """Bring the entries of a job that failed back to where they were before it.

        Parameters
        ----------
        way_back
            State to put an entry into, by its state.
        begun
            Entries of the job. What is unfinished belongs to it too: when it got the lock
            nothing was.
        """
        keys = {entry.key for entry in begun}
        self.end()
        self._empty_scratch()
        self.scan()  # a rename may have happened although it was reported to have failed
        for entry in self.entries:
            ours = entry.key in keys or entry.unfinished
            if ours and entry.state in way_back:
                self.move(entry, way_back[entry.state])
        self.finish()

    def hold_space(self, target: Target) -> None:
        """Hold back the disk space that undoing needs; :meth:`undo` gives it back first."""
        self.scratch.reserve(_RESERVE, target.largest_chunk + _SPARE)

    def _empty_scratch(self) -> None:
        """Remove unfinished files and give back the space that was held back."""
        for name in self.scratch.names():
            if _LEFT_OVER.fullmatch(name):
                self.scratch.remove_tree(name)


def _told(entry: Entry) -> RepairTold | None:
    """Return what the label image says of an entry: nothing where its pixels go."""
    if not entry.live:
        return None
    moved = any(piece.moved is not None for piece in entry.pieces)
    return RepairTold.of(entry.z, entry.header.provenance, moved)


def put_marks(stack: Stack, marks: Iterable[tuple[int, AnyImage]]) -> None:
    """Mark pixels of a stack for repairs that are in no journal.

    Parameters
    ----------
    stack
        Writable, without repairs; its levels are halved in y and x.
    marks
        Section number, and (Y, X) uint32 with the numbers of the repairs, per section.
    """
    journal = WritingJournal.of(stack)
    assert journal is not None
    with journal.writing():
        target = journal.target(journal.layout_of(stack))
        largest = 0
        moved: set[int] = set()
        for z, section in marks:
            largest = max(largest, int(section[section < DISPLACED].max(initial=0)))
            moved.update((np.unique(section[section > DISPLACED]) - DISPLACED).tolist())
            for fine, level in pairwise((target.labels[0], *target.labels)):
                if level is not fine:
                    rows, columns = (
                        np.arange(0, size, -(-size // m))
                        for size, m in zip(section.shape, level.shape[1:], strict=True)
                    )
                    # synthetic pixels before displaced ones, and these before none
                    section = np.where(section > 0, section ^ np.uint32(DISPLACED), 0)
                    section = np.maximum.reduceat(section, rows, axis=0)
                    section = np.maximum.reduceat(section, columns, axis=1)
                    section = np.where(section > 0, section ^ np.uint32(DISPLACED), 0)
                level.write(z, section)
        note_largest(target.labels, largest)
        if moved:
            layout = journal.layout_of(stack)
            told = dict.fromkeys(moved, RepairTold(moved=True))
            describe(journal._base(layout), target.levels, journal.scratch, told)
