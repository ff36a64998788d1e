"""One task of a batch: repair one section and put it into the staging folder.

It takes nothing that cannot be sent to another process or machine: the stack opens itself again
where it arrives, the masks are in the staging folder. It finds out by itself whether the section
is there already, made from the very same pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..._version import __version__
from ..device import limit_spinning
from ..errors import Cancelled, FlowInpaintError, RepairRefused, StoreError, first_line
from ..methods import Method
from ..parallel import alone
from ..refusal import Refusal
from ..repair.adapted import adapted_weights
from ..repair.gap_windows import GAP, sections_around
from ..repair.neighbours import further_sections, no_masks
from ..repair.repair_section import WindowPlan
from ..repair_options import RepairOptions
from ..types import AnyImage, BoolImage, Progress, no_progress
from ..writing.marks import marks_of
from .plan import SectionPlan
from .records import FAILED, REFUSED, REPAIRED, StagedRecord
from .seal import SealKey
from .staged_masks import StagedMasks
from .staging_folder import StagingFolder

if TYPE_CHECKING:
    from ..io.stack import Stack

CANCELLED = "cancelled"
_WITHOUT_NETWORKS = {"flow"}
#: Bytes that are kept of a stack whose gaps are filled: its sections look at the same parts.
_KEPT = 256 * 2**20
_recent_lock = threading.Lock()
#: Seconds between two looks whether a batch is still wanted.
_INTERVAL = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class SectionTask:
    """All that is needed to repair one section anywhere.

    Parameters
    ----------
    stack
        The stack; opened again by its path where it arrives.
    staging
        The staging folder.
    section
        What was planned.
    method, device, options, thickness
        As for :func:`~napari_flowinpaint.core.repair.repair_section.repair_section`.
    token
        A file that is there as long as the result is wanted.
    key
        Seals what is staged.
    all_cores
        Whether it may use all processors: no other section is repaired beside it.
    """

    stack: Stack
    staging: Path
    section: SectionPlan
    method: str | Method
    device: str
    options: RepairOptions
    thickness: tuple[float, ...] | None
    token: Path
    key: SealKey
    all_cores: bool = False


@dataclass(frozen=True, slots=True)
class SectionOutcome:
    """What became of one section in a batch.

    Parameters
    ----------
    z
        Section number.
    status
        ``"repaired"``, ``"refused"``, ``"failed"`` or ``"cancelled"``.
    message
        Why it was not repaired.
    key
        Digest of all it was made from.
    computed
        False where it was staged already and is still up to date.
    seconds
        Time it took.
    windows
        Seconds of each window.
    worker
        Machine and process.
    fatal
        Whether the staging folder could not be written to, so that going on is no use.
    refused
        Windows of a repaired section that were left as they were, and why.
    """

    z: int
    status: str
    message: str = ""
    key: str = ""
    computed: bool = False
    seconds: float = 0.0
    windows: tuple[float, ...] = ()
    worker: str = ""
    fatal: bool = False
    refused: tuple[Refusal, ...] = ()


def run_task(task: SectionTask, progress: Progress = no_progress) -> SectionOutcome:
    """Repair one section unless that was done; never raises, so that the others go on."""
    started = time.perf_counter()
    z = task.section.z

    def outcome(status: str, message: object = "", **more: object) -> SectionOutcome:
        seconds = time.perf_counter() - started
        where = f"{socket.gethostname()}:{os.getpid()}"
        return SectionOutcome(z, status, str(message), seconds=seconds, worker=where, **more)  # type: ignore[arg-type]

    try:
        task = _recently_read(task)
        with nullcontext() if task.all_cores else one_thread(task.section.methods):
            return _repair(task, _watched(task.token, progress), outcome)
    except Cancelled:
        return outcome(CANCELLED)
    except _StagingError as error:
        return outcome(FAILED, error, fatal=True)
    except FlowInpaintError as error:
        return outcome(FAILED, error)
    except MemoryError:
        return outcome(FAILED, f"section {z} needs more memory than there is; use fewer workers")
    except Exception as error:  # a bug or a library: the other sections must not suffer from it
        return outcome(FAILED, f"section {z} failed: {type(error).__name__}: {first_line(error)}")


#: The stack that a run fills gaps of, with what was read of it last; the token tells runs apart.
_recent: list[tuple[Path, Stack]] = []


def _recently_read(task: SectionTask) -> SectionTask:
    """Return a task that fills gaps with a stack that keeps what it reads: sections share it."""
    from ..io.recent import RecentStack

    if GAP not in task.section.methods:
        return task
    with _recent_lock:
        if not _recent or _recent[0][0] != task.token:
            _recent[:] = [(task.token, RecentStack(task.stack, _KEPT))]
        return replace(task, stack=_recent[0][1])


class _StagingError(StoreError):
    """The staging folder cannot be written to: no other section will fare better."""


def _repair(
    task: SectionTask, progress: Progress, outcome: Callable[..., SectionOutcome]
) -> SectionOutcome:
    """Repair the section of a task and stage it."""
    from ..repair.repair_section import repair_section

    stage, z = StagingFolder(task.staging, task.key), task.section.z
    masks = StagedMasks(stage, task.stack.shape)
    progress(0.0, f"section {z}: looking whether it is done")
    key, *as_good = input_keys(task, masks)
    record = stage.get_intact(z)
    if record is not None and (record.key == key or _repaired_with(record, as_good)):
        return outcome(record.status, record.message, key=record.key, refused=record.refused)
    try:
        repair = repair_section(
            task.stack,
            z,
            masks.section(z),
            masks=masks,
            kinds=masks.kinds(z),
            thickness=task.thickness,
            method=task.method,
            device=task.device,
            options=task.options,
            progress=progress,
        )
    except RepairRefused as error:
        progress(1.0, f"section {z}: refused")
        reason = str(error)
        _put(lambda: stage.put_refusal(z, key, reason), stage)
        return outcome(REFUSED, reason, key=key, computed=True)
    repair = replace(repair, refused=_as_planned(task, repair.refused))
    progress(1.0, f"section {z}: staging")
    _put(lambda: stage.put_repair(key, repair), stage)
    seconds = tuple(round(patch.seconds, 3) for patch in repair.patches)
    return outcome(REPAIRED, key=key, computed=True, windows=seconds, refused=repair.refused)


def _as_planned(task: SectionTask, refused: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """Return refusals with the reasons of the plan, which has looked at masks farther away."""
    planned = {(refusal.box, refusal.pixels): refusal for refusal in task.section.refused}
    return tuple(planned.get((refusal.box, refusal.pixels), refusal) for refusal in refused)


def _put(write: Callable[[], None], stage: StagingFolder) -> None:
    """Write into the staging folder; where that fails, it would fail for every section."""
    try:
        with stage.explained():
            write()
    except StoreError as error:
        raise _StagingError(str(error)) from error


def _watched(token: Path, progress: Progress) -> Progress:
    """Return a progress that ends the task when the batch it belongs to was given up."""
    looked = 0.0

    def watched(fraction: float, message: str) -> None:
        nonlocal looked
        now = time.monotonic()
        if fraction >= 1.0 or now - looked > _INTERVAL:
            looked = now
            if not token.exists():
                raise Cancelled("the batch was cancelled")
        progress(fraction, message)

    return watched


@contextmanager
def one_thread(methods: Iterable[str]) -> Iterator[None]:
    """Let this worker compute on one thread, whatever the library.

    The workers share the processor; and a fixed number of threads gives the same bits everywhere.
    """
    import cv2

    cv2.setNumThreads(1)
    if needs_torch(methods):
        limit_spinning()
        import torch

        torch.set_num_threads(1)
    with alone():
        yield


def needs_torch(methods: Iterable[str]) -> bool:
    """Return whether any of these methods has networks."""
    return not set(methods) <= _WITHOUT_NETWORKS


def _repaired_with(record: StagedRecord, keys: list[str]) -> bool:
    return record.status == REPAIRED and record.key in keys


def input_keys(task: SectionTask, masks: StagedMasks) -> list[str]:
    """Return a digest of all that a repair is made from, then those of repairs that are as good.

    It is made of the request, the version of this package and its weights, and of every window
    the mask, the section's intact pixels and the neighbours'. Damaged pixels are left out: they
    do not enter a repair, and change when it is written. As good is a repair whose quality was
    predicted though nobody asks for that any more: its pixels are the same.
    """
    pixels = _pixel_digest(task, masks)
    asked = [task.options]
    if not task.options.quality:
        asked.append(replace(task.options, quality=True))
    requests = (_request(replace(task, options=options)) for options in asked)
    return [
        hashlib.sha256(json.dumps([request, pixels], sort_keys=True).encode()).hexdigest()
        for request in requests
    ]


def _pixel_digest(task: SectionTask, masks: StagedMasks) -> str:
    """Return a digest of the masks and of the pixels that may be looked at."""
    stack, section = task.stack, task.section
    marks = marks_of(stack) or no_masks
    digest = hashlib.sha256()
    for window in section.windows:
        digest.update(masks(section.z, window.box).tobytes())
        depth = stack.shape[0]
        around = _around(window, section.z, depth)
        beyond = further_sections(section.z, window.neighbours, depth, task.options.max_gap)
        for z in (section.z, *window.neighbours, *around, *beyond):
            if z is None:
                digest.update(b"none")
                continue
            try:
                pixels = stack.read(z, window.box)
            except StoreError:
                if z not in beyond or z in around:
                    raise
                digest.update(b"unreadable")
                continue
            hidden = masks(z, window.box) | marks(z, window.box)
            digest.update(_visible(pixels, hidden).tobytes())
    return digest.hexdigest()


def _around(window: WindowPlan, z: int, depth: int) -> range:
    """Return the other sections that a window is repaired from."""
    return sections_around(z, window.neighbours, depth) if window.method == GAP else range(0)


def _visible(pixels: AnyImage, hidden: BoolImage) -> AnyImage:
    pixels = pixels.copy()
    pixels[hidden] = 0
    return pixels


def _request(task: SectionTask) -> dict[str, object]:
    """Return all of a task that is not pixels, as plain JSON."""
    stack = task.stack
    method = task.method if isinstance(task.method, str) else task.method.name
    request: dict[str, object] = {
        "version": __version__,
        "shape": stack.shape,
        "dtype": stack.dtype.name,
        "voxel_size": stack.voxel_size,
        "z": task.section.z,
        "windows": [asdict(window) for window in task.section.windows],
        "method": method,
        "options": {**asdict(task.options), "weights": None},
        "thickness": task.thickness,
        "weights": _weights_of(task),
    }
    if stack.no_data is not None:
        request["no_data"] = stack.no_data
    if task.section.refused:  # they are stored with the repair
        request["refused"] = [refusal.to_dict() for refusal in task.section.refused]
    return request


def _weights_of(task: SectionTask) -> list[str | None]:
    """Return what tells one version of a method's weights from another."""
    if not isinstance(task.method, str):
        return [task.method.weights_sha256]
    if not needs_torch(task.section.methods):
        return []
    chosen = task.options.weights
    if chosen is None:
        adapted = adapted_weights(task.stack).path
        chosen = None if adapted is None else str(adapted)
    return list(weights_digests(chosen))


def weights_digests(chosen: str | None) -> list[str]:
    """Return the SHA-256 of all weights that a method may take: the package's and the chosen."""
    from ..networks.weights import list_weights

    files = list(list_weights())
    if chosen is not None:
        files.append(Path(chosen))
    return [_digest(file, file.stat().st_mtime_ns) for file in files if file.is_file()]


@lru_cache(maxsize=32)
def _digest(file: Path, changed: int) -> str:
    """Return the SHA-256 of a file, computed once for every version of it."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
