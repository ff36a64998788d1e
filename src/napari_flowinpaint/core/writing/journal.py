"""The journal on disk: its lock, its entries, and the way of an entry from state to state.

Not responsible for: what an entry holds (:mod:`.entries`), what pixels should be
(:mod:`.apply`), whether a repair may be written (:mod:`.writeback`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import folders
from ..errors import FlowInpaintError, StoreError
from ..io import durable
from ..io.levels import Level
from ..io.pyramid import Rule, detect_rules
from ..types import Provenance
from .apply import Target, apply, mark, open_level
from .entries import (
    ABORTING,
    COMMITTED,
    PREPARED,
    REVERTED,
    REVERTING,
    UNFINISHED,
    Entry,
    Header,
    Layout,
    LevelRecord,
    Piece,
    Place,
    write_entry,
)
from .synthetic import open_labels

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


class Journal:
    """The journal of one full-resolution array.

    Parameters
    ----------
    folder
        Directory of the array.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder
        self.folder = folder / folders.JOURNAL
        self.scratch = self.folder / folders.SCRATCH
        self.entries: list[Entry] = []
        self._targets: dict[Any, Target] = {}

    def scan(self) -> None:
        """Read which entries there are; their content is read when it is asked for."""
        found: list[Entry] = []
        with suppress(FileNotFoundError):
            for folder in (self.folder / folders.ENTRIES).iterdir():
                entry = Entry.at(folder)
                if entry is not None:
                    found.append(entry)
        self.entries = sorted(found, key=lambda entry: entry.id)

    @property
    def unfinished(self) -> list[Entry]:
        """Entries whose pixels may be in between."""
        return [entry for entry in self.entries if entry.state in UNFINISHED]

    @contextmanager
    def writing(self, timeout: float | None = None) -> Iterator[tuple[str, ...]]:
        """Hold the lock, with every unfinished entry brought to its end first.

        Parameters
        ----------
        timeout
            Seconds to wait for another writer; None for the usual ones.

        Yields
        ------
        tuple of str
            What had to be put right, in plain words.

        Raises
        ------
        StoreError
            If another process writes, the folder may not be written to, or an unfinished entry
            cannot be brought to its end.
        """
        try:
            for folder in (self.folder / folders.ENTRIES, self.scratch):
                durable.make_folder(folder)
        except OSError as error:
            raise StoreError(durable.explain(error, self.data)) from error
        with durable.locked(self.folder, self.data, timeout):
            self.scan()
            try:
                self._tidy()
                if not (self.folder / folders.README).exists():
                    durable.put_file(self.folder / folders.README, _README.encode(), self.scratch)
                messages = self._recover()
            except OSError as error:
                raise StoreError(durable.explain(error, self.data)) from error
            try:
                yield messages
            finally:
                self.end()
                with suppress(OSError):
                    self._tidy()

    def _tidy(self) -> None:
        """Remove unfinished files, and the pixels of reverted entries."""
        self._empty_scratch()
        for entry in self.entries:
            if entry.state == REVERTED:
                durable.remove(entry.folder / "pixels.npz")

    def end(self) -> None:
        """Let no write that is still under way reach the disk after this."""
        for target in self._targets.values():
            target.end()
        self._targets.clear()

    def _recover(self) -> tuple[str, ...]:
        """Bring every unfinished entry to its end; undo writes the disk has no room for."""
        unfinished = self.unfinished
        if not unfinished:
            return ()
        begun = {e.id: (_WORDS[e.state], e.z, e.state == ABORTING) for e in unfinished}
        undone = False
        try:
            try:
                self.finish()
            except OSError:
                undone = True
                self.undo(_UNDO_INTERRUPTED)
        except FlowInpaintError:
            raise
        except Exception as error:
            sections = ", ".join(str(z) for z in sorted({entry.z for entry in unfinished}))
            raise StoreError(
                f"{durable.explain(error, self.data)}; section {sections} is half written until "
                "then, and is put right when the stack is opened again."
            ) from error
        return tuple(
            f"The interrupted {word} of repair {number} (section {z}) was "
            f"{'undone' if undone or aborting else 'finished'}."
            for number, (word, z, aborting) in begun.items()
        )

    def layout_of(self, stack: Stack) -> Layout:
        """Return the arrays of a stack as the journal records them.

        The rules of the pyramid are looked for once and then kept: repairs must not change them.

        Raises
        ------
        InputError
            If a level is not a whole-number reduction of the finer one.
        """
        levels = stack.levels
        records = tuple(
            LevelRecord(level.path, level.shape, level.scale, Rule()) for level in levels
        )
        for entry in reversed(self.entries):
            known = entry.header.layout
            if known.axes.zyx == levels[0].axes.zyx and same_arrays(known.levels, records):
                return Layout(levels[0].axes, str(stack.dtype), known.levels)
        reduced = (
            LevelRecord(record.path, record.shape, record.scale, rule)
            for record, rule in zip(records[1:], detect_rules(levels), strict=True)
        )
        return Layout(levels[0].axes, str(stack.dtype), (records[0], *reduced))

    def target(self, layout: Layout) -> Target:
        """Open the arrays of a layout for writing.

        Raises
        ------
        StoreError
            If they are not what the layout says, or not the levels of this stack.
        """
        key = (layout.axes, tuple((level.path, level.shape) for level in layout.levels))
        if key not in self._targets:
            root = _root(self.data, layout)
            levels = tuple(
                open_level(root, record, layout, self.scratch) for record in layout.levels
            )
            labels = open_labels(root, levels, self.scratch, lambda new: self._mark(new, layout))
            rules = tuple(record.rule for record in layout.levels[1:])
            self._targets[key] = Target(levels, labels, rules)
        return self._targets[key]

    def _mark(self, labels: tuple[Level, ...], layout: Layout) -> None:
        """Put the marks of all live entries on a new label image: the old one was removed."""
        for entry in self.entries:
            known = entry.header.layout if entry.live else None
            if known and known.axes == layout.axes and same_arrays(known.levels, layout.levels):
                mark(labels, [entry])
                entry.forget_pixels()

    def live_near(self, sections: Sequence[int], layout: Layout) -> list[Entry]:
        """Return the live entries that may share a pixel with ``sections`` on some level.

        Returns
        -------
        list of Entry
            In the order of their numbers.

        Raises
        ------
        StoreError
            If one of them was written to another pyramid than there is now.
        """
        thickness = layout.thickness
        blocks = {z // thickness for z in sections}
        near = [e for e in self.entries if e.live and e.z // thickness in blocks]
        near = [e for e in near if e.header.layout.axes == layout.axes]
        for entry in near:
            self._check_pyramid(entry, layout)
        return near

    def _check_pyramid(self, entry: Entry, layout: Layout) -> None:
        """Refuse an entry that was written to another pyramid."""
        if not same_arrays(entry.header.layout.levels, layout.levels):
            raise StoreError(
                f"repair {entry.id} (section {entry.z}) was written to another pyramid than "
                f"{self.data} has now; restore that pyramid, or use --output."
            )

    def add(self, z: int, provenance: Provenance, layout: Layout, pieces: Sequence[Piece]) -> Entry:
        """Add an entry, complete and prepared; no pixel of the stack changes."""
        number = max((entry.id for entry in self.entries), default=0) + 1
        places: list[tuple[Place | None, ...]] = [
            tuple(None if f is None else f.place for f in piece.footprints) for piece in pieces
        ]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header = Header(number, z, now, provenance, layout, tuple(places))
        draft = self.scratch / f"entry-{number}"
        write_entry(draft, header, tuple(pieces))
        folder = self.folder / folders.ENTRIES / Entry.name(number, z, PREPARED)
        durable.move(draft, folder)
        entry = Entry(folder, number, z, PREPARED)
        entry.header, entry.pieces = header, tuple(pieces)
        self.entries.append(entry)
        return entry

    def move(self, entry: Entry, state: str) -> None:
        """Change the state of an entry."""
        folder = entry.folder.with_name(Entry.name(entry.id, entry.z, state))
        durable.move(entry.folder, folder)
        entry.folder, entry.state = folder, state

    def finish(self, step: Callable[[], None] = lambda: None) -> None:
        """Bring every unfinished entry to its end.

        Parameters
        ----------
        step
            Called before every chunk; what it raises stops the work, which can be taken up again.
        """

        def axes_of(entry: Entry) -> str:
            return repr(entry.header.layout.axes)

        for _, group in groupby(sorted(self.unfinished, key=axes_of), axes_of):
            entries = sorted(group, key=lambda entry: entry.id)
            layout = entries[0].header.layout
            for entry in entries:
                self._check_pyramid(entry, layout)
            live = self.live_near([entry.z for entry in entries], layout)
            apply(self.target(layout), entries, live, step)
            for entry in entries:
                self._settle(entry)
            for entry in (*entries, *live):
                entry.forget_pixels()

    def _settle(self, entry: Entry) -> None:
        """Put an entry whose pixels are right into its final state."""
        if entry.state in _FINISHED:
            self.move(entry, _FINISHED[entry.state])
            return
        rubbish = self.scratch / f"discarded-{entry.id}"
        durable.move(entry.folder, rubbish)
        self.entries.remove(entry)
        durable.remove(rubbish)

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
        numbers = {entry.id for entry in begun}
        self.end()
        self._empty_scratch()
        self.scan()  # a rename may have happened although it was reported to have failed
        for entry in self.entries:
            ours = entry.id in numbers or entry.state in UNFINISHED
            if ours and entry.state in way_back:
                self.move(entry, way_back[entry.state])
        self.finish()

    def hold_space(self, target: Target) -> None:
        """Hold back the disk space that undoing needs; :meth:`undo` gives it back first."""
        durable.reserve(self.scratch / "reserve", target.largest_chunk + _SPARE)

    def _empty_scratch(self) -> None:
        """Remove unfinished files and give back the space that was held back."""
        for path in list(self.scratch.iterdir()):
            durable.remove(path)


def same_arrays(first: Sequence[LevelRecord], second: Sequence[LevelRecord]) -> bool:
    """Return whether two pyramids are the same, whatever rules they were made by."""
    return [(r.path, r.shape) for r in first] == [(r.path, r.shape) for r in second]


def _root(folder: Path, layout: Layout) -> Path:
    """Return the directory that the paths of a layout start from, having checked them.

    A journal could have come from anywhere: only arrays that the metadata of the stack itself
    name as its levels are ever written to.
    """
    paths = [level.path for level in layout.levels]
    if paths == [""]:
        return folder
    parts = Path(paths[0]).parts
    root = folder.parents[len(parts) - 1] if 0 < len(parts) <= len(folder.parents) else folder
    if root.joinpath(*parts) == folder and paths in pyramids(root):
        return root
    raise StoreError(
        f"the journal of {folder} belongs to a pyramid that {root} does not name in its metadata; "
        "restore the metadata, or move the journal away."
    )


def pyramids(group: Path) -> list[list[str]]:
    """Return the paths of the levels of every multiscale image of a group."""
    import zarr

    try:
        attributes = dict(zarr.open_group(group, mode="r").attrs)
        images: Any = attributes.get("ome", attributes).get("multiscales", [])  # type: ignore[union-attr]
        return [[str(d["path"]) for d in image["datasets"]] for image in images]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
