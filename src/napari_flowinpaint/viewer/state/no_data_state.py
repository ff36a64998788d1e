"""The outline of what was imaged in the section that is shown. No Qt; called in the GUI thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from .. import layers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

    from ...core.io.stack import Stack
    from ..tasks.find_no_data import Outline


class NoDataState(layers.ViewerState):
    """The layer with the outline: there is one from the first section on that has no data.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    layer
        The layer; None until there is something to show.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.layer: Shapes | None = None
        self._image: Image | None = None
        self._asked: tuple[Any, int] | None = None

    def ask(self, stack: Stack, z: int) -> bool:
        """Return whether the outline of a section has to be found: nobody asked for it last."""
        if self._asked is not None and self._asked[0]() is stack and self._asked[1] == z:
            return False
        self._asked = (ref(stack), z)
        return True

    def layer_over(self, image: Image) -> Shapes | None:
        """Return the outline over a stack, or None."""
        return self.layer if image is self._image else None

    def forget(self, image: Image) -> Shapes | None:
        """Forget the outline over a stack that was removed; return its layer."""
        if image is not self._image:
            return None
        layer, self.layer = self.layer, None
        self._image = self._asked = None
        return layer

    def show(self, image: Image, z: int, outline: Outline) -> None:
        """Show the outline of a section in place of the last."""
        if self.layer is not None and image is not self._image:
            layers.remove(self.viewer, self.layer)
            self.layer = None
        if self.layer is None and outline:
            self.layer = layers.outline_layer(self.viewer, image, "no data", layers.NO_DATA_COLOUR)
            self._image = image
        if self.layer is None or self.layer not in self.viewer.layers:
            return  # the user wants none
        self.layer.data = []
        lines = [np.insert(line, 0, z, axis=1) for line in outline]
        if lines:
            width = max(layers.zyx_shape(image)[1:]) * layers.LINE_WIDTH
            colour = layers.NO_DATA_COLOUR
            self.layer.add_paths(lines, edge_width=width, edge_color=colour)
            self.layer.selected_data = set()
        self.layer.editable = False
