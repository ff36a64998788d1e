"""Whether a stack is still where it was opened.

A store is held open, and can be read after it was renamed. Whoever writes to it, or reads it next,
goes by its path, though, where another store may lie by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StackGone
from ..names import printable
from .folder_store import FolderStore

if TYPE_CHECKING:
    from .stack import Stack


def check_there(stack: Stack) -> None:
    """Refuse a stack whose folder was removed, moved or replaced since it was opened.

    Parameters
    ----------
    stack
        Any stack; of one that is not a local zarr store nothing is checked.

    Raises
    ------
    StackGone
        If it is another folder that lies there, or none.
    """
    level = stack.levels[0]
    if stack.group_path is None or not level.is_zarr:
        return
    store = level.source.store
    if not isinstance(store, FolderStore):
        return
    where = stack.group_path / level.path
    try:
        found = where.stat()
        held = store.folder.identity()
    except OSError as error:
        raise StackGone(
            f"{printable(stack.group_path)} was moved or removed since it was opened; open it "
            "again where it is now."
        ) from error
    if (found.st_dev, found.st_ino) != held:
        raise StackGone(
            f"{printable(stack.group_path)} is not the stack that was opened: another one has "
            "taken its place; open it again."
        )
