"""Where things are: sections and pixels of a layer in the world of a viewer. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.types import Box

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def section_of(viewer: ViewerModel, layer: Layer) -> int | None:
    """Return the section of a layer that the viewer shows; None where it shows none.

    None when the viewer is in 3-D or cuts the stack along another axis, or when the slider
    stands outside the layer.
    """
    dims = viewer.dims
    if dims.ndim < 3 or dims.ndisplay != 2 or dims.ndim - 3 in dims.displayed:
        return None
    point = np.asarray(dims.point, dtype=float)[-3:] * _units_of(viewer, layer)
    z = round(float(layer.world_to_data(point)[0]))
    return z if 0 <= z < layer.data.shape[0] else None


def go_to_section(viewer: ViewerModel, layer: Layer, z: int) -> None:
    """Move the viewer's slider to a section of a layer."""
    if section_of(viewer, layer) == z:
        return
    point = np.asarray(layer.data_to_world((z, 0, 0))) / _units_of(viewer, layer)
    viewer.dims.set_point(viewer.dims.ndim - 3, float(point[0]))


def center_on(viewer: ViewerModel, layer: Layer, z: int, box: Box) -> None:
    """Show a box of a section in the middle of the canvas, with its surroundings."""
    go_to_section(viewer, layer, z)
    factors = _units_of(viewer, layer)
    corners = [
        np.asarray(layer.data_to_world((z, y, x))) / factors
        for y, x in ((box.y0, box.x0), (box.y1 - 1, box.x1 - 1))
    ]
    low, high = np.minimum(*corners), np.maximum(*corners)
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    camera.center = tuple((low + high) / 2)
    canvas = getattr(getattr(viewer, "canvas", None), "size", None)
    if canvas is not None:
        pixel = np.abs(corners[1] - corners[0])[1:] / np.maximum(np.subtract(box.shape, 1), 1)
        extent = np.maximum(high[1:] - low[1:], 64 * pixel)
        camera.zoom = float(np.min(np.asarray(canvas) / (3 * extent)))


def _units_of(viewer: ViewerModel, layer: Layer) -> np.ndarray:
    """Return the length of the viewer's units in those of the layer, for z, y, x."""
    units = getattr(viewer.dims, "units", None)
    if not units or len(units) < 3:
        return np.ones(3)
    factors = []
    for ours, theirs in zip(layer.units[-3:], units[-3:], strict=True):
        try:
            factors.append(1.0 if ours == theirs else float((1.0 * theirs).to(ours).magnitude))
        except Exception:  # pixels beside lengths: napari draws both as plain numbers
            factors.append(1.0)
    return np.asarray(factors)


def placed_like(layer: Layer, offset: tuple[int, int, int] = (0, 0, 0)) -> dict[str, Any]:
    """Return the arguments that place a new layer on the pixel grid of another.

    Parameters
    ----------
    layer
        The layer on whose grid the new one lies.
    offset
        Pixel (z, y, x) of ``layer`` under the first pixel of the new layer.
    """
    moved = np.asarray(layer.data_to_world(offset)) - np.asarray(layer.data_to_world((0, 0, 0)))
    shift = np.linalg.solve(layer.affine.linear_matrix, moved)
    return {
        "scale": layer.scale,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "translate": np.asarray(layer.translate) + shift,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }
