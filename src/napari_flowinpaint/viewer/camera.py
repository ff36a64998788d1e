"""Where things are: sections and pixels of a layer in the world of a viewer. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
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
    if dims.ndim < 3 or not _is_cut_along_z(viewer):
        return None
    point = np.asarray(dims.point, dtype=float)[-3:] * units_of(viewer, layer)
    z = round(float(to_data(layer, point)[0]))
    return z if 0 <= z < layer.data.shape[-3] else None


def why_no_section(viewer: ViewerModel, layer: Layer) -> str:
    """Return why :func:`section_of` returns None, and what to do; "" if it returns a section."""
    if section_of(viewer, layer) is not None:
        return ""
    if viewer.dims.ndisplay != 2:
        return "no section in 3-D; switch to 2-D"
    if not _is_cut_along_z(viewer):
        return "no section along other axes; roll them until the slider moves along z"
    return "the slider is outside the stack"


def _is_cut_along_z(viewer: ViewerModel) -> bool:
    dims = viewer.dims
    return dims.ndisplay == 2 and dims.ndim - 3 not in dims.displayed


def go_to_section(viewer: ViewerModel, layer: Layer, z: int) -> None:
    """Show a section of a layer: move the slider there, and leave 3-D and other cuts for it."""
    if section_of(viewer, layer) == z:
        return
    if not _is_cut_along_z(viewer):
        viewer.dims.ndisplay = 2
        viewer.dims.order = tuple(range(viewer.dims.ndim))
    point = to_world(layer, (z, 0, 0)) / units_of(viewer, layer)
    viewer.dims.set_point(viewer.dims.ndim - 3, float(point[0]))


def center_on(viewer: ViewerModel, layer: Layer, z: int, box: Box) -> None:
    """Show a box of a section in the middle of the canvas, with its surroundings."""
    go_to_section(viewer, layer, z)
    factors = units_of(viewer, layer)
    # y and x, or x and y where the axes were transposed
    shown = [axis - viewer.dims.ndim + 3 for axis in viewer.dims.displayed]
    corners = [
        (to_world(layer, (z, y, x)) / factors)[shown]
        for y, x in ((box.y0, box.x0), (box.y1 - 1, box.x1 - 1))
    ]
    low, high = np.minimum(*corners), np.maximum(*corners)
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    camera.center = tuple((low + high) / 2)
    canvas = getattr(getattr(viewer, "canvas", None), "size", None)
    if canvas is not None:
        pixels = np.maximum(np.subtract((1, *box.shape), 1), 1)[shown]
        pixel = np.abs(corners[1] - corners[0]) / pixels
        extent = np.maximum(high - low, 64 * pixel)
        camera.zoom = float(np.min(np.asarray(canvas) / (3 * extent)))


def centre(viewer: ViewerModel) -> tuple[float, ...]:
    """Return the point of the world in the middle of the canvas."""
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    point = list(viewer.dims.point)
    for axis, value in zip(
        viewer.dims.displayed, camera.center[-viewer.dims.ndisplay :], strict=True
    ):
        point[axis] = float(value)
    return tuple(point)


def pixel_at(viewer: ViewerModel, layer: Layer, position: Sequence[float]) -> np.ndarray:
    """Return which pixel (z, y, x) of a layer is at a point of the viewer's world."""
    return to_data(layer, np.asarray(position, dtype=float)[-3:] * units_of(viewer, layer))


def pixel_of_screen(viewer: ViewerModel, layer: Layer) -> float:
    """Return how many pixels of a layer one of the screen is, along x."""
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    here = (0.0, 0.0, 0.0)
    there = (0.0, 0.0, 1.0 / camera.zoom)
    return float(np.abs(pixel_at(viewer, layer, there) - pixel_at(viewer, layer, here))[2])


def units_of(viewer: ViewerModel, layer: Layer) -> np.ndarray:
    """Return the length of the viewer's units in those of the layer, for z, y, x (or y, x)."""
    units = getattr(viewer.dims, "units", None)
    if not units or len(units) < 3:
        return np.ones(3)
    factors = []
    for ours, theirs in zip(layer.units[-3:], units[-min(layer.ndim, 3) :], strict=True):
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
    moved = to_world(layer, offset) - to_world(layer, (0, 0, 0))
    affine = layer.affine
    if layer.ndim > 3:  # axes of length one before z, y and x
        affine = affine.set_slice([layer.ndim - 3, layer.ndim - 2, layer.ndim - 1])
    shift = np.linalg.solve(affine.linear_matrix, moved)
    placed = {
        "scale": np.asarray(layer.scale)[-3:],
        "affine": affine,
        "translate": np.asarray(layer.translate)[-3:] + shift,
        "units": layer.units[-3:],
        "axis_labels": layer.axis_labels[-3:],
    }
    if layer.ndim == 3:
        placed |= {"rotate": layer.rotate, "shear": layer.shear}
    return placed


def to_world(layer: Layer, point: Sequence[float]) -> np.ndarray:
    """Return where a pixel (z, y, x) of a layer of three or more axes lies, z, y, x."""
    return np.asarray(layer.data_to_world((*(0,) * (layer.ndim - 3), *point)))[-3:]


def to_data(layer: Layer, point: Sequence[float]) -> np.ndarray:
    """Return which pixel (z, y, x) of a layer lies at a point of the world, z, y, x."""
    first = np.asarray(layer.data_to_world((0,) * layer.ndim))[: layer.ndim - 3]
    return np.asarray(layer.world_to_data((*first, *point)))[-3:]
