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

    Each takes napari a third of the time. Where it draws, napari leaves out layers that have no
    drawing.
    """
    events = viewer.layers.events
    with ExitStack() as after:
        left = _Left(events.inserted, layer)
        with left.kept_back():
            add_hidden(viewer, position, layer)
        after.callback(left.do)  # also where nobody asks for the next step

        def on_removing(event: Any) -> None:
            if viewer.layers[event.index] is layer:
                left.do()

        def on_active(event: Any) -> None:  # clicked at in the list: its controls are shown
            if event.value is layer:
                left.do()

        active = viewer.layers.selection.events.active
        for emitter, act in ((events.removing, on_removing), (active, on_active)):
            emitter.connect(act)
            after.callback(emitter.disconnect, act)
        yield from left.steps()


class _Left:
    """What the window has still to do after a layer was added or removed.

    Parameters
    ----------
    emitter
        Of the event at which the window does it.
    layer
        The layer.
    """

    def __init__(self, emitter: EventEmitter, layer: Layer) -> None:
        found = (_callback_of(emitter, *part) for part in _PARTS)
        self._acts = [act for act in found if act is not None]
        self._emitter, self._layer = emitter, layer

    @contextmanager
    def kept_back(self) -> Iterator[None]:
        """Have the window not do it now."""
        with ExitStack() as deaf:
            for act in self._acts:
                deaf.enter_context(self._emitter.blocker(act))
            yield

    def steps(self) -> Iterator[None]:
        """Do one part after each step."""
        while self._acts:
            yield
            self._do_one()

    def do(self) -> None:
        """Do what is left."""
        while self._acts:
            self._do_one()

    def _do_one(self) -> None:
        from napari.utils.events import Event

        if self._acts:
            self._acts.pop(0)(Event("changed", value=self._layer))


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
    if layer not in viewer.layers:
        return
    layers = viewer.layers
    with ExitStack() as after:
        after.callback(bring_back)
        left = _Left(layers.events.removed, layer)
        set_aside()
        with left.kept_back():
            layers.remove(layer)
        after.callback(left.do)  # also where nobody asks for the next step

        def on_inserting(event: Any) -> None:  # the same layer, perhaps
            left.do()
            layers._clean_cache()  # filled by drawing; as napari leaves it when a layer comes

        layers.events.inserting.connect(on_inserting)
        after.callback(layers.events.inserting.disconnect, on_inserting)
        for _ in left.steps():
            yield
            set_aside()  # the session has brought it back when the layer went
