"""Threads: progress, cancelling, replacing, errors, and waiting for the end."""

import threading
import time

import pytest

from napari_flowinpaint.core.errors import Cancelled, InputError
from napari_flowinpaint.widgets.parts.jobs import JobRunner


@pytest.fixture
def runner(qtbot):
    runner = JobRunner()
    yield runner
    runner.stop()


@pytest.fixture
def answers():
    class Answers(list):
        def done(self, result):
            self.append(("done", result, threading.current_thread() is threading.main_thread()))

        def failed(self, error):
            self.append(("failed", error, threading.current_thread() is threading.main_thread()))

    return Answers()


def steps(count, seconds=0.02, *, progress):
    for i in range(count):
        progress(i / count, f"step {i}")
        time.sleep(seconds)
    return count


def start(runner, answers, work, *args, name="job", **keywords):
    runner.start(name, work, *args, done=answers.done, failed=answers.failed, **keywords)


def test_the_answer_and_the_progress_arrive_in_the_gui_thread(qtbot, runner, answers):
    seen = []
    runner.progressed.connect(lambda *report: seen.append((report, threading.current_thread())))
    start(runner, answers, steps, 30)
    assert runner.is_running("job")
    qtbot.waitUntil(lambda: bool(answers), timeout=60_000)
    assert answers == [("done", 30, True)]
    assert not runner.is_running()
    assert 2 <= len(seen) < 30, "reported, but not with every step"
    assert {thread for _, thread in seen} == {threading.main_thread()}
    assert seen[0][0] == ("job", 0.0, "step 0")


def test_a_cancelled_job_stops_early(qtbot, runner, answers):
    began = threading.Event()

    def work(*, progress):
        began.set()
        return steps(1000, 0.01, progress=progress)

    start(runner, answers, work)
    assert began.wait(5)
    runner.cancel("job")
    qtbot.waitUntil(lambda: bool(answers), timeout=60_000)
    assert answers[0][0] == "failed"
    assert isinstance(answers[0][1], Cancelled)


def test_a_job_that_ends_in_spite_of_a_cancel_counts_as_cancelled(qtbot, runner, answers):
    go = threading.Event()
    start(runner, answers, lambda *, progress: go.wait(5))
    runner.cancel("job")
    go.set()
    qtbot.waitUntil(lambda: bool(answers), timeout=60_000)
    assert isinstance(answers[0][1], Cancelled)


def test_a_new_job_of_a_kind_replaces_the_old_one(qtbot, runner, answers):
    go = threading.Event()

    def slow(*, progress):
        go.wait(5)
        return "old"

    start(runner, answers, slow)
    start(runner, answers, steps, 3)
    start(runner, answers, steps, 4, name="other")
    go.set()
    qtbot.waitUntil(lambda: len(answers) == 2, timeout=60_000)
    qtbot.wait(100)
    assert sorted(answer[1] for answer in answers) == [3, 4], "the old answer is dropped"


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), InputError("no"), KeyError("x")])
def test_errors_arrive_whatever_their_type(qtbot, runner, answers, error):
    def work(*, progress):
        raise error

    start(runner, answers, work)
    qtbot.waitUntil(lambda: bool(answers), timeout=60_000)
    assert answers == [("failed", error, True)]
    assert not runner.is_running()


def test_an_error_while_showing_the_answer_is_reported_as_well(qtbot, runner, answers):
    def done(result):
        raise InputError("stale")

    runner.start("job", steps, 1, done=done, failed=answers.failed)
    qtbot.waitUntil(lambda: bool(answers), timeout=60_000)
    assert str(answers[0][1]) == "stale"


def test_stop_waits_for_the_threads_and_delivers_nothing(qtbot, runner, answers):
    ended = threading.Event()

    def work(*, progress):
        try:
            return steps(1000, 0.01, progress=progress)
        finally:
            time.sleep(0.1)
            ended.set()

    start(runner, answers, work)
    qtbot.wait(50)
    runner.stop()
    assert ended.is_set()
    qtbot.wait(50)
    assert not answers
    start(runner, answers, steps, 1)
    assert not runner.is_running(), "nothing starts any more"


def test_a_write_is_reported_even_if_cancelled_at_the_last_moment(qtbot, runner, answers):
    wrote, go_on = threading.Event(), threading.Event()

    def work(*, progress):
        progress(0.5, "writing")
        wrote.set()
        go_on.wait(5)
        return "written"

    start(runner, answers, work, lasting=True)
    assert wrote.wait(5)
    runner.cancel("job")
    go_on.set()
    qtbot.waitUntil(lambda: bool(answers), timeout=60_000)
    assert answers == [("done", "written", True)]


def test_work_that_writes_is_not_replaced(qtbot, runner, answers):
    go_on = threading.Event()

    def work(answer, *, progress):
        go_on.wait(5)
        return answer

    start(runner, answers, work, "first", lasting=True)
    start(runner, answers, work, "second", lasting=True)
    go_on.set()
    qtbot.waitUntil(lambda: not runner.is_running(), timeout=60_000)
    qtbot.wait(50)
    assert answers == [("done", "first", True)]
