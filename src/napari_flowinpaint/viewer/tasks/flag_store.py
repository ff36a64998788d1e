"""Where the flagged sections of a stack and their masks are stored, so that they survive napari.

Beside the stack, where that may be written to, else in the user's state folder::

    stack.zarr.flagged/
      README.txt             what this folder is
      flagged.csv            the list, as 'flowinpaint detect --report' writes it
      masks-0001.zarr        label image of a search, as 'flowinpaint detect --output' writes it
      painted/z000017.npz    tiles of the mask that were painted

What the last search of a section found shows where nothing is painted. No Qt; may be called from
threads, one at a time.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core import folders
from ...core.detection.flag_table import Flagged, read_table, write_table
from ...core.detection.store import read_detection
from ...core.errors import InputError, StoreError
from ...core.io import durable
from ...core.masks.layered_mask import LayeredMask
from ...core.masks.sparse_mask import TILE, SectionTiles

if TYPE_CHECKING:
    from ...core.io.stack import Stack

_README = """\
Sections of the stack of this name that are damaged or may be, what was decided about them, and
their masks. Nothing here is part of the stack. Delete the folder to start over.
"""
_MASKS = re.compile(r"masks-(\d{4})\.zarr")
_PAINTED = re.compile(r"z(\d+)\.npz")


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
        Whether anybody will find it again; a stack without a file has no name.
    """

    def __init__(self, folder: Path, staging: Path, lasting: bool = True) -> None:
        self.folder, self.staging, self.lasting = folder, staging, lasting

    @classmethod
    def of(cls, stack: Stack) -> FlagStore:
        """Return the folder of a stack."""
        root = _root(stack)
        if root is None:
            folder = Path(tempfile.mkdtemp(prefix="flowinpaint-"))
            return cls(folder / folders.FLAGGED, folder / folders.STAGING, lasting=False)
        name = root.name + _channel(stack)
        if os.access(root.parent, os.W_OK | os.X_OK):
            root = root.with_name(name)
            return cls(folders.beside(root, folders.FLAGGED), folders.beside(root, folders.STAGING))
        from platformdirs import user_state_path

        digest = hashlib.sha256(str(root).encode()).hexdigest()[:10]
        folder = user_state_path("napari-flowinpaint") / f"{name}-{digest}"
        return cls(folder / folders.FLAGGED, folder / folders.STAGING)

    # ---- reading

    def load(self, shape: tuple[int, int, int]) -> StoredFlags:
        """Return what is stored here.

        Raises
        ------
        InputError, StoreError
            If it cannot be read; the message names the file.
        """
        if not self.folder.is_dir():
            return StoredFlags(self)
        path = self.folder / folders.FLAGGED_TABLE
        rows = tuple(read_table(path)) if path.is_file() else ()
        rows = tuple(row for row in rows if row.section < shape[0])
        painted = self.folder / folders.PAINTED
        tiles = {}
        for file in sorted(painted.glob("z*.npz")):
            match = _PAINTED.fullmatch(file.name)
            if match and int(match[1]) < shape[0]:
                tiles[int(match[1])] = _read_tiles(file)
        return StoredFlags(self, rows, self._base(shape), tiles)

    def _base(self, shape: tuple[int, int, int]) -> LayeredMask | None:
        base, begun = None, self.folder / folders.PAINTED / "begun"
        try:
            last = int(begun.read_text()) if begun.is_file() else 0
        except ValueError as error:
            raise InputError(f"{begun} is no number of a search; delete it.") from error
        for path in self._searches():
            if _number(path) <= last:
                continue
            masks, sections = open_search(path)
            if tuple(masks.shape) == shape:
                base = (base or LayeredMask(shape)).with_layer(masks, sections)
        return base

    def _searches(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("masks-*.zarr") if _MASKS.fullmatch(p.name))

    def next_search(self) -> Path:
        """Return where the masks of the next search go; an interrupted one is resumed there."""
        self._create()
        return self.folder / f"masks-{self._last_search() + 1:04d}.zarr"

    def _last_search(self) -> int:
        return max(map(_number, self._searches()), default=0)

    # ---- writing

    def save_rows(self, rows: Iterable[Flagged]) -> None:
        """Save the list."""
        self._create()
        write_table(rows, self.folder / folders.FLAGGED_TABLE)

    def save_tiles(self, tiles: Mapping[int, SectionTiles]) -> None:
        """Save what was painted in sections."""
        if not tiles:
            return
        self._create()
        scratch = self._scratch()
        for z, section in tiles.items():
            path = self.folder / folders.PAINTED / f"z{z:06d}.npz"
            if section:
                durable.put_file(path, _pack(section), scratch)
            else:
                durable.remove(path)

    def start_mask(self, alone: bool) -> None:
        """Remove what was painted: another mask was started.

        Parameters
        ----------
        alone
            Whether what searches have found so far does not show in it.
        """
        self._create()
        painted = self.folder / folders.PAINTED
        durable.remove(painted)
        if alone:
            last = str(self._last_search()).encode()
            durable.put_file(painted / "begun", last, self._scratch())

    def _scratch(self) -> Path:
        scratch = self.folder / folders.SCRATCH
        durable.make_folder(scratch)
        return scratch

    def _create(self) -> None:
        if self.folder.is_dir():
            return
        try:
            self.folder.mkdir(parents=True)
            (self.folder / folders.README).write_text(_README, encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"the flagged sections cannot be saved in {self.folder} ({error.strerror}); make "
                "room or permit it, or save the list elsewhere."
            ) from error


def _number(search: Path) -> int:
    return int(search.name[6:10])


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


def _root(stack: Stack) -> Path | None:
    """Return the file or folder of a stack; None where it has none on this machine."""
    from ...core.io.zarr_reader import outside_groups

    if stack.group_path is None:
        path = None if stack.path is None else Path(os.path.realpath(stack.path))
        while path is not None and not path.exists() and path != path.parent:
            path = path.parent  # file.h5:/dataset
        return path if path is not None and path != path.parent else None
    return outside_groups(stack.group_path)


def _channel(stack: Stack) -> str:
    """Return what distinguishes the channels of one file."""
    fixed = [index for _, index in stack.levels[0].axes.fixed]
    return "." + "-".join(map(str, fixed)) if any(fixed) else ""


def _pack(tiles: SectionTiles) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(
        out,
        allow_pickle=False,
        keys=np.array(list(tiles), dtype=np.int32),
        tiles=np.stack(list(tiles.values())),
    )
    return out.getvalue()


def _read_tiles(path: Path) -> SectionTiles:
    try:
        with np.load(path, allow_pickle=False) as content:
            keys, tiles = content["keys"], content["tiles"]
        if keys.dtype.kind != "i" or tiles.dtype != np.uint8 or tiles.shape[1:] != (TILE, TILE):
            raise ValueError
        found = zip(keys.tolist(), tiles, strict=True)
        return {(row, column): tile for (row, column), tile in found}
    except Exception as error:  # not quoted: numpy would say how to run what is in it
        raise InputError(f"{path} is no painted mask; delete it.") from error
