"""Add layers to a viewer and remove them, in steps that do not hold it up. No Qt.

What napari does for one layer takes nearly as long as a person notices; generators let the event
loop run in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .warm_up import set_aside

if TYPE_CHECKING:
    from napari.components import Dims, ViewerModel
    from napari.layers import Labels, Layer
    from napari.utils.events import EventEmitter

#: Names of napari's classes that show the axes, and the controls of layers.
_SLIDERS, _CONTROLS = "QtDims", "QtLayerControlsContainer"


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
    """Set the number of axes, in two steps: the axes, and then their sliders.

    Sliders that are not there yet hear nothing of the axes in between.
    """
    make_sliders = _callback_of(dims.events.ndim, _SLIDERS)
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
                make_sliders()
    yield


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
    """Do what :func:`add_hidden` does, in two steps: the layer, and the form of its controls.

    Either takes napari half of the time. The form has to be there before the layer is selected or
    removed.
    """
    from napari.utils.events import Event

    inserted, removing = viewer.layers.events.inserted, viewer.layers.events.removing
    make_form = _callback_of(inserted, _CONTROLS)
    if make_form is None:  # a viewer without a window, or of another version
        add_hidden(viewer, position, layer)
        return

    def finish(event: Any = None) -> None:
        removing.disconnect(finish)
        make_form(Event("inserted", value=layer))

    with inserted.blocker(make_form):
        add_hidden(viewer, position, layer)
    removing.connect(finish)
    try:
        yield
    finally:  # also where nobody asks for the next step
        if finish in removing.callbacks:
            finish()


def _callback_of(emitter: EventEmitter, owner: str) -> Callable[..., None] | None:
    """Return what an object of a class of napari's window does at an event, if there is one."""
    for callback in emitter.callbacks:
        found = callback[0]() if isinstance(callback, tuple) else None
        if type(found).__name__ == owner:
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
    """Remove a layer, if it is there.

    napari collects garbage whenever a layer goes, which holds up the viewer for a fifth of a
    second; it is left little to look through. The session brings the rest back afterwards.
    """
    if layer in viewer.layers:
        set_aside()
        viewer.layers.remove(layer)
