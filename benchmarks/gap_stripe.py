"""Fill a stripe through all sections of a stack of 2 000 sections of 2 048 x 2 048 pixels.

    python benchmarks/gap_stripe.py [FOLDER] [--depth 2000] [--side 2048] [--width 6]
                                    [--sections 48] [--workers 2]

Only some sections in the middle are filled; the rest of the time follows from theirs. The stack is
a sparse zarr with chunks of 64 x 256 x 256: what is not looked at reads as zeros. Prints seconds
and peak memory of a fresh process after planning and after filling, and the same for a stack of a
fifth of the depth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage as ndi

#: Run in a fresh process: seconds and peak memory, in MB, after each step.
STEPS = """
import json, resource, sys, time
import numpy as np
started = time.perf_counter()
def note(name):
    global started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {name:8s} {time.perf_counter() - started:8.1f} s   peak {peak:6.0f} MB", flush=True)
    started = time.perf_counter()
from napari_flowinpaint.core.batch import plan_batch, run_batch
from napari_flowinpaint.core.open import open_mask, open_stack
job = json.loads(sys.argv[1])
stack = open_stack(job["stack"], voxel_size=(10, 10, 10))
plan = plan_batch(stack, open_mask(job["mask"]), job["sections"])
note("plan")
report = run_batch(plan, job["staging"], workers=job["workers"])
note("fill")
assert report.complete, report.unrepaired
assert {name for section in plan.planned for name in section.methods} == {"gap_patches"}
again = run_batch(plan, job["staging"], workers=job["workers"])
note("resume")
assert not again.computed
"""
#: Sections around those that are filled, and pixels beside the stripe, that hold tissue.
_SECTIONS, _PIXELS = 128, 128


def write_stack(folder: Path, depth: int, side: int, width: int, sections: range) -> None:
    """Write the stack and its mask."""
    shape, chunks = (depth, side, side), (64, 256, 256)
    stack = zarr.create_array(str(folder / "stack.zarr"), shape=shape, chunks=chunks, dtype="u1")
    mask = zarr.create_array(str(folder / "mask.zarr"), shape=shape, chunks=chunks, dtype="u1")
    smooth = ndi.gaussian_filter(
        np.random.default_rng(0).standard_normal((96,) * 3), 3, mode="wrap"
    )
    block = np.clip(128 + 40 * smooth / smooth.std(), 1, 255).astype(np.uint8)
    left = side // 2 - width // 2
    columns = np.arange(max(left - _PIXELS, 0), min(left + width + _PIXELS, side))
    rows = np.arange(side)
    for z in range(max(sections[0] - _SECTIONS, 0), min(sections[-1] + _SECTIONS, depth), 64):
        part = np.arange(z, min(z + 64, depth))
        tissue = block[np.ix_(part % 96, rows % 96, columns % 96)]
        inside = (columns >= left) & (columns < left + width)
        tissue[:, :, inside] = 0
        stack[part[0] : part[-1] + 1, :, columns[0] : columns[-1] + 1] = tissue
        mask[part[0] : part[-1] + 1, :, left : left + width] = 1


def measure(folder: Path, args: argparse.Namespace, depth: int) -> None:
    folder.mkdir(parents=True)
    first = (depth - args.sections) // 2
    sections = range(first, first + args.sections)
    write_stack(folder, depth, args.side, args.width, sections)
    print(f"{args.sections} of {depth} sections of {args.side} x {args.side}, stripe {args.width}")
    job = {name: folder / f"{name}.zarr" for name in ("stack", "mask")}
    job |= {"staging": folder / "st", "sections": list(sections), "workers": args.workers}
    text = json.dumps(job, default=str)
    subprocess.run([sys.executable, "-c", STEPS, text], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--depth", type=int, default=2000)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--width", type=int, default=6)
    parser.add_argument("--sections", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        measure(Path(name) / "small", args, args.depth // 5)
        measure(Path(name) / "large", args, args.depth)


if __name__ == "__main__":
    main()
