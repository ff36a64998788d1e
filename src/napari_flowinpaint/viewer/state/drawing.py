"""Draw around damage: a layer of shapes whose outlines go into the mask as soon as they are closed.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from ...core.masks.outlines import Outline
from .. import camera, layers
from ..mask_layers import mask_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

#: Tools of napari, by what they are called here.
LASSO, POLYGON = "lasso", "polygon"
_MODES = {LASSO: "add_polygon_lasso", POLYGON: "add_polygon"}
_COLOUR = "#ff4d4d"


class DrawingState(layers.ViewerState):
    """The layer to draw on, at most one per viewer; what is drawn does not stay on it.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    drawn
        Signal (image, section, outlines, by_grey): an outline was closed over the section of a
        stack; whether only what stands out by its grey value is wanted.
    layer
        The layer; None until something is to be drawn.
    """

    drawn = Signal(object, int, list, bool)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.layer: Shapes | None = None
        self.by_grey = False
        self._image: Image | None = None

    def begin(self, image: Image, tool: str = LASSO, *, by_grey: bool = False) -> None:
        """Take a tool in hand.

        Parameters
        ----------
        image
            The layer of the stack.
        tool
            :data:`LASSO` or :data:`POLYGON`.
        by_grey
            Whether only what stands out by its grey value is wanted.
        """
        if self.layer is None or self.layer not in self.viewer.layers or image is not self._image:
            self._make(image)
        assert self.layer is not None
        self.by_grey = by_grey
        self.layer.name = f"{tool}, by grey value" if by_grey else tool
        self.layer.visible = True
        self.viewer.layers.selection.active = self.layer
        self.layer.mode = _MODES[tool]

    def _make(self, image: Image) -> None:
        """Add an empty layer in place of the last one."""
        from napari.layers import Shapes as ShapesLayer

        if self.layer is not None:
            layers.remove(self.viewer, self.layer)
        self.layer = ShapesLayer(
            ndim=3,
            edge_color=_COLOUR,
            face_color="transparent",
            metadata={layers.ROLE: "drawing"},
            **camera.placed_like(image),
        )
        self._image = image
        side = max(layers.full_resolution(image).shape[1:])
        self.layer.current_edge_width = max(1.0, side * layers.LINE_WIDTH)
        self.layer.events.data.connect(self._on_data)
        layers.add_hidden(self.viewer, len(self.viewer.layers), self.layer)

    def _on_data(self, event: Any) -> None:
        """Tell of outlines that were closed."""
        layer, image = self.layer, self._image
        action = str(getattr(event, "action", ""))
        if layer is None or image is None or not action.endswith(("ADDED", "added")):
            return
        if not layer.nshapes or layer.shape_type[-1] == "path":
            return  # it is being drawn
        z = camera.section_of(self.viewer, image)
        found = mask_of(self.viewer, layer, image, z).outlines
        for section, outlines in found.items():
            self.drawn.emit(image, section, [Outline(o.rings) for o in outlines], self.by_grey)

    def clear(self) -> None:
        """Remove what was drawn; napari must be done with it."""
        if self.layer is not None and self.layer in self.viewer.layers and self.layer.nshapes:
            self.layer.selected_data = set()
            self.layer.data = []

    def forget(self, image: Image) -> Shapes | None:
        """Forget a stack that was removed; return the layer over it."""
        if image is not self._image:
            return None
        layer, self.layer, self._image = self.layer, None, None
        return layer
