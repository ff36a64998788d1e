"""The OME-Zarr 0.5 attributes of images that we write, with what their stack carries along."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import NANOMETRES

if TYPE_CHECKING:
    from .stack import Stack

_WHITE = "FFFFFF"


@dataclass(frozen=True, slots=True)
class NgffAttributes:
    """Attributes of a group, and the names of the axes of its arrays.

    Parameters
    ----------
    attributes
        Of the group.
    axes
        Names of the axes, those of time and channel first.
    notes
        What is not as the stack has it.
    """

    attributes: Mapping[str, Any]
    axes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def image_attributes(stack: Stack, name: str, levels: int) -> NgffAttributes:
    """Describe a copy of a stack, with all that its file says of it.

    Parameters
    ----------
    stack
        The stack.
    name
        Of the image, where the stack has none.
    levels
        Of the pyramid, each half as large in y and x as the one before.
    """
    carried = stack.metadata
    others = [
        {"name": axis.name, "type": axis.kind, **_unit(axis.unit)} for axis in carried.other_axes
    ]
    multiscale = {
        **carried.image_attributes,
        **_multiscale(stack, carried.name or name, levels, others),
        "type": "mean",
        "metadata": {"description": "mean of 2 x 2 pixels in y and x, rounded half to even"},
    }
    ome: dict[str, Any] = {**carried.ome_attributes, "version": "0.5", "multiscales": [multiscale]}
    notes: tuple[str, ...] = ()
    omero = _complete(carried.omero, stack.dtype)
    if omero:
        ome["omero"] = omero
        if not _is_valid(ome):
            del ome["omero"]
            notes = ("The display settings (omero) of the stack are damaged and are left out.",)
    axes = tuple(axis["name"] for axis in multiscale["axes"])
    return NgffAttributes({**carried.attributes, "ome": _checked(ome)}, axes, notes)


def mask_attributes(stack: Stack, name: str, levels: int) -> NgffAttributes:
    """Describe a mask of a stack: it lies where the stack lies.

    Parameters
    ----------
    stack, levels
        As for :func:`image_attributes`.
    name
        Of the mask.
    """
    multiscale = {
        **_multiscale(stack, name, levels, []),
        "type": "max",
        "metadata": {"description": "largest label of 2 x 2 pixels in y and x"},
    }
    ome = {"version": "0.5", "multiscales": [multiscale]}
    return NgffAttributes({"ome": _checked(ome)}, ("z", "y", "x"))


def _multiscale(
    stack: Stack, name: str, levels: int, others: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the entry of ``multiscales``: axes, and where each level lies."""
    carried = stack.metadata
    spacing, units = carried.spacing, carried.units
    if spacing is None:
        spacing = stack.voxel_size or (1.0, 1.0, 1.0)
        units = (None,) * 3 if stack.voxel_size is None else ("nanometer",) * 3
    z, y, x = spacing
    first = carried.translation
    places = [(axis.scale, axis.translation) for axis in carried.other_axes] if others else []
    datasets = []
    for level in range(levels):
        size = 2**level
        # The centre of a reduced pixel is the centre of its block.
        moved = (first[0], first[1] + y * (size - 1) / 2, first[2] + x * (size - 1) / 2)
        scale = [*(s for s, _ in places), z, y * size, x * size]
        translation = [*(t for _, t in places), *moved]
        transforms = [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": translation},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    spatial = [
        {"name": axis, "type": "space", **_unit(unit)}
        for axis, unit in zip("zyx", units, strict=True)
    ]
    return {"name": name, "axes": [*others, *spatial], "datasets": datasets}


#: What people write, and NGFF calls otherwise.
_NGFF_UNITS = {
    0.1: "angstrom",
    1e-3: "picometer",
    1.0: "nanometer",
    1e3: "micrometer",
    1e6: "millimeter",
    1e7: "centimeter",
    1e9: "meter",
    2.54e7: "inch",
}


def _unit(unit: str | None) -> dict[str, str]:
    """Return the entry of a unit, by the name that NGFF has for it."""
    if not unit:
        return {}
    size = NANOMETRES.get(unit, NANOMETRES.get(unit.lower()))
    return {"unit": unit if size is None else _NGFF_UNITS.get(size, unit)}


def _complete(omero: Mapping[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return an ``omero`` entry with what NGFF asks for and some writers leave out."""
    out = dict(omero)
    channels = out.get("channels")
    if not isinstance(channels, list):
        return {}
    out["channels"] = [_complete_channel(c, dtype) for c in channels]
    return out


def _complete_channel(channel: Any, dtype: np.dtype[Any]) -> Any:
    if not isinstance(channel, Mapping):
        return channel
    found = channel.get("window")
    window = dict(found) if isinstance(found, Mapping) else {}
    low, high = (0.0, 1.0) if dtype.kind == "f" else _limits(dtype)
    window.setdefault("min", window.get("start", low))
    window.setdefault("max", window.get("end", high))
    window.setdefault("start", window["min"])
    window.setdefault("end", window["max"])
    return {**channel, "window": window, "color": channel.get("color", _WHITE)}


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def _is_valid(ome: dict[str, Any]) -> bool:
    try:
        _checked(ome)
    except ValueError:
        return False
    return True


def _checked(ome: dict[str, Any]) -> dict[str, Any]:
    """Return 0.5 metadata after a check by their model; raises ValueError if they are not."""
    from yaozarrs import v05

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units of others that are no NGFF units
        v05.Image.model_validate(ome)
    return ome
