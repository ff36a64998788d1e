"""Layers that show what an unfolding is about to change: the zone, and where tissue moves.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import camera, layers, repair_layers
from .tasks.review import Review

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Vectors

#: Names of the layers, which are there only while such a repair is under review.
ZONE, ARROWS = "zone of the fold", "displacement"
_COLOUR = "#ffd34d"


class FoldLayers:
    """The outline of the zone and the arrows of one review."""

    def __init__(self) -> None:
        self.zone: Labels | None = None
        self.arrows: Vectors | None = None

    def open(self, viewer: ViewerModel, image: Image, review: Review) -> Iterator[Layer]:
        """Show what moves in a repair; yields each layer once it is shown."""
        self.close(viewer)
        if not review.moves:
            return
        box = review.repair.box
        placed = camera.placed_like(image, (review.z, box.y0, box.x0))
        self.zone = _zone_layer(review, placed)
        yield _add(viewer, self.zone)
        if self.zone is None:  # removed, or another review was opened meanwhile
            return
        self.arrows = _arrow_layer(review, placed)
        yield _add(viewer, self.arrows)

    @property
    def layers(self) -> list[Layer]:
        """Those that are there."""
        return [layer for layer in (self.zone, self.arrows) if layer is not None]

    def refresh(self, review: Review) -> None:
        """Show what moves in the components that are accepted."""
        if self.zone is not None:
            self.zone.refresh()
        if self.arrows is not None:
            self.arrows.data = _in_section(review.arrows())

    def forget(self, layer: Any) -> None:
        """Note that a layer was removed from the viewer."""
        self.zone = None if layer is self.zone else self.zone
        self.arrows = None if layer is self.arrows else self.arrows

    def close(self, viewer: ViewerModel) -> None:
        """Remove the layers."""
        shown = self.layers
        self.zone = self.arrows = None
        for layer in shown:
            layers.remove(viewer, layer)


def _add(viewer: ViewerModel, layer: Layer) -> Layer:
    """Show a layer above all others, without selecting it."""
    layers.add_hidden(viewer, len(viewer.layers), layer)
    layer.visible = True
    return layer


def _zone_layer(review: Review, placed: dict[str, Any]) -> Labels:
    """Return the outline of the zone of every accepted fold."""
    from napari.layers import Labels as LabelsLayer
    from napari.utils.colormaps import DirectLabelColormap

    layer = LabelsLayer(
        repair_layers.StageArray(review.repair.box.shape, np.uint8, review.zone),
        multiscale=False,
        name=ZONE,
        opacity=0.9,
        visible=False,
        colormap=DirectLabelColormap(color_dict={0: "transparent", None: _COLOUR}),
        metadata={layers.ROLE: "fold"},
        **placed,
    )
    layer.contour = 2
    layer.editable = False
    return layer


def _arrow_layer(review: Review, placed: dict[str, Any]) -> Vectors:
    """Return arrows from where tissue is to where it is moved."""
    from napari.layers import Vectors as VectorsLayer

    layer = VectorsLayer(
        _in_section(review.arrows()),
        ndim=3,
        name=ARROWS,
        edge_color=_COLOUR,
        edge_width=max(1.0, min(review.repair.box.shape) / 400),
        vector_style="arrow",
        visible=False,
        opacity=0.9,
        metadata={layers.ROLE: "fold"},
        **placed,
    )
    return layer


def _in_section(arrows: Any) -> Any:
    """Return arrows (N, 2, 2) of a section as arrows of a stack of one section, (N, 2, 3)."""
    return np.insert(arrows, 0, 0, axis=2)
