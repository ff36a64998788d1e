"""The label image ``labels/synthetic``: which pixels of a stack were made by which repair.

An NGFF label image beside the data with the axes, the shape, the voxel size and the pyramid of
the image; ``uint32``, one number per repair, 0 where the pixels are the microscope's. Pixels that
a repair has moved, not made, have its number plus 2147483648. A pixel of
a reduced level is marked if any pixel it was made from is synthetic. Only chunks with marks are
stored.

It lies in ``labels/synthetic`` of the OME-Zarr group and is listed there beside labels that exist
already. A bare zarr array has no group to hold it, and a zarr array must not have children, so
its marks lie with the journal, in ``.flowinpaint/labels/synthetic`` within the directory of the
array, where they travel with the data and open as an OME-Zarr image of their own.

What is said of the repairs in its attributes is in :mod:`.synthetic_attributes`.
"""

from __future__ import annotations

import json
import re
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import folders
from ..disk.folder import Folder
from ..errors import StoreError, first_line
from ..io.axes import voxel_size_from_attributes
from ..io.levels import Level
from ..io.ngff_06 import intrinsic_system, is_06, renamed
from .label_place import DTYPE, chunks_of, foreign_labels, is_array, is_ours, listed_labels
from .target import open_array

if TYPE_CHECKING:
    import zarr

    from ..types import AnyImage

_SEPARATOR = re.compile("[./]")
Labels = tuple[Level, ...]

#: Numbers above are not ours: somebody has painted them.
LIMIT = 2**31
#: What the values mean, for who reads the label image without this program.
MEANING = {
    "synthetic": "number of the repair that made the pixel",
    "displaced": "2147483648 + number of the repair that moved the pixel (the section's own)",
}


def label_names(levels: tuple[Level, ...]) -> tuple[str, ...]:
    """Return the names of the folders from the group, or the array, to the label image.

    Parameters
    ----------
    levels
        The image's pyramid.
    """
    home = () if levels[0].path else (folders.JOURNAL,)
    return (*home, folders.LABELS, folders.SYNTHETIC)


def label_folder(root: Path, levels: tuple[Level, ...]) -> Path:
    """Return where the label image of a stack lies, for who only names it.

    Parameters
    ----------
    root
        The OME-Zarr group, or the directory of a bare array.
    levels
        The image's pyramid.
    """
    return root.joinpath(*label_names(levels))


