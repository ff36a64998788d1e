"""Where what goes with a stack is kept: beside it, outside of any zarr group."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .. import folders
from ..disk.open_root import open_root
from .zarr_node import outside_groups

if TYPE_CHECKING:
    from .levels import Level
    from .stack import Stack


def kept_beside(stack: Stack, what: str) -> Path | None:
    """Return the path of the folder :data:`~..folders.STAGING`, ``FLAGGED``, … of a stack.

    Beside the stack where that may be written to, else in the user's state folder. Channels,
    times and images of one file have folders of their own.

    Returns
    -------
    pathlib.Path or None
        None where the stack is not a file on this computer.

    Raises
    ------
    StoreError
        If there is a link at that place: nobody has named it, so it is not followed.
    """
    levels = stack.levels if stack.beside is None else stack.beside.base
    if stack.group_path is not None and stack.beside is None:
        return place_beside(outside_groups(stack.group_path), None, levels[0], what)
    if stack.origin is not None:
        return place_beside(stack.origin.file, stack.origin.dataset, levels[0], what)
    path = None if stack.path is None else Path(os.path.realpath(stack.path))
    while path is not None and not path.exists() and path != path.parent:
        path = path.parent
    if path is None or path == path.parent:
        return None
    return place_beside(path, None, levels[0], what)


def place_beside(file: Path, dataset: str | None, level: Level, what: str) -> Path:
    """Return the path of a folder that goes with an image of a file.

    Parameters
    ----------
    file
        The file or folder.
    dataset
        Which image of it, where one was chosen.
    level
        Its full resolution: channels and times have folders of their own.
    what
        What is kept there.

    Raises
    ------
    StoreError
        As for :func:`kept_beside`.
    """
    root = Path(os.path.realpath(file))
    path = _in_place(root, root.name + _part(dataset) + _channel(level), what)
    if dataset and not path.exists():  # earlier versions did not tell the images of a file apart
        earlier = _in_place(root, root.name + _channel(level), what)
        path = earlier if what != folders.REPAIRS and earlier.exists() else path
    return path


def _in_place(root: Path, name: str, what: str) -> Path:
    path = folders.beside(root.with_name(name), what)
    if not os.access(root.parent, os.W_OK | os.X_OK):
        from platformdirs import user_state_path

        told = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:10]
        return user_state_path("napari-flowinpaint") / f"{name}-{told}" / what
    check_no_link(path)
    return path


def _part(dataset: str | None) -> str:
    """Return a dataset as part of a name: ``/volumes/raw`` is ``.volumes-raw``."""
    words = re.findall(r"[\w.]+", dataset or "")
    return "." + "-".join(words) if words else ""


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


def _channel(level: Level) -> str:
    """Return what tells the channels of one file from each other."""
    fixed = [index for _, index in level.axes.fixed]
    return "." + "-".join(map(str, fixed)) if any(fixed) else ""
