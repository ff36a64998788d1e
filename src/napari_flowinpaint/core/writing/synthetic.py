"""The label image ``labels/synthetic``: which pixels of a stack were made by which repair.

An NGFF label image beside the data with the axes, the shape, the voxel size and the pyramid of
the image; ``uint32``, one number per repair, 0 where the pixels are the microscope's. A pixel of
a reduced level is marked if any pixel it was made from is synthetic. Only chunks with marks are
stored.

It lies in ``labels/synthetic`` of the OME-Zarr group and is listed there beside labels that exist
already. A bare zarr array has no group to hold it, and a zarr array must not have children, so
its marks lie with the journal, in ``.flowinpaint/labels/synthetic`` within the directory of the
array, where they travel with the data and open as an OME-Zarr image of their own.
"""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import folders
from ..errors import StoreError
from ..io import durable
from ..io.axes import voxel_size_from_attributes
from ..io.levels import Level

if TYPE_CHECKING:
    import zarr

    from ..io.stack import Stack
    from ..types import BoolImage, Box

Labels = tuple[Level, ...]

#: Longest edge of its chunks, in pixels; one section each.
_CHUNK = 1024


def label_folder(root: Path, levels: tuple[Level, ...]) -> Path:
    """Return where the label image of a stack lies.

    Parameters
    ----------
    root
        The OME-Zarr group, or the directory of a bare array.
    levels
        The image's pyramid.
    """
    home = root if levels[0].path else root / folders.JOURNAL
    return home / folders.LABELS / folders.SYNTHETIC


def open_labels(
    root: Path, levels: tuple[Level, ...], scratch: Path, mark: Callable[[Labels], None]
) -> Labels:
    """Open the label image of a stack for durable writing; create it where there is none.

    Parameters
    ----------
    root
        The OME-Zarr group, or the directory of a bare array.
    levels
        The image's pyramid, zarr arrays.
    scratch
        Folder on the same file system, for unfinished files.
    mark
        Puts the marks of the repairs that there are on a new label image, before it gets its name.

    Returns
    -------
    tuple of Level
        One per level of the image, of the same shape.

    Raises
    ------
    StoreError
        If something else than such a label image has its name.
    """
    folder = label_folder(root, levels)
    zarr_format = levels[0].source.metadata.zarr_format
    if not folder.exists():
        unfinished = scratch / uuid.uuid4().hex
        _create(unfinished, root, levels, scratch)
        mark(_open(unfinished, levels, scratch))
        durable.make_folder(folder.parent)
        durable.move(unfinished, folder)
    labels = _open(folder, levels, scratch)
    _register(folder, zarr_format, scratch)
    for group in (folder.parent, root) if levels[0].path else ():
        _consolidate(group, folder, scratch)
    return labels


def marks_of(stack: Stack) -> Callable[[int, Box], BoolImage] | None:
    """Return what tells which pixels of a stack are synthetic, None where none are marked.

    Returns
    -------
    callable or None
        ``marks(z, box)`` is (H, W) bool, True where a repair was written.
    """
    import zarr

    image = stack.levels[0]
    if stack.group_path is None or not image.is_zarr:
        return None
    folder = label_folder(stack.group_path, stack.levels) / "0"
    if not folder.is_dir():
        return None
    array = zarr.open_array(folder, mode="r")
    if array.shape != image.source.shape:
        return None  # somebody else's, as writing will tell
    level = Level(array, image.axes)
    return lambda z, box: np.asarray(level.read(z, box) != 0)


def _open(folder: Path, levels: tuple[Level, ...], scratch: Path) -> Labels:
    """Open an existing label image."""
    from .apply import open_array

    labels = []
    for number, level in enumerate(levels):
        array = open_array(folder / str(number), scratch, keep_empty=False)
        if array.shape != level.source.shape or array.dtype != np.dtype("uint32"):
            raise StoreError(
                f"{folder} is not the label image of this stack; rename it, so that synthetic "
                "pixels can be marked there."
            )
        labels.append(Level(array, level.axes, path=str(number)))
    return tuple(labels)


