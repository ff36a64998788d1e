"""Run tasks in threads, with progress and cancelling, and answer in the GUI thread.

Not napari's ``thread_worker``: its function workers cannot be cancelled, its generator workers
swallow ``RuntimeError``, and both replace ``warnings.showwarning`` of the whole process while they
run, which two overlapping ones do not survive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from weakref import ref

from qtpy.QtCore import QCoreApplication, QObject, Signal

from ...core.errors import Cancelled
from ...core.types import Progress

#: Shortest time between two reports of progress, in seconds.
_INTERVAL = 0.2
#: Stands for what a job is about where nobody says otherwise.
_MEANT = object()


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
    waits
        Whether it leaves files.
    subject
        What it is about; None for nothing in particular.
    """

    def __init__(
        self,
        name: str,
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        lasting: bool,
        waits: bool = False,
        subject: object = None,
    ) -> None:
        self.name = name
        self.waits = waits
        self.subject = None if subject is None else ref(subject)
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
    meant
        Returns what a job that starts now is about; see :meth:`cancel_of`.

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
    _reported = Signal(object, float, str)

    def __init__(
        self, parent: QObject | None = None, meant: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(parent)
        self._meant = meant
        self._answered: Job | None = None
        self._aside = False
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="flowinpaint")
        self._jobs: dict[str, Job] = {}
        self._stopped = False
        self._ended.connect(self._on_ended)
        self._reported.connect(self._on_reported)
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
        waits: bool = False,
        about: object = _MEANT,
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
        waits
            True for a task that leaves files which the next of its kind resumes from: when it is
            cancelled, it answers once its thread has ended.
        about
            What it is about, which ends it when it is removed; None for nothing. Without it, what
            is meant when it starts.
        """
        if self._stopped:
            return
        if name in self._jobs:
            if self._jobs[name].lasting:
                return
            self._jobs[name].cancelled.set()
        subject = self._meant() if about is _MEANT else about
        job = Job(name, done, failed, lasting, waits, subject)
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
                raise Cancelled("cancelled; nothing was changed.")
            now = time.monotonic()
            if now - last >= _INTERVAL and not self._stopped:
                last = now
                self._reported.emit(job, float(fraction), message)

        return report

    def _on_reported(self, job: Job, fraction: float, message: str) -> None:
        """Pass on how far a job is (in the GUI thread), unless it has ended meanwhile."""
        if self._jobs.get(job.name) is job and not job.cancelled.is_set():
            with self._answering(job):
                self.progressed.emit(job.name, fraction, message)

    def _on_ended(self, job: Job, result: Any, error: Exception | None) -> None:
        """Deliver an answer (in the GUI thread), unless it is not wanted any more."""
        if self._stopped or self._jobs.get(job.name) is not job:
            return
        del self._jobs[job.name]
        if error is None and job.cancelled.is_set() and not job.lasting:
            error = Cancelled("cancelled; nothing was changed.")
        try:
            with self._answering(job):
                self._deliver(job, result, error)
        finally:
            self.changed.emit()

    def _deliver(self, job: Job, result: Any, error: Exception | None) -> None:
        try:
            if error is not None:
                job.failed(error)
            else:
                job.done(result)
        except Exception as raised:  # what the answer leads to may fail as well
            job.failed(raised)

    @contextmanager
    def _answering(self, job: Job) -> Iterator[None]:
        before = self._answered, self._aside
        self._answered = job
        self._aside = self.subject is not None and self.subject is not self._meant()
        try:
            yield
        finally:
            self._answered, self._aside = before

    @property
    def subject(self) -> object:
        """What is spoken of now: what the job is about that answers or reports, else what is meant.

        None where that is nothing in particular, or is gone.
        """
        if self._answered is None:
            return self._meant()
        subject = self._answered.subject
        return None if subject is None else subject()

    @property
    def aside(self) -> bool:
        """Whether what is spoken of was not what was meant when the job began to answer."""
        return self._aside

    def is_running(self, *names: str) -> bool:
        """Return whether a job of one of these kinds (of any, without names) is running."""
        return any(name in self._jobs for name in names) if names else bool(self._jobs)

    def cancel(self, *names: str) -> None:
        """Stop jobs; they answer ``failed(Cancelled)``.

        At once, though their threads may notice it seconds later; those that write answer when
        their threads have put everything right.
        """
        for name in names:
            job = self._jobs.get(name)
            if job is not None:
                job.cancelled.set()
                if not (job.lasting or job.waits):
                    self._on_ended(job, None, Cancelled("cancelled; nothing was changed."))

    def cancel_of(self, subject: object) -> None:
        """Stop the jobs that are about something, such as a layer that was removed."""
        about = [j.name for j in self._jobs.values() if j.subject and j.subject() is subject]
        self.cancel(*about)

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
