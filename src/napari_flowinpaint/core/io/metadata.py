"""What a file says of its image beyond the pixels, and is carried along into copies and layers.

Where the image lies, its units, its further axes, how it is displayed, its name, and what its
makers wrote beside that. A file may have been made by anybody: what is carried is bounded
(:data:`MOST_BYTES`, :data:`DEEPEST`), and numbers that are not finite are passed over.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..kinds import KINDS
from ..types import VoxelSize
from .axes import Axes

#: Bytes of JSON of what is carried along of a kind; real files have some thousand.
MOST_BYTES = 1 << 20
#: How deeply it may be nested.
DEEPEST = 32
#: Characters of a name or a unit.
_LONGEST = 1000

#: What a copy writes for itself, or what does not hold for it: never carried along.
_OF_GROUPS = {
    *("multiscales", "omero", "ome", "labels", "image-label", "plate", "well", "version"),
    *("bioformats2raw.layout", "series", "_ARRAY_DIMENSIONS"),
}
_OF_MULTISCALES = {
    *("version", "name", "axes", "datasets", "coordinateTransformations", "coordinateSystems"),
    *("type", "metadata"),  # how its pyramid was made; ours is made in another way
}
#: Attributes of arrays that give the voxel size and the place.
_OF_PLACE = ("resolution", "voxel_size", "element_size_um", "units", "unit", "offset")
_OURS = "flowinpaint"
_COLOUR = re.compile(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?")

_Numbers = tuple[float, float, float]
_Units = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class OtherAxis:
    """An axis that is not spatial, on which one entry was chosen.

    Parameters
    ----------
    name, kind, unit
        As in NGFF: ``c`` and ``channel``, ``t`` and ``time``.
    scale, translation
        Of the chosen entry: where it lies on the axis, and how long it is.
    """

    name: str
    kind: str
    unit: str | None = None
    scale: float = 1.0
    translation: float = 0.0


@dataclass(frozen=True, slots=True)
class Display:
    """How the chosen channel is to be displayed, as far as the file says.

    Parameters
    ----------
    window
        Grey values shown as black and as white.
    colour
        ``#rrggbb`` of the brightest grey value.
    inverted
        Whether large grey values are dark.
    label
        Name of the channel.
    """

    window: tuple[float, float] | None = None
    colour: str | None = None
    inverted: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is carried along with a stack.

    Parameters
    ----------
    name
        Of the image.
    spacing, units
        Size of a voxel z, y, x as the file gives it, and in which units; None where it does not.
    translation
        Centre of the first voxel, z, y, x, in the same units.
    other_axes
        Time and channel, in this order, where the file has them.
    omero
        The NGFF entry of this name, of the chosen channel; empty where there is none.
    attributes, ome_attributes, image_attributes
        What others wrote beside ours: into the group, into its ``ome``, and into the entry of
        ``multiscales``.
    label_kinds
        Of a label image: the kinds of damage that its values stand for, where it says so.
    """

    name: str = ""
    spacing: _Numbers | None = None
    units: _Units = (None, None, None)
    translation: _Numbers = (0.0, 0.0, 0.0)
    other_axes: tuple[OtherAxis, ...] = ()
    omero: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    ome_attributes: Mapping[str, Any] = field(default_factory=dict)
    image_attributes: Mapping[str, Any] = field(default_factory=dict)
    label_kinds: Mapping[int, str] = field(default_factory=dict)

    def with_voxel_size(self, voxel_size: VoxelSize) -> Metadata:
        """Return this with another voxel size, in nm; the first voxel stays as many voxels away."""
        old = self.spacing or (1.0, 1.0, 1.0)
        z, y, x = (t / s * v for t, s, v in zip(self.translation, old, voxel_size, strict=True))
        nm: _Units = ("nanometer",) * 3
        return replace(self, spacing=voxel_size, units=nm, translation=(z, y, x))

    def voxel_translation(self) -> _Numbers:
        """Return where the first voxel lies, z, y, x, in voxels."""
        old = self.spacing or (1.0, 1.0, 1.0)
        z, y, x = (t / s for t, s in zip(self.translation, old, strict=True))
        return (z, y, x)

    @property
    def display(self) -> Display:
        """How the chosen channel is to be displayed."""
        channels = self.omero.get("channels")
        channel = channels[0] if isinstance(channels, list) and channels else None
        if not isinstance(channel, Mapping):
            return Display()
        colour = _COLOUR.fullmatch(str(channel.get("color", "")))
        label = channel.get("label")
        return Display(
            window=_window(channel.get("window")),
            colour=f"#{colour[1].lower()}" if colour else None,
            inverted=channel.get("inverted") is True,
            label=label[:_LONGEST] if isinstance(label, str) else "",
        )


