"""The masks of one viewer: a layer per stack, edits, and a history that napari does not lose.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from ...core.errors import InputError
from ...core.masks.sparse_mask import SectionTiles, SparseMask
from ...core.section_repair import SectionRepair
from ...core.types import AnyImage, Box
from .. import camera, layers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels


class MaskState(layers.ViewerState):
    """The mask layers of a viewer, at most one per stack.

    napari keeps the history of a labels layer only until the slider moves; here it belongs to
    the mask, and taking a step back moves the slider to where the step was made. A mask that was
    replaced, or whose layer was removed, is one step back as well.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    changed
        Signal: a mask was made, removed, painted or edited.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self._layers: WeakKeyDictionary[Image, Labels] = WeakKeyDictionary()
        #: What repairs that were accepted have cleared, by section and box.
        self._cleared: WeakKeyDictionary[Labels, dict[tuple[int, Box], AnyImage]] = (
            WeakKeyDictionary()
        )
        self._tools: WeakKeyDictionary[Labels, str] = WeakKeyDictionary()
        #: The mask that each layer shows, whatever somebody puts in its place.
        self._shown: WeakKeyDictionary[Labels, SparseMask] = WeakKeyDictionary()
        self._removed: WeakKeyDictionary[Image, SparseMask] = WeakKeyDictionary()
        self._before: WeakKeyDictionary[SparseMask, SparseMask] = WeakKeyDictionary()
        self._after: WeakKeyDictionary[SparseMask, SparseMask] = WeakKeyDictionary()

    def layer(self, image: Image | None) -> Labels | None:
        """Return the mask layer of an image layer, or None."""
        return None if image is None else self._layers.get(image)

    def mask(self, image: Image | None) -> SparseMask | None:
        """Return the mask of an image layer, or None."""
        layer = self.layer(image)
        return None if layer is None else layer.data

    def image_of(self, layer: Any) -> Image | None:
        """Return the image layer that a layer is the mask of, or None."""
        return next((image for image, mask in self._layers.items() if mask is layer), None)

    def new(
        self, image: Image, base: Any = None, name: str = "damage mask", *, paint: bool = True
    ) -> Labels:
        """Make a mask, on top of ``base``, and show it; return the layer.

        It takes the place of the mask that is there, which :meth:`step` brings back.

        Parameters
        ----------
        image
            The layer of the stack.
        base
            Array-like of the stack's shape, not zero where damaged; None for an empty mask. It
            is read where and when needed and never written to.
        name
            Of the layer.
        paint
            Whether it is selected, with the brush in hand; else it is hidden until :meth:`show`.

        Raises
        ------
        InputError
            If ``base`` has another shape.
        """
        depth, height, width = layers.zyx_shape(image)
        if base is not None and tuple(base.shape) != (depth, height, width):
            raise InputError(
                f"the mask has the shape {tuple(base.shape)}, the stack {(depth, height, width)}; "
                "choose a mask made for this stack."
            )
        mask = SparseMask((depth, height, width), base)
        layer = self._layers.get(image)
        if layer is not None:
            layer.data.commit()
            self._before[mask] = layer.data
            layer.data = mask
            layer.name = name
        else:
            if image in self._removed:
                self._before[mask] = self._removed.pop(image)
            layer = layers.mask_layer(image, mask, name)
            self.adopt(image, layer)
            layers.add_hidden(self.viewer, len(self.viewer.layers), layer)
        self.changed.emit()
        if paint:
            layers.take_brush(self.viewer, layer)
        return layer

    def adopt(self, image: Image, layer: Labels) -> None:
        """Take a layer whose data are a :class:`SparseMask` for the mask of a stack."""
        self._layers[image] = layer
        layer.brush_size = max(10, min(layers.zyx_shape(image)[1:]) // 40)
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        self._shown[layer] = layer.data
        layer.mouse_wheel_callbacks.append(layers.size_brush)
        layer.bind_key("Ctrl+Z", lambda layer: self.step(layer, back=True))
        layer.bind_key("Ctrl+Shift+Z", lambda layer: self.step(layer, back=False))

    def brush(self, image: Image) -> Labels:
        """Activate the brush, on a new mask if there is none; return the mask's layer."""
        layer = self.layer(image)
        if layer is None:
            return self.new(image)
        layers.take_brush(self.viewer, layer)
        return layer

    def forget(self, layer: Any) -> None:
        """Note that a layer was removed from the viewer."""
        image = self.image_of(layer)
        if image is not None:
            self._removed[image] = self._layers.pop(image).data
            self.changed.emit()

    def hide(self, image: Image | None, *, put_down: bool = False) -> None:
        """Hide a mask, remembering the tool in use (napari drops it with the visibility).

        Parameters
        ----------
        image
            The layer of the stack.
        put_down
            Whether the mouse moves the canvas when the mask is shown again, instead.
        """
        layer = self.layer(image)
        if layer is not None and layer.visible:
            self._tools[layer] = "pan_zoom" if put_down else str(layer.mode)
            layer.visible = False

    def show(self, image: Image | None) -> None:
        """Show a mask again, with the tool that was in use."""
        layer = self.layer(image)
        if layer is not None and not layer.visible:
            layer.visible = True
            layer.mode = self._tools.pop(layer, layer.mode)

    def can_step(self, image: Image | None, *, back: bool) -> bool:
        """Return whether there is a change to take back, or to do again."""
        mask = self.mask(image)
        if mask is None:
            return False
        own, other = (mask.can_undo, self._before) if back else (mask.can_redo, self._after)
        return own or mask in other

    def _on_paint(self, event: Any) -> None:
        if event.source.data.commit():
            self._after.pop(event.source.data, None)
        self.changed.emit()

    def _on_data(self, event: Any) -> None:
        """Take pixels that a script or another plugin puts into a layer for a change of its mask.

        They are one step that can be undone; pixels of another shape are not taken.
        """
        layer = event.source
        given, mask = layer.data, self._shown[layer]
        if isinstance(given, SparseMask):
            self._shown[layer] = given
            return
        layer.data = mask
        if tuple(given.shape) == mask.shape:
            whole = Box.whole(mask.shape[1:])
            pixels = (_as_labels(given[z]) for z in range(mask.shape[0]))
            mask.set_sections({z: mask.paste(z, whole, part) for z, part in enumerate(pixels)})
            self._after.pop(mask, None)
        self._show_change(layer, None)

    def edit(self, image: Image, z: int, tiles: SectionTiles) -> None:
        """Put edited tiles into a section, as one step that can be undone."""
        layer = self._layers[image]
        layer.data.set_section(z, tiles)
        self._after.pop(layer.data, None)
        self._show_change(layer, z)

    def edit_all(self, image: Image, sections: Mapping[int, SectionTiles]) -> None:
        """Put edited tiles into many sections, all as one step that can be undone."""
        layer = self._layers[image]
        layer.data.set_sections(sections)
        self._after.pop(layer.data, None)
        self._show_change(layer, None)

    def step(self, layer: Labels, *, back: bool) -> None:
        """Take back the last change of a mask, or do it again, in whatever section it was."""
        mask: SparseMask = layer.data
        z = mask.undo() if back else mask.redo()
        other = (self._before if back else self._after).get(mask)
        if z is not None:
            self._show_change(layer, z)
        elif other is not None:
            if back:
                self._after[other] = mask
            layer.data = other
            self._show_change(layer, None)

    def set_repaired(self, image: Image, repair: SectionRepair, damaged: bool) -> None:
        """Clear the mask where a repair was accepted, or bring it back where it was reverted."""
        layer = self._layers.get(image)
        if layer is None:
            return
        layer.data.commit()
        cleared = self._cleared.setdefault(layer, {})
        for patch in repair.patches:
            where = (slice(repair.z, repair.z + 1), *patch.box.slices)
            pixels = layer.data[where]
            key = (repair.z, patch.box)
            if not damaged:
                cleared[key] = np.where(patch.mask, pixels[0], cleared.get(key, 0)).astype(np.uint8)
                pixels[0][patch.mask] = 0
            else:  # as it was: the zone of an unfolding is more than its mask
                moved = False if patch.displaced is None else patch.displaced.mask
                before = cleared.get(key, patch.mask & ~np.asarray(moved))
                pixels[0][patch.mask] = before[patch.mask]
            layer.data[where] = pixels
        layer.data.commit()
        layer.refresh()
        self.changed.emit()

    def refresh(self, image: Image) -> None:
        """Show what a mask has become."""
        self._layers[image].refresh()
        self.changed.emit()

    def set_sections(self, image: Image, tiles: Mapping[int, SectionTiles]) -> None:
        """Put edited tiles into many sections, each a step that can be undone."""
        layer = self._layers[image]
        for z, section in tiles.items():
            layer.data.set_section(z, section)
        self.refresh(image)

    def _show_change(self, layer: Labels, z: int | None) -> None:
        self.show(self.image_of(layer))
        if z is not None:
            camera.go_to_section(self.viewer, layer, z)
        layer.refresh()
        self.changed.emit()


def _as_labels(section: Any) -> npt.NDArray[np.uint8]:
    """Return a section of labels as kinds of damage; values that there are not are damage."""
    found = np.asarray(section)
    return np.where((found > 0) & (found < 256), found, found != 0).astype(np.uint8)
