"""Zarr stores at an address, which may not take for ever to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from zarr.storage import FsspecStore, WrapperStore

from .addresses import check_address
from .codecs import check_metadata, is_metadata

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

#: Seconds until metadata, and one chunk, have come.
_METADATA_SECONDS = 15.0
_CHUNK_SECONDS = 120.0


class RemoteStore(WrapperStore[FsspecStore]):
    """A store at an address; what does not answer in time raises ``TimeoutError``."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the object at ``key``, or a part of it; None where there is none."""
        seconds = _METADATA_SECONDS if is_metadata(key) else _CHUNK_SECONDS
        found = await _in_time(super().get(key, prototype, byte_range), seconds)
        if found is not None and is_metadata(key):
            check_metadata(self, key, found.to_bytes())
        return found

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return parts of objects."""
        return await _in_time(super().get_partial_values(prototype, key_ranges), _CHUNK_SECONDS)

    async def exists(self, key: str) -> bool:
        """Return whether there is an object at ``key``."""
        return await _in_time(super().exists(key), _METADATA_SECONDS)

    async def getsize(self, key: str) -> int:
        """Return the size of the object at ``key``, bytes."""
        return await _in_time(super().getsize(key), _METADATA_SECONDS)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of what is directly below ``prefix``."""
        listed = super().list_dir(prefix)
        for name in await _in_time(_all(listed), _CHUNK_SECONDS):
            yield name


async def _all(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


async def _in_time(answer: Any, seconds: float) -> Any:
    """Wait for an answer, not for ever."""
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        raise TimeoutError(f"there was no answer for {seconds:g} seconds") from None


def open_address(address: str) -> RemoteStore:
    """Return the store at an address, read-only; nothing is read.

    Raises
    ------
    InputError
        If the protocol is not one of those that are opened.
    ImportError
        If the package for it is missing.
    """
    check_address(address)
    return RemoteStore(FsspecStore.from_url(address, read_only=True))
