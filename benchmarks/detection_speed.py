"""How fast damage is searched, against a plain pass over the same zarr; and in how much memory.

    python benchmarks/detection_speed.py STACK[@SECTIONS[@EVERY]]... [--side 2048]
        [--cycles 3] [--depth 300] [--damaged 0.03] [--passes 5] [--workers 1,2] [--flat] [--cold]
        [--memory] [--folder FOLDER]

Of every stack a zarr is made as we write them: its sections are mirrored until they have SIDE
pixels a side, and gone through forwards and backwards CYCLES times; a share of these is damaged on
purpose. Links to their chunks make a zarr of DEPTH sections. ``--flat`` leaves the pyramid out.
EVERY takes every n-th plane of an isotropic stack. With ``--cold`` the chunks are copied, and the
system is asked to forget them before every pass, as it would have of a stack larger than memory;
without, all is read from memory.

The plain pass reads every section of the full resolution, in as many threads of dask, and does
nothing with it; detection is what ``flowinpaint detect`` does, masks and all, several workers being
processes that have to start. Both are run in turn, PASSES times each. Printed are the medians of
processor time and wall clock per section and their ratios. ``--memory`` prints the peak memory of
fresh processes that search 100 to 4000 sections of SIDE / 2 pixels a side.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr
from dask.base import compute
from dask.delayed import delayed

from napari_flowinpaint.cli._parse import parse_sections
from napari_flowinpaint.core.detection.detect_stack import detect_stack
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.simulation.draw import DRAWN, draw_damage, simulate

#: Numbers of sections that memory is measured with.
DEPTHS = (100, 1000, 4000)
#: Run in a fresh process, so that its peak memory is its own.
SEARCH = """
import resource, sys, time
from napari_flowinpaint.core.detection.detect_stack import detect_stack
from napari_flowinpaint.core.open import open_stack
found = detect_stack(open_stack(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]))
assert not found.failed
own, other = (
    resource.getrusage(who).ru_maxrss / 1024
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
)
print(
    f"{own:.0f} MB, and {other:.0f} MB in the largest of its processes, "
    f"{len(found.searched)} sections, {len(found.flagged)} rows"
)
"""


def mirrored(section: np.ndarray, side: int) -> np.ndarray:
    while min(section.shape) < side:
        section = np.block([[section, section[:, ::-1]], [section[::-1], section[::-1, ::-1]]])
    return section[:side, :side]


def read(spec: str, side: int, cycles: int) -> tuple[str, np.ndarray]:
    path, _, rest = spec.partition("@")
    chosen, _, every = rest.partition("@")
    stack = open_stack(path)
    numbers = list(range(0, stack.shape[0], int(every or 1)))
    if chosen:
        numbers = [numbers[n] for n in parse_sections(chosen)]
    order = cycles * (numbers + numbers[-2:0:-1])
    return Path(path).stem, np.stack([mirrored(stack.read(z), side) for z in order])


def damage(volume: np.ndarray, share: float) -> int:
    rng = np.random.default_rng(0)
    count = round(share * len(volume))
    places = np.linspace(2, len(volume) - 3, count).astype(int)
    for z in places:
        kind = str(rng.choice(DRAWN))
        volume[z] = simulate(volume[z], draw_damage(kind, rng, volume.shape[1:]), seed=z).image
    return count


def write(volume: np.ndarray, folder: Path, depth: int, flat: bool, copied: bool = False) -> Stack:
    """Write a zarr as we do, made deeper by links to its chunks; ``flat``: without a pyramid.

    ``copied``: by copies, which take room on the disk.
    """
    small = save_ome_zarr(Stack.from_array(volume, voxel_size=(40, 4, 4)), folder / "small.zarr")
    group = zarr.open_group(str(small), mode="r")
    deep = folder / f"deep{depth}.zarr"
    if not flat:
        zarr.create_group(str(deep), attributes=dict(group.attrs))
    for name, array in group.arrays():
        if flat and name != "0":
            continue
        path = deep if flat else deep / name
        zarr.create_array(
            str(path),
            shape=(depth, *array.shape[1:]),
            chunks=array.chunks,
            dtype=array.dtype,
            compressors=array.compressors,
            dimension_names=array.metadata.dimension_names,
        )
        (path / "c").mkdir()
        for z in range(depth):
            source = small / name / "c" / str(z % len(volume))
            if copied:
                shutil.copytree(source, path / "c" / str(z))
            else:
                shutil.copytree(source, path / "c" / str(z), copy_function=os.link)
    return open_stack(deep)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return processor time, that of processes it started included, and wall clock, seconds."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    work()
    return sum(os.times()[:4]) - cpu, time.perf_counter() - wall


def forget(stack: Stack) -> None:
    """Ask the system to drop the files of a stack from memory."""
    os.sync()
    for path in Path(stack.path).rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def plain_pass(stack: Stack, workers: int) -> None:
    def one(z: int) -> None:
        stack.read(z)

    tasks = [delayed(one, pure=False)(z) for z in range(stack.shape[0])]
    compute(*tasks, scheduler="threads", num_workers=workers)


def describe(name: str, stack: Stack, folder: Path, share: float) -> None:
    full = stack.array
    stored = zarr.open_group(str(folder / "small.zarr"), mode="r")["0"]
    size = stored.nbytes_stored() / stored.nbytes
    levels = ", ".join(str(level.shape[1]) for level in stack.levels)
    print(
        f"{name}: {stack.shape}, levels of {levels} pixels; chunks {full.chunks}, "
        f"{full.compressors}, {size:.0%} of the size; {share:.1%} of the sections damaged"
    )


def speed(stack: Stack, folder: Path, workers: int, passes: int, cold: bool) -> None:
    depth = stack.shape[0]
    jobs = {
        "plain pass": lambda: plain_pass(stack, workers),
        "detection": lambda: detect_stack(
            stack, folder / "masks.zarr", workers=workers, overwrite=True
        ),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for number in range(passes + 1):
        for name, job in jobs.items():
            if cold:
                forget(stack)
            spent = timed(job)
            if number:  # the first one imports
                times[name].append(spent)
    medians = {name: 1000 * np.median(t, axis=0) / depth for name, t in times.items()}
    for name, (cpu, wall) in medians.items():
        print(f"  {workers} workers, {name:10s} {cpu:6.2f} ms processor, {wall:6.2f} ms wall clock")
    cpu, wall = medians["detection"] / medians["plain pass"]
    pairs = zip(times["detection"], times["plain pass"], strict=True)
    ratios = sorted(a[0] / b[0] for a, b in pairs)
    print(
        f"  {workers} workers, ratio      {cpu:6.2f} of processor time "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f} in single passes), {wall:.2f} of wall clock"
    )


def memory(stack: Stack, folder: Path, workers: int) -> None:
    depth, side = stack.shape[:2]
    command = [sys.executable, "-c", SEARCH, stack.path, folder / f"masks{depth}.zarr", workers]
    words = [str(word) for word in command]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    print(f"  {depth} sections of {side} x {side}, {workers} workers: peak {done.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stacks", nargs="+", metavar="STACK[@SECTIONS[@EVERY]]")
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--cycles", type=int, default=3, help="times there and back")
    parser.add_argument("--depth", type=int, default=300, help="sections in all")
    parser.add_argument("--damaged", type=float, default=0.03)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--flat", action="store_true", help="without a pyramid")
    parser.add_argument("--cold", action="store_true", help="read from the disk")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    workers = [int(n) for n in args.workers.split(",")]
    for spec in args.stacks:
        side = args.side // 2 if args.memory else args.side
        name, volume = read(spec, side, args.cycles)
        count = damage(volume, args.damaged)
        with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
            folder = Path(scratch)
            if args.memory:
                print(f"{name}:")
                for depth in DEPTHS:
                    inner = folder / str(depth)
                    inner.mkdir()
                    memory(write(volume, inner, depth, args.flat), inner, workers[-1])
                continue
            stack = write(volume, folder, args.depth, args.flat, args.cold)
            share = count / len(volume)
            describe(name, stack, folder, share)
            for number in workers:
                speed(stack, folder, number, args.passes, args.cold)


if __name__ == "__main__":
    main()
