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
        seen.append(gc.isenabled())
        yield
        raise ValueError("failed")

    steps = make_steps()
    steps.start(work())
    qtbot.waitUntil(lambda: bool(steps.failures))
    assert seen == [False]
    assert not steps.running
    qtbot.waitUntil(gc.isenabled)


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
def added(make_napari_viewer):
    """Return a viewer, the forms of its layers' controls, a layer, and the steps that add it."""
    viewer, layer = make_napari_viewer(), Image(np.zeros((2, 8, 8)))
    forms = viewer.window._qt_viewer.controls.widgets
    return viewer, forms, layer, adding.adding_hidden(viewer, 0, layer)


def test_the_form_of_a_layer_comes_a_step_later(added):
    viewer, forms, layer, steps = added
    next(steps)
    assert layer in viewer.layers
    assert layer not in forms, "else the steps are of no use any more"
    assert list(steps) == []
    form = forms[layer]
    viewer.layers.selection.active = layer
    viewer.add_image(np.zeros((2, 8, 8)))
    assert forms[layer] is form
    assert len(forms) == 2


def test_the_form_of_a_layer_comes_where_the_steps_are_dropped(added):
    _, forms, layer, steps = added
    next(steps)
    steps.close()
    assert layer in forms


def test_a_layer_whose_form_is_missing_may_be_removed(added):
    viewer, forms, _, steps = added
    next(steps)
    viewer.layers.clear()
    assert list(steps) == []
    assert not forms
