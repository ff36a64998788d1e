"""The staging folder: where repairs wait until somebody accepts them.

It looks like this::

    stack.zarr.staging/
      README.txt            what this folder is
      plan.json             which stack, which method and options
      masks/z000017.npz     damage of a section, as it was when the repairs were made
      sections/z000017.npz  what became of a section: its repair, or why it was refused
      edits/z000017.npz     a mask or a method that somebody chose for this section alone
      decisions.json        what was accepted, rejected, written
      log.jsonl             when, where and in how many seconds
      scratch/              unfinished files

Every section has a file of its own, which is written elsewhere, synced and renamed: it is there as
a whole or not at all, and no two writers ever share one. Times are in the log alone, so that a
section's file depends on nothing but what the repair was made from: a batch that was killed and
resumed leaves the same bytes as one that was not.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import folders
from ..errors import StoreError, is_disk_full
from ..io import durable
from ..types import AnyImage, BoolImage, Box, SectionRepair
from .records import (
    FORMAT,
    IMAGES,
    REFUSED,
    REPAIRED,
    Record,
    box_to_json,
    record_of,
    record_to_json,
    repair_of,
    repair_to_json,
)

_README = """\
Repairs of sections, made by flowinpaint, that wait to be accepted and written into the stack.
Nothing here is part of the stack. Delete the folder if you do not want them; to go on where a
batch was interrupted, keep it and run the same command again.
"""
#: A date that is always the same, for the members of an archive.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_RECORD = "record.json"
#: What is in a staging folder before the plan.
_FIRST = (folders.README, folders.SCRATCH, folders.LOCK)


class StagingFolder:
    """A staging folder.

    Parameters
    ----------
    path
        The folder; need not exist yet.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()
        self.scratch = self.path / folders.SCRATCH

    # ---- the folder

    @property
    def exists(self) -> bool:
        """Whether a batch was begun here."""
        return (self.path / folders.PLAN).is_file()

    @property
    def foreign(self) -> bool:
        """Whether something else is at this place.

        A batch that was killed before it put its plan there has left nothing of its own.
        """
        if self.exists or not self.path.exists():
            return False
        return not self.path.is_dir() or any(p.name not in _FIRST for p in self.path.iterdir())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Create the folder where it is missing, and keep other batches out of it.

        Raises
        ------
        StoreError
            If another batch is using it, or it may not be written to.
        """
        with self.explained():
            durable.make_folder(self.scratch)
            if not (self.path / folders.README).exists():
                self.put(folders.README, _README.encode())
        with durable.locked(self.scratch, self.path, timeout=1.0), self.explained():
            for left in self.scratch.iterdir():
                if left.name != folders.LOCK:
                    durable.remove(left)
            yield

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn an error of the disk into one line with advice."""
        try:
            yield
        except OSError as error:
            full = is_disk_full(error)
            told = "there is no space left" if full else error.strerror or error
            raise StoreError(
                f"{self.path} cannot be written to ({told}); make room or permit it, or choose "
                "another folder for the staging."
            ) from error

    def put(self, name: str, content: bytes) -> None:
        """Put a file into the folder, as a whole or not at all; nothing where it is there."""
        path = self.path / name
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return
        durable.put_file(path, content, self.scratch)

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Put a JSON file into the folder."""
        self.put(name, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())

    def get_json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file; empty where there is none.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{self.path / name} cannot be read ({error}); delete it, or the whole folder."
            ) from error
        return content

    # ---- masks

    def masks(self, folder: str = folders.MASKS) -> tuple[int, ...]:
        """Return the sections of which a mask is stored."""
        return _sections_in(self.path / folder)

    def put_mask(self, z: int, box: Box, mask: BoolImage, folder: str = folders.MASKS) -> None:
        """Store the damage of a section: all of it lies in ``box``; ``mask`` is (H, W) there."""
        packed = np.packbits(mask)
        self.put(_name(folder, z), _pack(box_to_json(box), {"mask": packed}))

    def get_mask(self, z: int, folder: str = folders.MASKS) -> tuple[Box, BoolImage] | None:
        """Return a box and the damage in it, bool; None where the section has none."""
        found = self._unpack(_name(folder, z))
        if found is None:
            return None
        box = Box(*found[0]["box"])
        bits = np.unpackbits(found[1]["mask"], count=box.shape[0] * box.shape[1])
        return box, bits.reshape(box.shape).astype(bool)

    # ---- sections

    @property
    def sections(self) -> tuple[int, ...]:
        """Sections of which the outcome is stored."""
        return _sections_in(self.path / folders.SECTIONS)

    def put_refusal(self, z: int, key: str, reason: str) -> None:
        """Store that a section was refused."""
        record = Record(z, key, REFUSED, reason)
        self.put(_name(folders.SECTIONS, z), _pack(record_to_json(record), {}))

    def put_repair(self, key: str, repair: SectionRepair) -> None:
        """Store a repair."""
        record = Record(repair.z, key, REPAIRED, "", repair_to_json(repair))
        images = {
            f"{name}-{number}": getattr(patch, name)
            for number, patch in enumerate(repair.patches)
            for name in IMAGES
        }
        self.put(_name(folders.SECTIONS, repair.z), _pack(record_to_json(record), images))

    def get_record(self, z: int) -> Record | None:
        """Return what became of a section; None where that is not known, or damaged."""
        try:
            found = self._unpack(_name(folders.SECTIONS, z), images=False)
        except StoreError:
            return None
        return None if found is None else record_of(found[0])

    def get_repair(self, z: int) -> SectionRepair:
        """Return the repair of a section; its times are those of the log.

        Raises
        ------
        StoreError
            If there is none, or it cannot be read.
        """
        found = self._unpack(_name(folders.SECTIONS, z))
        record = None if found is None else record_of(found[0])
        if found is None or record is None or record.repair is None:
            raise StoreError(f"{self.path} holds no repair of section {z}; repair it.")
        return repair_of(z, record.repair, found[1], self._last_log(z, record.key))

    def discard(self, z: int, folder: str = folders.SECTIONS) -> None:
        """Remove what is stored of a section, if anything is."""
        durable.remove(self.path / _name(folder, z))

    def _unpack(
        self, name: str, images: bool = True
    ) -> tuple[dict[str, Any], dict[str, AnyImage]] | None:
        path = self.path / name
        try:
            return _unpack(path, images)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise StoreError(
                f"{path} cannot be read ({error}); delete it and run the batch again."
            ) from error

    # ---- log

    def log(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with (self.path / folders.LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": now, **entry}) + "\n")

    def read_log(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the log; one that a kill cut short is left out."""
        path = self.path / folders.LOG
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry

    def _last_log(self, z: int, key: str) -> dict[str, Any]:
        """Return the last line about the repair of a section; a kill may have cut it off."""
        made = datetime.fromtimestamp((self.path / _name(folders.SECTIONS, z)).stat().st_mtime, UTC)
        last: dict[str, Any] = {"time": made.isoformat(timespec="seconds")}
        for entry in self.read_log():
            if entry.get("section") == z and entry.get("key") == key:
                last = entry
        return last


def _name(folder: str, z: int) -> str:
    return f"{folder}/z{z:06d}.npz"


def _sections_in(folder: Path) -> tuple[int, ...]:
    """Return the numbers of the files ``z000017.npz`` in a folder."""
    names = (path.stem[1:] for path in folder.glob("z*.npz")) if folder.is_dir() else ()
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def _pack(record: Mapping[str, Any], images: Mapping[str, AnyImage]) -> bytes:
    """Return an archive that ``numpy.load`` opens and whose bytes follow from its content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        told = json.dumps(record, indent=1, sort_keys=True)
        archive.writestr(_member(_RECORD), told)
        for name in sorted(images):
            with archive.open(_member(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(images[name]))
    return buffer.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _NO_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _unpack(path: Path, images: bool) -> tuple[dict[str, Any], dict[str, AnyImage]]:
    """Return the record and the arrays of an archive."""
    found: dict[str, AnyImage] = {}
    with zipfile.ZipFile(path) as archive:
        record: dict[str, Any] = json.loads(archive.read(_RECORD))
        for name in archive.namelist() if images else ():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    found[name.removesuffix(".npy")] = np.lib.format.read_array(file)
    if record.get("format") != FORMAT:
        raise ValueError("it was written by another version")
    return record, found
