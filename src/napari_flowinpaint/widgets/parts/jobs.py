"""Run tasks in threads, with progress and cancelling, and answer in the GUI thread.

Not napari's ``thread_worker``: its function workers cannot be cancelled, its generator workers
swallow ``RuntimeError``, and both replace ``warnings.showwarning`` of the whole process while they
run, which two overlapping ones do not survive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, Signal

from ...core.errors import Cancelled
from ...core.types import Progress

#: Shortest time between two reports of progress, in seconds.
_INTERVAL = 0.2


class Job:
    """A task that runs in a thread.

    Parameters
    ----------
    name
        Kind of job; a new job of a kind replaces the one that runs.
    done, failed
        Called in the GUI thread with the result or the exception.
    lasting
        Whether it changes something that outlives it, see :meth:`JobRunner.start`.
    """

    def __init__(
        self,
        name: str,
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        lasting: bool,
    ) -> None:
        self.name = name
        self.done = done
        self.failed = failed
        self.lasting = lasting
        self.cancelled = threading.Event()


class JobRunner(QObject):
    """Runs jobs, at most one of a kind counting; answers of replaced ones are dropped.

    Parameters
    ----------
    parent
        Qt parent.

    Attributes
    ----------
    progressed
        Signal (name, fraction, message).
    changed
        Signal: a job started or ended.
    """

    progressed = Signal(str, float, str)
    changed = Signal()
    _ended = Signal(object, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="flowinpaint")
        self._jobs: dict[str, Job] = {}
        self._stopped = False
        self._ended.connect(self._on_ended)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.stop)

    def start(
        self,
        name: str,
        task: Callable[..., Any],
        *args: Any,
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        lasting: bool = False,
        **keywords: Any,
    ) -> None:
        """Run ``task(*args, progress=..., **keywords)`` in a thread.

        Parameters
        ----------
        name
            Kind of job. One of this kind that still runs is cancelled and its answer dropped.
        task
            What to do; must not touch layers or widgets.
        done
            Called in the GUI thread with what ``task`` returned.
        failed
            Called in the GUI thread with the exception; ``Cancelled`` if it was cancelled.
        lasting
            True for a task that writes: once it is done it cannot be cancelled any more, so its
            answer is delivered even if Cancel came at the last moment, and a second job of
            its kind does not replace it but is ignored.
        """
        if self._stopped:
            return
        if name in self._jobs:
            if self._jobs[name].lasting:
                return
            self._jobs[name].cancelled.set()
        job = Job(name, done, failed, lasting)
        self._jobs[name] = job
        self._pool.submit(self._run, job, task, args, keywords)
        self.changed.emit()

    def _run(
        self, job: Job, task: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        """Run the task (in the thread) and send its answer to the GUI thread."""
        result, error = None, None
        try:
            result = task(*args, progress=self._reporter(job), **keywords)
        except Exception as raised:
            error = raised
        if not self._stopped:
            self._ended.emit(job, result, error)

    def _reporter(self, job: Job) -> Progress:
        """Return the callback by which a task reports and is cancelled."""
        last = 0.0

        def report(fraction: float, message: str) -> None:
            nonlocal last
            if job.cancelled.is_set():
                raise Cancelled("cancelled; nothing was changed")
            now = time.monotonic()
            if now - last >= _INTERVAL and not self._stopped:
                last = now
                self.progressed.emit(job.name, float(fraction), message)

        return report

    def _on_ended(self, job: Job, result: Any, error: Exception | None) -> None:
        """Deliver an answer (in the GUI thread), unless it is not wanted any more."""
        if self._stopped or self._jobs.get(job.name) is not job:
            return
        del self._jobs[job.name]
        if error is None and job.cancelled.is_set() and not job.lasting:
            error = Cancelled("cancelled; nothing was changed")
        try:
            if error is not None:
                job.failed(error)
            else:
                job.done(result)
        except Exception as raised:  # what the answer leads to may fail as well
            job.failed(raised)
        finally:
            self.changed.emit()

    def is_running(self, *names: str) -> bool:
        """Return whether a job of one of these kinds (of any, without names) is running."""
        return any(name in self._jobs for name in names) if names else bool(self._jobs)

    def cancel(self, *names: str) -> None:
        """Ask jobs to stop; they answer ``failed(Cancelled)``."""
        for name in names:
            if name in self._jobs:
                self._jobs[name].cancelled.set()

    def stop(self) -> None:
        """Cancel everything and wait until all threads are done; nothing is delivered any more.

        A write that has begun is rolled back. Called when the dock or the viewer closes: a
        thread that outlives the application would abort the process.
        """
        self._stopped = True
        for job in self._jobs.values():
            job.cancelled.set()
        self._jobs.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)