def _create(folder: Path, root: Path, levels: tuple[Level, ...], scratch: Path) -> None:
    """Write an empty label image into ``folder``."""
    import zarr

    from ..io.safe_store import DurableStore

    image = levels[0]
    zarr_format = image.source.metadata.zarr_format
    attributes, names = _metadata(root, levels)
    store = DurableStore(folder, scratch=scratch)
    group = zarr.create_group(store, zarr_format=zarr_format, attributes=attributes)
    for number, level in enumerate(levels):
        chunks = [1] * level.source.ndim
        for axis in image.axes.zyx[1:]:
            chunks[axis] = min(_CHUNK, level.source.shape[axis])
        group.create_array(
            str(number),
            shape=level.source.shape,
            chunks=tuple(chunks),
            dtype="uint32",
            fill_value=0,
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
            dimension_names=names if zarr_format == 3 else None,
        )


def _metadata(root: Path, levels: tuple[Level, ...]) -> tuple[dict[str, Any], list[str]]:
    """Return the NGFF attributes of the label image, and the names of its axes."""
    import zarr

    zarr_format = levels[0].source.metadata.zarr_format
    label = {"source": {"image": "../../"}}
    if levels[0].path:
        found: dict[str, Any] = dict(zarr.open_group(root, mode="r").attrs)
        source: dict[str, Any] = found.get("ome", found)["multiscales"][0]
        kept = ("version", "axes", "coordinateTransformations")
        multiscale = {key: source[key] for key in kept if key in source}
        datasets = [dict(d, path=str(i)) for i, d in enumerate(source["datasets"])]
        multiscale |= {"name": folders.SYNTHETIC, "datasets": datasets}
    else:
        label = {"source": {"image": "../../../"}}
        multiscale = _bare_multiscale(levels[0])
    names = [str(axis["name"]) for axis in multiscale["axes"]]
    if zarr_format == 3:
        multiscale.pop("version", None)
        ome = {"version": "0.5", "multiscales": [multiscale], "image-label": label}
        return {"ome": ome}, names
    multiscale["version"] = "0.4"
    return {"multiscales": [multiscale], "image-label": {"version": "0.4", **label}}, names


def _bare_multiscale(level: Level) -> dict[str, Any]:
    """Return a multiscale for an array that has no NGFF metadata."""
    ndim = level.source.ndim
    voxel_size = voxel_size_from_attributes(dict(level.source.attrs))
    axes: list[dict[str, str]] = [{} for _ in range(ndim)]
    scale = [1.0] * ndim
    for number, name in enumerate("zyx"):
        position = level.axes.zyx[number]
        axes[position] = {"name": name, "type": "space"}
        if voxel_size is not None:
            axes[position]["unit"] = "nanometer"
            scale[position] = voxel_size[number]
    others = {"c": "channel", "t": "time"}
    spare = [("c", others["c"]), ("t", others["t"])]
    for position in sorted((p for p, _ in level.axes.fixed), reverse=True):
        name, kind = spare.pop(0) if spare else (f"d{position}", "")
        axes[position] = {"name": name, "type": kind} if kind else {"name": name}
    transform = {"type": "scale", "scale": scale}
    return {
        "name": folders.SYNTHETIC,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": [transform]}],
    }


def _register(folder: Path, zarr_format: Any, scratch: Path) -> None:
    """List the label image in the metadata of the group ``labels``, beside what is listed."""
    import zarr

    from ..io.safe_store import DurableStore

    store = DurableStore(folder.parent, scratch=scratch)
    group: zarr.Group = zarr.open_group(store, mode="a", zarr_format=zarr_format)
    attributes: dict[str, Any] = dict(group.attrs)
    ome = attributes.get("ome", {"version": "0.5"} if zarr_format == 3 else None)
    listed = list((attributes if ome is None else ome).get("labels", []))
    if folder.name in listed:
        return
    listed.append(folder.name)
    group.attrs.update({"labels": listed} if ome is None else {"ome": {**ome, "labels": listed}})


def _consolidate(group: Path, folder: Path, scratch: Path) -> None:
    """Let the label image in ``folder`` appear in consolidated metadata, if ``group`` has such."""
    import zarr

    from ..io.safe_store import DurableStore

    name = folder.relative_to(group).as_posix()

    def mentions(file: str, *keys: str) -> bool | None:
        path = group / file
        record: Any = json.loads(path.read_bytes()) if path.exists() else None
        for key in keys:
            record = record.get(key) if isinstance(record, dict) else None
        return None if record is None else any(f"{key}/".startswith(f"{name}/") for key in record)

    found = (
        mentions(".zmetadata", "metadata"),
        mentions("zarr.json", "consolidated_metadata", "metadata"),
    )
    if False in found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that v3 has not standardised it yet
            zarr.consolidate_metadata(DurableStore(group, scratch=scratch))
