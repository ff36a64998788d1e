"""Ctrl-C waits for what must not be cut in two."""

import os
import signal
import threading

import pytest

from napari_flowinpaint.cli._console import uninterrupted


@pytest.fixture(autouse=True)
def handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def interrupted(times, done):
    with uninterrupted():
        for _ in range(times):
            interrupt()
        done.append(True)


def test_an_interrupt_waits_for_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(1, done)
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_does_not_wait():
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(2, done)
    assert not done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_is_raised_and_an_error_goes_first():
    class Wrong(list):
        def append(self, item):
            raise ValueError("wrong")

    done = []
    interrupted(0, done)
    assert done
    with pytest.raises(ValueError, match="wrong"):
        interrupted(1, Wrong())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_are_left_alone():
    done = []

    def work():
        with uninterrupted():
            done.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
