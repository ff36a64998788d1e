"""Open OME-Zarr images (0.4, 0.5, 0.6) and bare zarr arrays (v2 and v3), lazily.

The metadata are validated in :mod:`.ngff_image`, the nodes opened in :mod:`.zarr_node`; here is
only the way from one to the other: which array, which axes, whether it may be written in place.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import folders
from ..errors import ChoiceNeeded, FlowInpaintError, InputError
from ..names import printable, quoted
from .axes import Axes, resolve_axes, say_guess, voxel_size_from_attributes
from .levels import Level, ReaderResult
from .metadata import array_metadata, ngff_metadata
from .ngff_image import (
    axis_name,
    is_label,
    level_keys,
    ngff_attributes,
    ngff_voxel_size,
    scale_of,
    shared_levels,
    validated,
)
from .zarr_node import (
    SAVE_ELSEWHERE,
    child_of,
    is_zarr_node,
    name_of_store,
    names_of_key,
    not_zarr,
    open_node,
    why_not_writable,
)

if TYPE_CHECKING:
    import zarr


def open_zarr(
    path: Path | str, *, channel: int | None = None, time: int | None = None
) -> ReaderResult:
    """Open a zarr group or array; no pixel is read.

    Parameters
    ----------
    path
        Directory of the group or array (also one inside another group), or a URL.
    channel, time
        Index on the c and t axis.

    Raises
    ------
    InputError
        If it holds no stack, or metadata that are damaged or of an unknown version.
    """
    import zarr

    try:
        node = open_node(path)
        if isinstance(node, zarr.Array):
            group, why = _parent_image(path)
            if group is not None and not why:
                return open_zarr(group, channel=channel, time=time)
            return _open_array(path, node, channel, time, why)
        if ngff_attributes(dict(node.attrs)) is not None:
            return _open_image(path, node, channel, time)
        return _open_only_child(path, node, channel, time)
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged JSON leads to
        raise not_zarr(path, error) from error


def _open_image(
    path: Path | str, node: zarr.Group, channel: int | None, time: int | None
) -> ReaderResult:
    """Open the first multiscale image of a group."""
    import zarr

    found = ngff_attributes(dict(node.attrs))
    assert found is not None
    _refuse_repairs(path, dict(node.attrs))
    version, multiscales = found
    image = validated(path, version, multiscales)
    local = path if isinstance(path, Path) and path.is_dir() else None
    names = [axis_name(axis) for axis in image.axes]
    keys = [dataset.path for dataset in image.datasets]
    inside = ["/".join(names_of_key(key)) for key in keys]
    why = why_not_writable(path, local, inside) or shared_levels(path, multiscales)

    levels: list[Level] = []
    axes: Axes | None = None
    for dataset, key in zip(image.datasets, keys, strict=True):
        array = open_node(path, key, "r" if why else "r+")
        if not isinstance(array, zarr.Array) or array.ndim != len(names):
            raise InputError(
                f"{path} names {key!r} as a level with the axes {''.join(names)}, "
                "but that is not such an array; correct the metadata."
            )
        if axes is None:
            axes = resolve_axes(names, array.shape, what=str(path), channel=channel, time=time)
        levels.append(Level(array, axes, scale_of(dataset, axes), key))
    assert axes is not None
    first = levels[0].scale
    if not all(math.isfinite(s) and s > 0 for level in levels for s in level.scale):
        raise InputError(f"{path} gives its voxels the scale {first} (z, y, x); correct it.")
    levels = [
        Level(
            level.source,
            axes,
            (level.scale[0] / first[0], level.scale[1] / first[1], level.scale[2] / first[2]),
            level.path,
        )
        for level in levels
    ]
    voxel_size, messages = ngff_voxel_size(image, axes)
    shape = dict(zip(names, levels[0].source.shape, strict=True))
    metadata, more = ngff_metadata(dict(node.attrs), image, axes, shape.get("c"))
    return ReaderResult(
        kind="ome-zarr",
        name=name_of_store(path),
        levels=tuple(levels),
        voxel_size=voxel_size,
        why_not_writable=why,
        messages=messages + more,
        group_path=local,
        zarr_format=node.metadata.zarr_format,
        ngff_version=version,
        metadata=metadata,
    )


def _refuse_repairs(path: Path | str, attributes: dict[str, Any]) -> None:
    """Refuse what is kept beside a file: all but a few of its pixels are in that file."""
    of = attributes.get(folders.REPAIRS_OF)
    if isinstance(of, dict):
        name = printable(of.get("name", "another file"))
        raise InputError(
            f"{path} holds nothing but the repairs of {name}; open {name}, which shows them."
        )


def _open_array(
    path: Path | str,
    node: zarr.Array,
    channel: int | None,
    time: int | None,
    why: str,
) -> ReaderResult:
    """Open an array that is not the full resolution of the first image of an OME-Zarr group.

    ``why`` says why it may not be written in place, if there is a reason besides permissions.
    """
    attributes: dict[str, Any] = dict(node.attrs)
    names = axis_names_of(node)
    axes = resolve_axes(names, node.shape, what=str(path), channel=channel, time=time)
    local = path if isinstance(path, Path) and path.is_dir() else None
    why = why or why_not_writable(path, local, [""])
    source: Any = node
    if not why:
        source = open_node(path, mode="r+")
    voxel_size = voxel_size_from_attributes(attributes)
    return ReaderResult(
        kind="zarr",
        name=name_of_store(path),
        levels=(Level(source, axes),),
        voxel_size=voxel_size,
        why_not_writable=why,
        group_path=local,
        zarr_format=node.metadata.zarr_format,
        messages=say_guess(names, _stored_names(node), node.ndim, axes),
        metadata=array_metadata(attributes, voxel_size, axes, names),
    )


def axis_names_of(array: zarr.Array) -> list[str] | None:
    """Return the names of the axes of an array; None where it has none, or not in our words."""
    found = _stored_names(array)
    names = None if found is None else [name.lower() for name in found]
    return names if names is not None and {"z", "y", "x"} <= set(names) else None


def _stored_names(array: zarr.Array) -> list[str] | None:
    """Return the names that the axes of an array have in the file; None where it has none."""
    names: Any = getattr(array.metadata, "dimension_names", None) or dict(array.attrs).get(
        "_ARRAY_DIMENSIONS"
    )
    if not isinstance(names, Sequence) or len(names) != array.ndim or not any(names):
        return None
    return [str(name) for name in names]


def _parent_image(path: Path | str) -> tuple[Path | None, str]:
    """Return the OME-Zarr group that has the array at ``path`` as a level, if there is one.

    Returns
    -------
    tuple of Path or None and str
        Also why the array may not be written in place, where the group's pyramid would not be
        updated with it: it is a reduced level, or not of the group's first image.
    """
    for parent in path.parents if isinstance(path, Path) else ():
        found = ngff_attributes(dict(open_node(parent).attrs)) if is_zarr_node(parent) else None
        key = str(path)[len(str(parent)) :].strip(os.sep).replace(os.sep, "/")
        for number, image in enumerate(found[1] if found else ()):
            keys = level_keys(image)
            if key not in keys:
                continue
            if number:
                return parent, (
                    f"it belongs to image {number + 1} of {parent}, and only the first image of "
                    f"a group can be written in place; {SAVE_ELSEWHERE}"
                )
            if keys.index(key):
                return parent, f"it is a reduced level of the pyramid {parent}; open that instead"
            return parent, ""
    return None, ""


def _open_only_child(
    path: Path | str, node: zarr.Group, channel: int | None, time: int | None
) -> ReaderResult:
    """Open the only image or the only 3-D array of a group; refuse to guess among several."""
    import zarr

    images: list[str] = []
    labels: list[str] = []
    arrays = []
    for key, child in sorted(node.members(max_depth=2)):
        if isinstance(child, zarr.Array):
            arrays.append((key, child))
        elif ngff_attributes(dict(child.attrs)) is not None:
            (labels if is_label(dict(child.attrs)) else images).append(key)
    # A repair adds the label image of the marks: the stack must stay the only one.
    levels = tuple(f"{key}/" for key in labels)
    stacks = [k for k, array in arrays if array.ndim >= 3 and not k.startswith(levels)]
    keys = images or stacks or labels
    if len(keys) == 1:
        return open_zarr(child_of(path, keys[0]), channel=channel, time=time)
    if not keys:
        raise InputError(
            f"{path} is a zarr group without an image or a 3-D array; give the path of the stack."
        )
    raise ChoiceNeeded(
        f"{path} holds {len(keys)} stacks: give the path of one, for example "
        f"{quoted(child_of(path, keys[0]))} (there are {', '.join(keys[:8])}"
        f"{', …' if keys[8:] else ''}).",
        "dataset",
        keys,
    )
