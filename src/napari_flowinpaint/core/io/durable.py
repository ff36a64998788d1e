"""File operations that a crash cannot tear: synced, atomic, in a folder of our own.

Everything that write-back changes on disk goes through this module: a file is written beside the
data, synced, renamed into place, and the folder that holds the name is synced. Whoever reads
the store sees the file before or the file after, never a part of it.

Not responsible for: what the files mean (:mod:`..writing.entries`), the order of the steps
(:mod:`..writing.recovery`).
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .. import folders
from ..errors import StoreError, explain_failed_write

#: Seconds a second writer waits for the first one.
LOCK_SECONDS = 5.0


def _numbers(*names: str) -> set[int]:
    """Return the error numbers of these names that the operating system knows."""
    return {getattr(errno, name) for name in names if hasattr(errno, name)}


#: What file systems say that cannot sync a folder (some network and FUSE mounts).
_CANNOT_SYNC_FOLDERS = _numbers("EINVAL", "ENOTSUP", "EOPNOTSUPP", "EACCES", "EBADF")


class Busy(StoreError):
    """Another process or thread holds the lock."""


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    if os.name == "nt":  # a folder cannot be opened there; renames are durable by the journal
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_FOLDERS:
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents where they are missing, durably."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(path)  # noqa: PTH102  (every change goes through ``os``: tests kill there)
        sync_folder(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new binary file; its content is on disk when the block ends."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def move(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target`` atomically (replacing a file), durably."""
    os.replace(source, target)  # noqa: PTH105
    sync_folder(target.parent)


def put_file(path: Path, content: Any, scratch: Path) -> None:
    """Put ``content`` (bytes-like) at ``path``: the old file or the new one, never a part.

    A file that is replaced keeps its permissions; one that may not be written to is not replaced,
    although the folder would allow it: whoever protects the files of a stack means it.

    Parameters
    ----------
    path
        Where to; its folder is created if necessary.
    content
        Bytes-like.
    scratch
        Folder on the same file system in which the file is written first.
    """
    make_folder(path.parent)
    mode = _permissions(path)
    part = scratch / uuid.uuid4().hex
    try:
        with new_file(part) as file:
            file.write(content)
            if mode is not None and hasattr(os, "fchmod"):
                with suppress(OSError):  # some network file systems know no permissions
                    os.fchmod(file.fileno(), mode)
        move(part, path)
    except BaseException:
        remove(part)  # on a full disk the space is needed to put things right
        raise


def _permissions(path: Path) -> int | None:
    """Return the permissions of a file that is to be replaced, None if there is none."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        return None
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return mode


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        for child in list(path.iterdir()):
            remove(child)
        os.rmdir(path)  # noqa: PTH106
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108


@contextmanager
def locked(folder: Path, data: Path, timeout: float | None = None) -> Iterator[None]:
    """Hold the lock of the journal in ``folder``; a dead process holds it no longer.

    Parameters
    ----------
    folder
        Where the lock file lies.
    data
        What is locked, for the message.
    timeout
        Seconds to wait for another process or thread; None for :data:`LOCK_SECONDS`.

    Raises
    ------
    Busy
        If another one writes.
    StoreError
        If the folder may not be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / folders.LOCK)
    try:
        lock.acquire(timeout=LOCK_SECONDS if timeout is None else timeout)
    except Timeout:
        raise Busy(
            f"another process is writing to {data}; wait until it has finished and try again."
        ) from None
    except OSError as error:
        raise StoreError(explain_failed_write(error, data)) from error
    try:
        yield
    finally:
        lock.release()
