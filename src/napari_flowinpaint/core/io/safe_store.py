"""Local zarr stores that notice chunks that were cut short, and whose writes survive a crash.

Blosc, the default of zarr v2, trusts the length in a chunk's header. A chunk that was cut short (a
copy that was interrupted, a full disk) is decompressed from whatever lies behind it in memory: no
error, wrong pixels. Here the header is compared with the file.

zarr's own :class:`~zarr.storage.LocalStore` renames without syncing: after a power failure a chunk
may be empty, and with it the pixels of it that nobody wanted to change. Here every write is synced
before it replaces what was there.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from zarr.abc.store import RangeByteRequest
from zarr.storage import LocalStore

from . import durable

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_BLOSC_HEADER = 16


class CheckedStore(LocalStore):
    """A :class:`~zarr.storage.LocalStore` whose reads fail where a chunk is incomplete.

    Attributes
    ----------
    blosc
        Whether whole objects are blosc frames; set by :func:`watch` when the array is known.
    """

    blosc: bool = False

    def _checked(self, key: str, value: Buffer | None, wanted: ByteRequest | None) -> Buffer | None:
        if value is None or key.endswith(_METADATA):
            return value
        if isinstance(wanted, RangeByteRequest):
            if len(value) < wanted.end - wanted.start:
                raise OSError(f"the file {key} is too short")
        elif wanted is None and self.blosc:
            header = value[:_BLOSC_HEADER].to_bytes()
            if len(value) < max(_BLOSC_HEADER, int.from_bytes(header[12:16], "little")):
                raise OSError(f"the file {key} is too short")
        return value

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the object at ``key``, or a part of it; raises OSError where it was cut short."""
        return self._checked(key, await super().get(key, prototype, byte_range), byte_range)

    def get_sync(self, key: str, **kwargs: Any) -> Buffer | None:
        """Return what :meth:`get` returns, for the synchronous path of newer zarr versions."""
        return self._checked(key, super().get_sync(key, **kwargs), kwargs.get("byte_range"))


def watch(array: Any) -> None:
    """Tell the store of a zarr array how its chunks are compressed.

    Does nothing where the store is of another kind, or where another codec comes last: those
    notice by themselves.
    """
    store = array.store_path.store
    if not isinstance(store, CheckedStore):
        return
    if array.metadata.zarr_format == 2:
        last = getattr(array.metadata.compressor, "codec_id", None)
    else:
        # A checksum after it would notice, but comes after the length: compare all the same.
        names = [codec["name"] for codec in array.metadata.to_dict()["codecs"]]
        last = next((name for name in reversed(names) if name != "crc32c"), None)
    store.blosc = last in ("blosc", "numcodecs.blosc")


class DurableStore(CheckedStore):
    """A local store with durable writes, and an end.

    Parameters
    ----------
    root
        Directory of the store.
    scratch
        Folder on the same file system in which files are written before they are renamed.
    read_only
        Whether writing is refused.
    """

    def __init__(self, root: Path | str, *, scratch: Path, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._scratch = scratch
        self._gate = Lock()
        self._ended = False

    def with_read_only(self, read_only: bool = False) -> DurableStore:
        """Return the same store, read-only or not."""
        return type(self)(self.root, scratch=self._scratch, read_only=read_only)

    def end(self) -> None:
        """Refuse every later write, after the one in progress.

        An interrupted zarr call goes on in a thread of its own; without this it would write over
        what is being rolled back.
        """
        with self._gate:
            self._ended = True

    def _check(self) -> None:
        self._check_writable()
        if self._ended:
            raise OSError("the write was interrupted")

    def set_sync(self, key: str, value: Buffer) -> None:
        """Store ``value`` at ``key``, durably."""
        with self._gate:
            self._check()
            durable.put_file(self.root / key, value.as_numpy_array().data, self._scratch)

    async def set(self, key: str, value: Buffer) -> None:
        """Store ``value`` at ``key``, durably."""
        await asyncio.to_thread(self.set_sync, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store ``value`` at ``key`` unless there is something already."""
        if not await self.exists(key):
            await self.set(key, value)

    def delete_sync(self, key: str) -> None:
        """Remove ``key``, durably."""
        path = self.root / key
        with self._gate:
            self._check()
            if path.exists():
                durable.remove(path)
                durable.sync_folder(path.parent)

    async def delete(self, key: str) -> None:
        """Remove ``key``, durably."""
        await asyncio.to_thread(self.delete_sync, key)
