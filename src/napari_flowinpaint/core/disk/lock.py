"""A lock that one process or thread holds, on a file in a :class:`~.folder.Folder`.

The lock ends with the process that holds it, however that ends. The same calls as ``filelock``'s
are used, so that programs with either keep each other out; but the file is opened through the
handle of the folder, so that a link in its place is refused instead of followed.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ..errors import StoreError
from ..names import printable
from .folder import Folder

#: Seconds a second writer waits for the first one.
LOCK_SECONDS = 5.0
#: Seconds between two attempts.
_INTERVAL = 0.05
#: What a file system says on which somebody else holds the lock.
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class StoreBusy(StoreError):
    """Another process or thread holds the lock."""


@contextmanager
def locked(
    folder: Folder, what: object, timeout: float | None = None, name: str = "lock"
) -> Iterator[None]:
    """Hold the lock of a folder.

    Parameters
    ----------
    folder
        Where the file of the lock lies; it is made where there is none, and stays.
    what
        What is locked, for the message.
    timeout
        Seconds to wait for another process or thread; None for :data:`LOCK_SECONDS`.
    name
        Of the file.

    Raises
    ------
    StoreBusy
        If another one holds it.
    StoreError
        If the file system has no locks, or the file is a link.
    """
    end = time.monotonic() + (LOCK_SECONDS if timeout is None else timeout)
    with folder.open_lock(name) as file:
        while not _take(file, folder):
            if time.monotonic() >= end:
                raise StoreBusy(
                    f"another process is writing to {printable(what)}; wait until it has finished "
                    "and try again."
                )
            time.sleep(_INTERVAL)
        try:
            yield
        finally:
            _give(file)


def is_held(folder: Folder, name: str = "lock") -> bool:
    """Return whether somebody holds the lock of a folder, as far as a look can tell.

    Nothing is written, and nobody who wants the lock is kept out for longer than the look takes.
    """
    try:
        with folder.open_file(name) as file:
            if not _take(file, folder):
                return True
            _give(file)
    except (OSError, StoreError):
        pass  # nobody has ever taken it, or it may not be read
    return False


def _take(file: BinaryIO, folder: Folder) -> bool:
    """Take the lock if it is free; return whether it was."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise StoreError(
            f"the file system of {printable(folder.path)} does not support locks "
            f"({error.strerror}), so two programs could write at once; copy the data to another "
            "disk, or mount this one with locks."
        ) from error
    return True


def _give(file: BinaryIO) -> None:
    """Give the lock back."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
