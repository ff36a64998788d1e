"""Folders of ours beside the user's data: made, found again, and never taken for somebody else's.

See :mod:`.ours` for the mark by which they are known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import StoreError
from .folder import Folder, open_root
from .ours import MARK, foreign, is_ours, mark_ours

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
        If something is in it and it is not ours.
    """
    names = tuple(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = True
    with open_root(path.parent) as parent:
        try:
            parent.make_folder(path.name).close()
        except FileExistsError:
            made = False
    folder = open_root(path)
    try:
        end = time.monotonic() + _PATIENCE
        if not made and not is_ours(folder, kind):
            time.sleep(_INTERVAL)  # whoever has made it is about to mark it
        while not is_ours(folder, kind):
            if is_empty(folder):
                try:
                    mark_ours(folder, kind, names)
                    continue
                except (StoreError, FileNotFoundError, FileExistsError):
                    pass  # another process marks it, too
            elif folder.stat(MARK) is not None or time.monotonic() > end:
                raise foreign(path, kind)
            if time.monotonic() > end:
                raise foreign(path, kind)
            time.sleep(_INTERVAL)
    except BaseException:
        folder.close()
        raise
    return folder


def is_empty(folder: Folder) -> bool:
    """Return whether nothing is in a folder but a mark that a crash has left unfinished."""
    return set(folder.names()) <= {_UNFINISHED}


def remove_marks(folder: Folder) -> None:
    """Remove the mark of a folder in which nothing else is left."""
    folder.remove_file(_UNFINISHED)
    folder.remove_file(MARK)
