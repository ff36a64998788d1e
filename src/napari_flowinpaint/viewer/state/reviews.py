"""The repair under review in one viewer: its layers, stages and accepted components.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from .. import camera, layers
from ..tasks.review import STAGES, Component, Review

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class ReviewState(layers.ViewerState):
    """What is shown of a repair until it is accepted or discarded.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    changed
        Signal: another repair is under review, or none, or other components are accepted.
    stage_changed
        Signal: another stage is shown.
    current
        The repair under review.
    image
        The layer of the stack that it repairs.
    layers
        The stage layers by name.
    """

    changed = Signal()
    stage_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.current: Review | None = None
        self.image: Image | None = None
        self.layers: dict[str, Image] = {}

    def open(self, image: Image, review: Review) -> Iterator[Image]:
        """Show the four stages over the stack, in place of those of the last repair.

        Layers that lie over another stack are replaced.

        Returns
        -------
        iterator
            The layers, each once it is shown; to be exhausted by the caller, who may let the
            event loop run in between.
        """
        if image is not self.image:
            self._remove()
        self.current, self.image = review, image
        for layer in layers.show_stages(self.viewer, image, review, self.layers):
            layer.events.visible.disconnect(self._on_visible)
            layer.events.visible.connect(self._on_visible)
            yield layer
            if self.current is not review:
                return
        self.changed.emit()

    def close(self) -> None:
        """Forget the repair; nothing is written. Its layers are hidden, for the next review."""
        if self.current is not None:
            self.current = None
            self.show(None)
            self.changed.emit()

    def _remove(self) -> None:
        """Remove the layers."""
        shown = list(self.layers.values())
        self.current = self.image = None
        self.layers.clear()
        for layer in shown:
            layers.remove(self.viewer, layer)

    def forget(self, layer: Any) -> None:
        """Note that a layer was removed from the viewer."""
        for stage, shown in list(self.layers.items()):
            if shown is layer:
                del self.layers[stage]
        if layer is self.image:
            self._remove()
            self.changed.emit()

    def set_accepted(self, numbers: set[int], accepted: bool) -> None:
        """Accept or reject components; the result shows the original where rejected."""
        if self.current is None:
            return
        self.current.set_accepted(numbers, accepted)
        if "result" in self.layers:
            self.layers["result"].refresh()
        self.changed.emit()

    def center_on(self, component: Component) -> None:
        """Show a component in the middle of the canvas."""
        if self.current is not None and self.image is not None:
            camera.center_on(self.viewer, self.image, self.current.z, component.box)

    def show(self, stage: str | None) -> None:
        """Show one stage and hide the others; None hides all, so that the original is seen."""
        for name, layer in self.layers.items():
            layer.visible = name == stage

    def _on_visible(self, event: Any = None) -> None:
        self.stage_changed.emit()

    @property
    def shown(self) -> str | None:
        """The topmost visible stage; None while the original is seen."""
        visible = [name for name in STAGES if name in self.layers and self.layers[name].visible]
        return visible[-1] if visible else None

    def show_next(self) -> None:
        """Show the next of original, initial reference, refined reference, result, confidence."""
        if self.current is None:  # the layers of the last repair are there, hidden
            return
        order = [None, *STAGES]
        self.show(order[(order.index(self.shown) + 1) % len(order)])
