"""napari layers and core types: one into the other. No Qt.

Everything here is called from the GUI thread and only touches layers; pixels are read by napari
when a layer is shown.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from ..core.io.levels import ZyxView
from ..core.kinds import KINDS
from ..core.types import VoxelSize
from . import camera
from .appearance import colormap_of, metadata_of
from .lazy import shown_levels
from .tasks.loading import LayerSource, LoadedStack
from .unit_axes import zyx_axes, zyx_view

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Shapes

    from ..core.io.stack import Stack
    from ..core.masks.sparse_mask import SparseMask

#: Key in ``layer.metadata`` by which our own layers are told from the user's.
ROLE = "napari-flowinpaint"
#: Key of the section that is shown when a sample is opened.
_SECTION = "napari-flowinpaint section"
#: What is painted by hand is of no kind but 1, and red.
_MASK_COLOUR: dict[int | None, Any] = {
    0: "transparent",
    None: "#ff4d4d",
    **{kind.label: np.array(kind.colour) / 255 for kind in KINDS.values()},
    1: "#ff4d4d",
}
#: The outline of what was imaged, and its width as a share of the section's side.
NO_DATA_COLOUR, LINE_WIDTH = "#ffd34d", 0.003
#: The outline of what was refused.
REFUSED_COLOUR = "#ff9f1a"


class ViewerState:
    """State that belongs to a viewer and does not keep it alive.

    Parameters
    ----------
    viewer
        The viewer; held weakly.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = ref(viewer)

    @property
    def viewer(self) -> ViewerModel:
        """The viewer."""
        viewer = self._viewer()
        if viewer is None:
            raise ReferenceError("the viewer of this session was closed")
        return viewer


# ---- what a layer is


def role_of(layer: Layer) -> str:
    """Return what a layer of ours is for; empty for every other layer."""
    return str(layer.metadata.get(ROLE, ""))


def is_stack(layer: Layer | None) -> bool:
    """Return whether a layer shows a stack: a grey image z, y, x that is not one of ours.

    Further axes of length one do not matter.
    """
    from napari.layers import Image

    return isinstance(layer, Image) and role_of(layer) in ("", "stack") and not why_no_stack(layer)


def why_no_stack(layer: Layer | None) -> str:
    """Return why the user's image layer is not a stack; "" if it is one, or is not an image."""
    from napari.layers import Image

    if not isinstance(layer, Image) or role_of(layer) not in ("", "stack"):
        return ""
    shape = tuple(int(n) for n in full_resolution(layer).shape)
    if layer.rgb:
        return (
            f"layer {layer.name} is a colour image (RGB); right-click it in the list of layers, "
            "choose Split RGB, and select one of the grey layers"
        )
    if len(shape) < 3:
        return f"layer {layer.name} is a single image; a stack has the axes z, y, x"
    axes = zyx_axes(shape)
    if axes is None and sum(n != 1 for n in shape) < 3:
        return f"layer {layer.name} has the shape {shape}; a stack has the axes z, y, x"
    if axes is None:
        return (
            f"layer {layer.name} has the shape {shape}; right-click it in the list of layers, "
            "choose Split Stack, and select one channel, or one time point"
        )
    return "" if shape[axes[0]] else f"layer {layer.name} is empty"


def full_resolution(layer: Image | Labels) -> Any:
    """Return the array of a layer, of a multiscale layer its first level."""
    return layer.data[0] if layer.multiscale else layer.data


def zyx_shape(layer: Image | Labels) -> tuple[int, ...]:
    """Return the shape of a layer as z, y, x, without other axes of length one."""
    shape = tuple(int(n) for n in full_resolution(layer).shape)
    axes = zyx_axes(shape)
    return shape if axes is None else tuple(shape[axis] for axis in axes)


def zyx_array(layer: Image | Labels) -> Any:
    """Return the array of a layer, full resolution, as z, y, x; nothing is read."""
    return zyx_view(full_resolution(layer))


def source_of(layer: Image) -> LayerSource:
    """Return where the pixels of a layer come from."""
    return LayerSource(
        path=layer.source.path,
        data=full_resolution(layer),
        voxel_size=voxel_size_of(layer),
        name=layer.name,
        metadata=metadata_of(layer, voxel_size_of(layer)),
    )


def voxel_size_of(layer: Layer) -> VoxelSize | None:
    """Return the voxel size z, y, x in nm, or None if the layer's units are not lengths."""
    sizes = []
    for size, unit in zip(layer.scale[-3:], layer.units[-3:], strict=True):
        try:
            sizes.append(float((float(size) * unit).to("nm").magnitude))
        except Exception:  # pint raises its own error per kind of unit; all mean "no length"
            return None
    return (sizes[0], sizes[1], sizes[2])


# ---- layers in the viewer


def add_hidden(viewer: ViewerModel, position: int, layer: Layer) -> None:
    """Insert a layer, hidden and without selecting it: the user keeps the tool in hand."""
    layer.visible = False
    selection = viewer.layers.selection
    selected = set(selection)
    with selection.events.blocker_all():
        viewer.layers.insert(position, layer)
        selection.intersection_update(selected)
        selection.update(selected)


