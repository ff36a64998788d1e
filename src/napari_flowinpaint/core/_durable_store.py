"""A local zarr store whose every write is synced before it replaces what was there.

zarr's own :class:`~zarr.storage.LocalStore` renames without syncing: after a power failure a chunk
may be empty, and with it the pixels of it that nobody wanted to change.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from . import durable
from ._checked_store import CheckedStore

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer


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
