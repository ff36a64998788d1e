"""Axes of length one of a layer: a stack has z, y and x, whatever stands between them. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.io.axes import Axes
from ..core.io.levels import Level

if TYPE_CHECKING:
    from napari.layers import Image


def zyx_axes(shape: Sequence[int]) -> tuple[int, int, int] | None:
    """Return which axes of a shape are z, y and x, where all others are of length one.

    None where there are more than three longer ones, or no axis that could be z.

    Examples
    --------
    >>> zyx_axes((9, 1, 512, 512)), zyx_axes((1, 1, 512, 512)), zyx_axes((9, 512, 512, 1))
    ((0, 2, 3), (1, 2, 3), (0, 1, 2))
    """
    long = [axis for axis, length in enumerate(shape) if length != 1]
    if len(shape) < 3 or len(long) > 3:
        return None
    if len(long) == 3:
        return (long[0], long[1], long[2])
    if len(long) == 2:  # a single section
        y, x = long
        return (y - 1, y, x) if y else None
    last = len(shape)
    return (last - 3, last - 2, last - 1)


def zyx_view(array: Any) -> Any:
    """Return an array as z, y, x; nothing is read."""
    axes = zyx_axes(array.shape)
    if axes is None or axes == tuple(range(array.ndim)):
        return array
    if type(array).__module__.partition(".")[0] in ("numpy", "dask"):
        return array[tuple(slice(None) if axis in axes else 0 for axis in range(array.ndim))]
    others = tuple((axis, 0) for axis in range(array.ndim) if axis not in axes)
    return Level(array, Axes(axes, others)).array


def drop_inner_axes(layer: Image) -> bool:
    """Make a layer with axes of length one among or behind z, y and x one of three axes, in place.

    napari lays layers over each other by their last axes, so a mask of three would not lie over
    it. Axes of length one before the others do not matter and stay.

    Returns
    -------
    bool
        Whether there were such axes.
    """
    shape = tuple(layer.data.shape)
    axes = zyx_axes(shape)
    if axes is None or axes == tuple(range(len(shape)))[-3:]:
        return False
    kept = list(axes)
    labels = tuple(layer.axis_labels[axis] for axis in kept)
    placed: dict[str, Any] = {
        "scale": np.asarray(layer.scale)[kept],
        "translate": np.asarray(layer.translate)[kept],
        "affine": layer.affine.set_slice(kept),
        "units": tuple(layer.units[axis] for axis in kept),
    }
    unnamed = all(label.lstrip("-").isdigit() for label in labels)  # napari numbers them then
    placed["axis_labels"] = ("z", "y", "x") if unnamed else labels
    visible, corners = layer.visible, layer.corner_pixels[:, kept]
    layer.visible = False  # of a pyramid, nothing is read before it is known again what is seen
    layer.data = (
        [zyx_view(level) for level in layer.data] if layer.multiscale else zyx_view(layer.data)
    )
    for name, value in placed.items():
        setattr(layer, name, value)
    layer.corner_pixels = corners
    layer.visible = visible
    return True
