"""Open OME-Zarr images (0.4, 0.5, 0.6) and bare zarr arrays (v2 and v3), lazily.

The NGFF metadata are validated by yaozarrs, the arrays are zarr's; here is only the way from one
to the other: which array, which axes, which voxel size, and whether it may be written in place.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ChoiceNeeded, FlowInpaintError, InputError, first_line
from ..types import VoxelSize
from .axes import Axes, nanometres, resolve_axes, say_guess, voxel_size_from_attributes
from .folder import open_root
from .formats import split_archive
from .levels import Level, ReaderResult
from .metadata import array_metadata, ngff_metadata
from .names import check_name, quoted
from .ngff_06 import as_05, is_06
from .remote import missing_package

if TYPE_CHECKING:
    import zarr

_METADATA_FILES = ("zarr.json", ".zgroup", ".zarray")
_SAVE_ELSEWHERE = "write the result elsewhere with --output (or Save as OME-Zarr)"


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
        if _ngff_attributes(dict(node.attrs)) is not None:
            return _open_image(path, node, channel, time)
        return _open_only_child(path, node, channel, time)
    except FlowInpaintError:
        raise
    except Exception as error:  # whatever the damaged JSON leads to
        raise _not_zarr(path, error) from error


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

    names = _names(key)
    shown = _child(path, "/".join(names))
    try:
        store: Any
        archive = split_archive(path) if isinstance(path, Path) else None
        if isinstance(path, str):
            store, within = open_address(path), "/".join(names)
        elif archive is not None:
            store, root_key = open_archive(archive[0])
            within = "/".join(filter(None, (root_key, *_names(archive[1]), *names)))
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
        raise _not_zarr(shown, error) from error


def _not_zarr(path: Path | str, error: Exception) -> InputError:
    return InputError(
        f"{path} cannot be opened as zarr ({first_line(error)}); "
        "check the path and its zarr.json, .zgroup or .zarray."
    )


def _names(key: str) -> list[str]:
    """Return the names on the way to a node; refuse a key that leads elsewhere."""
    return [check_name(name) for name in key.split("/") if name not in ("", ".")]


def _ngff_attributes(attributes: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
    """Return the NGFF version and the raw multiscales of a group, None where there are none."""
    ome = attributes.get("ome")
    if isinstance(ome, Mapping) and isinstance(ome.get("multiscales"), list) and ome["multiscales"]:
        return str(ome.get("version", "0.5")), ome["multiscales"]
    multiscales = attributes.get("multiscales")
    if isinstance(multiscales, list) and multiscales:
        first = multiscales[0]
        version = first.get("version", "0.4") if isinstance(first, Mapping) else "0.4"
        return str(version), multiscales
    return None


def _validate(path: Path | str, version: str, multiscales: list[Any]) -> Any:
    """Return the first multiscale image as yaozarrs' model of its version."""
    from pydantic import ValidationError
    from yaozarrs import v04, v05

    models: dict[str, Any] = {"0.4": v04.Multiscale, "0.5": v05.Multiscale}
    image = multiscales[0]
    if is_06(version):
        models[version] = v05.Multiscale
        try:
            image = as_05(image)
        except ValueError as error:
            raise InputError(
                f"{path} has OME-Zarr metadata that are not valid {version} ({error}); correct "
                "them or convert the stack again."
            ) from error
    if version not in models:
        raise InputError(
            f"{path} is OME-Zarr {version}; only 0.4, 0.5 and 0.6 are supported: convert it."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that are no NGFF units; nanometres() knows more
        try:
            return models[version].model_validate(image)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(p) for p in first["loc"])
            raise InputError(
                f"{path} has OME-Zarr metadata that are not valid {version} "
                f"({place}: {first['msg']}); correct them or convert the stack again."
            ) from error


def _open_image(
    path: Path | str, node: zarr.Group, channel: int | None, time: int | None
) -> ReaderResult:
    """Open the first multiscale image of a group."""
    import zarr

    found = _ngff_attributes(dict(node.attrs))
    assert found is not None
    version, multiscales = found
    image = _validate(path, version, multiscales)
    local = path if isinstance(path, Path) and path.is_dir() else None
    names = [_axis_name(axis) for axis in image.axes]
    keys = [dataset.path for dataset in image.datasets]
    why = _why_not_writable(path, local, ["/".join(_names(key)) for key in keys]) or _shared_levels(
        path, multiscales
    )

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
        levels.append(Level(array, axes, _scale(dataset, axes), key))
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
    voxel_size, messages = _voxel_size(image, axes)
    shape = dict(zip(names, levels[0].source.shape, strict=True))
    metadata, more = ngff_metadata(dict(node.attrs), image, axes, shape.get("c"))
    return ReaderResult(
        kind="ome-zarr",
        name=_name(path),
        levels=tuple(levels),
        voxel_size=voxel_size,
        why_not_writable=why,
        messages=messages + more,
        group_path=local,
        zarr_format=node.metadata.zarr_format,
        ngff_version=version,
        metadata=metadata,
    )


def _axis_name(axis: Any) -> str:
    """Return ``c`` and ``t`` for the axes that are of these types, whatever they are called."""
    return {"channel": "c", "time": "t"}.get(getattr(axis, "type", None) or "", axis.name)


