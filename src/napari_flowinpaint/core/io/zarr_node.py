"""Nodes of zarr stores: groups and arrays in folders, archives and at addresses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..disk.open_root import open_root
from ..errors import FlowInpaintError, InputError, first_line
from ..names import check_name
from .formats import split_archive
from .remote import missing_package

if TYPE_CHECKING:
    import zarr

_METADATA_FILES = ("zarr.json", ".zgroup", ".zarray")
#: Attributes of the groups of an OME-Zarr: since 0.5, and before.
_OME_KEYS = frozenset(("ome", "multiscales", "plate", "well", "labels", "bioformats2raw.layout"))
SAVE_ELSEWHERE = "write the result elsewhere with --output (or Save as OME-Zarr)"


def is_zarr_node(path: Path) -> bool:
    """Return whether ``path`` is a directory that holds a zarr group or array.

    Also where its metadata are a link, wherever that leads: opening it says so.
    """
    files = [path / name for name in _METADATA_FILES]
    return any(file.is_symlink() or file.is_file() for file in files)


def outside_groups(path: Path) -> Path:
    """Return a path outside any zarr group, for what is named after the node at ``path``.

    Nothing foreign goes into a zarr group; the name tells the images of one group from each other.
    """
    root = path
    while is_zarr_node(root.parent):
        root = root.parent
    return root if root == path else root.with_name(f"{root.name}.{path.name}")


def enclosing_image(path: Path) -> Path | None:
    """Return the OME-Zarr, or the zarr array, within which a path lies; None where there is none.

    A plain group, which says nothing of images, may hold whatever its owner puts there.

    Parameters
    ----------
    path
        Absolute; need not exist.
    """
    for parent in path.parents:
        if is_zarr_node(parent) and not _is_plain_group(parent):
            return parent
    return None


def _is_plain_group(path: Path) -> bool:
    """Return whether a node is a group without OME metadata; False where that cannot be read."""
    import zarr

    try:
        node = open_node(path)
        return isinstance(node, zarr.Group) and not _OME_KEYS & set(dict(node.attrs))
    except FlowInpaintError:
        return False


def open_node(
    path: Path | str, key: str = "", mode: Literal["r", "r+"] = "r"
) -> zarr.Array | zarr.Group:
    """Open an array or a group, or say in one line why that is not possible.

    Parameters
    ----------
    path
        Directory of a node, which may be reached through links of the user's, or an address.
    key
        Of the node to open, within that one. No link is followed on the way.
    mode
        ``"r"`` or ``"r+"``.

    Raises
    ------
    InputError
        If there is no such node, or its metadata are damaged.
    StoreError
        If there is a link on the way, or the metadata name a codec that would run code.
    """
    import zarr

    from .folder_store import FolderStore, watch
    from .remote_store import open_address
    from .zip_store import open_archive

    names = names_of_key(key)
    shown = child_of(path, "/".join(names))
    try:
        store: Any
        archive = split_archive(path) if isinstance(path, Path) else None
        if isinstance(path, str):
            store, within = open_address(path), "/".join(names)
        elif archive is not None:
            store, root_key = open_archive(archive[0])
            within = "/".join(filter(None, (root_key, *names_of_key(archive[1]), *names)))
        else:
            with open_root(path) as root:
                store, within = FolderStore(root.folder(*names), read_only=mode == "r"), ""
        node = zarr.open(store=store, path=within, mode=mode, use_consolidated=False)
        if isinstance(node, zarr.Array):
            watch(node)
        return node
    except FlowInpaintError:
        raise
    except ImportError as error:
        raise missing_package(shown, error) from error
    except Exception as error:  # zarr raises whatever the damaged JSON leads to
        raise not_zarr(shown, error) from error


def not_zarr(path: Path | str, error: Exception) -> InputError:
    """Return the error that says in one line what is wrong with a store."""
    return InputError(
        f"{path} cannot be opened as zarr ({first_line(error)}); "
        "check the path and its zarr.json, .zgroup or .zarray."
    )


def names_of_key(key: str) -> list[str]:
    """Return the names on the way to a node; refuse a key that leads elsewhere."""
    return [check_name(name) for name in key.split("/") if name not in ("", ".")]


def child_of(path: Path | str, key: str) -> Path | str:
    """Return the address of ``key`` within ``path``, of the same kind as ``path``."""
    return path / key if isinstance(path, Path) else f"{path.rstrip('/')}/{key}"


def name_of_store(path: Path | str) -> str:
    """Return the name of a store: its last part without the suffix."""
    last = str(path).rstrip("/").rpartition("/")[2] if isinstance(path, str) else path.name
    for suffix in (".zip", ".ozx", ".ome.zarr", ".zarr"):
        last = last.removesuffix(suffix)
    return last


def why_not_writable(path: Path | str, local: Path | None, keys: Sequence[str]) -> str:
    """Return why the arrays at ``keys`` may not be written in place; empty when they may."""
    if local is None and isinstance(path, Path):
        return f"it is in a ZIP archive; unpack it, or {SAVE_ELSEWHERE}"
    if local is None:
        return f"it is a remote store; {SAVE_ELSEWHERE}"
    for directory in [local, *(local / key for key in keys if key)]:
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"you may not write to {directory}; {SAVE_ELSEWHERE}"
    return ""
