"""Steps are done one by one, each in a turn of the event loop of its own."""

import gc

import pytest


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