def _shared_levels(path: Path | str, multiscales: list[Any]) -> str:
    """Return why the first image may not be written: another one has its pixels reduced, too."""
    first = set(_level_keys(multiscales[0]))
    for number, image in enumerate(multiscales[1:], start=2):
        other = set(_level_keys(image))
        if other & first and other - first:
            return (
                f"image {number} of {path} shares levels with the first image but has levels of "
                f"its own, which would not be kept in step; {_SAVE_ELSEWHERE}"
            )
    return ""


def _scale(transformed: Any, axes: Axes) -> tuple[float, float, float]:
    """Return the z, y, x scale of a dataset or multiscale (1 where it has none)."""
    out = [1.0, 1.0, 1.0]
    for transform in transformed.coordinateTransformations or ():
        if transform.type == "scale":
            out = [out[i] * transform.scale[a] for i, a in enumerate(axes.zyx)]
    return (out[0], out[1], out[2])


def _voxel_size(image: Any, axes: Axes) -> tuple[VoxelSize | None, tuple[str, ...]]:
    """Return the voxel size of the full resolution, and what there is to say about it."""
    common = _scale(image, axes)
    sizes = [a * b for a, b in zip(_scale(image.datasets[0], axes), common, strict=True)]
    units = [image.axes[a].unit for a in axes.zyx]
    voxel_size = nanometres(sizes, units)
    if voxel_size is None and (sizes != [1.0, 1.0, 1.0] or any(units)):
        shown = ", ".join(f"{s:g}" for s in sizes)
        told = ", ".join(u or "none" for u in units)
        return None, (
            f"The voxel size is unknown: the metadata give {shown} (z, y, x) with the units "
            f"{told}; give the voxel size in nm if you know it.",
        )
    return voxel_size, ()


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
    why = why or _why_not_writable(path, local, [""])
    source: Any = node
    if not why:
        source = open_node(path, mode="r+")
    voxel_size = voxel_size_from_attributes(attributes)
    return ReaderResult(
        kind="zarr",
        name=_name(path),
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
        kept in step with it: it is a reduced level, or not of the group's first image.
    """
    for parent in path.parents if isinstance(path, Path) else ():
        found = _ngff_attributes(dict(open_node(parent).attrs)) if is_zarr_node(parent) else None
        key = str(path)[len(str(parent)) :].strip(os.sep).replace(os.sep, "/")
        for number, image in enumerate(found[1] if found else ()):
            keys = _level_keys(image)
            if key not in keys:
                continue
            if number:
                return parent, (
                    f"it belongs to image {number + 1} of {parent}, and only the first image of "
                    f"a group can be written in place; {_SAVE_ELSEWHERE}"
                )
            if keys.index(key):
                return parent, f"it is a reduced level of the pyramid {parent}; open that instead"
            return parent, ""
    return None, ""


def _level_keys(image: Any) -> list[str]:
    """Return the paths of the levels of one entry of ``multiscales``, which may be damaged."""
    datasets = image.get("datasets", []) if isinstance(image, Mapping) else []
    datasets = datasets if isinstance(datasets, list) else []
    return [str(d.get("path", "")).strip("/") for d in datasets if isinstance(d, Mapping)]


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
        elif _ngff_attributes(dict(child.attrs)) is not None:
            (labels if _is_label(dict(child.attrs)) else images).append(key)
    # A repair adds the label image of the marks: the stack must stay the only one.
    levels = tuple(f"{key}/" for key in labels)
    stacks = [k for k, array in arrays if array.ndim >= 3 and not k.startswith(levels)]
    keys = images or stacks or labels
    if len(keys) == 1:
        return open_zarr(_child(path, keys[0]), channel=channel, time=time)
    if not keys:
        raise InputError(
            f"{path} is a zarr group without an image or a 3-D array; give the path of the stack."
        )
    raise ChoiceNeeded(
        f"{path} holds {len(keys)} stacks: give the path of one, for example "
        f"{quoted(_child(path, keys[0]))} (there are {', '.join(keys[:8])}"
        f"{', …' if keys[8:] else ''}).",
        "dataset",
        keys,
    )


def _is_label(attributes: Mapping[str, Any]) -> bool:
    """Return whether the attributes of a group are those of an NGFF label image."""
    ome = attributes.get("ome")
    return "image-label" in (ome if isinstance(ome, Mapping) else attributes)


def _child(path: Path | str, key: str) -> Path | str:
    """Return the address of ``key`` within ``path``, of the same kind as ``path``."""
    return path / key if isinstance(path, Path) else f"{path.rstrip('/')}/{key}"


def _name(path: Path | str) -> str:
    """Return the name of a store: its last part without the suffix."""
    last = str(path).rstrip("/").rpartition("/")[2] if isinstance(path, str) else path.name
    for suffix in (".zip", ".ozx", ".ome.zarr", ".zarr"):
        last = last.removesuffix(suffix)
    return last


def _why_not_writable(path: Path | str, local: Path | None, keys: Sequence[str]) -> str:
    """Return why the arrays at ``keys`` may not be written in place; empty when they may."""
    if local is None and isinstance(path, Path):
        return f"it is in a ZIP archive; unpack it, or {_SAVE_ELSEWHERE}"
    if local is None:
        return f"it is a remote store; {_SAVE_ELSEWHERE}"
    for directory in [local, *(local / key for key in keys if key)]:
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"you may not write to {directory}; {_SAVE_ELSEWHERE}"
    return ""
