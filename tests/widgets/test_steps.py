"""Steps are done one by one, each in a turn of the event loop of its own."""

import gc

import numpy as np
import pytest
from napari.layers import Image

from napari_flowinpaint import adding


@pytest.fixture
def make_steps(qtbot):
    from qtpy.QtWidgets import QWidget

    from napari_flowinpaint._widgets._steps import Steps

    window = QWidget()
    qtbot.addWidget(window)
    failures = []

    def make():
        steps = Steps(failures.append, window)
        steps.failures = failures
        return steps

    return make


def test_steps_of_several_take_turns_and_tell_when_they_end(make_steps, qtbot):
    done, ended = [], []

    def work(name):
        for number in range(3):
            done.append(f"{name}{number}")
            yield

    first, second = make_steps(), make_steps()
    first.ended.connect(lambda: ended.append("first"))
    first.start(work("a"))
    second.start(work("b"))
    assert not done, "the event loop runs before the first step"
    qtbot.waitUntil(lambda: not first.running and not second.running)
    assert sorted(done) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert ended == ["first"]


def test_garbage_is_left_to_a_turn_of_its_own(make_steps, qtbot):
    seen = []

    def work():
        seen.append(gc.get_threshold()[0])
        yield
        raise ValueError("failed")

    steps = make_steps()
    steps.start(work())
    qtbot.waitUntil(lambda: bool(steps.failures))
    assert seen == [0]
    assert not steps.running
    qtbot.waitUntil(lambda: gc.get_threshold()[0] > 0)


def test_the_rest_is_done_at_once_or_not_at_all(make_steps):
    done = []

    def work():
        for number in range(3):
            done.append(number)
            yield

    steps = make_steps()
    steps.start(work())
    steps.stop()
    steps.finish()
    assert done == []
    steps.start(work())
    steps.finish()
    assert done == [0, 1, 2]
    assert not steps.running


@pytest.fixture
def window(make_napari_viewer):
    """Return a viewer, the drawings of its layers, and the forms of their controls."""
    viewer = make_napari_viewer()
    shown = viewer.window._qt_viewer
    return viewer, shown.canvas.layer_to_visual, shown.controls.widgets


def image():
    return Image(np.zeros((2, 8, 8)))


def drop(steps):
    steps.close()


@pytest.mark.parametrize("end", [list, drop])
def test_a_layer_is_added_in_three_steps(window, end):
    viewer, drawings, forms = window
    layer = image()
    steps = adding.adding_hidden(viewer, 0, layer)
    next(steps)
    assert layer in viewer.layers
    assert layer not in drawings, "else the steps are of no use any more"
    next(steps)
    assert layer in drawings
    assert layer not in forms, "else the steps are of no use any more"
    end(steps)
    form = forms[layer]
    viewer.layers.selection.active = layer
    viewer.add_image(np.zeros((2, 8, 8)))
    assert forms[layer] is form
    assert len(forms) == len(drawings) == 2


@pytest.mark.parametrize("end", [list, drop])
def test_a_layer_is_removed_in_three_steps(window, end):
    viewer, drawings, forms = window
    layer, other = viewer.add_image(np.ones((2, 8, 8))), viewer.add_image(np.ones((2, 8, 8)))
    steps = adding.removing(viewer, layer)
    next(steps)
    assert layer not in viewer.layers
    assert layer in drawings, "else the steps are of no use any more"
    other.visible = False
    viewer.dims.set_point(0, 1)
    next(steps)
    assert layer not in drawings
    assert layer in forms, "else the steps are of no use any more"
    end(steps)
    assert list(drawings) == list(forms) == [other]


def removed(viewer, layer):
    viewer.layers.remove(layer)


def moved(viewer, layer):
    viewer.layers.move(0, 2)


def joined(viewer, layer):
    viewer.layers.insert(0, Image(np.zeros((7, 9, 8))))
    assert viewer.dims.nsteps == (7, 9, 8)


