"""Run write-back in a process of its own and kill it, at a given step or after a given time.

:class:`Killer` starts this file as a server that has everything imported and forks a child per
job, so that a kill costs some 50 ms. A *step* is a call that changes something on disk: the child
counts them and, told so, sends itself SIGKILL before a given one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = ("open", "mkdir", "replace", "unlink", "rmdir", "fsync", "posix_fallocate")


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``steps`` and ``error`` are known where it was not killed."""

    killed: bool
    steps: int
    seconds: float
    error: str


class Killer:
    """The client; a context manager."""

    def __enter__(self) -> Killer:
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def run(
        self,
        action: str,
        store: Path,
        *,
        kill_at: int | None = None,
        kill_after: float | None = None,
        **arguments: Any,
    ) -> Outcome:
        """Run ``write`` (sections, seed, cancel_at), ``revert`` (z, cancel_at) or ``recover``.

        Also ``save`` (target: an OME-Zarr, which is replaced) and ``stage`` (target: a folder).
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        job = {"action": action, "store": str(store), "kill_at": kill_at, "after": kill_after}
        self._server.stdin.write(json.dumps({**job, **arguments}) + "\n")
        self._server.stdin.flush()
        return Outcome(**json.loads(self._server.stdout.readline()))


class CountingOs:
    """The ``os`` module, but for the calls that change something on disk."""

    def __init__(self, kill_at: int | None) -> None:
        self.steps = 0
        self._kill_at = kill_at

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in STEPS:
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            if name != "open" or args[1] & os.O_CREAT:
                self.steps += 1
                if self.steps == self._kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return found(*args, **kwargs)

        return counted


def repairs_of(stack: Any, sections: list[int], seed: int) -> list[Any]:
    """The repairs of a job; the same in the child and in the test."""
    import numpy as np
    from repaired_stores import make_repair

    repairs = []
    for number, z in enumerate(sections):
        rng = np.random.default_rng([seed, number])
        mask = rng.random(stack.shape[1:]) < 0.01
        y, x = (int(rng.integers(0, n // 2)) for n in stack.shape[1:])
        mask[y : y + stack.shape[1] // 3, x : x + stack.shape[2] // 3] = True
        repairs.append(make_repair(stack, z, mask, seed=seed + number))
    return repairs


def stage(store: Path | str, target: Path | str) -> None:
    """Repair two sections of a stack into a staging folder."""
    import numpy as np

    from napari_flowinpaint.core.batch import plan_batch, run_batch
    from napari_flowinpaint.core.open import open_stack
    from napari_flowinpaint.core.repair_options import RepairOptions

    stack = open_stack(store)
    mask = np.zeros(stack.shape, bool)
    mask[2, 10:30, 10:30] = mask[4, 20:40, 30:50] = True
    plan = plan_batch(stack, mask, options=RepairOptions(gate="off"), method="flow")
    run_batch(plan, target, workers=1)


def _work(job: dict[str, Any], ready: int) -> None:
    """Do a job, in the child."""
    from napari_flowinpaint.core.disk import folder
    from napari_flowinpaint.core.errors import Cancelled
    from napari_flowinpaint.core.export import save_ome_zarr
    from napari_flowinpaint.core.open import open_stack
    from napari_flowinpaint.core.writing.kept import keep_beside
    from napari_flowinpaint.core.writing.recovery import recover
    from napari_flowinpaint.core.writing.writeback import revert, write_back

    calls = 0

    def progress(fraction: float, message: str) -> None:
        nonlocal calls
        calls += 1
        if calls == job.get("cancel_at"):
            raise Cancelled("cancelled")

    counting = CountingOs(job["kill_at"])
    stack = open_stack(job["store"], recover=False)
    repairs = repairs_of(stack, job["sections"], job["seed"]) if job["action"] == "write" else []
    folder.os = counting  # type: ignore[assignment]
    os.write(ready, b"s")
    error = ""
    try:
        if job["action"] == "recover":
            recover(job["store"])
        elif job["action"] == "save":
            save_ome_zarr(stack, job["target"], overwrite=True)
        elif job["action"] == "stage":
            stage(job["store"], job["target"])
        elif job["action"] == "revert":
            revert(stack, z=job.get("z"), progress=progress)
        else:
            write_back(stack if stack.writable else keep_beside(stack), repairs, progress=progress)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    os.write(ready, json.dumps([counting.steps, error]).encode())


def _serve() -> None:
    """Fork a child per line of standard input, kill it or wait for it, and tell how it ended.

    All is imported before, so that the time until a kill is spent on the job.
    """
    import numcodecs  # noqa: F401
    import repaired_stores  # noqa: F401
    import zarr  # noqa: F401

    import napari_flowinpaint.core.batch
    import napari_flowinpaint.core.export
    import napari_flowinpaint.core.io.folder_store
    import napari_flowinpaint.core.open
    import napari_flowinpaint.core.writing.kept
    import napari_flowinpaint.core.writing.recovery
    import napari_flowinpaint.core.writing.writeback  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            try:
                _work(job, write)
            finally:
                os._exit(0)
        os.close(write)
        os.read(read, 1)  # it starts now
        start = time.perf_counter()
        if job["after"] is not None and not select.select([read], [], [], job["after"])[0]:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        seconds = time.perf_counter() - start
        killed = os.WIFSIGNALED(status)
        told = b""
        while block := os.read(read, 1 << 16):
            told += block
        os.close(read)
        steps, error = (0, "") if killed or not told else json.loads(told)
        answer = {"killed": killed, "steps": steps, "seconds": seconds, "error": error}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
