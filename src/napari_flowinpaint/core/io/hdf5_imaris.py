"""HDF5 as Imaris lays it out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import VoxelSize
from .axes import choose_index, nanometres
from .hdf5_parts import Find, PartOfDataset, StackLayout
from .levels import scale_by_shape
from .metadata import axes_of, metadata_in_nm

IMARIS_DATA = re.compile(r"/?(DataSet/ResolutionLevel \d+/TimePoint \d+/Channel \d+)/Data")


def imaris_layout(path: Path, find: Find, channel: int | None, time: int | None) -> StackLayout:
    """Return the pyramid ``DataSet/ResolutionLevel r/TimePoint t/Channel c/Data``."""
    levels = _numbered(find("DataSet"), "ResolutionLevel")
    times = _numbered(find("DataSet/ResolutionLevel 0"), "TimePoint")
    moment = choose_index("t", "time", time, max(times, 1), str(path))
    channels = _numbered(find(f"DataSet/ResolutionLevel 0/TimePoint {moment}"), "Channel")
    chosen = choose_index("c", "channel", channel, max(channels, 1), str(path))
    sources = []
    for level in range(levels):
        where = f"DataSet/ResolutionLevel {level}/TimePoint {moment}/Channel {chosen}"
        dataset = find(f"{where}/Data")
        if dataset is None:
            break
        sources.append(without_padding(dataset, find(where)))
    if not sources:
        raise InputError(f"{path} is an Imaris file without pixels; export it again.")
    scales = tuple(scale_by_shape(sources[0].shape, source.shape) for source in sources)
    image = find("DataSetInfo/Image")
    voxel_size, place = _space(image, sources[0].shape)
    about = {"Description": _text(image, "Description"), "Recorded": _text(image, "RecordingDate")}
    told = {key: text for key, text in about.items() if text}
    metadata = metadata_in_nm(
        voxel_size,
        place,
        name=_text(image, "Name") or "",
        attributes={"imaris": told} if told else {},
        display=_display(find(f"DataSetInfo/Channel {chosen}")),
        other_axes=axes_of(times, channels),
    )
    return StackLayout(tuple(sources), scales, voxel_size, metadata)


def _numbered(group: Any, name: str) -> int:
    """Return how many members ``name 0``, ``name 1``, … a group has."""
    number = 0
    while group is not None and f"{name} {number}" in group:
        number += 1
    return number


def without_padding(dataset: Any, group: Any) -> Any:
    """Return what of a dataset is image: Imaris fills it up to whole chunks."""
    size = [_number(group, f"ImageSize{axis}") for axis in "ZYX"]
    if dataset.ndim != 3 or any(n is None for n in size):
        return dataset
    shape = [int(n) for n in size if n is not None]
    if any(n < 1 or n > stored for n, stored in zip(shape, dataset.shape, strict=True)):
        raise InputError(
            f"{dataset.file.filename} says that its image has the shape {tuple(shape)}, but "
            f"stores {tuple(dataset.shape)}; its metadata are damaged: export it again."
        )
    return PartOfDataset(dataset, shape, dataset.dtype)


def _space(image: Any, shape: Sequence[int]) -> tuple[VoxelSize | None, list[float]]:
    """Return the voxel size, and where the image begins, in nm, from its extent."""
    sizes, first = [], []
    for axis, length in zip("210", shape, strict=True):
        low, high = _number(image, f"ExtMin{axis}"), _number(image, f"ExtMax{axis}")
        if low is None or high is None:
            return None, []
        sizes.append(float(f"{(high - low) / length:.9g}"))
        first.append(low)
    voxel_size = nanometres(sizes, [_text(image, "Unit") or ""] * 3)
    if voxel_size is None:
        return None, []
    return voxel_size, [
        low / size * nm for low, size, nm in zip(first, sizes, voxel_size, strict=True)
    ]


def _display(channel: Any) -> dict[str, Any]:
    """Return the name, the display range and the colour of a channel as ``omero`` has them."""
    shown: dict[str, Any] = {}
    name = _text(channel, "Name")
    if name:
        shown["label"] = name
    low, high = _numbers(channel, "ColorRange", 2)
    if low is not None and high is not None and low < high:
        shown["window"] = {"start": low, "end": high}
    parts = [n for n in _numbers(channel, "Color", 3) if n is not None and 0 <= n <= 1]
    if len(parts) == 3 and (_text(channel, "ColorMode") or "BaseColor") == "BaseColor":
        shown["color"] = "".join(f"{round(255 * n):02X}" for n in parts)
    return shown


def _text(group: Any, name: str) -> str | None:
    """Return an attribute that is text, which Imaris writes letter by letter."""
    value = None if group is None else group.attrs.get(name)
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    if isinstance(value, str):
        return value.strip("\0 ")
    letters = np.ravel(value)[:100]
    return "".join(n.decode("latin-1") if isinstance(n, bytes) else str(n) for n in letters).strip(
        "\0 "
    )


def _number(group: Any, name: str) -> float | None:
    """Return an attribute that is a number, written as text; None where it is none."""
    return _numbers(group, name, 1)[0]


def _numbers(group: Any, name: str, count: int) -> list[float | None]:
    """Return the numbers of an attribute, written as text; None for each where it is not that."""
    none: list[float | None] = [None] * count
    try:
        numbers = [float(word) for word in (_text(group, name) or "").split()]
    except ValueError:
        return none
    return [*numbers] if len(numbers) == count and all(map(math.isfinite, numbers)) else none
