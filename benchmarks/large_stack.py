"""Plan and repair the damaged sections of a stack of 2 000 sections of 2 048 x 2 048 pixels.

    python benchmarks/large_stack.py [FOLDER] [--depth 2000] [--side 2048] [--damaged 40]
                                     [--workers 2] [--method auto] [--hole 200]

The stack is a sparse zarr: only chunks near damaged sections are written, all others read as zeros
(8 GB as an array, some 20 MB on disk). Prints seconds and peak memory after each step of a fresh
process, beside those of the same steps on a tenth of the depth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from napari_flowinpaint.core.export import create_image
from napari_flowinpaint.core.filters import shrink_to
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

#: Run in a fresh process: seconds and peak memory, in MB, after each step.
STEPS = """
import json, resource, sys, time
started = time.perf_counter()
steps = {}
def note(name):
    global started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    steps[name] = [time.perf_counter() - started, peak]
    started = time.perf_counter()
from napari_flowinpaint.core.batch import commit, load_staged, plan_batch, run_batch
from napari_flowinpaint.core.open import open_mask, open_stack
job = json.loads(sys.argv[1])
note("import")
stack, mask = open_stack(job["stack"]), open_mask(job["mask"])
note("open")
plan = plan_batch(stack, mask, method=job["method"])
note("plan")
report = run_batch(plan, job["staging"], workers=job["workers"])
note("repair")
staged = load_staged(job["staging"])
staged.accept(report.repaired)
written = commit(stack, staged)
note("write")
assert report.complete and len(written) == len(plan.sections), report.unrepaired
print(json.dumps([steps, plan.summary(job["workers"])]))
"""


def write_sparse(folder: Path, depth: int, side: int, damaged: int, hole: int) -> None:
    """Write a stack with its pyramid, and its mask; every fourth damage is three sections deep."""
    tile = 512
    tissue = synthetic_stack(SampleConfig(shape=(5, tile, tile)))
    shape = (depth, side, side)
    levels = create_image(folder / "stack.zarr", "stack", shape, np.dtype("u1"), (40, 4, 4))
    mask = zarr.create_array(
        str(folder / "mask.zarr"), shape=shape, chunks=(1, tile, tile), dtype="u1"
    )
    rng = np.random.default_rng(0)
    places = np.linspace(3, depth - 6, max(damaged * 2 // 3, 1)).astype(int)
    done = 0
    for number, z in enumerate(places):
        long = 3 if number % 4 == 0 else 1
        y, x = (int(n) for n in rng.integers(0, side // tile, 2) * tile)
        top, left = (int(n) for n in rng.integers(20, tile - hole - 20, 2))
        sections = tissue.copy()
        for step in range(min(long, damaged - done)):
            sections[1 + step, top : top + hole, left : left + hole] = 255
            rows, columns = (slice(n, n + hole) for n in (y + top, x + left))
            mask[z + step, rows, columns] = 1
            done += 1
        for section, pixels in enumerate(sections, start=z - 1):
            write_tile(levels, section, y, x, pixels)


def write_tile(levels: list[zarr.Array], z: int, y: int, x: int, pixels: np.ndarray) -> None:
    """Write a part of a section to all levels of the pyramid."""
    for number, level in enumerate(levels):
        reduced = shrink_to(pixels.astype(np.float32), tuple(n >> number for n in pixels.shape))
        top, left = y >> number, x >> number
        height, width = reduced.shape
        level[z, top : top + height, left : left + width] = np.rint(reduced).astype(np.uint8)


def measure(folder: Path, args: argparse.Namespace, depth: int, damaged: int) -> None:
    folder.mkdir(parents=True)
    started = time.perf_counter()
    write_sparse(folder, depth, args.side, damaged, args.hole)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"{depth} sections of {args.side} x {args.side}: made in "
        f"{time.perf_counter() - started:.1f} s, {size / 1e6:.0f} MB on disk"
    )
    job = {"stack": folder / "stack.zarr", "mask": folder / "mask.zarr", "staging": folder / "st"}
    job |= {"method": args.method, "workers": args.workers}
    done = subprocess.run(
        [sys.executable, "-c", STEPS, json.dumps(job, default=str)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    steps, summary = json.loads(done.stdout)
    print(f"  {summary}")
    for name, (seconds, peak) in steps.items():
        print(f"  {name:8s} {seconds:8.2f} s   peak {peak:6.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--depth", type=int, default=2000)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--damaged", type=int, default=40)
    parser.add_argument("--hole", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--method", default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        measure(Path(name) / "small", args, args.depth // 10, args.damaged)
        measure(Path(name) / "large", args, args.depth, args.damaged)


if __name__ == "__main__":
    main()
