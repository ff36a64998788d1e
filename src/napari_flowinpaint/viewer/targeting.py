"""Which stack, section and mask the docks of one viewer work on. No Qt.

Called from the GUI thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from psygnal import Signal

from ..core.errors import InputError
from ..core.masks.sparse_mask import SparseMask
from . import camera, layers
from .state.masks import MaskState
from .tasks.loading import LoadedStack
from .unit_axes import drop_inner_axes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from ..core.io.stack import Stack


class Targeting(layers.ViewerState):
    """The stack and the section that docks work on: those of the active layer, and of the slider.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    target_changed
        Signal: another stack is meant, or it was opened.
    section_changed
        Signal: the slider moved.
    passed_over
        Signal: another layer was selected, which may be no stack.
    image
        The image layer that is worked on.
    masks
        The masks: a mask that is selected means its stack.
    """

    target_changed = Signal()
    section_changed = Signal()
    passed_over = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.masks = MaskState(viewer)
        self.image: Image | None = None
        self._stacks: WeakKeyDictionary[Image, Stack] = WeakKeyDictionary()
        self._former: WeakKeyDictionary[Stack, Image] = WeakKeyDictionary()

    def follow(self, viewer: ViewerModel) -> None:
        """From now on, work on what the user selects, beginning with the current selection."""
        viewer.layers.selection.events.active.connect(self._on_active)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.dims.events.point.connect(self._on_section)
        viewer.dims.events.ndisplay.connect(self._on_section)
        viewer.dims.events.order.connect(self._on_section)
        self._on_active()
        if self.image is None:
            self.fall_back()

    @property
    def stack(self) -> Stack | None:
        """The stack behind the image layer, or None until it was opened."""
        return None if self.image is None else self._stacks.get(self.image)

    @property
    def section(self) -> int | None:
        """The section that is shown; None in 3-D or beside the stack."""
        return None if self.image is None else camera.section_of(self.viewer, self.image)

    @property
    def mask_layer(self) -> Labels | None:
        """The layer with the mask of the stack."""
        return self.masks.layer(self.image)

    @property
    def mask(self) -> SparseMask | None:
        """The mask of the stack."""
        return self.masks.mask(self.image)

    def add_stack(self, loaded: LoadedStack) -> Image:
        """Show a stack that was opened, work on it from now on, and return its layer."""
        image = layers.stack_layer(loaded)
        self._stacks[image] = loaded.stack  # before anybody asks which stack it is
        self.viewer.add_layer(image)
        self.viewer.layers.selection.active = image
        return image

    def set_stack(self, image: Image, stack: Stack) -> None:
        """Remember the stack behind an image layer that another reader opened."""
        before = self._stacks.get(image)
        if before is not None:  # what was begun on it goes on
            self._former[before] = image
        self._stacks[image] = stack
        if stack.beside is not None:
            layers.refresh_stack(image, stack)
        if image is self.image:
            self.target_changed.emit()

    def image_of(self, stack: Stack) -> Image | None:
        """Return the layer of a stack, also of one that another took the place of."""
        found = (image for image, known in self._stacks.items() if known is stack)
        image = next(found, self._former.get(stack))
        return image if image in self.viewer.layers else None

    def declare_no_data(self, value: float | None) -> None:
        """Declare a grey value as no data in the current stack.

        Raises
        ------
        InputError
            If there is no stack, or its pixels cannot have that value.
        """
        image, stack = self.require_image(), self.require_stack()
        if value != stack.no_data:
            self.set_stack(image, stack.with_no_data(value))

    def stack_of(self, image: Image) -> Stack | None:
        """Return the stack behind an image layer, or None until it was opened."""
        return self._stacks.get(image)

    def shown_stacks(self) -> list[tuple[Image, Stack]]:
        """Return the layers in the viewer whose stacks are open, with these stacks."""
        return [(i, stack) for i, stack in self._stacks.items() if i in self.viewer.layers]

    def _on_active(self, event: Any = None) -> None:
        layer = self.viewer.layers.selection.active
        image = layer if layers.is_stack(layer) else self.masks.image_of(layer)
        if image is not None and image in self.viewer.layers:  # all may be going at once
            self._set_image(image)
        self.passed_over.emit()

    def _on_section(self, event: Any = None) -> None:
        self.section_changed.emit()

    def _on_inserted(self, event: Any) -> None:
        """Take the mask of the sample for the mask of its stack, and go to a damaged section."""
        layer = event.value
        if layers.role_of(layer) != "mask" or self.masks.image_of(layer) is not None:
            return
        z, shape = layers.section_to_show(layer), layers.zyx_shape(layer)
        shown = [i for i in self.viewer.layers if layers.is_stack(i)]
        image = next((i for i in reversed(shown) if layers.zyx_shape(i) == shape), None)
        if z is not None and image is not None and self.masks.layer(image) is None:
            self.masks.adopt(image, layer)
            camera.go_to_section(self.viewer, image, z)
        else:  # a copy of a mask is a layer of the user's
            layer.metadata.pop(layers.ROLE)

    def fall_back(self) -> None:
        """Work on the topmost stack that is left."""
        stacks = [layer for layer in self.viewer.layers if layers.is_stack(layer)]
        self._set_image(stacks[-1] if stacks else None)

    def _set_image(self, image: Image | None) -> None:
        if image is not self.image:
            if image is not None:
                drop_inner_axes(image)
            self.image = image
            self.target_changed.emit()

    # ---- or say what to do

    def require_image(self) -> Image:
        """Return the image layer that is worked on, or say what to do."""
        if self.image is None:
            raise InputError(
                layers.why_no_stack(self.viewer.layers.selection.active)
                or "there is no stack; load one, or select an image layer with the axes z, y, x."
            )
        return self.image

    def require_section(self) -> int:
        """Return the section that is shown, or say what to do."""
        self.require_image()
        if self.section is None:
            assert self.image is not None  # require_image has checked
            raise InputError(camera.why_no_section(self.viewer, self.image))
        return self.section

    def require_mask(self) -> Labels:
        """Return the mask layer, or say what to do."""
        self.require_image()
        if self.mask_layer is None:
            raise InputError("there is no mask; press New mask and paint the damage first.")
        return self.mask_layer

    def require_stack(self, image: Image | None = None) -> Stack:
        """Return a stack, by default the one that is meant, or say what to do."""
        stack = self.stack_of(image or self.require_image())
        if stack is None:
            raise InputError("the stack is still opening; wait a moment and try again.")
        return stack
