"""Measure promise 6: a hole costs the same in a small and in a large section, in any stack.

    python benchmarks/cost_follows_damage.py [FOLDER]

Writes synthetic zarr stacks into FOLDER (a temporary one by default; about 1 GB) and prints

* the median time of five repairs of one round hole of 300 pixels in an 8192 x 8192 section over
  that in a 1024 x 1024 section, opening and reading included;
* the peak memory of processes that do it in stacks of 50 and of 500 sections.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import zarr

HOLE = 300

#: Run in a fresh process, so that its peak memory is its own.
REPAIR = """
import resource, sys, time
import numpy as np
from napari_flowinpaint import open_stack, repair_section
path, z, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seconds = []
for _ in range(times + 1):
    started = time.perf_counter()
    stack = open_stack(path)
    _, height, width = stack.shape
    mask = np.zeros((height, width), dtype=bool)
    y, x = np.ogrid[-150:150, -150:150]
    mask[height // 2 - 150 : height // 2 + 150, width // 2 - 150 : width // 2 + 150] = (
        y * y + x * x < 150 * 150
    )
    repair = repair_section(stack, z, mask)
    seconds.append(time.perf_counter() - started)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(*seconds[1:], peak)  # the first one imports
"""


def write_stack(path: Path, depth: int, side: int, filled: range) -> Path:
    """Write a stack whose ``filled`` sections show tissue; the others are never touched."""
    from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

    tile = synthetic_stack(SampleConfig(shape=(len(filled), 512, 512)))
    array = zarr.create_array(
        str(path), shape=(depth, side, side), chunks=(1, 512, 512), dtype="uint8"
    )
    for number, z in enumerate(filled):
        array[z] = np.tile(tile[number], (side // 512, side // 512))
    return path


def measure(path: Path, z: int, times: int) -> tuple[list[float], float]:
    """Repair in a fresh process; return the seconds of each time and the peak memory in MB."""
    done = subprocess.run(
        [sys.executable, "-c", REPAIR, str(path), str(z), str(times)],
        check=True,
        capture_output=True,
        text=True,
    )
    *seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def main(folder: Path) -> None:
    small = write_stack(folder / "small.zarr", 5, 1024, range(5))
    large = write_stack(folder / "large.zarr", 5, 8192, range(5))
    times = {}
    for name, path in (("1024", small), ("8192", large)):
        seconds, _ = measure(path, 2, 5)
        times[name] = float(np.median(seconds))
        print(f"{name} x {name}: median of 5 {times[name]:.3f} s")
    print(f"ratio {times['8192'] / times['1024']:.3f}")
    for depth in (50, 500):
        middle = depth // 2
        path = folder / f"deep{depth}.zarr"
        write_stack(path, depth, 2048, range(middle - 2, middle + 3))
        print(f"{depth} sections of 2048 x 2048: peak {measure(path, middle, 1)[1]:.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
