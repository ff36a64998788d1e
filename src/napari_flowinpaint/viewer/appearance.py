"""Display settings and metadata of a layer, converted to and from those of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.io.metadata import Display, Metadata
from ..core.types import VoxelSize

if TYPE_CHECKING:
    from napari.layers import Image


def colormap_of(display: Display) -> Any:
    """Return the colormap that shows a channel in its colour, and inverted where it is."""
    from napari.utils.colormaps import Colormap

    if display.colour in (None, "#ffffff"):
        return "gray_r" if display.inverted else "gray"
    colour = [int(display.colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    ends = [[0.0, 0.0, 0.0, 1.0], [*colour, 1.0]]
    name = f"{display.colour} inverted" if display.inverted else display.colour
    return Colormap(ends[::-1] if display.inverted else ends, name=name)


def metadata_of(layer: Image, size: VoxelSize | None) -> Metadata:
    """Return the metadata of a layer: position, units, display, name.

    Parameters
    ----------
    layer
        The layer.
    size
        Voxel size z, y, x in nm; None if the layer's units are not lengths.
    """
    low, high = (float(value) for value in layer.contrast_limits)
    least, most = (float(value) for value in layer.contrast_limits_range)
    channel: dict[str, Any] = {
        "label": layer.name,
        "window": {"start": low, "end": high, "min": least, "max": most},
    }
    colour = np.asarray(layer.colormap.colors, dtype=float)
    inverted = bool(colour[0][:3].sum() > colour[-1][:3].sum())
    shown = colour[0 if inverted else -1]
    channel["color"] = "".join(f"{round(255 * float(part)):02X}" for part in shown[:3])
    channel["inverted"] = inverted
    scale = np.asarray(layer.scale[-3:], dtype=float)
    shift = np.asarray(layer.translate[-3:], dtype=float)
    units: tuple[str | None, str | None, str | None] = (None, None, None)
    if size is not None:
        z, y, x = shift / scale * np.asarray(size)
        units = ("nanometer", "nanometer", "nanometer")
    else:
        size = (float(scale[0]), float(scale[1]), float(scale[2]))
        z, y, x = shift
    return Metadata(
        name=layer.name,
        spacing=size,
        units=units,
        translation=(float(z), float(y), float(x)),
        omero={"channels": [channel]},
    )
