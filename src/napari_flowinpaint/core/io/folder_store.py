"""A zarr store in a folder that is held open: see :mod:`~..disk.folder`.

It differs from zarr's own :class:`~zarr.storage.LocalStore` in four ways: no link is followed;
every write is on disk before it replaces what was there (after a power failure a chunk of a
``LocalStore`` may be empty, and with it pixels that nobody wanted to change); it can be ended, so
that an interrupted call of zarr, which goes on in a thread of its own, writes nothing more; and a
chunk that was cut short is noticed. Blosc, the default of zarr v2, trusts the length in the header
of a chunk: one that was cut short is decompressed from whatever lies behind it in memory.
"""

from __future__ import annotations

import asyncio
import math
import os
import stat
from collections.abc import AsyncIterator, Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from ..disk.folder import Folder
from ..errors import StackGone
from ..names import printable
from .bombs import unpacks_to_more
from .codecs import LARGEST_METADATA, check_metadata, is_metadata
from .levels import write_grid

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_BLOSC_HEADER = 16
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FolderStore(Store):
    """A zarr store in a folder that is held open.

    Parameters
    ----------
    folder
        Of the store. It is not closed with the store: a call may be under way in another thread.
    scratch
        Folder of the same file system in which files are written before they are renamed; None
        for that of the file.
    durable
        Whether what is written is on disk at once; if not, see
        :meth:`~..disk.folder.Folder.sync_tree`.
    read_only
        Whether writing is refused.

    Attributes
    ----------
    blosc
        Whether whole objects are blosc frames; set by :func:`watch` when the array is known.
    packed
        Name of the codec of whole objects and bytes of the pixels in one, set likewise.
    """

    supports_writes: bool = True
    supports_deletes: bool = True
    supports_listing: bool = True
    blosc: bool = False
    packed: tuple[str, int] = ("", 0)

    def __init__(
        self,
        folder: Folder,
        *,
        scratch: Folder | None = None,
        durable: bool = True,
        read_only: bool = False,
    ) -> None:
        super().__init__(read_only=read_only)
        self.folder = folder
        self._scratch = scratch
        self._durable = durable
        self._gate = Lock()
        self._ended = False

    def with_read_only(self, read_only: bool = False) -> FolderStore:
        """Return the same store, read-only or not."""
        return type(self)(
            self.folder, scratch=self._scratch, durable=self._durable, read_only=read_only
        )

    def __str__(self) -> str:
        return self.folder.path.as_uri()

    def __repr__(self) -> str:
        return f"FolderStore({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.folder.path == other.folder.path

    def __hash__(self) -> int:
        return hash(self.folder.path)

    def __reduce__(self) -> Any:
        known = (self.blosc, self.packed)
        return _again, (self.folder, self._scratch, self._durable, self.read_only, known)

    def end(self) -> None:
        """Refuse every later write, after the one in progress."""
        with self._gate:
            self._ended = True

    # ---- reading

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the object at ``key``, or a part of it; None where there is none.

        Raises
        ------
        OSError
            If it was cut short, or a folder is in its place or a file in that of its folder.
        StoreError
            If it is a link, or lies behind one.
        """
        *parents, name = key.split("/")
        try:
            with self.folder.folder(*parents) as parent, parent.open_file(name) as file:
                if is_metadata(key) and os.fstat(file.fileno()).st_size > LARGEST_METADATA:
                    byte_range = RangeByteRequest(0, LARGEST_METADATA + 1)  # enough to refuse it
                data = _part(file, byte_range)
        except FileNotFoundError:
            return None
        except (IsADirectoryError, NotADirectoryError) as error:
            if is_metadata(key) or not self.packed[1]:
                return None  # of no array that is known: zarr looks for all kinds of nodes
            found = "is a folder" if isinstance(error, IsADirectoryError) else "lies in a file"
            raise OSError(f"{key} {found}, where a chunk of the stack goes") from error
        check_metadata(self.folder.path, key, data)
        self._check_complete(key, data, byte_range)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what :meth:`get_sync` returns."""
        return await asyncio.to_thread(
            self.get_sync, key, prototype=prototype, byte_range=byte_range
        )

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return parts of objects."""
        calls = [self.get(key, prototype, wanted) for key, wanted in key_ranges]
        return list(await asyncio.gather(*calls))

    async def exists(self, key: str) -> bool:
        """Return whether there is an object at ``key``."""
        return await asyncio.to_thread(self._size, key) is not None

    async def getsize(self, key: str) -> int:
        """Return the size of the object at ``key``, bytes."""
        size = await asyncio.to_thread(self._size, key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    def _size(self, key: str) -> int | None:
        *parents, name = key.split("/")
        try:
            with self.folder.folder(*parents) as parent:
                found = parent.stat(name) if parent.is_file(name) else None
        except _ABSENT:
            return None
        return None if found is None else found.st_size

    def check_there(self) -> None:
        """Refuse a folder that was removed: what is not stored would be read as the fill value.

        Raises
        ------
        StackGone
            If it was.
        """
        if self.folder.is_gone:
            raise StackGone(
                f"{printable(self.folder.path)} was removed since it was opened; open the stack "
                "again."
            )

    def check(self, key: str) -> None:
        """Refuse a link in place of ``key``, or on the way to it.

        Raises
        ------
        StoreError
            If there is one.
        """
        self._size(key)

    def _check_complete(self, key: str, data: bytes, wanted: ByteRequest | None) -> None:
        """Notice an object that was cut short."""
        if is_metadata(key):
            return
        needed = 0
        if isinstance(wanted, RangeByteRequest):
            needed = wanted.end - wanted.start
        elif wanted is None and self.blosc:
            needed = max(_BLOSC_HEADER, int.from_bytes(data[12:16], "little"))
        if len(data) < needed:
            raise OSError(f"the file {key} is too short")
        if wanted is None and unpacks_to_more(self.packed[0], data, self.packed[1]):
            raise OSError(f"the file {key} unpacks to much more than the pixels of a chunk")

    # ---- writing

    def set_sync(self, key: str, value: Buffer) -> None:
        """Store ``value`` at ``key``."""
        *parents, name = key.split("/")
        with self._gate:
            self._check()
            with self.folder.folder(*parents, create=True) as parent:
                content = value.as_numpy_array().data
                parent.write(name, content, self._scratch, durable=self._durable)

    async def set(self, key: str, value: Buffer) -> None:
        """Store ``value`` at ``key``."""
        await asyncio.to_thread(self.set_sync, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store ``value`` at ``key`` unless there is something already."""
        if not await self.exists(key):
            await self.set(key, value)

    def delete_sync(self, key: str) -> None:
        """Remove ``key``, be it an object or a folder of objects; a link itself goes."""
        *parents, name = key.split("/")
        with self._gate:
            self._check()
            try:
                with self.folder.folder(*parents) as parent:
                    found = parent.stat(name)
                    if found is not None:
                        if stat.S_ISREG(found.st_mode):
                            parent.check_replaceable(name)
                        parent.remove_tree(name)
                        parent.sync()
            except _ABSENT:
                return

    async def delete(self, key: str) -> None:
        """Remove ``key``; see :meth:`delete_sync`."""
        await asyncio.to_thread(self.delete_sync, key)

    async def delete_dir(self, prefix: str) -> None:
        """Remove all objects below ``prefix``."""
        prefix = prefix.strip("/")
        for key in [prefix] if prefix else self.folder.names():
            await self.delete(key)

    def _check(self) -> None:
        if self.read_only:
            raise ValueError("store was opened in read-only mode and does not support writing")
        if self._ended:
            raise OSError("the write was interrupted")

    # ---- listing

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in self.all_keys(()):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all keys below ``prefix``."""
        for key in self.all_keys(_parts(prefix)):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of what is directly below ``prefix``."""
        try:
            with self.folder.folder(*_parts(prefix)) as folder:
                names = folder.names()
        except _ABSENT:
            return
        for name in names:
            yield name

    def all_keys(self, parts: tuple[str, ...] = ()) -> Iterator[str]:
        """Yield the keys in a folder and in those below it; a link among them is refused."""
        try:
            folder = self.folder.folder(*parts)
        except _ABSENT:
            return
        with folder:
            for name in folder.names():
                if folder.is_file(name):
                    yield "/".join((*parts, name))
                elif folder.is_folder(name):
                    yield from self.all_keys((*parts, name))


