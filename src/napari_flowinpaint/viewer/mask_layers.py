"""Layers of the user's as masks: labels, images, also of one section, and shapes. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError
from ..core.kinds import KINDS
from ..core.masks.outlines import Outline, ellipse
from ..core.masks.stack_mask import reduction
from . import camera
from .layers import full_resolution, role_of, zyx_array, zyx_shape
from .tasks.mask_loading import LayerMask

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Shapes


def fits(layer: Layer, image: Image) -> bool:
    """Return whether a layer can be a mask of the stack of ``image``.

    That is one of the stack's shape or smaller by a whole number, of one section, or of shapes.
    """
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels, Shapes

    if layer is image or role_of(layer) != "":
        return False
    if isinstance(layer, Shapes):
        return bool(layer.nshapes)
    if not isinstance(layer, ImageLayer | Labels):
        return False
    shape = zyx_shape(layer)
    if getattr(layer, "rgb", False):
        shape = tuple(int(n) for n in full_resolution(layer).shape)[:-1]
        if len(shape) != 2:
            return False
    depth, height, width = zyx_shape(image)
    try:
        reduction(shape, (depth, height, width), ())
    except InputError:
        return False
    return True


def mask_of(viewer: ViewerModel, layer: Layer, image: Image, z: int | None) -> LayerMask:
    """Return what of a layer is a mask; no pixel is read.

    Parameters
    ----------
    viewer
        Where both layers are.
    layer
        One that :func:`fits`.
    image
        The layer of the stack.
    z
        The section that is shown: what has no section of its own belongs to it.

    Raises
    ------
    InputError
        If a layer of shapes has no region or line.
    """
    from napari.layers import Shapes

    if isinstance(layer, Shapes):
        return _of_shapes(viewer, layer, image, z)
    rgb = bool(getattr(layer, "rgb", False))
    array = full_resolution(layer) if rgb else zyx_array(layer)
    return LayerMask(layer.name, array, rgb, kinds=_kinds_of(layer))


def _kinds_of(layer: Layer) -> dict[int, str]:
    """Return the kinds of damage that the features of a Labels layer name for its values."""
    told = getattr(layer, "features", {})
    if "index" not in told or "kind" not in told:
        return {}
    pairs = zip(told["index"], told["kind"], strict=True)
    return {int(value): str(kind) for value, kind in pairs if kind in tuple(KINDS)}


def _of_shapes(viewer: ViewerModel, layer: Shapes, image: Image, z: int | None) -> LayerMask:
    """Return the regions and lines of a layer of shapes, by section."""
    outlines: dict[int, list[Outline]] = {}
    depth = zyx_shape(image)[0]
    lost = 0
    kinds: Sequence[str] = layer.shape_type
    for points, kind, width in zip(layer.data, kinds, layer.edge_width, strict=True):
        corners = _on_image(viewer, layer, image, np.asarray(points, dtype=float), z)
        sections = np.rint(corners[:, 0]).astype(int)
        section = int(sections[0])
        if np.any(sections != section) or not 0 <= section < depth:
            lost += 1
            continue
        outlines.setdefault(section, []).append(
            _outline(corners[:, 1:], kind, float(width) * _pixel(viewer, layer, image, z))
        )
    if not outlines:
        raise InputError(
            f"layer {layer.name} has no shape in a section of the stack; draw the damage with its "
            "polygon, rectangle, ellipse or path."
        )
    notes = (f"{lost} shapes of layer {layer.name} lie in no single section of the stack",)
    return LayerMask(layer.name, outlines=outlines, notes=notes if lost else ())


def _outline(corners: Any, kind: str, width: float) -> Outline:
    """Return a shape of napari as an outline; of lines the width counts, of regions the inside."""
    if kind in ("line", "path"):
        return Outline((corners,), width=max(width, 1.0))
    return Outline((ellipse(corners) if kind == "ellipse" else corners,))


def _pixel(viewer: ViewerModel, layer: Layer, image: Image, z: int | None) -> float:
    """Return how many pixels of the image one of the layer is, along x."""
    ends = np.zeros((2, layer.ndim))
    ends[1, -1] = 1.0
    first, last = _on_image(viewer, layer, image, ends, z)
    return float(np.linalg.norm(last[1:] - first[1:]))


def _on_image(viewer: ViewerModel, layer: Layer, image: Image, points: Any, z: int | None) -> Any:
    """Return points (n, ndim) of a layer as pixels z, y, x of the image, (n, 3)."""
    if layer.ndim == 2 and z is None:
        raise InputError("no section is shown; move the slider to the one of the shapes.")
    theirs = camera.units_of(viewer, layer)
    ours = camera.units_of(viewer, image)
    out = []
    for point in points:
        world = np.asarray(layer.data_to_world(point), dtype=float)[-3:] / theirs[-layer.ndim :]
        if world.size == 2:
            world = np.concatenate([camera.to_world(image, (z or 0, 0, 0))[:1] / ours[:1], world])
        found = camera.to_data(image, world * ours)
        if layer.ndim == 2:
            found[0] = z
        out.append(found)
    return np.asarray(out)