def clicked_at(viewer, layer):
    viewer.layers.selection.clear()
    viewer.layers.selection.select_only(layer)
    viewer.layers.selection.toggle(layer)
    viewer.layers.selection.toggle(layer)


def another_removed(viewer, layer):
    viewer.layers.pop(0)


def hidden(viewer, layer):
    viewer.layers[0].visible = False
    layer.visible = True


@pytest.mark.parametrize("change", [removed, moved, joined, clicked_at, another_removed, hidden])
@pytest.mark.parametrize("steps_done", [1, 2])
def test_layers_may_change_while_one_is_added(window, change, steps_done):
    viewer, drawings, forms = window
    viewer.add_image(np.ones((2, 8, 8)))
    layer = image()
    steps = adding.adding_hidden(viewer, 1, layer)
    for _ in range(steps_done):
        next(steps)
    change(viewer, layer)
    list(steps)
    assert set(drawings) == set(forms) == set(viewer.layers)
    orders = [drawings[layer].order for layer in viewer.layers]
    assert orders == sorted(orders)


def test_two_layers_are_added_at_the_same_time(window):
    viewer, drawings, forms = window
    several = [adding.adding_hidden(viewer, 0, image()) for _ in range(2)]
    for steps in (*several, *several):
        next(steps)
        assert len(drawings) <= 1 or not forms
    for steps in several:
        list(steps)
    assert set(drawings) == set(forms) == set(viewer.layers)
    assert len(drawings) == 2


def test_a_layer_may_come_back_while_it_is_removed(window):
    viewer, drawings, forms = window
    layer = viewer.add_image(np.ones((2, 8, 8)))
    steps = adding.removing(viewer, layer)
    next(steps)
    viewer.add_layer(layer)
    list(steps)
    assert list(drawings) == list(forms) == [layer]


@pytest.fixture
def making_room(make_napari_viewer):
    """Return a viewer, its sliders, and the steps that give it the axes of a stack."""
    viewer = make_napari_viewer()
    sliders = viewer.window._qt_viewer.dims
    return viewer, sliders, adding.make_room(viewer, Image(np.zeros((5, 8, 8))))


def test_sliders_come_a_step_after_the_axes(making_room):
    viewer, sliders, steps = making_room
    next(steps)
    assert viewer.dims.ndim == 3
    assert sliders.nsliders == 2, "else the step is of no use any more"
    viewer.dims.set_range(0, (0, 3, 1))
    viewer.dims.last_used = 1
    next(steps)
    assert sliders.nsliders == 3
    assert list(steps) == [None] * 3
    assert sliders.slider_widgets[0].isVisibleTo(sliders)
    first = sliders.slider_widgets[0].slider
    assert (first.maximum(), first.value()) == (4, 2)
    viewer.dims.set_point(0, 4)
    assert first.value() == 4


@pytest.mark.parametrize("steps_done", [1, 2])
def test_sliders_come_where_the_steps_are_dropped(making_room, steps_done):
    viewer, sliders, steps = making_room
    for _ in range(steps_done):
        next(steps)
    steps.close()
    assert sliders.nsliders == 3
    assert sliders.parentWidget().layout().isEnabled()
    viewer.add_image(np.zeros((7, 8, 8)))
    assert sliders.slider_widgets[0].slider.maximum() == 6


def test_a_viewer_may_be_closed_before_the_sliders_come(making_room, monkeypatch):
    _, sliders, steps = making_room
    next(steps)

    def gone():
        raise RuntimeError("wrapped C/C++ object of type QtDims has been deleted")

    monkeypatch.setattr(sliders, "_update_display", gone)
    steps.close()


def test_room_is_made_in_three_dimensions_too(make_napari_viewer):
    viewer, layer = make_napari_viewer(), Image(np.zeros((5, 8, 8)))
    viewer.dims.ndisplay = 3
    list(adding.make_room(viewer, layer))
    viewer.add_layer(layer)
    assert viewer.dims.nsteps == (5, 8, 8)
    assert viewer.dims.ndisplay == 3
