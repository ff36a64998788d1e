"""Folders of ours beside the user's data: made, found again, and never taken for somebody else's.

See :mod:`.ownership` for the mark by which they are known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core import folders
from ..errors import StoreError
from ..names import printable
from .folder import Folder
from .lock import locked
from .open_root import open_root
from .ownership import MARK, foreign, is_owned, mark_owned

#: Seconds that another process gets to mark the folder that it has just made.
_PATIENCE = 1.0
_INTERVAL = 0.02
#: What the mark is called before it is complete.
_UNFINISHED = f"{MARK}.part"


def make_ours(path: Path, kind: str, names: Iterable[str]) -> Folder:
    """Make a folder and mark it as ours; open it. An empty one will do, and one that is marked.

    Two processes may do so at once: both get the same folder.

    Parameters
    ----------
    path
        Of the folder; parents that are missing are made.
    kind
        What it is for.
    names
        What we are going to write in it.

    Raises
    ------
    StoreError
        If something is in it and it is not ours, or a file is in its place.
    """
    names = tuple(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = True
    with open_root(path.parent) as parent:
        try:
            parent.make_folder(path.name).close()
        except FileExistsError:
            made = False
    try:
        folder = open_root(path)
    except NotADirectoryError as error:
        raise _a_file(path, kind) from error
    try:
        if not made and not is_owned(folder, kind):
            time.sleep(_INTERVAL)  # whoever has made it is about to mark it
        _mark(folder, path, kind, names)
    except BaseException:
        folder.close()
        raise
    return folder


def _mark(folder: Folder, path: Path, kind: str, names: tuple[str, ...]) -> None:
    """Mark a folder as ours, or wait for another process that does; see :func:`make_ours`."""
    end = time.monotonic() + _PATIENCE
    while True:
        empty = is_empty(folder)  # asked first: a mark that is set in between is found below
        if is_owned(folder, kind):
            return
        if empty:
            try:
                mark_owned(folder, kind, names)
                continue
            except (StoreError, FileNotFoundError, FileExistsError):
                pass  # another process marks it, too
        elif folder.stat(MARK) is not None:
            raise foreign(path, kind)
        if time.monotonic() > end:
            raise foreign(path, kind)
        time.sleep(_INTERVAL)


def _a_file(path: Path, kind: str) -> StoreError:
    """Return the error that says that a file is where a folder should be."""
    return StoreError(
        f"{printable(path)} is a file, where the {kind} folder of the stack goes; move it away "
        "or rename it."
    )


def in_its_place(path: Path, kind: str) -> str:
    """Return in one line what is where :func:`make_ours` would make a folder; "" if it could."""
    try:
        with open_root(path) as folder:
            # in this order: a mark that another process sets in between is found all the same
            free = is_empty(folder) or is_owned(folder, kind)
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        return str(_a_file(path, kind))
    except OSError:  # it cannot be looked into: whoever is to write there is told why
        return ""
    return "" if free else str(foreign(path, kind))


def is_empty(folder: Folder) -> bool:
    """Return whether nothing is in a folder but a mark that a crash has left unfinished."""
    return set(folder.names()) <= {_UNFINISHED}


def remove_marks(folder: Folder) -> None:
    """Remove the mark of a folder in which nothing else is left."""
    folder.remove_file(_UNFINISHED)
    folder.remove_file(MARK)


@contextmanager
def alone_in(
    path: Path, kind: str, names: Iterable[str], what: object, timeout: float
) -> Iterator[Folder]:
    """Yield a folder of ours, which is made where it is missing, and keep others out of it.

    Parameters
    ----------
    path, kind, names
        As for :func:`make_ours`; the lock is added to the names.
    what
        What is worked on, for the message.
    timeout
        Seconds to wait for another process or thread.

    Raises
    ------
    StoreBusy
        If another one is at work in it.
    """
    names = (*names, folders.LOCK)
    while True:
        with make_ours(path, kind, names) as folder, locked(folder, what, timeout):
            if not is_same(path, folder):
                continue  # whoever had it has removed it meanwhile
            yield folder
            return


def is_same(path: Path, folder: Folder) -> bool:
    """Return whether a folder that is held open is still the one at a path."""
    try:
        with open_root(path) as now:
            return now.identity() == folder.identity()
    except (FileNotFoundError, NotADirectoryError):
        return False
