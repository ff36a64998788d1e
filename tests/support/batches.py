"""Batches for several tests: small stacks, a quick method, and a process that can be killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from napari_flowinpaint.core.batch import BatchPlan, plan_batch, task
from napari_flowinpaint.core.errors import RepairRefused
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.types import Box, Progress
from napari_flowinpaint.core.window import Window, WindowRepair

#: Sections that the mask of :func:`write_scene` damages.
DAMAGED = (2, 4, 5, 8)
SHAPE = (10, 64, 72)
# :class:`Quick` has no networks, and what runs in another process need not load torch for it
task._WITHOUT_NETWORKS = task._WITHOUT_NETWORKS | {"quick"}


@dataclass
class Quick:
    """The mean of the neighbours, told whether to be slow, to refuse or to fail.

    Parameters
    ----------
    seconds
        Waits in every window, in steps that can be cancelled.
    refuses, fails
        Section numbers.
    """

    seconds: float = 0.0
    refuses: tuple[int, ...] = ()
    fails: tuple[int, ...] = ()
    name = "quick"
    neighbours = 1
    weights_sha256: str | None = None

    def ready(self) -> bool:
        return True

    def halo(self, damage: Box) -> int:
        return 8

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        if window.z in self.refuses:
            raise RepairRefused(f"section {window.z} would have to be made up")
        if window.z in self.fails:
            raise ValueError(f"no luck with {window.z}")
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            time.sleep(0.01)
            progress(0.5, "waiting")
        images = [n.image for n in (window.previous, window.following) if n is not None]
        mean = np.mean(images, axis=0, dtype=np.float32)
        scores = {"rehearsal_psnr": 20.0 + window.z}
        return WindowRepair(mean, mean, mean, np.ones_like(mean), scores)


def options() -> RepairOptions:
    return RepairOptions(max_gap=3, gate="off", texture="smooth")


def masks() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 10:30, 10:30] = 1
    mask[4:6, 30:50, 20:40] = 1
    mask[8, 5:12, 40:60] = 2
    return mask


def plan_of(stack: Stack, mask: Any = None, **more: Any) -> BatchPlan:
    """Plan a batch with the quick method."""
    more = {"method": Quick(), "options": options()} | more
    return plan_batch(stack, masks() if mask is None else mask, **more)


@lru_cache
def tissue() -> np.ndarray:
    from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

    return synthetic_stack(SampleConfig(shape=SHAPE))


def write_scene(folder: Path) -> Path:
    """Write a stack and its mask; return the stack."""
    import tifffile
    from make_stacks import write_ngff

    stack = write_ngff(folder / "stack.zarr", tissue(), levels=2, chunks=(1, 32, 32))
    tifffile.imwrite(folder / "mask.tif", masks(), photometric="minisblack")
    return stack


def files(folder: Path, *parts: str) -> dict[str, bytes]:
    """Every file below the parts of a folder."""
    found = (path for part in parts for path in (folder / part).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def staged_files(staging: Path) -> dict[str, bytes]:
    """All of a staging folder that has to be the same whatever happened on the way."""
    return files(staging, "masks", "sections") | {"plan": (staging / "plan.json").read_bytes()}


def image_files(store: Path) -> dict[str, bytes]:
    """Pixels and marks of a store, every level; without the journal, and without times."""
    return {
        name: re.sub(rb'"time": "[^"]*"', b'"time": ""', content)
        for name, content in files(store, ".").items()
        if ".flowinpaint" not in name
    }


# ---- a process of its own


def start(**job: Any) -> subprocess.Popen[str]:
    """Run a batch in another process: :func:`_work` says what a job may hold."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(job, default=str)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _work(job: dict[str, Any]) -> None:
    """Plan and run a batch, accept all and commit it; print what is done."""
    import tifffile
    from killing import CountingOs

    from napari_flowinpaint.core.batch import commit, load_staged, plan_batch, run_batch
    from napari_flowinpaint.core.disk import folder
    from napari_flowinpaint.core.open import open_stack

    if job.get("kill_at"):
        folder.os = CountingOs(job["kill_at"])  # type: ignore[assignment]
    stack = open_stack(job["stack"])
    mask = tifffile.imread(job["mask"])
    plan = plan_batch(stack, mask, method=Quick(job.get("seconds", 0.0)), options=options())
    report = run_batch(
        plan,
        job["staging"],
        workers=job.get("workers", 1),
        scheduler=job.get("scheduler"),
        on_section=lambda outcome: print("section", outcome.z, outcome.status, flush=True),
    )
    print("computed", *report.computed, flush=True)
    if job.get("commit"):
        staged = load_staged(job["staging"])
        staged.accept_above(0.0)
        print("written", commit(open_stack(job["stack"]), staged), flush=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    import batches  # the classes that are sent to other processes must have a name there

    batches._work(json.loads(sys.argv[1]))
