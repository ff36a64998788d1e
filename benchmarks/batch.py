"""Measure batches: two workers against one, SIGKILLs, a cluster that loses a worker.

    python benchmarks/batch.py [speed|kills|cluster] [--method flow] [--repeats 3] [--kills 20]
                               [--losses 3] [--sections 200] [--damaged 20] [--side 1024]

* ``speed``: the same batch with one worker and with two, each in a fresh process; the medians and
  their ratio. Every worker computes on one thread, so one worker uses one core and two use two.
* ``kills``: ``flowinpaint repair --in-place`` in a process that is killed at a random moment after
  the plan, then run again; the staging folder and the store (pixels, every level, marks) are
  compared, byte by byte, with those of a run that was left alone.
* ``cluster``: the batch on a local dask.distributed scheduler with two worker processes, one of
  which is killed as soon as a section is done; compared in the same way.

All three by default. Numbers are wall-clock seconds of the batch without planning, and without
what a process needs once, however long the batch: importing torch and reading the network, for
which one section is repaired before. That time is given beside them. ``speed`` needs an otherwise
idle machine. Where there is none, the last line leaves out the time that the workers were ready to
run and were not let; it still has the time they waited for each other's locks meanwhile, so that
the ratio is rather too low.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]

from batches import image_files, staged_files  # noqa: E402

from napari_flowinpaint.core.batch import commit, load_staged, plan_batch, run_batch  # noqa: E402
from napari_flowinpaint.core.export import save_ome_zarr  # noqa: E402
from napari_flowinpaint.core.io.stack import Stack  # noqa: E402
from napari_flowinpaint.core.open import open_mask, open_stack  # noqa: E402
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack  # noqa: E402

PROGRAM = [sys.executable, "-c", "from napari_flowinpaint.cli import main; main()"]

#: Run in a fresh process: the seconds of one batch, those it had to wait for a processor, those of
#: the start, and its peak memory in MB.
BATCH = """
import json, resource, sys, time
from pathlib import Path
from threading import get_native_id
from napari_flowinpaint.core.batch import batch_workers, plan_batch, run_batch
from napari_flowinpaint.core.open import open_mask, open_stack

def kept_waiting():
    schedstat = Path(f"/proc/self/task/{get_native_id()}/schedstat")
    return int(schedstat.read_text().split()[1]) / 1e9 if schedstat.is_file() else 0.0

def watched(*arguments):
    before = kept_waiting()
    outcome = run_task(*arguments)
    waited.append(kept_waiting() - before)
    return outcome

