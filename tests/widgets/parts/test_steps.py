"""Steps are done one by one, each in a turn of the event loop of its own."""

import pytest


@pytest.fixture
def make_steps(qtbot):
    from qtpy.QtWidgets import QWidget

    from napari_flowinpaint.widgets.parts.steps import Steps

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


def test_a_step_that_fails_is_the_last(make_steps, qtbot):
    ended = []

    def work():
        yield
        raise ValueError("failed")
        yield

    steps = make_steps()
    steps.ended.connect(lambda: ended.append(len(steps.failures)))
    steps.start(work())
    qtbot.waitUntil(lambda: bool(ended))
    assert ended == [1]
    assert not steps.running


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
