"""The staging folder: where repairs wait until somebody accepts them.

It looks like this::

    stack.zarr.staging/
      .flowinpaint-folder.json  that this folder is ours
      README.txt            what this folder is
      plan.json             which stack, which method and options
      masks/z000017.npz     damage of a section, as it was when the repairs were made
      sections/z000017.npz  what became of a section: its repair, or why it was refused
      edits/z000017.npz     a mask that somebody chose for this section alone
      edits.json            a method or options that somebody chose for a section alone
      decisions.json        what was accepted, rejected, written
      log.jsonl             when, where and in how many seconds
      scratch/              unfinished files, the lock, and who holds it

Every section has a file of its own, which is written elsewhere, synced and renamed: it is there as
a whole or not at all, and no two writers ever share one. Times are in the log alone, so that a
section's file depends on nothing but what the repair was made from: a batch that was killed and
resumed leaves the same bytes as one that was not.

No link in it is followed. Only what we wrote is ever removed, and only where we made the folder:
a copy, or the folder of an earlier version, can be resumed, but nothing is removed from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from .. import folders
from ..disk.open_root import open_root
from ..disk.ownership import is_owned, read_mark
from ..errors import StoreError
from ..io.npz import LARGEST_JSON, Npz
from ..section_repair import SectionRepair
from ..types import AnyImage, BoolImage, Box
from .archive import check_digests, pack, read_record
from .records import (
    Decisions,
    EditList,
    LogLine,
    Made,
    StagedMask,
    StagedPlan,
    StagedRecord,
    box_to_json,
    images_of,
    images_to_stage,
    parse,
    refusal_to_json,
    repair_of,
    repair_to_json,
)
from .seal import SealKey, own_key
from .staging_place import ABSENT, KIND, SECTION_FILE, StagingPlace

#: Most bytes of a log.
_LARGEST_LOG = 1 << 30

_Model = TypeVar("_Model", bound=BaseModel)


class StagingFolder(StagingPlace):
    """A staging folder.

    Parameters
    ----------
    path
        The folder; need not exist yet.
    key
        Seals what is written; None for the user's.
    """

    def __init__(self, path: Path | str, key: SealKey | None = None) -> None:
        super().__init__(path)
        self.key = key or own_key()
        self._shape: tuple[int, int] | None = None

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Put a JSON file into the folder."""
        self.put(name, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())

    def plan(self) -> StagedPlan:
        """Return what the folder was made for.

        Raises
        ------
        StoreError
            If that is not there, or damaged.
        """
        found = self._parsed(folders.PLAN, StagedPlan)
        if found is None:
            raise StoreError(f"{self.path} is not a staging folder of a batch; check the path.")
        return found

    def decisions(self) -> dict[str, Any]:
        """Return the decisions by section number, as text."""
        found = self._parsed(folders.DECISIONS, Decisions)
        return {} if found is None else found.root

    def edits(self) -> dict[str, Any]:
        """Return the methods and options that were chosen, by section number, as text."""
        found = self._parsed(folders.EDITS_FILE, EditList)
        return {} if found is None else found.root

    def _parsed(self, name: str, model: type[_Model]) -> _Model | None:
        """Return what a JSON file says, None where there is none."""
        with self.opened() as root:
            if root is None:
                return None
            try:
                return parse(model, root.read(name, LARGEST_JSON))
            except FileNotFoundError:
                return None
            except (OSError, ValueError) as error:
                raise self._damaged(name, error) from None

    def _damaged(self, name: str, error: Exception) -> StoreError:
        stored = getattr(error, "strerror", None) or error
        return StoreError(
            f"{self.path / name} cannot be used ({stored}); delete it and run the batch again."
        )

    @property
    def edited(self) -> bool:
        """Whether something was chosen for single sections in a review."""
        return bool(self.edits()) or bool(self.masks(folders.EDITS))

    # ---- masks

    def masks(self, folder: str = folders.MASKS) -> tuple[int, ...]:
        """Return the sections of which a mask is stored."""
        return self._numbers(folder)

    def put_mask(
        self,
        z: int,
        box: Box,
        mask: BoolImage,
        folder: str = folders.MASKS,
        kinds: AnyImage | None = None,
    ) -> None:
        """Store the damage of a section: all of it lies in ``box``; ``mask`` is (H, W) there.

        So are the labels of its kinds, uint8, where they are known.
        """
        images: dict[str, AnyImage] = {"mask": np.packbits(mask)}
        if kinds is not None:
            images["kinds"] = kinds.astype(np.uint8, copy=False)
        self._put(folder, z, box_to_json(box), images)

    def get_mask(self, z: int, folder: str = folders.MASKS) -> tuple[Box, BoolImage] | None:
        """Return a box and the damage in it, bool; None where the section has none."""
        found = self._get_mask(z, folder)
        return None if found is None else found[:2]

    def get_kinds(self, z: int, folder: str = folders.MASKS) -> tuple[Box, AnyImage] | None:
        """Return a box and the kinds of damage in it, labels; None where nobody knows."""
        found = self._get_mask(z, folder)
        return None if found is None or found[2] is None else (found[0], found[2])

    def _get_mask(self, z: int, folder: str) -> tuple[Box, BoolImage, AnyImage | None] | None:
        """Return a box, the damage in it, and its kinds."""
        with self._archive(folder, z) as found:
            if found is None:
                return None
            archive, stored = found
            record = parse(StagedMask, stored)
            box = record.place
            if not self._has_room(box):
                raise ValueError("it lies outside the section")
            area = box.shape[0] * box.shape[1]
            bits = archive.array("mask", (-(-area // 8),), "uint8")
            images = {"mask": bits}
            if "kinds" in (record.digests or {}):
                images["kinds"] = archive.array("kinds", box.shape, "uint8")
            check_digests(images, record.digests)
        mask = np.unpackbits(bits, count=area).reshape(box.shape).astype(bool)
        return box, mask, images.get("kinds")

    # ---- sections

    @property
    def sections(self) -> tuple[int, ...]:
        """Sections of which the outcome is stored."""
        return self._numbers(folders.SECTIONS)

    def put_refusal(self, z: int, key: str, reason: str) -> None:
        """Store that a section was refused."""
        self._put(folders.SECTIONS, z, refusal_to_json(z, key, reason), {})

    def put_repair(self, key: str, repair: SectionRepair) -> None:
        """Store a repair."""
        record, images = repair_to_json(key, repair), images_to_stage(repair)
        self._put(folders.SECTIONS, repair.z, record, images)

    def get_record(self, z: int) -> StagedRecord | None:
        """Return what became of a section; None where that is not known, or damaged."""
        try:
            with self._archive(folders.SECTIONS, z) as found:
                return None if found is None else self._record(found[1], z)
        except StoreError:
            return None

    def get_intact(self, z: int) -> StagedRecord | None:
        """Return what became of a section; None where not all that is stored of it is intact."""
        try:
            record = self.get_record(z)
            if record is not None and record.repair is not None:
                self.get_repair(z)
        except StoreError:
            return None
        return record

    def get_repair(self, z: int) -> SectionRepair:
        """Return the repair of a section; its times are those of the log.

        Raises
        ------
        StoreError
            If there is none, or it is not as it was written.
        """
        with self._archive(folders.SECTIONS, z) as found:
            record = None if found is None else self._record(found[1], z)
            if found is None or record is None or record.repair is None:
                raise StoreError(f"{self.path} holds no repair of section {z}; repair it.")
            images = images_of(record.repair, found[0])
            check_digests(images, record.digests)
        return repair_of(z, record.repair, images, self._last_log(z, record.key))

    def _record(self, stored: bytes, z: int) -> StagedRecord:
        record = parse(StagedRecord, stored)
        if record.z != z:
            raise ValueError("it belongs to another section")
        if record.repair is not None and not self._has_room(Box.whole(record.repair.shape)):
            raise ValueError("it is larger than the section")
        return record

    def _has_room(self, box: Box) -> bool:
        """Return whether a box lies in the sections of the stack that the folder is for."""
        if self._shape is None and self.exists:
            self._shape = self.plan().stack.shape[1:]
        return self._shape is None or (box.y1 <= self._shape[0] and box.x1 <= self._shape[1])

    def discard(self, z: int, folder: str = folders.SECTIONS) -> None:
        """Remove what is stored of a section, if anything is.

        Where we did not make the folder, the file stays and says that there is nothing.
        """
        with self.opened() as root:
            if root is None:
                return
            if is_owned(root, KIND):
                with suppress(*ABSENT), root.folder(folder) as inside:
                    inside.remove_file(_name(z))
                return
        if folder == folders.SECTIONS and self.get_record(z) is not None:
            self.put_refusal(z, "", "this section is no longer to be repaired")
        elif folder == folders.MASKS and z in self.masks():
            self.put_mask(z, Box(0, 0, 1, 1), np.zeros((1, 1), bool))

    def _put(self, folder: str, z: int, record: Mapping[str, Any], images: Any) -> None:
        name = _name(z)
        self.put(name, pack(f"{folder}/{name}", record, images, self.key), folder)

    @contextmanager
    def _archive(self, folder: str, z: int) -> Iterator[tuple[Npz, bytes] | None]:
        """Yield an archive and its record; say which one it is where something is wrong."""
        name = f"{folder}/{_name(z)}"
        with self.opened() as root:
            try:
                if root is None:
                    raise FileNotFoundError
                with root.folder(folder) as inside:
                    file = inside.open_file(_name(z))
            except ABSENT:
                yield None
                return
            except OSError as error:
                raise self._damaged(name, error) from None
            with file:
                try:
                    archive = Npz(file)
                    sealed = read_mark(root, KIND) is not None
                    yield archive, read_record(archive, name, self.key, sealed)
                except (OSError, ValueError) as error:
                    raise self._damaged(name, error) from None

    def _numbers(self, folder: str) -> tuple[int, ...]:
        """Return the numbers of the files ``z000017.npz`` in a folder."""
        with self.opened() as root:
            try:
                if root is None:
                    return ()
                with root.folder(folder) as inside:
                    found = map(SECTION_FILE.fullmatch, inside.names())
            except ABSENT:
                return ()
        return tuple(sorted(int(match[1]) for match in found if match))

    # ---- log

    def log(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with open_root(self.path) as root:
            root.append(folders.LOG, json.dumps({"time": now, **entry}))

    def sync_log(self) -> None:
        """Make the log durable."""
        with open_root(self.path) as root:
            if root.is_file(folders.LOG):
                with root.open_file(folders.LOG) as file:
                    os.fsync(file.fileno())

    def read_log(self) -> Iterator[LogLine]:
        """Yield the lines of the log; one that a kill cut short is left out."""
        with self.opened() as root:
            try:
                lines = b"" if root is None else root.read(folders.LOG, _LARGEST_LOG)
            except FileNotFoundError:
                return
        for line in lines.splitlines():
            with suppress(ValueError):
                yield parse(LogLine, line)

    def _last_log(self, z: int, key: str) -> Made:
        """Return the last line about the repair of a section; a kill may have cut it off."""
        with open_root(self.path) as root, root.folder(folders.SECTIONS) as inside:
            found = inside.stat(_name(z))
        changed = 0.0 if found is None else found.st_mtime
        last = Made(datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds"))
        for line in self.read_log():
            if line.section == z and line.key == key:
                last = Made(line.time, line.windows)
        return last


def _name(z: int) -> str:
    return f"z{z:06d}.npz"
