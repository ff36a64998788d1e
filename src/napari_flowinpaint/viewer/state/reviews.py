"""The repair under review in one viewer: its layers, stages and accepted components.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from psygnal import Signal

from ...core.types import AnyImage
from .. import camera, layers, repair_layers
from ..fold_layers import FoldLayers
from ..tasks.review import STAGES, Component, Review

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer


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
    staged
        Whether it is of a batch, which keeps it.
    split
        Column of the repair's box up to which the original is shown; None without a comparison.
    layers
        The stage layers by name.
    fold
        The layers that show what an unfolding moves.
    """

    changed = Signal()
    stage_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.current: Review | None = None
        self.image: Image | None = None
        self.staged = False
        self.split: int | None = None
        self.layers: dict[str, Image] = {}
        self.fold = FoldLayers()
        self._waiting: WeakKeyDictionary[Image, dict[int, Review]] = WeakKeyDictionary()

    def keep(self, image: Image, review: Review) -> None:
        """Let a repair wait until it is accepted or discarded; one per section, the newest."""
        self._waiting.setdefault(image, {})[review.z] = review
        self.changed.emit()

    def waiting(self, image: Image | None) -> tuple[Review, ...]:
        """Return the repairs of a stack that wait, by section."""
        if image is None:
            return ()
        found = self._waiting.get(image, {})
        return tuple(found[z] for z in sorted(found))

    @property
    def count(self) -> int:
        """How many repairs wait, of all stacks that are shown."""
        shown = [image for image in self._waiting if image in self.viewer.layers]
        return sum(len(self._waiting[image]) for image in shown)

    def open(self, image: Image, review: Review, *, staged: bool = False) -> Iterator[Layer]:
        """Show the four stages over the stack, in place of those of the last repair.

        Of an unfolding, also the zone and where tissue moves.

        Layers that lie over another stack are replaced.

        Returns
        -------
        iterator
            The layers, each once it is shown; to be exhausted by the caller, who may let the
            event loop run in between.
        """
        if image is not self.image:
            self.clear()
        self.current, self.image, self.staged = review, image, staged
        for layer in self._show_stages(image, review):
            layer.events.visible.disconnect(self._on_visible)
            layer.events.visible.connect(self._on_visible)
            yield layer
            if self.current is not review:
                return
        for shown in self.fold.open(self.viewer, image, review):
            yield shown
            if self.current is not review:
                return
        self.changed.emit()

    def _show_stages(self, image: Image, review: Review) -> Iterator[Image]:
        return repair_layers.show_stages(self.viewer, image, review, self.layers, self._picture)

    def _picture(self, review: Review, stage: str) -> AnyImage:
        """Return a stage, left of the line of a comparison the original."""
        picture = review.image(stage)
        if self.split is None or stage == "confidence" or self.split <= 0:
            return picture
        return np.hstack([review.original[:, : self.split], picture[:, self.split :]])

    def set_split(self, column: int | None) -> None:
        """Show the original left of a column of the repair's box; None for the stage alone."""
        if column != self.split:
            self.split = column
            for layer in self.layers.values():
                if layer.visible:
                    layer.refresh()

    def close(self) -> None:
        """Forget the repair; nothing is written. Its layers are hidden, for the next review."""
        if self.current is not None:
            found = self._waiting.get(self.image, {}) if self.image is not None else {}
            if found.get(self.current.z) is self.current:
                del found[self.current.z]
            self.current = None
            self.fold.close(self.viewer)
            self.show(None)
            self.changed.emit()

    def settle(self, image: Image, z: int) -> None:
        """Forget the repair of a section, which was accepted; others wait on."""
        if image is self.image and self.current is not None and self.current.z == z:
            self.close()
        elif self._waiting.get(image, {}).pop(z, None) is not None:
            self.changed.emit()

    def clear(self) -> None:
        """Remove the layers; the repair waits on, where it did."""
        self.fold.close(self.viewer)
        shown = list(self.layers.values())
        self.current = self.image = None
        self.layers.clear()
        for layer in shown:
            layers.remove(self.viewer, layer)

    def forget(self, layer: Any) -> None:
        """Note that a layer was removed from the viewer."""
        self.fold.forget(layer)
        for stage, shown in list(self.layers.items()):
            if shown is layer:
                del self.layers[stage]
        self._waiting.pop(layer, None)
        if layer is self.image:
            self.current = self.image = None
            self.changed.emit()

    def set_accepted(self, numbers: set[int], accepted: bool) -> None:
        """Accept or reject components; the result shows the original where rejected."""
        if self.current is None:
            return
        self.current.set_accepted(numbers, accepted)
        if "result" in self.layers:
            self.layers["result"].refresh()
        self.fold.refresh(self.current)
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