def take_brush(viewer: ViewerModel, layer: Labels) -> None:
    """Show and select a mask and take the brush in hand."""
    layer.visible = True
    viewer.layers.selection.active = layer
    layer.mode = "paint"


def size_brush(layer: Labels, event: Any) -> None:
    """Make the brush larger or smaller by the wheel of the mouse while Shift is held down."""
    if tuple(event.modifiers) != ("Shift",) or str(layer.mode) not in ("paint", "erase"):
        return
    turned = float(np.sum(event.delta))  # some systems turn it sideways with Shift
    size = layer.brush_size
    step = max(1, round(size / 10))
    layer.brush_size = max(1, size + (step if turned > 0 else -step)) if turned else size
    event.handled = True


def remove(viewer: ViewerModel, layer: Layer) -> None:
    """Remove a layer, if it is there."""
    if layer in viewer.layers:
        viewer.layers.remove(layer)


# ---- new layers


def stack_layer(loaded: LoadedStack) -> Image:
    """Return an image layer that shows a stack lazily, in nm where the voxel size is known."""
    from napari.layers import Image as ImageLayer

    stack = loaded.stack
    levels = shown_levels([level.array for level in stack.levels])
    carried = stack.metadata
    size = stack.voxel_size
    space = {} if size is None else {"units": ("nm", "nm", "nm")}
    size = size or carried.spacing or (1.0, 1.0, 1.0)
    told = {
        "name": carried.name,
        "channel": carried.display.label,
        "attributes": {**carried.attributes, **carried.ome_attributes, **carried.image_attributes},
    }
    layer = ImageLayer(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        name=stack.name,
        contrast_limits=carried.display.window or loaded.limits,
        colormap=colormap_of(carried.display),
        axis_labels=("z", "y", "x"),
        metadata={ROLE: "stack", **{key: value for key, value in told.items() if value}},
        scale=size,
        translate=np.multiply(carried.voxel_translation(), size),
        **space,
    )
    return layer


def mask_layer(image: Image, mask: SparseMask, name: str) -> Labels:
    """Return a labels layer, still hidden, that shows a mask; napari's own tools paint on it.

    Parameters
    ----------
    image
        The layer over which it lies.
    mask, name
        What, and what it is called.
    """
    from napari.layers import Labels as LabelsLayer
    from napari.utils.colormaps import DirectLabelColormap

    return LabelsLayer(
        mask,
        multiscale=False,
        name=name,
        opacity=0.5,
        visible=False,
        colormap=DirectLabelColormap(color_dict=_MASK_COLOUR),
        metadata=mask_metadata(),
        **camera.placed_like(image),
    )


def mask_metadata(section: int | None = None) -> dict[str, Any]:
    """Return the metadata of a mask, and the section to go to where it is opened as a sample."""
    return {ROLE: "mask", _SECTION: section}


def section_to_show(layer: Layer) -> int | None:
    """Return the section that a mask opened as a sample asks to be shown; None for any other."""
    return layer.metadata.get(_SECTION) if role_of(layer) == "mask" else None


def name_kinds(layer: Labels) -> None:
    """Let the status bar name the kind of damage under the mouse."""
    kinds = KINDS.values()
    layer.features = {
        "index": [0, *(kind.label for kind in kinds)],
        "kind": ["intact", *(kind.words for kind in kinds)],
    }


def outline_layer(viewer: ViewerModel, image: Image, name: str, colour: str) -> Shapes:
    """Add an empty layer, not to be edited, for outlines over a stack.

    What was not imaged is outlined faintly and beneath all else, what was refused above it.
    """
    from napari.layers import Shapes as ShapesLayer

    faint = colour == NO_DATA_COLOUR
    layer = ShapesLayer(
        ndim=3,
        name=name,
        opacity=0.4 if faint else 0.9,
        metadata={ROLE: name},
        **camera.placed_like(image),
    )
    layer.editable = False
    add_hidden(viewer, viewer.layers.index(image) + 1 if faint else len(viewer.layers), layer)
    layer.visible = True
    return layer


def refresh_stack(image: Image, stack: Stack) -> None:
    """Show what was just written to a stack.

    A layer over dask (other readers make those) keeps showing old chunks from its cache; it is
    given the stack's own arrays instead, which read the new pixels. So is one over a file beside
    which repairs are kept now.
    """
    shown = full_resolution(image)
    elsewhere = isinstance(shown, ZyxView) and stack.beside is not None
    if elsewhere or type(shown).__module__.partition(".")[0] in ("dask", "numpy"):
        levels = shown_levels([level.array for level in stack.levels])
        if image.ndim > 3:  # as they are stored, with the axes of length one
            levels = [level.source for level in stack.levels]
        if levels[0].ndim == image.ndim:
            image.data = levels if image.multiscale else levels[0]
    # what was written is written, also where the section that is shown cannot be read
    with suppress(Exception):
        image.refresh()
