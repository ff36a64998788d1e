"""Threads take short turns while work runs beside the viewer."""

from __future__ import annotations

import sys
import threading

import pytest

from napari_flowinpaint.turns import short_turns


@pytest.fixture(autouse=True)
def usual():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


def test_turns_are_short_inside_only():
    with short_turns():
        assert sys.getswitchinterval() == pytest.approx(5e-4, abs=2e-6)
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_shorter_ones_are_left():
    sys.setswitchinterval(1e-4)
    with short_turns():
        assert sys.getswitchinterval() == pytest.approx(1e-4, abs=2e-6)
    assert sys.getswitchinterval() == pytest.approx(1e-4, abs=2e-6)


def test_the_last_one_out_restores():
    first, second = threading.Event(), threading.Event()

    def overlap():
        with short_turns():
            first.set()
            second.wait(10)

    thread = threading.Thread(target=overlap)
    with short_turns():
        thread.start()
        assert first.wait(10)
    assert sys.getswitchinterval() == pytest.approx(5e-4, abs=2e-6), "the other one is still inside"
    second.set()
    thread.join()
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_restored_after_an_error():
    with pytest.raises(KeyError), short_turns():
        raise KeyError
    assert sys.getswitchinterval() == pytest.approx(0.005)
