"""Where the flagged sections of a stack and their masks are stored, so that they survive napari.

Beside the stack, where that may be written to, else in the user's state folder::

    stack.zarr.flagged/
      .flowinpaint-folder.json  that this folder is ours
      README.txt             what this folder is
      flagged.csv            the list, as 'flowinpaint detect --report' writes it
      masks-0001.zarr        label image of a search, as 'flowinpaint detect --output' writes it
      painted/z000017.npz    tiles of the mask that were painted

What the last search of a section found shows where nothing is painted. No Qt; may be called from
threads, one at a time.

Two windows may show one stack. What another one has saved since this one has read or saved it is
not replaced: both are kept together, see :mod:`.flag_merging`.

No link in it is followed. What we wrote is removed only where we made the folder: in a copy, or in
the folder of an earlier version, a mask is emptied instead.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core import folders
from ...core.detection.flag_table import LARGEST_TABLE, Flagged, format_table, parse_table
from ...core.detection.store import read_detection
from ...core.disk.folder import Folder
from ...core.disk.open_root import open_root
from ...core.disk.ownership import is_owned, read_mark
from ...core.disk.workplace import make_ours
from ...core.errors import InputError, StoreError
from ...core.io.beside import check_no_link, kept_beside
from ...core.io.npz import Npz
from ...core.masks.layered_mask import LayeredMask
from ...core.masks.sparse_mask import TILE, SectionTiles
from .flag_merging import merge_rows, merge_tiles

if TYPE_CHECKING:
    from ...core.io.stack import Stack

_README = """\
Sections of the stack of this name that are damaged or may be, what was decided about them, and
their masks. Nothing here is part of the stack. Delete the folder to start over.
"""
_MASKS = re.compile(r"masks-(\d{4})\.zarr")
_PAINTED_FILE = re.compile(r"z(\d{1,10})\.npz")
#: Bytes that are read to recognise the README of any version.
_TELLS = _README.index("Delete")
_BEGUN = "begun"
_KIND = "flagged"
_NAMES = (folders.README, folders.FLAGGED_TABLE, folders.PAINTED, folders.SCRATCH)


@dataclass(frozen=True, eq=False)
class StoredFlags:
    """What is stored for a stack.

    Parameters
    ----------
    store
        Where.
    rows
        The list.
    base
        What searches found; None where there was none.
    tiles
        What was painted, by section.
    """

    store: FlagStore
    rows: tuple[Flagged, ...] = ()
    base: LayeredMask | None = None
    tiles: Mapping[int, SectionTiles] = field(default_factory=dict)


class FlagStore:
    """A folder of flagged sections.

    Parameters
    ----------
    folder
        It is created when something is saved.
    staging
        Where the repairs of a batch are staged.
    lasting
        Whether the folder can be found again: a stack without a file has no name.
    """

    def __init__(self, folder: Path, staging: Path, lasting: bool = True) -> None:
        self.folder, self.staging, self.lasting = folder, staging, lasting
        #: Of the stack, once what is stored was read: until then nobody else's is looked for.
        self._shape: tuple[int, int, int] | None = None
        #: The files as this window has read or written them, and the rows and searches in them.
        self._seen: dict[str, tuple[int, ...]] = {}
        self._known_rows: tuple[Flagged, ...] = ()
        self._known_searches: tuple[int, ...] = ()

    @classmethod
    def of(cls, stack: Stack) -> FlagStore:
        """Return the folder of a stack."""
        flagged, staging = (kept_beside(stack, what) for what in (folders.FLAGGED, folders.STAGING))
        if flagged is None or staging is None:
            folder = Path(tempfile.mkdtemp(prefix="flowinpaint-"))
            return cls(folder / folders.FLAGGED, folder / folders.STAGING, lasting=False)
        return cls(flagged, staging)

    # ---- reading

    def load(self, shape: tuple[int, int, int]) -> StoredFlags:
        """Return what is stored here.

        Raises
        ------
        InputError, StoreError
            If it cannot be read; the message names the file.
        """
        self._shape = shape
        if not self.folder.is_dir():
            return StoredFlags(self)
        check_no_link(self.folder)
        with open_root(self.folder) as root:
            if not _is_known(root):
                return StoredFlags(self)
            rows: tuple[Flagged, ...] = ()
            if root.is_file(folders.FLAGGED_TABLE):
                self._note(root, folders.FLAGGED_TABLE)
                rows = self._rows(root)
            self._known_rows = rows = tuple(row for row in rows if row.section < shape[0])
            self._known_searches = tuple(_searches(root))
            tiles = self._tiles(root, shape)
            return StoredFlags(self, rows, self._base(root, shape), tiles)

    def _rows(self, root: Folder) -> tuple[Flagged, ...]:
        try:
            content = root.read(folders.FLAGGED_TABLE, LARGEST_TABLE)
            return tuple(parse_table(content, is_json=False))
        except (OSError, ValueError) as error:
            raise self._damaged(folders.FLAGGED_TABLE, error) from None

    def _tiles(self, root: Folder, shape: tuple[int, int, int]) -> dict[int, SectionTiles]:
        """Return what was painted."""
        tiles = {}
        if root.is_folder(folders.PAINTED):
            with root.folder(folders.PAINTED) as painted:
                for name in painted.names():
                    match = _PAINTED_FILE.fullmatch(name)
                    if match is None or int(match[1]) >= shape[0]:
                        continue
                    self._note(painted, name)
                    try:
                        with painted.open_file(name) as file:
                            found = _read_tiles(Npz(file), shape)
                    except (OSError, ValueError) as error:
                        raise self._damaged(f"{folders.PAINTED}/{name}", error) from None
                    if found:
                        tiles[int(match[1])] = found
        return tiles

    def _damaged(self, name: str, error: Exception) -> InputError:
        told = getattr(error, "strerror", None) or error
        return InputError(
            f"{self.folder / name} cannot be used ({told}); delete it and open the stack again."
        )

    def _base(self, root: Folder, shape: tuple[int, int, int]) -> LayeredMask | None:
        base, last = None, self._begun(root)
        for number in _searches(root):
            if number <= last:
                continue
            masks, sections = open_search(self.folder / _search(number))
            if tuple(masks.shape) == shape:
                base = (base or LayeredMask(shape)).with_layer(masks, sections)
        return base

    def _begun(self, root: Folder) -> int:
        """Return the last search that is hidden by a mask begun after it."""
        try:
            with root.folder(folders.PAINTED) as painted:
                told = painted.read(_BEGUN, 64)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        if not re.fullmatch(rb"\d{1,9}", told):
            raise self._damaged(f"{folders.PAINTED}/{_BEGUN}", ValueError("it is not a number"))
        return int(told)

    def next_search(self) -> Path:
        """Return where the masks of the next search go; an interrupted one is resumed there."""
        with self._create() as root:
            number = max(_searches(root), default=0) + 1
            self._known_searches = (*self._known_searches, number)
            return self.folder / _search(number)

    # ---- writing

    @property
    def vanished(self) -> bool:
        """Whether the folder was removed since something was read or saved in it."""
        return bool(self._seen) and not self.folder.is_dir()

    def save_rows(self, rows: Iterable[Flagged]) -> tuple[Flagged, ...]:
        """Save the list, with what another window has changed in it; return it."""
        rows = tuple(rows)
        with self._create() as root, root.folder(folders.SCRATCH, create=True) as scratch:
            if self._is_of_others(root, folders.FLAGGED_TABLE):
                with suppress(InputError):  # what is damaged is replaced
                    rows = merge_rows(self._known_rows, rows, self._rows(root))
            root.write(folders.FLAGGED_TABLE, format_table(rows).encode(), scratch)
            self._note(root, folders.FLAGGED_TABLE)
        self._known_rows = rows
        return rows

    def save_tiles(self, tiles: Mapping[int, SectionTiles]) -> dict[int, SectionTiles]:
        """Save what was painted in sections; return those in which another window has painted.

        What is saved, and returned, is both.
        """
        merged: dict[int, SectionTiles] = {}
        if not tiles:
            return merged
        with (
            self._create() as root,
            root.folder(folders.SCRATCH, create=True) as scratch,
            root.folder(folders.PAINTED, create=True) as painted,
        ):
            for z, section in tiles.items():
                name = f"z{z:06d}.npz"
                theirs = self._tiles_of_others(painted, name)
                if theirs:
                    merged[z] = section = merge_tiles(section, theirs)
                if section:
                    painted.write(name, _pack(section), scratch)
                else:
                    _empty(root, painted, name, scratch)
                self._note(painted, name)
        return merged

    def start_mask(self, alone: bool) -> None:
        """Remove what was painted: another mask was started.

        Parameters
        ----------
        alone
            Whether the new mask hides what searches have found so far.
        """
        with (
            self._create() as root,
            root.folder(folders.SCRATCH, create=True) as scratch,
            root.folder(folders.PAINTED, create=True) as painted,
        ):
            for name in filter(_PAINTED_FILE.fullmatch, painted.names()):
                if not self._is_of_others(painted, name):
                    _empty(root, painted, name, scratch)
                    self._note(painted, name)
            found = _searches(root) if self._shape is None else self._known_searches
            last = max(found, default=0) if alone else 0
            painted.write(_BEGUN, str(last).encode(), scratch)

    # ---- of other windows

    def _note(self, folder: Folder, name: str) -> None:
        """Note how a file is that this window has read or written."""
        found = folder.stat(name)
        self._seen.pop(name, None)
        if found is not None:
            self._seen[name] = (found.st_mtime_ns, found.st_size, found.st_ino)

    def _is_of_others(self, folder: Folder, name: str) -> bool:
        """Return whether a file is not as this window has read or written it."""
        found = folder.stat(name)
        if self._shape is None or found is None:
            return False
        return self._seen.get(name) != (found.st_mtime_ns, found.st_size, found.st_ino)

    def _tiles_of_others(self, painted: Folder, name: str) -> SectionTiles:
        """Return what another window has painted in a section; nothing where that is damaged."""
        if self._shape is None or not self._is_of_others(painted, name):
            return {}
        try:
            with painted.open_file(name) as file:
                return _read_tiles(Npz(file), self._shape)
        except (OSError, ValueError):
            return {}

    @contextmanager
    def _create(self) -> Iterator[Folder]:
        """Yield the folder, which is made where it is missing."""
        try:
            check_no_link(self.folder)
            with self._open_or_create() as root:
                yield root
        except OSError as error:
            raise StoreError(
                f"the flagged sections cannot be saved in {self.folder} ({error.strerror}); make "
                "room or check the permissions, or save the list elsewhere."
            ) from error

    def _open_or_create(self) -> Folder:
        if self.folder.is_dir():
            root = open_root(self.folder)
            if _is_known(root):
                return root
            root.close()
        root = make_ours(self.folder, _KIND, _NAMES)
        root.write(folders.README, _README.encode())
        return root


def _is_known(root: Folder) -> bool:
    """Return whether a folder is one of ours, a copy of one, or made by an earlier version."""
    if read_mark(root, _KIND) is not None:
        return True
    try:
        return root.read(folders.README, 4096).startswith(_README.encode()[:_TELLS])
    except (OSError, StoreError):
        return False


def _empty(root: Folder, painted: Folder, name: str, scratch: Folder) -> None:
    """Let nothing be painted in a section."""
    if is_owned(root, _KIND):
        painted.remove_file(name)
    elif painted.is_file(name):
        painted.write(name, _pack({}), scratch)


def _searches(root: Folder) -> list[int]:
    """Return the numbers of the searches, ascending."""
    found = map(_MASKS.fullmatch, root.names())
    return sorted(int(match[1]) for match in found if match)


def _search(number: int) -> str:
    return f"masks-{number:04d}.zarr"


def open_search(path: Path) -> tuple[Any, frozenset[int]]:
    """Return the masks of a search, lazily, and the sections that were searched.

    Raises
    ------
    InputError
        If they cannot be read.
    """
    from ...core.open import open_mask

    try:
        searched = frozenset(map(int, read_detection(path)["searched"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not say what was searched; delete it.") from error
    return open_mask(path).array, searched


def _pack(tiles: SectionTiles) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(
        out,
        allow_pickle=False,
        keys=np.array(list(tiles), dtype=np.int32).reshape(-1, 2),
        tiles=np.array(list(tiles.values()), dtype=np.uint8).reshape(-1, TILE, TILE),
    )
    return out.getvalue()


def _read_tiles(archive: Npz, shape: tuple[int, int, int]) -> SectionTiles:
    """Return the tiles in an archive; ValueError where they do not fit the stack."""
    keys = archive.array("keys", (None, 2), "int32")
    rows, columns = (-(-side // TILE) for side in shape[1:])
    if len(keys) > rows * columns or (keys < 0).any() or (keys >= (rows, columns)).any():
        raise ValueError("it belongs to another stack")
    tiles = archive.array("tiles", (len(keys), TILE, TILE), "uint8")
    places = [(int(row), int(column)) for row, column in keys]
    return dict(zip(places, tiles, strict=True))
