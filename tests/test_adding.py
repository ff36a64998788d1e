"""Layers are added in small steps, and end up as if napari had added them at once."""

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_flowinpaint import adding

SHAPE = (5, 60, 80)


def stack():
    space = {"scale": (50, 4, 4), "units": ("nm",) * 3, "axis_labels": ("z", "y", "x")}
    return Image(np.zeros(SHAPE, np.uint8), **space)


def axes(viewer):
    dims = viewer.dims
    return (dims.ndim, dims.range, dims.current_step)


def test_an_empty_viewer_gets_the_axes_of_its_first_layer_before_the_layer():
    expected = ViewerModel()
    expected.add_layer(stack())
    viewer, layer = ViewerModel(), stack()
    list(adding.make_room(viewer, layer))
    assert axes(viewer) == axes(expected)
    adding.add_hidden(viewer, 0, layer)
    assert axes(viewer) == axes(expected)
    list(adding.make_room(viewer, Image(np.zeros((2, 3, 4, 5)))))
    assert axes(viewer) == axes(expected), "only an empty viewer"


def test_the_tools_of_a_labels_layer_come_later():
    data = np.zeros(SHAPE, np.uint8)
    viewer, layer, plain = ViewerModel(), Labels(data), Labels(data)
    drawn = {name for name, overlay in plain._overlays.items() if overlay.visible}
    steps = adding.add_labels(viewer, 0, layer)
    next(steps)
    assert layer in viewer.layers
    assert not layer.visible
    assert drawn, "else the steps are of no use any more"
    assert not any(overlay.visible for overlay in layer._overlays.values())
    list(steps)
    assert {name for name, overlay in layer._overlays.items() if overlay.visible} == drawn


def test_a_labels_layer_may_be_removed_meanwhile():
    viewer, layer = ViewerModel(), Labels(np.zeros(SHAPE, np.uint8))
    steps = adding.add_labels(viewer, 0, layer)
    next(steps)
    viewer.layers.clear()
    list(steps)
    assert list(adding.take_brush(viewer, layer)) == []
    adding.remove(viewer, layer)
