"""What follows when layers are removed: whatever belonged to a stack goes with it. No Qt.

Called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from . import layers, repair_layers
from .repairing import Repairing
from .state.comparison import Comparison
from .state.drawing import DrawingState
from .state.no_data_state import NoDataState

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer


class Removing(Repairing):
    """Ends what belongs to a stack whose layer is removed, in whatever way.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    stack_removed
        Signal (image): an image layer was removed; what belongs to it ends.
    no_data, drawing, comparison
        The outline of what was imaged; outlines that are drawn around damage; the line between
        original and repair.
    later
        Calls something in the next iteration of the event loop; set by the docks, and without
        one :func:`never`.
    """

    stack_removed = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.no_data = NoDataState(viewer)
        self.drawing = DrawingState(viewer)
        self.comparison = Comparison(viewer, self.review)
        self.later: Callable[[Callable[[], None]], None] = never
        viewer.layers.events.removed.connect(self._on_removed)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self.masks.forget(layer)
        self.review.forget(layer)
        self.refusals.forget(layer)
        self.accepted.forget(layer)
        self.comparison.forget(layer)
        if layer is self.image:
            self.fall_back()
        if layers.is_stack(layer):
            self.stack_removed.emit(layer)
            self.later(partial(self._remove_orphans, layer))

    def _remove_orphans(self, image: Image) -> None:
        """Remove what belongs to a stack that was removed.

        Not while napari removes layers, which may be all of them.
        """
        if image in self.viewer.layers:  # it was moved
            return
        orphans = [self.masks.layer(image), *self.accepted.layers_of(image)]
        orphans += [self.no_data.forget(image), self.drawing.forget(image)]
        if self.refusals.image is None:
            orphans.append(self.refusals.layer)
            self.refusals.layer = None
        if self.review.image is None:
            orphans += [*self.review.layers.values(), *self.review.fold.layers]
        stack = self.stack_of(image)
        if stack is not None:
            marks = repair_layers.marks_of(self.viewer, stack)
            if str(stack.path) not in (str(other.path) for _, other in self.shown_stacks()):
                orphans.append(marks)
        self._remove_in_turn([layer for layer in orphans if layer is not None])

    def _remove_in_turn(self, doomed: list[Layer]) -> None:
        """Remove layers, one per iteration of the event loop, so that napari draws in between."""
        while doomed:
            layer = doomed.pop()
            if layer in self.viewer.layers:
                layers.remove(self.viewer, layer)
                self.later(partial(self._remove_in_turn, doomed))
                return


def never(what: Callable[[], None]) -> None:
    """Do not do it: no dock is open that has an event loop to wait for."""