def watch(array: Any) -> None:
    """Tell the store of a zarr array how its chunks are compressed.

    Does nothing where the store is of another kind, or where another codec comes last: those
    notice by themselves.
    """
    from .zip_store import ArchiveStore

    store = array.store_path.store
    if not isinstance(store, (FolderStore, ArchiveStore)):
        return
    if array.metadata.zarr_format == 2:
        last = getattr(array.metadata.compressor, "codec_id", None)
    else:
        # A checksum after it would notice, but comes after the length: compare all the same.
        names = [codec["name"] for codec in array.metadata.to_dict()["codecs"]]
        last = next((name for name in reversed(names) if name != "crc32c"), None)
    last = (last or "").removeprefix("numcodecs.")
    if isinstance(store, FolderStore):
        store.blosc = last == "blosc"
    store.packed = (last, math.prod(write_grid(array)) * array.dtype.itemsize)


def _again(
    folder: Folder,
    scratch: Folder | None,
    durable: bool,
    read_only: bool,
    known: tuple[bool, tuple[str, int]],
) -> FolderStore:
    """Make the same store in another process."""
    store = FolderStore(folder, scratch=scratch, durable=durable, read_only=read_only)
    store.blosc, store.packed = known
    return store


def _parts(prefix: str) -> tuple[str, ...]:
    """Return the names in a prefix, which may end with a slash."""
    prefix = prefix.strip("/")
    return tuple(prefix.split("/")) if prefix else ()


def _part(file: BinaryIO, wanted: ByteRequest | None) -> bytes:
    """Return a part of a file."""
    if wanted is None:
        return file.read()
    if isinstance(wanted, RangeByteRequest):
        file.seek(wanted.start)
        return file.read(wanted.end - wanted.start)
    if isinstance(wanted, OffsetByteRequest):
        file.seek(wanted.offset)
        return file.read()
    if isinstance(wanted, SuffixByteRequest):
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - wanted.suffix))
        return file.read()
    raise TypeError(f"unknown byte range {wanted!r}")