def _window(found: Any) -> tuple[float, float] | None:
    """Return the first and last grey value of a display window; None where it is none."""
    if not isinstance(found, Mapping):
        return None
    ends = (found.get("start"), found.get("end"))
    if any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in ends):
        return None
    try:
        start, end = (float(e) for e in ends)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return (start, end) if math.isfinite(start) and math.isfinite(end) and start < end else None


# ---- NGFF


def ngff_metadata(
    attributes: Mapping[str, Any], image: Any, axes: Axes, channels: int | None
) -> tuple[Metadata, tuple[str, ...]]:
    """Return what an OME-Zarr group says of its first image, and what there is to say about it.

    Parameters
    ----------
    attributes
        Of the group.
    image
        The validated multiscale: its ``axes``, ``datasets`` and ``coordinateTransformations``.
    axes
        Where z, y and x are, and what was chosen on the others.
    channels
        How many channels there are; None without such an axis.
    """
    place = [_place(image, axis) for axis in range(len(image.axes))]
    spatial = [place[axis] for axis in axes.zyx]
    others = [_other_axis(image.axes[p], place[p], index) for p, index in axes.fixed]
    others = [axis for axis in others if axis.kind in ("time", "channel")]
    chosen = dict(axes.fixed)
    channel = next((chosen[p] for p, _ in axes.fixed if _kind(image.axes[p]) == "channel"), None)
    ome = attributes.get("ome")
    ome = ome if isinstance(ome, Mapping) else {}
    multiscales = ome.get("multiscales") or attributes.get("multiscales")
    found = ome.get("omero", attributes.get("omero"))
    carried = {
        "omero": _of_channel(found, channel, channels),
        "attributes": _foreign(attributes, _OF_GROUPS),
        "ome_attributes": _foreign(ome, _OF_GROUPS),
        "image_attributes": _foreign(multiscales[0], _OF_MULTISCALES) if multiscales else {},
    }
    kept, messages = _bounded(carried)
    units = [_text(getattr(image.axes[axis], "unit", None)) or None for axis in axes.zyx]
    metadata = Metadata(
        name=_text(getattr(image, "name", None)),
        spacing=(spatial[0][0], spatial[1][0], spatial[2][0]),
        units=(units[0], units[1], units[2]),
        translation=(spatial[0][1], spatial[1][1], spatial[2][1]),
        other_axes=tuple(sorted(others, key=lambda axis: axis.kind != "time")),
        label_kinds=_label_kinds(ome.get("image-label", attributes.get("image-label"))),
        **kept,
    )
    return metadata, messages


def _label_kinds(found: Any) -> dict[int, str]:
    """Return the kinds of damage that the ``properties`` of a label image name, by value."""
    properties = found.get("properties") if isinstance(found, Mapping) else None
    kinds = {}
    for entry in properties if isinstance(properties, list) else ():
        if isinstance(entry, Mapping) and entry.get("kind") in tuple(KINDS):
            value = entry.get("label-value")
            if type(value) is int:
                kinds[value] = str(entry["kind"])
    return kinds


def _kind(axis: Any) -> str:
    """Return the type of an NGFF axis, from its name where it has none."""
    return getattr(axis, "type", None) or {"c": "channel", "t": "time"}.get(axis.name, "")


def _other_axis(axis: Any, place: tuple[float, float], index: int) -> OtherAxis:
    scale, translation = place
    return OtherAxis(
        _text(axis.name),
        _kind(axis),
        _text(getattr(axis, "unit", None)) or None,
        scale,
        translation + index * scale,
    )


def _place(image: Any, axis: int) -> tuple[float, float]:
    """Return scale and translation of the full resolution on an axis."""
    scale, shift = 1.0, 0.0
    for transformed in (image.datasets[0], image):
        for transform in transformed.coordinateTransformations or ():
            if transform.type == "scale":
                factor = float(transform.scale[axis])
                scale, shift = scale * factor, shift * factor
            elif transform.type == "translation":
                shift += float(transform.translation[axis])
    return scale, shift if math.isfinite(shift) else 0.0


def _of_channel(omero: Any, channel: int | None, channels: int | None) -> dict[str, Any]:
    """Return the ``omero`` entry with the chosen channel only."""
    if not isinstance(omero, Mapping):
        return {}
    out = {key: value for key, value in omero.items() if key != "version"}
    listed = out.get("channels")
    if isinstance(listed, list) and channel is not None and len(listed) == channels:
        out["channels"] = [listed[channel]]
    return out


# ---- other files


