"""Who repairs the sections: threads here, or the workers of a dask.distributed cluster.

Both take tasks and put what happens into a queue: ``(z, fraction, message)`` while a section is
being repaired, its :class:`~.task.SectionOutcome` when it is done, an exception when the workers
themselves broke down.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from queue import Empty, Queue
from typing import Any, Protocol

from ..device import resolve_device
from ..errors import Cancelled, InputError, StoreError, first_line
from .records import FAILED
from .task import SectionOutcome, SectionTask, needs_torch, run_task

Events = Queue[tuple[int, float, str] | SectionOutcome | BaseException]
#: Seconds that workers get to notice that a batch was cancelled.
_GRACE = 3.0
#: Seconds until a scheduler has to answer.
_TIMEOUT = 10
#: Seconds between two looks at how many workers a cluster has.
_RECOUNT = 2.0
#: Sections sent to a cluster ahead of time, per thread of its workers.
_AHEAD = 2


class Control:
    """Pauses and cancels a batch, from any thread."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._go.set()
        self._cancelled = threading.Event()

    @property
    def paused(self) -> bool:
        """Whether the batch waits."""
        return not self._go.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether the batch is to end."""
        return self._cancelled.is_set()

    def pause(self) -> None:
        """Start no section; those in this process wait at their next step, others finish."""
        self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def cancel(self) -> None:
        """End the batch; what is staged stays staged."""
        self._cancelled.set()
        self._go.set()

    def check(self) -> None:
        """Wait while paused.

        Raises
        ------
        Cancelled
            If the batch is to end.
        """
        self._go.wait()
        if self.cancelled:
            raise Cancelled("the batch was cancelled")


class Workers(Protocol):
    """What repairs sections."""

    count: int

    def start(self, tasks: Sequence[SectionTask], events: Events, control: Control) -> None:
        """Begin."""
        ...

    def advance(self) -> None:
        """Do what is to be done now and then, in the caller's thread."""
        ...

    def stop(self) -> None:
        """End; wait a moment for what is still running."""
        ...


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices_for(methods: Sequence[str], device: str) -> list[str]:
    """Return the devices to spread sections over: every CUDA device where any is wanted."""
    if not needs_torch(methods):
        return ["cpu"]
    found = resolve_device(device)
    if found.startswith("cuda") and device in ("auto", "cuda"):
        import torch

        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [found]


class ThreadWorkers:
    """Threads of this process: one per core, or one per GPU.

    Parameters
    ----------
    workers
        How many; None for as many as there are cores, or GPUs where the method uses them.
    methods, device
        What is going to run, and on which device.
    """

    def __init__(self, workers: int | None, methods: Sequence[str], device: str) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"{workers} workers cannot repair anything; use at least 1.")
        self._devices = devices_for(methods, device)
        self.count = workers or (cores() if self._devices == ["cpu"] else len(self._devices))
        self._threads: list[threading.Thread] = []
        self._afterwards = ExitStack()

    def start(self, tasks: Sequence[SectionTask], events: Events, control: Control) -> None:
        """Begin."""
        self.count = min(self.count, len(tasks))
        self._afterwards.enter_context(threads_given_back())
        waiting: Queue[SectionTask] = Queue()
        for task in tasks:
            waiting.put(replace(task, all_cores=len(tasks) == 1))
        for number in range(self.count):
            device = self._devices[number % len(self._devices)]
            # A daemon: one that is deep in a computation does not hold up the end of a program
            # that was interrupted.
            thread = threading.Thread(
                target=_work,
                args=(waiting, device, events, control),
                name="flowinpaint batch",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()

    def advance(self) -> None:
        """Nothing needs to be done."""

    def stop(self) -> None:
        """Wait a moment for threads that were cancelled."""
        end = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))
        self._afterwards.close()


def _work(waiting: Queue[SectionTask], device: str, events: Events, control: Control) -> None:
    """Run one task after the other on a device, in the order of their sections."""

    def progress(z: int, fraction: float, message: str) -> None:
        control.check()
        events.put((z, fraction, message))

    with suppress(Empty):
        while not control.cancelled:
            task = waiting.get_nowait()
            events.put(run_task(replace(task, device=device), partial(progress, task.section.z)))


@contextmanager
def threads_given_back() -> Iterator[None]:
    """Give OpenCV and torch the threads back that they had before."""
    import cv2

    before = cv2.getNumThreads()
    torch: Any = sys.modules.get("torch")
    of_torch = torch.get_num_threads() if torch is not None else 0
    try:
        yield
    finally:
        cv2.setNumThreads(before)
        if of_torch:
            torch.set_num_threads(of_torch)


class ClusterWorkers:
    """The workers of a running dask.distributed scheduler; they come and go as they like.

    A section whose worker dies is given to another one by the scheduler. Stack, mask and staging
    folder must have the same paths everywhere.

    Parameters
    ----------
    scheduler
        Address, such as ``tcp://host:8786``, or a ``distributed.Client``.
    """

    def __init__(self, scheduler: Any) -> None:
        self._own = isinstance(scheduler, str)
        self._client = _connect(scheduler) if self._own else scheduler
        self.count, self._counted = max(self._threads(), 1), time.monotonic()
        self._waiting: list[SectionTask] = []
        self._running: dict[str, Any] = {}

    def _threads(self) -> int:
        return sum(self._client.nthreads().values())

    def start(self, tasks: Sequence[SectionTask], events: Events, control: Control) -> None:
        """Begin."""
        self._waiting = list(tasks)
        self._events, self._control = events, control
        self.advance()

    def advance(self) -> None:
        """Send sections, not all at once: what was not sent can be paused and cancelled."""
        if not self._waiting or self._control.paused or self._control.cancelled:
            return
        try:
            self._send()
        except Exception as error:  # distributed has many ways to say so
            raise StoreError(
                f"the dask scheduler no longer answers ({first_line(error)}); what was staged is "
                "kept: start a scheduler, and run the same command again."
            ) from error

    def _send(self) -> None:
        """Send as many sections as the workers can take."""
        if time.monotonic() - self._counted > _RECOUNT:
            self.count, self._counted = max(self._threads(), 1), time.monotonic()
        while self._waiting and len(self._running) < _AHEAD * self.count:
            task = self._waiting.pop(0)
            key = f"flowinpaint-{task.token.name}-{task.section.z}"
            future = self._client.submit(run_task, task, key=key, pure=False)
            self._running[key] = future
            future.add_done_callback(lambda f, z=task.section.z: self._done(f, z))

    def _done(self, future: Any, z: int) -> None:
        """Report a future that ended, well or not; called in a thread of the client."""
        try:
            outcome = future.result()
        except BaseException as error:
            reason = f"section {z} was lost by the cluster: {first_line(error)}"
            outcome = SectionOutcome(z, FAILED, reason)
        self._running.pop(future.key, None)
        self._events.put(outcome)

    def stop(self) -> None:
        """Take back what is not done, and let the cluster go."""
        with suppress(Exception):
            self._client.cancel(list(self._running.values()), force=True)
        if self._own:
            self._client.close(timeout=_GRACE)


def _connect(address: str) -> Any:
    """Return a client of the scheduler at an address."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "a cluster needs the package distributed; install it with "
            "pip install 'napari-flowinpaint[cluster]'"
        ) from None
    try:
        return Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no dask scheduler answers at {address} ({first_line(error)}); start one, or check "
            "the address."
        ) from error