def open_labels(
    root: Folder, levels: tuple[Level, ...], scratch: Folder, mark: Callable[[Labels], None]
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
        If something else than such a label image has its name, or a link.
    """
    *home, name = label_names(levels)
    zarr_format = levels[0].source.metadata.zarr_format
    parent = root.folder(*home, create=True)
    if parent.stat(name) is None:
        unfinished = uuid.uuid4().hex
        with scratch.make_folder(unfinished) as folder:
            _create(folder, root, levels, scratch)
            mark(_open(folder, levels, scratch))
        scratch.rename(unfinished, parent, name)
    labels = _open(parent.folder(name), levels, scratch)
    _register(parent, zarr_format, scratch)
    if levels[0].path:
        consolidate(parent, name, scratch)
        consolidate(root, "/".join((*home, name)), scratch)
    return labels


def check_labels(root: Folder, levels: tuple[Level, ...]) -> None:
    """Refuse what :func:`open_labels` would refuse, before there is anything to mark.

    Parameters
    ----------
    root, levels
        As for :func:`open_labels`; nothing is written.

    Raises
    ------
    StoreError
        With the name of what is in the way.
    """
    *home, name = label_names(levels)
    try:
        parent = root.folder(*home)
    except FileNotFoundError:
        return
    listed_labels(parent, levels[0].source.metadata.zarr_format)
    if parent.stat(name) is not None:
        _open(parent.folder(name), levels, None)


def read_labels(root: Folder, levels: tuple[Level, ...]) -> Level | None:
    """Open the full resolution of the label image for reading; None where there is none.

    Parameters
    ----------
    root, levels
        As for :func:`open_labels`.
    """
    import zarr

    from ..io.folder_store import FolderStore

    try:
        folder = root.folder(*label_names(levels), "0")
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not is_array(folder):
        return None  # somebody else's, as writing will tell
    try:
        array: Any = zarr.open_array(FolderStore(folder, read_only=True), mode="r")
    except (OSError, StoreError):
        raise
    except Exception as error:  # whatever the damaged JSON leads to
        raise StoreError(
            f"the marks in {folder.path} cannot be read ({first_line(error)}); restore "
            "labels/synthetic from a copy."
        ) from error
    if array.shape != levels[0].source.shape or array.dtype != DTYPE:
        return None
    return Level(array, levels[0].axes)


def marked_chunks(labels: Level) -> Iterator[tuple[tuple[slice, ...], AnyImage]]:
    """Yield where in the array of a label image chunks are stored, and the marks there."""
    array = labels.source
    for key in array.store.all_keys():
        numbers = _SEPARATOR.split(key.removeprefix("c/"))
        if len(numbers) == array.ndim and all(number.isdecimal() for number in numbers):
            where = tuple(
                slice(int(number) * edge, min((int(number) + 1) * edge, size))
                for number, edge, size in zip(numbers, array.chunks, array.shape, strict=True)
            )
            yield where, np.asarray(array[where])


def has_section(labels: Level, z: int) -> bool:
    """Return whether there is a chunk with marks of a section, as far as the names tell.

    Cheap, for it is asked of every repair of a stack: whatever the names do not tell is True.
    """
    axes, array = labels.axes, labels.source
    position = axes.zyx[0]
    if position > min(axes.zyx):
        return True
    first = [n // edge for n, edge in zip(axes.index(z, 0, 0), array.chunks, strict=True)]
    names = array.metadata.encode_chunk_key(tuple(first)).split("/")
    if len(names) < array.ndim:  # all in one folder
        return True
    try:
        with array.store.folder.folder(*names[: len(names) - array.ndim + position + 1]):
            return True
    except FileNotFoundError:
        return False


def _open(folder: Folder, levels: tuple[Level, ...], scratch: Folder | None) -> Labels:
    """Open an existing label image; only to look at it where there is no ``scratch``."""
    labels = []
    for number, level in enumerate(levels):
        try:
            within = folder.folder(str(number))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise foreign_labels(folder) from error
        if not is_array(within):
            raise foreign_labels(folder)
        array = open_array(within, scratch, keep_empty=False)
        if array.shape != level.source.shape or array.dtype != DTYPE:
            raise foreign_labels(folder)
        labels.append(Level(array, level.axes, path=str(number)))
    if not is_ours(folder, labels[0], levels[0]):
        raise foreign_labels(folder)
    return tuple(labels)


def _create(folder: Folder, root: Folder, levels: tuple[Level, ...], scratch: Folder) -> None:
    """Write an empty label image into ``folder``."""
    import zarr

    from ..io.folder_store import FolderStore

    image = levels[0]
    zarr_format = image.source.metadata.zarr_format
    attributes, names = _metadata(root, levels)
    store = FolderStore(folder, scratch=scratch)
    group = zarr.create_group(store, zarr_format=zarr_format, attributes=attributes)
    for number, level in enumerate(levels):
        group.create_array(
            str(number),
            shape=level.source.shape,
            chunks=chunks_of(level),
            dtype=DTYPE,
            fill_value=0,
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
            dimension_names=names if zarr_format == 3 else None,
        )


def _metadata(root: Folder, levels: tuple[Level, ...]) -> tuple[dict[str, Any], list[str]]:
    """Return the NGFF attributes of the label image, and the names of its axes."""
    import zarr

    from ..io.folder_store import FolderStore

    zarr_format = levels[0].source.metadata.zarr_format
    label: dict[str, Any] = {"source": {"image": "../../"}, "flowinpaint": MEANING}
    if levels[0].path:
        found: dict[str, Any] = dict(
            zarr.open_group(
                FolderStore(root, read_only=True), mode="r", use_consolidated=False
            ).attrs
        )
        source: dict[str, Any] = found.get("ome", found)["multiscales"][0]
        version = found["ome"].get("version", "0.5") if "ome" in found else "0.4"
        kept = ("version", "axes", "coordinateSystems", "coordinateTransformations")
        multiscale = {key: source[key] for key in kept if key in source}
        rename = renamed if is_06(version) else lambda d, path: dict(d, path=path)
        datasets = [rename(d, str(i)) for i, d in enumerate(source["datasets"])]
        multiscale |= {"name": folders.SYNTHETIC, "datasets": datasets}
    else:
        version = "0.5" if zarr_format == 3 else "0.4"
        label["source"] = {"image": "../../../"}
        multiscale = _bare_multiscale(levels[0])
    system = intrinsic_system(multiscale) if is_06(version) else multiscale
    names = [str(axis["name"]) for axis in system["axes"]]
    if zarr_format == 3:
        multiscale.pop("version", None)
        ome = {"version": version, "multiscales": [multiscale], "image-label": label}
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


def _register(parent: Folder, zarr_format: Any, scratch: Folder) -> None:
    """List the label image in the metadata of the group ``labels``, beside what is listed."""
    import zarr

    from ..io.folder_store import FolderStore

    listed, ome = listed_labels(parent, zarr_format)
    if folders.SYNTHETIC in listed:
        return
    store = FolderStore(parent, scratch=scratch)
    group: zarr.Group = zarr.open_group(store, mode="a", zarr_format=zarr_format)
    if ome is None and zarr_format == 3:
        marks: dict[str, Any] = dict(group[folders.SYNTHETIC].attrs)
        ome = {"version": marks["ome"]["version"]}
    listed.append(folders.SYNTHETIC)
    group.attrs.update({"labels": listed} if ome is None else {"ome": {**ome, "labels": listed}})


def consolidate(group: Folder, name: str, scratch: Folder, again: bool = False) -> None:
    """Let the label image at ``name`` appear in consolidated metadata, if ``group`` has such.

    With ``again``, as it has become.
    """
    import zarr

    from ..io.folder_store import FolderStore

    def mentions(file: str, *keys: str) -> bool | None:
        record: Any = json.loads(group.read(file)) if group.is_file(file) else None
        for key in keys:
            record = record.get(key) if isinstance(record, dict) else None
        return None if record is None else any(f"{key}/".startswith(f"{name}/") for key in record)

    found = (
        mentions(".zmetadata", "metadata"),
        mentions("zarr.json", "consolidated_metadata", "metadata"),
    )
    if False in found or (again and True in found):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that v3 has not standardised it yet
            zarr.consolidate_metadata(FolderStore(group, scratch=scratch))