def array_metadata(
    attributes: Mapping[str, Any],
    voxel_size: VoxelSize | None,
    axes: Axes,
    names: Sequence[str] | None,
) -> Metadata:
    """Return what the attributes of a zarr array or an HDF5 dataset say of it.

    Parameters
    ----------
    attributes
        As they are; values of NumPy become plain JSON.
    voxel_size
        What was understood of them. ``offset`` (funlib) then is the place of the first voxel, z,
        y, x, in nm.
    axes, names
        Where z, y and x are, and the names of all axes; None where they have none.
    """
    found = {str(key): plain(value) for key, value in attributes.items()}
    translation = None
    if voxel_size is not None:
        translation = _three(found.get("offset"))
        found = {key: value for key, value in found.items() if key not in _OF_PLACE}
    return metadata_in_nm(
        voxel_size, translation, attributes=found, other_axes=named_axes(axes, names)
    )


def metadata_in_nm(
    voxel_size: VoxelSize | None,
    translation: Sequence[float] | None = None,
    *,
    name: str = "",
    attributes: Mapping[str, Any] | None = None,
    display: Mapping[str, Any] | None = None,
    other_axes: tuple[OtherAxis, ...] = (),
) -> Metadata:
    """Return what a file that is not OME-Zarr says of its image.

    Parameters
    ----------
    voxel_size
        z, y, x in nm, or None.
    translation
        Of the first voxel, z, y, x in nm. Without a voxel size, or where it is not three finite
        numbers, the first voxel lies at the origin.
    name, other_axes
        As in :class:`Metadata`.
    attributes
        What others wrote into the file; values of NumPy become plain JSON.
    display
        The chosen channel as ``omero`` has it.
    """
    kept, _ = _bounded(
        {
            "attributes": _foreign(
                {k: plain(v) for k, v in (attributes or {}).items()}, _OF_GROUPS
            ),
            "omero": {"channels": [dict(display)]} if display else {},
        }
    )
    place = None if voxel_size is None else _three(translation)
    nm: _Units = (None,) * 3 if voxel_size is None else ("nanometer",) * 3
    return Metadata(
        name=_text(name),
        spacing=voxel_size,
        units=nm,
        translation=place or (0.0, 0.0, 0.0),
        other_axes=other_axes,
        **kept,
    )


def named_axes(axes: Axes, names: Sequence[str] | None) -> tuple[OtherAxis, ...]:
    """Return time and channel, in this order, of axes that have names."""
    found = {names[position].lower() for position, _ in axes.fixed} if names else set()
    return tuple(OtherAxis(n, k) for n, k in (("t", "time"), ("c", "channel")) if n in found)


def axes_of(times: int = 1, channels: int = 1) -> tuple[OtherAxis, ...]:
    """Return time and channel, as far as there are several to choose from."""
    return (
        *((OtherAxis("t", "time"),) if times > 1 else ()),
        *((OtherAxis("c", "channel"),) if channels > 1 else ()),
    )


def plain(value: Any) -> Any:
    """Return a value as JSON knows it; what JSON does not know becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist()) if value.dtype.kind in "biufSUO" else str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _three(value: Any) -> _Numbers | None:
    """Return three finite numbers, or None."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        return None
    try:
        z, y, x = (float(v) for v in value)
    except (TypeError, ValueError):
        return None
    return (z, y, x) if all(map(math.isfinite, (z, y, x))) else None


# ---- bounds


def _foreign(found: Any, ours: set[str]) -> dict[str, Any]:
    """Return what others wrote into a mapping."""
    if not isinstance(found, Mapping):
        return {}
    return {
        str(key): value
        for key, value in found.items()
        if key not in ours and not str(key).startswith(_OURS)
    }


def _bounded(carried: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Drop what is too much to be carried along, and say so."""
    kept = {name: _strict(found) for name, found in carried.items() if _fits(found)}
    if len(kept) == len(carried):
        return kept, ()
    return kept, (
        "Some attributes of the file are too long or too deeply nested to be copied (more than "
        f"{MOST_BYTES:,} bytes or {DEEPEST} levels); they stay in the file.",
    )


def _fits(found: dict[str, Any]) -> bool:
    if not _shallow(found, DEEPEST):
        return False
    try:
        return len(json.dumps(found)) <= MOST_BYTES
    except (TypeError, ValueError, RecursionError):
        return False


def _strict(value: Any) -> Any:
    """Return a value as strict JSON has it: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shallow(value: Any, levels: int) -> bool:
    """Return whether a value is nested no deeper than ``levels``."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return levels > 0 and all(_shallow(item, levels - 1) for item in value)


def _text(value: Any) -> str:
    """Return a name or a unit; empty where it is none."""
    return str(value)[:_LONGEST] if value is not None else ""
