"""What a window costs: time beside Farneback interpolation, memory, seams of tiles, CUDA.

    python benchmarks/window_speed.py [STACK] [--parts speed,seams,memory,cuda]

STACK gives the pixels, its first three sections mirrored to the sizes needed; without it the
synthetic sample does. Speed is a ratio of two figures of the same run, so that a slow machine
changes neither; an otherwise idle one is needed all the same, since the repair uses two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_flowinpaint.core.benchmark.peers import farneback
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods import get_method
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import synthetic_stack
from napari_flowinpaint.core.simulation.simulate import irregular_mask
from napari_flowinpaint.core.types import Box, no_progress
from napari_flowinpaint.core.window import Neighbour, Window


def mirrored(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return sections of ``size`` x ``size`` pixels, continued by mirroring."""
    extra = [max(size - n, 0) for n in pixels.shape[1:]]
    padded = np.pad(pixels, [(0, 0), (0, extra[0]), (0, extra[1])], mode="symmetric")
    return np.ascontiguousarray(padded[:, :size, :size])


def window_of(pixels: np.ndarray, fraction: float = 0.3, seed: int = 3) -> Window:
    """Return the middle one of three sections, damaged, with both neighbours."""
    shape = pixels.shape[1:]
    mask = irregular_mask(shape, fraction, np.random.default_rng(seed))
    section = pixels[1].astype(np.float32)
    section[mask] = 255
    intact = np.ones(shape, dtype=bool)
    return Window(
        z=1,
        box=Box(0, 0, *shape),
        section=section,
        mask=mask,
        intact=~mask,
        previous=Neighbour(0, pixels[0].astype(np.float32), intact),
        following=Neighbour(2, pixels[2].astype(np.float32), intact),
        alpha=0.5,
        value_range=(0, 255),
    )


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the shortest time of several runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def speed(pixels: np.ndarray, method: str, device: str) -> None:
    """Print the time of the method and of Farneback interpolation on the same windows."""
    for size, repeats in ((512, 10), (1024, 4), (2048, 2)):
        window = window_of(mirrored(pixels, size))
        assert window.previous is not None
        assert window.following is not None
        images = (window.section, window.previous.image, window.following.image)
        peer = seconds(lambda i=images, m=window.mask: farneback(*i, m), repeats)
        run = get_method(method).repair
        own = seconds(lambda w=window, r=run: r(w, RepairOptions(), device, no_progress), repeats)
        print(
            f"{size}²: farneback {peer:.3f} s, {method} {own:.3f} s on {device}, "
            f"ratio {own / peer:.2f}"
        )


def seams(pixels: np.ndarray, size: int = 2304) -> None:
    """Print by how much the network's image of a window differs when made of tiles."""
    from napari_flowinpaint.core.networks.registration import OVERLAP, WHOLE, register_jointly
    from napari_flowinpaint.core.networks.released import load_released, released

    path = released()
    if path is None:
        print("seams: no weights are installed")
        return
    net, _ = load_released(path, "cpu")
    window = window_of(mirrored(pixels, size))
    assert window.previous is not None
    assert window.following is not None
    sides = (window.previous.image, window.following.image)
    shown = (window.previous.valid, window.following.valid)
    images = [
        register_jointly(net, window.section, window.intact, sides, shown, 0.5, whole=whole).image
        for whole in (WHOLE, size)
    ]
    off = np.abs(images[0] - images[1])
    print(
        f"tiles of {WHOLE} px, overlap {OVERLAP}, on {size}²: {np.mean(off >= 1):.2%} of the "
        f"pixels differ by a grey level or more ({np.mean(off[window.mask] >= 1):.2%} in the "
        f"mask); "
        f"99.9 % by less than {np.quantile(off, 0.999):.2f}, all by less than {off.max():.2f}"
    )


def memory(pixels: np.ndarray, method: str, size: int = 4096) -> None:
    """Print peak memory and time of ``flowinpaint repair`` on one window of this size."""
    from napari_flowinpaint.core.export import save_ome_zarr

    mask = np.zeros((size, size), dtype=bool)
    bar, rest = slice(int(0.4 * size), int(0.6 * size)), slice(256, size - 256)
    mask[bar, rest] = mask[rest, bar] = True  # with its halo of 256 pixels, the whole section
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = Stack.from_array(mirrored(pixels, size), voxel_size=(40, 4, 4), name="mirrored")
        save_ome_zarr(whole, folder / "stack.zarr")
        masks = Stack.from_array(
            np.stack([np.zeros_like(mask), mask, np.zeros_like(mask)]).astype(np.uint8),
            name="mask",
        )
        save_ome_zarr(masks, folder / "mask.zarr")
        command = [sys.executable, "-c", "from napari_flowinpaint.cli import main; main()"]
        command += ["repair"]
        command += [str(folder / "stack.zarr"), "--mask", str(folder / "mask.zarr")]
        command += ["--output", str(folder / "out.zarr"), "--method", method, "--device", "cpu"]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
    print(
        f"flowinpaint repair of {size}², hole {mask.mean():.0%}: exit code "
        f"{os.waitstatus_to_exitcode(status)}, {elapsed:.0f} s, "
        f"peak memory {usage.ru_maxrss / 2**20:.2f} GiB"
    )


def cuda(pixels: np.ndarray, method: str) -> None:
    """Print times and peak memory on CUDA, and the share of the time the GPU is busy."""
    import torch

    if not torch.cuda.is_available():
        print("cuda: there is no such device here")
        return
    for size in (256, 2048):
        window = window_of(mirrored(pixels, size))
        run = get_method(method).repair
        torch.cuda.reset_peak_memory_stats()

        def work(w: Window = window, r: Callable[..., object] = run) -> None:
            r(w, RepairOptions(), "cuda:0", no_progress)
            torch.cuda.synchronize()

        own = seconds(work, 5)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            started = time.perf_counter()
            for _ in range(5):
                work()
            elapsed = time.perf_counter() - started
        busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
        print(
            f"cuda {size}²: {1000 * own:.0f} ms, peak memory "
            f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB, GPU busy {busy / elapsed:.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stack", nargs="?", help="stack that gives the pixels")
    parser.add_argument("--method", default="flowinpaint")
    parser.add_argument("--device", default="cpu", help="where speed is measured")
    parser.add_argument("--parts", default="speed,seams,memory,cuda")
    arguments = parser.parse_args()
    if arguments.stack:
        stack = open_stack(arguments.stack)
        pixels = np.stack([stack.read(z) for z in range(3)])
    else:
        pixels = synthetic_stack()[:3]
    parts = arguments.parts.split(",")
    if "speed" in parts:
        speed(pixels, arguments.method, arguments.device)
    if "seams" in parts:
        seams(pixels)
    if "memory" in parts:
        memory(pixels, arguments.method)
    if "cuda" in parts:
        cuda(pixels, arguments.method)


if __name__ == "__main__":
    main()
