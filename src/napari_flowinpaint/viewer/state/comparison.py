"""A line over the canvas: the original on its left, the repair on its right. No Qt.

napari clips layers by planes in 3-D only, so the stage itself is composed of both; the line is a
layer of shapes that is moved with the mouse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import camera, layers
from .reviews import ReviewState

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

#: How near to the line the mouse takes it, pixels of the screen.
_REACH = 10
_COLOUR = "#ffd34d"


class Comparison(layers.ViewerState):
    """The line; there is none until :meth:`toggle`.

    Parameters
    ----------
    viewer
        The viewer.
    review
        The repair under review.

    Attributes
    ----------
    line
        The layer with the line; None while nothing is compared.
    """

    def __init__(self, viewer: ViewerModel, review: ReviewState) -> None:
        super().__init__(viewer)
        self.review = review
        self.line: Shapes | None = None
        self._shown: Any = None
        review.changed.connect(self._on_review)

    def toggle(self) -> None:
        """Show the line in the middle of what is in sight, or take it away."""
        if self.line is not None:
            self.stop()
        elif self.review.current is not None and self.review.image is not None:
            self._start()

    def _start(self) -> None:
        from napari.layers import Shapes as ShapesLayer

        image = self.review.image
        assert image is not None
        self._shown = self.review.current
        if self.review.shown is None:
            self.review.show("result")
        self.line = ShapesLayer(
            ndim=3,
            name="original | repair",
            metadata={layers.ROLE: "comparison"},
            **camera.placed_like(image),
        )
        layers.add_hidden(self.viewer, len(self.viewer.layers), self.line)
        self.line.visible = True
        if self._drag not in self.viewer.mouse_drag_callbacks:
            self.viewer.mouse_drag_callbacks.append(self._drag)
        self.move_to(self._column_at(camera.centre(self.viewer)))

    def move_to(self, column: float) -> None:
        """Put the line at a column of the section."""
        review, image, line = self.review.current, self.review.image, self.line
        if review is None or image is None or line is None:
            return
        height, width = layers.zyx_shape(image)[1:]
        column = float(np.clip(column, 0, width))
        ends = np.array([(review.z, -0.5, column - 0.5), (review.z, height - 0.5, column - 0.5)])
        line.data = []
        thick = max(1.0, camera.pixel_of_screen(self.viewer, image) * 2)
        line.add_lines([ends], edge_color=_COLOUR, edge_width=thick)
        line.selected_data = set()
        line.editable = False
        self.review.set_split(round(column) - review.repair.box.x0)

    def stop(self) -> None:
        """Take the line away; the whole of the stage is seen."""
        line, self.line, self._shown = self.line, None, None
        if self._drag in self.viewer.mouse_drag_callbacks:
            self.viewer.mouse_drag_callbacks.remove(self._drag)
        if line is not None:
            layers.remove(self.viewer, line)
        self.review.set_split(None)

    def forget(self, layer: Any) -> None:
        """Note that a layer was removed from the viewer: without the line nothing is compared."""
        if layer is self.line:
            self.stop()

    def _on_review(self) -> None:
        """Follow the review: the line ends with it, and moves to the next one."""
        if self.line is None:
            return
        if self.review.current is None or self.line not in self.viewer.layers:
            self.stop()
        elif self.review.current is not self._shown:
            self._shown = self.review.current
            self.move_to(self._column_at(camera.centre(self.viewer)))

    def _column_at(self, position: Any) -> float:
        """Return the column of the section at a point of the world, kept within the repair."""
        review, image = self.review.current, self.review.image
        assert review is not None
        assert image is not None
        column = camera.pixel_at(self.viewer, image, position)[2] + 0.5
        return float(np.clip(column, review.repair.box.x0, review.repair.box.x1))

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the line with the mouse, where it was taken."""
        image, line = self.review.image, self.line
        if image is None or line is None or not line.nshapes:
            return
        column = camera.pixel_at(self.viewer, image, event.position)[2]
        reach = _REACH * camera.pixel_of_screen(self.viewer, image)
        if abs(column - float(np.asarray(line.data[0])[0, 2])) > reach:
            return
        event.handled = True
        yield
        while event.type == "mouse_move":
            event.handled = True
            self.move_to(camera.pixel_at(self.viewer, image, event.position)[2] + 0.5)
            yield
