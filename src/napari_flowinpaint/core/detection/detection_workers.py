"""Search sections one after the other, in threads, or in processes of their own.

A section is some hundred short steps, and Python lets one thread at a time begin one: two threads
of a process are hardly faster than one, unless they wait for what they read. So a long search goes
to processes, each of which searches runs of sections that lie beside each other.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StoreError
from ..kinds import KINDS
from .detect_section import DetectionOptions, detect_section
from .detectors import Detector
from .features.sections import Sections
from .store import DamageSummary, Labels, tiles_of

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

    from ..io.stack import Stack

#: Sections that are searched at once, without their neighbours being measured again.
_RUN = 32
#: Seconds between two times that a waiting search can be cancelled.
_INTERVAL = 0.2
#: Seconds between two times that a process checks whether the one that started it is still there.
_WATCH = 1.0


@dataclass(frozen=True, slots=True)
class SectionSearch:
    """How sections are searched.

    Parameters
    ----------
    options
        See :class:`~napari_flowinpaint.core.detection.detect_section.DetectionOptions`.
    detectors
        Those that are used; None for all.
    """

    options: DetectionOptions
    detectors: Sequence[Detector] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SearchedSection:
    """What became of one section.

    Parameters
    ----------
    z
        Section number.
    labels
        (Y, X) uint8, 0 where intact; None where all of it is.
    found
        Its damage, one per kind.
    failure
        Why it could not be read; empty where it could.
    """

    z: int
    labels: Labels | None = None
    found: list[DamageSummary] = field(default_factory=list)
    failure: str = ""


#: A searched section without its labels; these, compressed; their shape.
_Packed = tuple[SearchedSection, bytes, tuple[int, int]]


def search_section(sections: Sections, z: int, search: SectionSearch) -> SearchedSection:
    """Return what becomes of one section."""
    try:
        damages = detect_section(sections, z, search.options, search.detectors)
    except StoreError as error:
        return SearchedSection(z, failure=str(error))
    if not damages:
        return SearchedSection(z)
    labels = np.zeros(damages[0].mask.shape, dtype=np.uint8)
    found = []
    for damage in damages:
        labels[damage.mask] = KINDS[damage.kind].label
        pixels = int(np.count_nonzero(damage.mask))
        found.append(DamageSummary(damage.kind, damage.score, pixels, tiles_of(damage.mask)))
    return SearchedSection(z, labels, found)


def search_in_order(
    sections: Sections, run: Sequence[int], search: SectionSearch
) -> Generator[SearchedSection, None, None]:
    """Yield what becomes of sections, in order."""
    with _one_thread_per_image():
        for z in run:
            yield search_section(sections, z, search)


def search_in_threads(
    sections: Sections, todo: Sequence[int], search: SectionSearch, workers: int
) -> Generator[SearchedSection, None, None]:
    """Yield what becomes of sections, nearly in order, for a stack that is in this process only."""
    left = iter(todo)
    pending: set[Future[SearchedSection]] = set()
    with _one_thread_per_image(), ThreadPoolExecutor(workers) as pool:
        while True:
            # few at a time: sections near each other are compared with the same ones
            for z in islice(left, workers + 1 - len(pending)):
                pending.add(pool.submit(search_section, sections, z, search))
            if not pending:
                return
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()


def search_in_processes(
    stack: Stack,
    todo: Sequence[int],
    search: SectionSearch,
    workers: int,
    waiting: Callable[[], None],
) -> Generator[SearchedSection, None, None]:
    """Yield what becomes of sections, in any order.

    Where the system lets no processes share what they need to, threads search.

    Parameters
    ----------
    stack
        One that can be opened again elsewhere.
    todo
        Section numbers, ascending.
    search
        How they are searched.
    workers
        Number of processes.
    waiting
        Called now and then; what it raises ends the search.

    Raises
    ------
    StoreError
        If a process was ended from outside.
    """
    from loky.process_executor import BrokenProcessPool

    opened = pickle.dumps(stack)
    runs = _runs(todo, workers)
    executor = _executor(min(workers, len(runs)))
    if executor is None:
        sections = Sections(stack, search.options.side, workers)
        yield from search_in_threads(sections, todo, search, workers)
        return
    done = False
    try:
        pending = {executor.submit(_search_run, opened, run, search) for run in runs}
        while pending:
            finished, pending = wait(pending, _INTERVAL, FIRST_COMPLETED)
            waiting()
            for future in finished:
                yield from map(_unpack, future.result())
        done = True
    except BrokenProcessPool as error:
        raise StoreError(
            "a search process was ended by the system, perhaps for lack of memory; search again "
            "with fewer workers: what was finished is kept."
        ) from error
    finally:
        executor.shutdown(wait=True, kill_workers=not done)


def _executor(workers: int) -> ProcessPoolExecutor | None:
    """Return what runs in processes that end with this one; None where there can be none."""
    from loky import ProcessPoolExecutor

    if multiprocessing.current_process().daemon:  # such as a worker of a cluster
        return None
    try:
        return ProcessPoolExecutor(workers, initializer=_end_with, initargs=(os.getpid(),))
    except (OSError, ImportError, NotImplementedError):  # no shared memory, or no semaphores in it
        return None


def _runs(todo: Sequence[int], workers: int) -> list[list[int]]:
    """Return sections that lie beside each other, in runs of which every worker has several."""
    length = min(max(len(todo) // (4 * workers), 1), _RUN)
    return [list(todo[n : n + length]) for n in range(0, len(todo), length)]


def _end_with(parent: int) -> None:
    """Let this process end when the one that started it is gone, though it waits to be heard."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _search_run(opened: bytes, run: Sequence[int], search: SectionSearch) -> list[_Packed]:
    """Return what becomes of sections (in a process of its own), small enough for many of them."""
    sections = _sections(opened, search.options.side)
    return [_pack(searched) for searched in search_in_order(sections, run, search)]


def _pack(searched: SearchedSection) -> _Packed:
    """Compress labels, which are as large as a section and nearly all alike."""
    labels = searched.labels
    if labels is None:
        return searched, b"", (0, 0)
    height, width = labels.shape
    return replace(searched, labels=None), zlib.compress(labels.tobytes(), 1), (height, width)


def _unpack(packed: _Packed) -> SearchedSection:
    searched, compressed, shape = packed
    if not compressed:
        return searched
    labels = np.frombuffer(zlib.decompress(compressed), dtype=np.uint8).reshape(shape)
    return replace(searched, labels=labels)


@lru_cache(maxsize=1)
def _sections(opened: bytes, side: int) -> Sections:
    """Return the views of a stack; a process keeps them from one run to the next."""
    return Sections(pickle.loads(opened), side)


@contextmanager
def _one_thread_per_image() -> Iterator[None]:
    """Let OpenCV use one thread: for small images, several cost more than they bring."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
