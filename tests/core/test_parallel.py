"""Computations at once: results in order, reports in the calling thread, an end when asked."""

from __future__ import annotations

import threading
import time

import pytest

from napari_flowinpaint.core.errors import Cancelled
from napari_flowinpaint.core.parallel import alone, beside, reporting, together


def test_results_keep_their_order():
    def job(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number

    assert together([lambda n=n: job(n) for n in range(4)]) == [0, 1, 2, 3]


@pytest.mark.parametrize("at_once", [True, False])
def test_reports_come_from_the_calling_thread_and_rise_to_one(at_once):
    seen: list[tuple[float, int]] = []

    def job(note) -> int:
        for step in range(5):
            note(step / 4)
            time.sleep(0.03)
        return threading.get_ident()

    threads = reporting(
        [job, job], lambda share: seen.append((share, threading.get_ident())), at_once=at_once
    )
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {thread for _, thread in seen} == {threading.get_ident()}
    assert (threading.get_ident() in threads) is not at_once


@pytest.mark.parametrize("at_once", [True, False])
def test_a_report_that_raises_ends_the_jobs(at_once):
    ended = []

    def job(note) -> None:
        try:
            for _ in range(1000):
                note(0.1)
                time.sleep(0.005)
        finally:
            ended.append(True)

    def cancel(share: float) -> None:
        raise Cancelled("enough")

    started = time.monotonic()
    with pytest.raises(Cancelled, match="enough"):
        reporting([job, job], cancel, at_once=at_once)
    assert ended
    assert time.monotonic() - started < 4


def test_the_first_error_is_raised_and_ends_the_others():
    def fails(note) -> None:
        raise ValueError("broken")

    def lasts(note) -> None:
        for _ in range(1000):
            note(0.0)
            time.sleep(0.005)

    started = time.monotonic()
    with pytest.raises(ValueError, match="broken"):
        reporting([lasts, fails], lambda share: None)
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("at_once", [True, False])
def test_what_runs_beside_is_computed_once_and_in_turn(at_once):
    done: list[tuple[str, int]] = []

    def job(name: str) -> str:
        done.append((name, threading.get_ident()))
        return name

    with beside(at_once) as start:
        first, second = start(lambda: job("first")), start(lambda: job("second"))
        assert [second(), first(), first()] == ["second", "first", "first"]
    names, threads = zip(*done, strict=True)
    assert names == ("first", "second")
    assert (threading.get_ident() in threads) is not at_once


def test_beside_a_thread_that_is_alone_nothing_runs():
    with alone(), beside() as start:
        assert start(threading.get_ident)() == threading.get_ident()


def test_what_was_not_begun_is_not_done_after_an_error():
    begun, done = threading.Event(), []

    def fail() -> None:
        with beside() as start:
            start(lambda: (begun.set(), time.sleep(0.1), done.append("first")))
            start(lambda: done.append("second"))
            begun.wait(5)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert done == ["first"]
