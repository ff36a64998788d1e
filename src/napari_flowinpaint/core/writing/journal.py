"""The journal on disk: its entries, and which of them concern a stack. Nothing is written here.

Not responsible for: what an entry holds (:mod:`.entries`), the way of an entry from state to state
(:mod:`.writing_journal`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .. import folders
from ..disk.folder import Folder
from ..disk.lock import is_held
from ..disk.open_root import open_root
from ..errors import InputError, StoreError
from ..io.axes import Axes, guess_names
from ..io.pyramid import DownsamplingRule, detect_rules
from ..names import printable, quoted
from .entries import Entry
from .pieces import Layout, LevelRecord
from .target import parts_of

if TYPE_CHECKING:
    from ..io.levels import Level
    from ..io.stack import Stack

#: What to do about a level that is not where its repairs were written.
RESTORE_PYRAMID = (
    "restore that pyramid, or save a copy (repair with --output, or Save as OME-Zarr), which "
    "includes the repairs"
)


class Journal:
    """The journal of one full-resolution array.

    Parameters
    ----------
    root
        The OME-Zarr group, or the directory of a bare array; may be reached through links.
    path
        Of the array within the group; "" for a bare array.
    told
        What the user calls the stack; None for ``root``.
    """

    def __init__(self, root: Path, path: str, told: Path | None = None) -> None:
        self.root = root
        self.told = told or root
        self.path = path
        self.data = root.joinpath(*parts_of(path))
        self.entries: list[Entry] = []
        self._scanned: Any = -1
        self._held: Folder | None = None

    @classmethod
    def of(cls, stack: Stack) -> Self | None:
        """Return the journal of a stack; None where it is not a local zarr store."""
        if stack.group_path is None or not stack.levels[0].is_zarr:
            return None
        told = None if stack.beside is None else stack.path
        return cls(stack.group_path, stack.levels[0].path, told)

    def _open_root(self) -> Folder:
        """Open the group, or the array: the very one that is held, while something is written."""
        return open_root(self.root) if self._held is None else self._held.folder()

    def _open(self, *names: str) -> Folder | None:
        """Open a folder within the array; None where there is none."""
        try:
            with self._open_root() as root:
                return root.folder(*parts_of(self.path), *names)
        except (FileNotFoundError, NotADirectoryError):
            return None

    @property
    def exists(self) -> bool:
        """Whether there is a journal."""
        return self._open(folders.JOURNAL) is not None

    def scan(self) -> None:
        """Read which entries there are; their content is read when it is asked for.

        Of two folders of one entry, which a merge of two copies leaves, one counts.
        """
        home = self._open(folders.JOURNAL, folders.ENTRIES)
        found = [Entry.of(home, name) for name in home.names()] if home is not None else []
        self._scanned = None if home is None else home.changed()
        known: dict[tuple[int, int], Entry] = {}
        for entry in sorted((e for e in found if e is not None), key=lambda e: e.rank):
            known.setdefault(entry.key, entry)
        self.entries = sorted(known.values(), key=lambda entry: entry.key)

    def refresh(self) -> None:
        """Read which entries there are, if that has changed."""
        home = self._open(folders.JOURNAL, folders.ENTRIES)
        if (None if home is None else home.changed()) != self._scanned:
            self.scan()

    @property
    def unfinished(self) -> list[Entry]:
        """Entries whose pixels may be in between."""
        return [entry for entry in self.entries if entry.unfinished]

    @property
    def busy(self) -> bool:
        """Whether another process or thread is writing, as far as a look can tell."""
        home = self._open(folders.JOURNAL)
        return home is not None and is_held(home)

    @property
    def shown(self) -> str:
        """What the user calls the stack, for messages."""
        return printable(self.told)

    def command(self, verb: str, axes: Axes, options: str = "") -> str:
        """Return the command line that does something to a channel and time, for messages."""
        with self._open_root() as root:
            names = axis_names(root, self.path)
        told = {"c": "--channel", "t": "--time"}
        chosen = [
            f"{told[names[position]]} {index}"
            for position, index in axes.fixed
            if position < len(names) and names[position] in told
        ]
        words = ("flowinpaint", verb, quoted(self.told), *chosen, options)
        return f"`{' '.join(filter(None, words))}`"

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
            LevelRecord(level.path, level.shape, level.scale, DownsamplingRule())
            for level in levels
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
            self._check_pyramid(entry, layout.levels)
        return near

    def check_pyramid_of(self, stack: Stack) -> None:
        """Refuse to go on with a journal that was begun for another pyramid than a stack has.

        Such is a level that was copied out of its pyramid: a repair in it could not be reverted
        later, and its numbers would be given twice.

        Raises
        ------
        StoreError
            If its newest repair was written to another one.
        """
        axes = stack.levels[0].axes
        live = (entry for entry in reversed(self.entries) if entry.live)
        newest = next((entry for entry in live if entry.header.layout.axes == axes), None)
        if newest is not None:
            self._check_pyramid(newest, stack.levels)

    def _check_pyramid(self, entry: Entry, levels: Sequence[LevelRecord | Level]) -> None:
        """Refuse an entry that was written to another pyramid."""
        if not same_arrays(entry.header.layout.levels, levels):
            raise StoreError(
                f"repair {entry.id} (section {entry.z}) was written to another pyramid than "
                f"{printable(self.data)} has now; {RESTORE_PYRAMID}."
            )

    def by_layout(self, entries: Sequence[Entry]) -> Iterator[tuple[Layout, list[Entry]]]:
        """Yield entries by channel and time, in the order of their numbers.

        Raises
        ------
        StoreError
            If one of them was written to another pyramid than the others.
        """

        def axes_of(entry: Entry) -> str:
            return repr(entry.header.layout.axes)

        for _, group in groupby(sorted(entries, key=axes_of), axes_of):
            chosen = sorted(group, key=lambda entry: entry.key)
            layout = chosen[0].header.layout
            for entry in chosen:
                self._check_pyramid(entry, layout.levels)
            yield layout, chosen


def same_arrays(
    first: Sequence[LevelRecord | Level], second: Sequence[LevelRecord | Level]
) -> bool:
    """Return whether two pyramids are the same, whatever rules they were made by."""
    return [(r.path, r.shape) for r in first] == [(r.path, r.shape) for r in second]


def axis_names(root: Folder, path: str) -> list[str]:
    """Return the names of the axes of the array at ``path``; none where nobody knows them.

    Parameters
    ----------
    root
        The OME-Zarr group, or the directory of a bare array.
    path
        Of the array within the group; "" for a bare array.
    """
    import zarr

    from ..io.folder_store import FolderStore
    from ..io.zarr_reader import axis_names_of

    try:
        node = zarr.open(FolderStore(root, read_only=True), mode="r", use_consolidated=False)
        if isinstance(node, zarr.Array):
            return axis_names_of(node) or guess_names(node.shape, printable(root.path))
        attributes: Any = dict(node.attrs)
        images = attributes.get("ome", attributes)["multiscales"]
        image = next(i for i in images if str(i["datasets"][0]["path"]) == path)
        return [str(axis["name"]).lower() for axis in image["axes"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StopIteration, InputError):
        return []


def pyramids(group: Folder) -> list[list[str]]:
    """Return the paths of the levels of every multiscale image of a group."""
    import zarr

    from ..io.folder_store import FolderStore

    try:
        node = zarr.open_group(FolderStore(group, read_only=True), mode="r", use_consolidated=False)
        attributes = dict(node.attrs)
        images: Any = attributes.get("ome", attributes).get("multiscales", [])  # type: ignore[union-attr]
        return [[str(d["path"]) for d in image["datasets"]] for image in images]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
