"""Add layers to a viewer and remove them, in steps that do not hold it up. No Qt.

What napari does for one layer takes nearly as long as a person notices; generators let the event
loop run in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .warm_up import bring_back, set_aside

if TYPE_CHECKING:
    from napari.components import Dims, ViewerModel
    from napari.layers import Labels, Layer
    from napari.utils.events import EventEmitter

#: Name of napari's class that shows the axes.
_SLIDERS = "QtDims"
#: What takes long of what the window does when a layer comes or goes, by class and method.
_PARTS = (
    ("QtViewer", "_on_add_layer_change"),
    ("VispyCanvas", "_remove_layer"),
    ("QtLayerControlsContainer", "_add"),
    ("QtLayerControlsContainer", "_remove"),
)


def make_room(viewer: ViewerModel, layer: Layer) -> Iterator[None]:
    """Give an empty viewer the axes of its first layer, step by step.

    napari would do it when the layer is added: sliders appear, the canvas shrinks and is drawn.
    """
    if len(viewer.layers):
        return
    dims, extent = viewer.dims, layer.extent
    yield from _adding_axes(dims, layer.ndim)
    dims.range = tuple(zip(*extent.world, extent.step, strict=True))
    yield
    dims.current_step = [(steps - 1) // 2 for steps in dims.nsteps]
    yield


def _adding_axes(dims: Dims, count: int) -> Iterator[None]:
    """Set the number of axes, in three steps: the axes, their sliders, and the room for these.

    Sliders that are not there yet hear nothing of the axes in between.
    """
    make_sliders = _callback_of(dims.events.ndim, _SLIDERS)
    with ExitStack() as still:
        try:
            with ExitStack() as deaf:
                for emitter in dims.events.emitters.values():
                    hears = _callback_of(emitter, _SLIDERS)
                    if hears is not None:
                        deaf.enter_context(emitter.blocker(hears))
                dims.ndim = count
                yield
        finally:  # also where nobody asks for the next step
            if make_sliders is not None:  # None: a viewer without a window, or of another version
                with suppress(RuntimeError):  # the window was closed meanwhile
                    still.enter_context(_laid_out_later(make_sliders))
                    make_sliders()
        yield
    yield


@contextmanager
def _laid_out_later(method: Callable[..., None]) -> Iterator[None]:
    """Leave everything beside the widget that a method is of where it is until the end."""
    layout = method.__self__.parentWidget().layout()  # type: ignore[attr-defined]
    layout.setEnabled(False)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the window was closed meanwhile
            layout.setEnabled(True)
            layout.invalidate()
            layout.activate()


def add_hidden(viewer: ViewerModel, position: int, layer: Layer) -> None:
    """Insert a layer, hidden and without selecting it.

    The user goes on with the brush in hand: napari selects what is inserted, and swapping the
    layer controls there and back takes longer than adding the layer, hence nobody is told. What
    is hidden is added faster; it is shown in a step of its own.
    """
    layer.visible = False
    selection = viewer.layers.selection
    selected = set(selection)
    with selection.events.blocker_all():
        viewer.layers.insert(position, layer)
        selection.intersection_update(selected)
        selection.update(selected)


def adding_hidden(viewer: ViewerModel, position: int, layer: Layer) -> Iterator[None]:
    """Do what :func:`add_hidden` does, step by step: the layer, its drawing, and its controls.

    Each takes napari a third of the time.
    """
    change = partial(add_hidden, viewer, position, layer)
    yield from _in_parts(viewer, viewer.layers.events.inserted, layer, change)


def _in_parts(
    viewer: ViewerModel, emitter: EventEmitter, layer: Layer, change: Callable[[], None]
) -> Iterator[None]:
    """Add or remove a layer; what the window does at that follows, one part per step.

    What is left is done at once before layers come, go or are moved, since napari relies on it
    then, and where nobody asks for the next step. Where it draws, napari leaves out layers that
    have no drawing.
    """
    from napari.utils.events import Event

    left = [act for act in (_callback_of(emitter, *part) for part in _PARTS) if act is not None]
    layers = viewer.layers
    events = layers.events

    def follow() -> None:
        left.pop(0)(Event("changed", value=layer))

    def rest(event: Any = None) -> None:
        while left:
            follow()
        layers._clean_cache()  # filled by drawing; as napari leaves it when a layer comes

    with ExitStack() as deaf:
        for act in left:
            deaf.enter_context(emitter.blocker(act))
        change()
    for earlier in (events.inserting, events.removing, events.reordered):
        earlier.connect(rest)
    try:
        while left:
            yield
            if left:
                follow()
    finally:  # also where nobody asks for the next step
        rest()
        for earlier in (events.inserting, events.removing, events.reordered):
            earlier.disconnect(rest)


def _callback_of(emitter: EventEmitter, owner: str, name: str = "") -> Callable[..., None] | None:
    """Return what an object of a class of napari's window does at an event, if there is one."""
    for callback in emitter.callbacks:
        found = callback[0]() if isinstance(callback, tuple) else None
        if type(found).__name__ == owner and name in ("", callback[1]):
            act: Callable[..., None] = getattr(found, callback[1])
            return act
    return None


def add_labels(viewer: ViewerModel, position: int, layer: Labels) -> Iterator[None]:
    """Insert a labels layer, hidden and without selecting it, step by step.

    The first steps insert it. The drawings of its polygon and brush tools, which napari makes
    with the layer and which take as long as the layer itself, follow one by one.
    """
    drawings = [drawing for drawing in layer._overlays.values() if drawing.visible]
    for drawing in drawings:
        drawing.visible = False
    yield from adding_hidden(viewer, position, layer)
    for drawing in drawings:
        yield
        if layer in viewer.layers:  # not removed meanwhile
            drawing.visible = True


def take_brush(viewer: ViewerModel, layer: Labels) -> Iterator[None]:
    """Show and select a mask and take the brush in hand, step by step."""
    for step in (
        partial(setattr, layer, "visible", True),
        partial(setattr, viewer.layers.selection, "active", layer),
        partial(setattr, layer, "mode", "paint"),
    ):
        if layer not in viewer.layers:  # removed meanwhile
            return
        step()
        yield


def remove(viewer: ViewerModel, layer: Layer) -> None:
    """Do at once what :func:`removing` does."""
    for _ in removing(viewer, layer):
        pass


def removing(viewer: ViewerModel, layer: Layer) -> Iterator[None]:
    """Remove a layer, if it is there, step by step: the layer, its drawing, and its controls.

    napari collects garbage whenever a layer goes, which holds up the viewer for a fifth of a
    second; it is left little to look through. The rest is brought back afterwards.
    """
    if layer in viewer.layers:
        change = partial(viewer.layers.remove, layer)
        set_aside()
        for _ in _in_parts(viewer, viewer.layers.events.removed, layer, change):
            yield
            set_aside()  # the session has brought it back when the layer went
        bring_back()
