"""What was refused of a section, outlined in the canvas until it is decided about.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from .. import camera, layers
from ..tasks.refusals import RefusedPlace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes


class RefusalState(layers.ViewerState):
    """The places that the last repair left.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    changed
        Signal: something was refused, or it no longer matters.
    image, z, places
        The layer of the stack, the section, and what of it; no places where nothing was refused.
    layer
        The outlines; None until there are some.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.image: Image | None = None
        self.z = 0
        self.places: tuple[RefusedPlace, ...] = ()
        self.layer: Shapes | None = None

    def show(self, image: Image, z: int, places: Sequence[RefusedPlace]) -> None:
        """Outline what was refused, in place of what was before."""
        if image is not self.image:
            self.clear()
        self.image, self.z, self.places = image, z, tuple(places)
        lines = [np.insert(line, 0, z, axis=1) for place in places for line in place.outlines]
        if lines and self.layer is None:
            self.layer = layers.outline_layer(self.viewer, image, "refused", layers.REFUSED_COLOUR)
        if self.layer is not None:
            self.layer.data = []
            if lines:
                width = max(1.0, max(layers.zyx_shape(image)[1:]) * layers.LINE_WIDTH / 2)
                self.layer.add_paths(lines, edge_width=width, edge_color=layers.REFUSED_COLOUR)
                self.layer.selected_data = set()
            self.layer.editable = False
        self.changed.emit()

    def clear(self) -> None:
        """Forget what was refused, and remove the outlines."""
        layer, self.layer = self.layer, None
        known, self.places, self.image = self.places, (), None
        if layer is not None:
            layers.remove(self.viewer, layer)
        if known:
            self.changed.emit()

    def forget(self, layer: Any) -> None:
        """Note that a layer was removed from the viewer."""
        if layer is self.layer:
            self.layer = None
        if layer is self.image:
            self.image, self.places = None, ()
            self.changed.emit()

    def center_on(self, place: RefusedPlace) -> None:
        """Show a place in the middle of the canvas."""
        if self.image is not None:
            camera.center_on(self.viewer, self.image, self.z, place.box)
