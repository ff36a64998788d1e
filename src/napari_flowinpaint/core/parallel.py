"""Run a few independent computations at once.

NumPy, OpenCV and torch release Python's lock while they compute, so threads are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event
from typing import Protocol, TypeVar

from .errors import Cancelled

T = TypeVar("T")
#: Called with the share of a computation that is done; may raise to stop it.
Report = Callable[[float], None]
#: Seconds between two looks at computations that run.
_INTERVAL = 0.05
#: Of larger images one is computed after the other, to save memory.
_MOST_AT_ONCE = 1024 * 1024
_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Let this thread compute one thing after the other: others use the other processors."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def together(jobs: Sequence[Callable[[], T]], workers: int = 2) -> list[T]:
    """Return the results of jobs that run at once, at most ``workers`` of them."""
    if _ALONE.get():
        return [job() for job in jobs]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda job: job(), jobs))


class Start(Protocol):
    """Starts a computation; returns what waits for its result and returns it."""

    def __call__(self, job: Callable[[], T]) -> Callable[[], T]:
        """Start ``job``."""
        ...


@contextmanager
def beside(at_once: bool = True) -> Iterator[Start]:
    """Yield what starts a computation in one more thread: what others do not wait for yet.

    They follow one another there. Where they are not to run at once with the thread that starts
    them, as in an :func:`alone` one, each runs in it when it is started.
    """
    if not at_once or _ALONE.get():
        yield _here
        return
    pool = ThreadPoolExecutor(1, initializer=_ALONE.set, initargs=(True,))
    try:
        yield lambda job: pool.submit(job).result
    finally:
        pool.shutdown(cancel_futures=True)


def _here(job: Callable[[], T]) -> Callable[[], T]:
    """Run a computation here and now."""
    result = job()
    return lambda: result


def workers_for(pixels: int) -> int:
    """Return how many images of so many pixels are computed at once."""
    return 2 if pixels <= _MOST_AT_ONCE else 1


def reporting(
    jobs: Sequence[Callable[[Report], T]], report: Report, *, at_once: bool = True
) -> list[T]:
    """Return the results of jobs that tell how far they are.

    Parameters
    ----------
    jobs
        Each is called with a function it has to call with its share, 0..1, now and then.
    report
        Called in the calling thread only, with the share of all. What it raises (``Cancelled``)
        ends the jobs at their next call, and is raised here after they have ended.
    at_once
        Whether all run in threads of their own; otherwise one after the other, in this thread,
        which needs less memory.
    """
    if not at_once or len(jobs) == 1 or _ALONE.get():
        results = []
        for number, job in enumerate(jobs):

            def part(share: float, number: int = number) -> None:
                report((number + share) / len(jobs))

            results.append(job(part))
        return results
    stop, shares = Event(), [0.0] * len(jobs)

    def run(number: int) -> T:
        def note(share: float) -> None:
            if stop.is_set():
                raise Cancelled("cancelled; nothing was changed")
            shares[number] = share

        return jobs[number](note)

    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(run, number) for number in range(len(jobs))]
        try:
            pending = set(futures)
            while pending:
                done, pending = wait(pending, _INTERVAL, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                report(sum(shares) / len(jobs))
        except BaseException:
            stop.set()
            raise
        return [future.result() for future in futures]
