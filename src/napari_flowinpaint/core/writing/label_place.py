"""Whose it is what lies at ``labels/synthetic`` of a stack, and in the group around it.

Nothing is written here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import folders
from ..disk.folder import Folder
from ..errors import FlowInpaintError, StoreError, first_line
from ..io.levels import Level
from ..names import printable

DTYPE = np.dtype("uint32")
#: Attribute of the full resolution of the marks: the largest number of a repair so far.
LARGEST = "flowinpaint_largest_number"
#: Longest edge of the chunks of the marks, in pixels; one section each.
_CHUNK = 1024
#: What to do about something else where they go.
_AWAY = "move it away, or save a copy (repair with --output, or Save as OME-Zarr)"


def is_ours(folder: Folder, labels: Level, image: Level) -> bool:
    """Return whether we have made a label image of the right shape, as far as it tells.

    Earlier versions did not sign it; but others name it, cut it or describe it in another way.

    Parameters
    ----------
    folder
        Of the label image.
    labels, image
        Its full resolution, and that of the stack.
    """
    if LARGEST in labels.source.attrs:
        return True
    try:
        attributes: dict[str, Any] = _attributes(folder, labels.source.metadata.zarr_format)
        told = attributes.get("ome", attributes)
        label, name = told["image-label"], told["multiscales"][0]["name"]
        unsigned = set(label) <= {"version", "source"} and name == folders.SYNTHETIC
        return "flowinpaint" in label or (unsigned and labels.source.chunks == chunks_of(image))
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def is_array(folder: Folder) -> bool:
    """Return whether a folder has the metadata of a zarr array, be they damaged."""
    return folder.is_file("zarr.json") or folder.is_file(".zarray")


def chunks_of(image: Level) -> tuple[int, ...]:
    """Return the chunks of the label image of a level: one section each."""
    chunks = [1] * image.source.ndim
    for axis in image.axes.zyx[1:]:
        chunks[axis] = min(_CHUNK, image.source.shape[axis])
    return tuple(chunks)


def foreign_labels(folder: Folder) -> StoreError:
    """Return the error that says that something else lies where the marks go."""
    return StoreError(
        f"{printable(folder.path)} is not the label image of synthetic pixels of this stack, which "
        f"goes there; {_AWAY}."
    )


def listed_labels(parent: Folder, zarr_format: Any) -> tuple[list[Any], dict[str, Any] | None]:
    """Return what the group ``labels`` lists, and its attribute ``ome``, None where it has none.

    Raises
    ------
    StoreError
        If it is something else than a group of labels, or damaged.
    """
    attributes = _attributes(parent, zarr_format)
    ome: Any = attributes.get("ome")
    told: Any = ({} if zarr_format == 3 else attributes) if ome is None else ome
    listed: Any = told.get("labels", []) if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise StoreError(
            f"{printable(parent.path)} has damaged metadata (its list of labels); restore them "
            "from a copy."
        )
    return list(listed), ome


def _attributes(folder: Folder, zarr_format: Any) -> dict[str, Any]:
    """Return the attributes of a group; none where there is no group yet.

    Raises
    ------
    StoreError
        If it is something else than a group, or damaged.
    """
    import zarr

    from ..io.folder_store import FolderStore

    name = "zarr.json" if zarr_format == 3 else ".zgroup"
    if not folder.is_file(name) and not folder.is_file(".zarray"):
        return {}
    try:
        store = FolderStore(folder, read_only=True)
        group = zarr.open_group(store, mode="r", zarr_format=zarr_format, use_consolidated=False)
        return dict(group.attrs)
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged JSON leads to
        raise StoreError(
            f"{printable(folder.path)} is not a zarr group that can be read "
            f"({printable(first_line(error))}), but {folders.LABELS}/{folders.SYNTHETIC} goes "
            f"there; {_AWAY}."
        ) from error
