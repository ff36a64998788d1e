"""Zarr stores in a ZIP archive (``.zarr.zip``, ``.ozx``), read-only.

An archive cannot be written in place: what is replaced stays in it, and a kill leaves no directory.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.storage import WrapperStore, ZipStore

from ..errors import InputError, first_line
from .bombs import unpacks_to_more
from .codecs import LARGEST_METADATA, check_metadata, is_metadata
from .memory import check_fits

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_ROOTS = ("zarr.json", ".zgroup", ".zarray")
#: More names take gigabytes; a shard or a larger chunk makes fewer.
_MOST_NAMES = 10**7


class ArchiveStore(WrapperStore[ZipStore]):
    """A store in a ZIP archive; metadata are looked at before zarr sees them.

    Parameters
    ----------
    store
        Of the archive.
    sizes
        Unpacked size of every member, bytes; zipfile unpacks no more than that.

    Attributes
    ----------
    packed
        Name of the codec of whole members and bytes of the pixels in one; set by
        :func:`.folder_store.watch` when the array is known.
    """

    packed: tuple[str, int] = ("", 0)

    def __init__(self, store: ZipStore, sizes: dict[str, int] | None = None) -> None:
        super().__init__(store)
        self._sizes = sizes or {}

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the member at ``key``, or a part of it; None where there is none."""
        size = self._sizes.get(key, 0)
        if is_metadata(key) and size > LARGEST_METADATA:
            check_metadata(self, key, bytes(LARGEST_METADATA + 1))
        check_fits(size, f"{key} of {self}")
        found = await super().get(key, prototype, byte_range)
        if found is not None and is_metadata(key):
            check_metadata(self, key, found.to_bytes())
        elif found is not None and byte_range is None:
            self._check_chunk(key, found.to_bytes())
        return found

    def _check_chunk(self, key: str, data: bytes) -> None:
        """Refuse a chunk that was cut short, or unpacks to more than it can hold."""
        codec, size = self.packed
        if codec == "blosc" and len(data) < max(16, int.from_bytes(data[12:16], "little")):
            raise OSError(f"the member {key} is too short")
        if unpacks_to_more(codec, data, size):
            raise OSError(f"the member {key} unpacks to much more than the pixels of a chunk")


def open_archive(path: Path) -> tuple[ArchiveStore, str]:
    """Return the store in an archive, and the key of its root.

    The root is that of the archive, or the only folder with metadata of zarr in it.

    Raises
    ------
    InputError
        If it is damaged, or holds no zarr store.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{path} is a ZIP archive that cannot be read ({first_line(error)}); restore it from a "
            "copy."
        ) from error
    if len(members) > _MOST_NAMES:
        raise InputError(
            f"{path} has {len(members):,} members, which takes too much memory; unpack it."
        )
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{path} is encrypted; unpack it first.")
    sizes = {member.filename: member.file_size for member in members}
    roots = [name.rpartition("/") for name in sizes if name.rpartition("/")[2] in _ROOTS]
    if not roots:
        raise InputError(
            f"{path} is a ZIP archive without a zarr store; unpack it and give what is in it."
        )
    root = min((folder for folder, _, _ in roots), key=lambda name: name.count("/") + bool(name))
    return ArchiveStore(ZipStore(path, mode="r", read_only=True), sizes), root
