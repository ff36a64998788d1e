"""Images of OME-Zarr groups by their metadata: version, axes, levels, voxel size.

The metadata are validated by yaozarrs; no array is opened here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..types import VoxelSize
from .axes import Axes, nanometres
from .ngff_06 import as_05, is_06
from .zarr_node import SAVE_ELSEWHERE


def ngff_attributes(attributes: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
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


def validated(path: Path | str, version: str, multiscales: list[Any]) -> Any:
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


def axis_name(axis: Any) -> str:
    """Return ``c`` and ``t`` for the axes that are of these types, whatever they are called."""
    return {"channel": "c", "time": "t"}.get(getattr(axis, "type", None) or "", axis.name)


def shared_levels(path: Path | str, multiscales: list[Any]) -> str:
    """Return why the first image may not be written: another one has its pixels reduced, too."""
    first = set(level_keys(multiscales[0]))
    for number, image in enumerate(multiscales[1:], start=2):
        other = set(level_keys(image))
        if other & first and other - first:
            return (
                f"image {number} of {path} shares levels with the first image but has levels of "
                f"its own, which would not be updated; {SAVE_ELSEWHERE}"
            )
    return ""


def level_keys(image: Any) -> list[str]:
    """Return the paths of the levels of one entry of ``multiscales``, which may be damaged."""
    datasets = image.get("datasets", []) if isinstance(image, Mapping) else []
    datasets = datasets if isinstance(datasets, list) else []
    return [str(d.get("path", "")).strip("/") for d in datasets if isinstance(d, Mapping)]


def scale_of(transformed: Any, axes: Axes) -> tuple[float, float, float]:
    """Return the z, y, x scale of a dataset or multiscale (1 where it has none)."""
    out = [1.0, 1.0, 1.0]
    for transform in transformed.coordinateTransformations or ():
        if transform.type == "scale":
            out = [out[i] * transform.scale[a] for i, a in enumerate(axes.zyx)]
    return (out[0], out[1], out[2])


def ngff_voxel_size(image: Any, axes: Axes) -> tuple[VoxelSize | None, tuple[str, ...]]:
    """Return the voxel size of the full resolution, and what there is to say about it."""
    common = scale_of(image, axes)
    sizes = [a * b for a, b in zip(scale_of(image.datasets[0], axes), common, strict=True)]
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


def is_label(attributes: Mapping[str, Any]) -> bool:
    """Return whether the attributes of a group are those of an NGFF label image."""
    ome = attributes.get("ome")
    return "image-label" in (ome if isinstance(ome, Mapping) else attributes)
