"""What a TIFF file says of its image beyond the pixels: ImageJ and OME-XML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..types import VoxelSize
from .axes import Axes
from .metadata import Metadata, metadata_in_nm, named_axes


def tiff_metadata(
    file: Any, series: Any, axes: Axes, names: list[str], voxel_size: VoxelSize | None
) -> Metadata:
    """Return the name, the display and the texts of a TIFF series.

    Parameters
    ----------
    file, series
        The ``tifffile.TiffFile``, and the stack in it.
    axes, names
        Where z, y and x are, and the names of all axes.
    voxel_size
        What was understood of the tags.
    """
    channel = next((i for p, i in axes.fixed if names[p] == "c"), 0)
    others = named_axes(axes, names)
    texts: dict[str, Any] = {}
    name = ""
    shown: dict[str, Any] = {}
    try:
        if file.is_ome and file.ome_metadata:
            number = next(i for i, found in enumerate(file.series) if found is series)
            name, shown = _of_ome(file.ome_metadata, number, channel)
        elif file.is_imagej:
            name, shown, texts = _of_imagej(file.imagej_metadata or {}, channel)
    except Exception:  # whatever the damaged texts lead to; the pixels are there all the same
        return metadata_in_nm(voxel_size, other_axes=others)
    return metadata_in_nm(voxel_size, name=name, attributes=texts, display=shown, other_axes=others)


def _of_ome(xml: str, number: int, channel: int) -> tuple[str, dict[str, Any]]:
    """Return the name of the image, and its channel as ``omero`` has it."""
    from tifffile import xml2dict

    images = xml2dict(xml).get("OME", {}).get("Image", {})
    listed = images if isinstance(images, list) else [images]
    image = listed[number] if number < len(listed) else listed[0]
    if not isinstance(image, Mapping):
        return "", {}
    pixels = image.get("Pixels", {})
    channels = pixels.get("Channel", {}) if isinstance(pixels, Mapping) else {}
    channels = channels if isinstance(channels, list) else [channels]
    found = channels[channel] if channel < len(channels) else {}
    shown: dict[str, Any] = {}
    if isinstance(found, Mapping):
        if "Name" in found:
            shown["label"] = str(found["Name"])
        if isinstance(found.get("Color"), int):  # RGBA, signed
            shown["color"] = f"{found['Color'] & 0xFFFFFFFF:08X}"[:6]
    return str(image.get("Name", "")), shown


def _of_imagej(told: Mapping[str, Any], channel: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the title, the display range as ``omero`` has it, and the texts."""
    ends: Any = (told.get("min"), told.get("max"))
    ranges = told.get("Ranges")
    if isinstance(ranges, tuple) and len(ranges) >= 2 * channel + 2:
        ends = ranges[2 * channel : 2 * channel + 2]
    shown = {}
    if all(isinstance(e, (int, float)) and math.isfinite(e) for e in ends) and ends[0] < ends[1]:
        shown = {"window": {"start": float(ends[0]), "end": float(ends[1])}}
    texts = {key: told[key] for key in ("Info", "Labels", "Properties") if key in told}
    title = told.get("Title", "")
    return title if isinstance(title, str) else "", shown, {"imagej": texts} if texts else {}