run_task, batch_workers.run_task = batch_workers.run_task, watched
job = json.loads(sys.argv[1])
stack, mask = open_stack(job["stack"]), open_mask(job["mask"])
plan = plan_batch(stack, mask, method=job["method"])
first = plan_batch(stack, mask, method=job["method"], sections=[plan.planned[0].z])
waited = []
started = time.perf_counter()
run_batch(first, job["staging"] + "-first", workers=1)
start = time.perf_counter() - started
waited.clear()
started = time.perf_counter()
report = run_batch(plan, job["staging"], workers=job["workers"])
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
assert report.complete, report.unrepaired
waited = sum(waited) / job["workers"]
print(json.dumps([seconds, waited, start, peak, plan.seconds, report.rate.megapixel]))
"""


def write_scene(folder: Path, depth: int, damaged: int, side: int) -> tuple[Path, Path]:
    """Write a stack and the mask of ``damaged`` evenly spaced sections."""
    folder.mkdir(parents=True, exist_ok=True)
    some = synthetic_stack(SampleConfig(shape=(min(depth, 12), side, side)))
    there_and_back = np.concatenate([some, some[-2:0:-1]])
    pixels = np.take(there_and_back, np.arange(depth) % len(there_and_back), axis=0)
    hole = side // 4
    mask = zarr.create_array(
        str(folder / "mask.zarr"), shape=pixels.shape, chunks=(1, 256, 256), dtype="u1"
    )
    y, x = np.ogrid[:hole, :hole]
    disc = (y - hole / 2) ** 2 + (x - hole / 2) ** 2 < hole * hole / 4
    rng = np.random.default_rng(0)
    for number in range(damaged):
        z = round((number + 0.5) * depth / damaged)
        top, left = rng.integers(0, side - hole, 2)
        mask[z, top : top + hole, left : left + hole] = disc
        pixels[z, top : top + hole, left : left + hole][disc] = 255
    save_ome_zarr(Stack.from_array(pixels, voxel_size=(40, 4, 4)), folder / "stack.zarr")
    return folder / "stack.zarr", folder / "mask.zarr"


# ---- speed


def speed(folder: Path, args: argparse.Namespace) -> None:
    stack, mask = write_scene(folder / "speed", args.sections, args.damaged, args.side)
    print(f"{args.sections} sections of {args.side} x {args.side}, {args.damaged} damaged")
    seconds: dict[int, list[float]] = {1: [], 2: []}
    running: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(args.repeats):
        for workers in seconds:
            staging = folder / "speed" / f"{workers}-{repeat}"
            job = {"stack": stack, "mask": mask, "staging": staging}
            job |= {"method": args.method, "workers": workers}
            done = subprocess.run(
                [sys.executable, "-c", BATCH, json.dumps(job, default=str)],
                check=True,
                capture_output=True,
                text=True,
            )
            took, waited, start, peak, planned, rate = json.loads(done.stdout)
            seconds[workers].append(took)
            running[workers].append(took - waited)
            print(
                f"  {workers} worker(s): {took:.2f} s (planned {planned / workers:.1f} s), "
                f"{waited:.2f} s of it for want of a processor; before, {start:.2f} s to start; "
                f"peak {peak:.0f} MB, {rate:.1f} s per megapixel",
                flush=True,
            )
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    print(f"medians of {args.repeats}: one {one:.2f} s, two {two:.2f} s, ratio {one / two:.2f}")
    one, two = (statistics.median(running[workers]) for workers in (1, 2))
    print(f"without waiting for a processor: {one:.2f} s, {two:.2f} s, ratio {one / two:.2f}")


# ---- kills


def command(folder: Path, method: str) -> list[str]:
    return [
        *(*PROGRAM, "repair", str(folder / "stack.zarr"), "--mask", str(folder / "mask.zarr")),
        *("--staging", str(folder / "st"), "--in-place", "--workers", "2", "--method", method),
    ]


def begin(folder: Path, method: str) -> subprocess.Popen[str]:
    """Start the command; return when it has planned, since importing takes longest."""
    process = subprocess.Popen(command(folder, method), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("plan:"):
        assert process.poll() is None
    return process


def outcome(folder: Path) -> dict[str, bytes]:
    """All that has to be the same, however often a batch was killed."""
    return staged_files(folder / "st") | image_files(folder / "stack.zarr")


def fresh(pristine: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pristine, folder)


def kills(folder: Path, args: argparse.Namespace) -> None:
    pristine, work = folder / "pristine", folder / "work"
    write_scene(pristine, 24, 8, 256)
    lasts = []
    for _ in range(2):
        fresh(pristine, work)
        process = begin(work, args.method)
        started = time.perf_counter()
        process.communicate()
        assert process.returncode == 0
        lasts.append(time.perf_counter() - started)
    expected = outcome(work)
    rng, moments, killed = random.Random(args.seed), [], 0
    while killed < args.kills:
        fresh(pristine, work)
        process = begin(work, args.method)
        time.sleep(rng.uniform(0, min(lasts)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            continue  # it was faster
        killed += 1
        sections = work / "st" / "sections"
        staged = len(list(sections.glob("z*.npz")))
        entries = list((work / "stack.zarr" / "0").glob(".flowinpaint/entries/*"))
        moments.append(f"{staged}/{len(entries)}")
        subprocess.run(command(work, args.method), check=True, stdout=subprocess.DEVNULL)
        found = outcome(work)
        different = [name for name in expected | found if expected.get(name) != found.get(name)]
        assert not different, different
        assert (
            not (work / "st" / "scratch").is_dir()
            or len(list((work / "st/scratch").iterdir())) <= 1
        )
    print(f"{killed} kills, each resumed: {len(expected)} files the same, byte by byte")


# ---- cluster


def cluster(folder: Path, args: argparse.Namespace) -> None:
    from distributed import Client, LocalCluster

    pristine, work = folder / "pristine-cluster", folder / "work-cluster"
    write_scene(pristine, 24, 8, 256)
    fresh(pristine, work)
    repair(work, args.method, None)
    expected = outcome(work)
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        LocalCluster(**options, dashboard_address=None) as local,
        Client(local) as client,
    ):
        for number in range(args.losses):
            fresh(pristine, work)
            client.wait_for_workers(2)
            workers = list(client.run(os.getpid).values())
            victim, lost = random.Random(number).choice(workers), []

            def lose(outcome: Any, victim: int = victim, lost: list[int] = lost) -> None:
                if not lost:
                    os.kill(victim, signal.SIGKILL)
                    lost.append(outcome.z)

            seconds = repair(work, args.method, local.scheduler_address, lose)
            assert lost
            found = outcome(work)
            different = [name for name in expected | found if expected.get(name) != found.get(name)]
            assert not different, different
            print(
                f"worker {victim} of {workers} killed when section {lost[0]} was done: all "
                f"repaired in {seconds:.1f} s, {len(expected)} files the same, byte by byte",
                flush=True,
            )


def repair(folder: Path, method: str, scheduler: str | None, on_section: Any = None) -> float:
    """Plan, run, accept and commit in this process; return the seconds of the run."""
    stack = open_stack(folder / "stack.zarr")
    plan = plan_batch(stack, open_mask(folder / "mask.zarr"), method=method)
    started = time.perf_counter()
    report = run_batch(plan, folder / "st", workers=2, scheduler=scheduler, on_section=on_section)
    seconds = time.perf_counter() - started
    assert report.complete, report.unrepaired
    staged = load_staged(folder / "st")
    staged.accept(report.repaired)
    commit(stack, staged)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=["speed", "kills", "cluster", []])
    parser.add_argument("--method", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--losses", type=int, default=3)
    parser.add_argument("--sections", type=int, default=200)
    parser.add_argument("--damaged", type=int, default=20)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for part in args.what or ["speed", "kills", "cluster"]:
            started = time.perf_counter()
            {"speed": speed, "kills": kills, "cluster": cluster}[part](Path(name), args)
            print(f"  ({part}: {time.perf_counter() - started:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
