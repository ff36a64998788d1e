"""Where what goes with a stack is kept: beside it, outside of any zarr group."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .. import folders
from .folder import open_root
from .zarr_node import outside_groups

if TYPE_CHECKING:
    from .stack import Stack


def kept_beside(stack: Stack, what: str) -> Path | None:
    """Return the path of the folder :data:`~..folders.STAGING` or ``FLAGGED`` of a stack.

    Beside the stack where that may be written to, else in the user's state folder. Channels and
    times of one file have folders of their own.

    Returns
    -------
    pathlib.Path or None
        None where the stack is no file of this machine.

    Raises
    ------
    StoreError
        If there is a link at that place: nobody has named it, so it is not followed.
    """
    root = _root(stack)
    if root is None:
        return None
    name = root.name + _channel(stack)
    path = folders.beside(root.with_name(name), what)
    if not os.access(root.parent, os.W_OK | os.X_OK):
        from platformdirs import user_state_path

        told = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:10]
        return user_state_path("napari-flowinpaint") / f"{name}-{told}" / what
    check_no_link(path)
    return path


def check_no_link(path: Path) -> None:
    """Refuse a link at a place that nobody has named.

    Raises
    ------
    StoreError
        If it is one.
    """
    if path.parent.is_dir():
        with open_root(path.parent) as parent:
            parent.is_folder(path.name)


def _root(stack: Stack) -> Path | None:
    """Return the file or folder of a stack; None where it has none on this machine."""
    if stack.group_path is not None:
        return outside_groups(stack.group_path)
    path = None if stack.path is None else Path(os.path.realpath(stack.path))
    while path is not None and not path.exists() and path != path.parent:
        path = path.parent  # file.h5:/dataset
    return path if path is not None and path != path.parent else None


def _channel(stack: Stack) -> str:
    """Return what tells the channels of one file from each other."""
    fixed = [index for _, index in stack.levels[0].axes.fixed]
    return "." + "-".join(map(str, fixed)) if any(fixed) else ""
