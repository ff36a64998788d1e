"""How well gaps of an isotropic volume are filled: methods beside simple peers.

    python benchmarks/gaps.py VOLUME [--kinds slab,stripe-x,stripe-y] [--widths 3,6,12]
                              [--methods gap_patches,flowinpaint] [--sections 32] [--weights FILE]

A slab is WIDTH missing sections; a stripe is WIDTH missing columns or rows of every section. Both
lie in the middle of the volume; of a stripe so many sections in the middle are filled. Printed are
means of structure PSNR and PSNR (dB over 255 grey values) inside the gap, and seconds per section.
Peers: linear interpolation across the gap; DIS interpolation across it; of stripes also Telea.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from napari_flowinpaint.core.benchmark.peers import PEERS
from napari_flowinpaint.core.errors import RepairRefused
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.metrics import score
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions

_AXES = {"slab": 0, "stripe-y": 1, "stripe-x": 2}


def gap_of(shape: tuple[int, ...], kind: str, width: int) -> tuple[int, slice]:
    """Return the axis across a gap in the middle of a volume, and the layers that are missing."""
    axis = _AXES[kind]
    first = (shape[axis] - width) // 2
    return axis, slice(first, first + width)


def peers_of(truth: np.ndarray, axis: int, gap: slice) -> dict[str, np.ndarray]:
    """Return the volume as simple peers fill it."""
    turned = np.moveaxis(truth, axis, 0)
    before, after = (turned[n].astype(np.float32) for n in (gap.start - 1, gap.stop))
    width = gap.stop - gap.start
    found = {}
    for name, move in (("linear", False), ("dis", True)):
        filled = turned.copy()
        for layer in range(width):
            filled[gap.start + layer] = between(before, after, (layer + 1) / (width + 1), move)
        found[name] = np.moveaxis(filled, 0, axis)
    return found


def between(before: np.ndarray, after: np.ndarray, share: float, move: bool) -> np.ndarray:
    """Return a layer between two others, as they lie, or along the flow between them."""
    if move:
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        low = [cv2.GaussianBlur(i, (0, 0), 1.5).astype(np.uint8) for i in (before, after)]
        to_before, to_after = dis.calc(low[1], low[0], None), dis.calc(low[0], low[1], None)
        before, after = warp(before, share * to_before), warp(after, (1 - share) * to_after)
    return np.clip(np.rint((1 - share) * before + share * after), 0, 255)


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(image.shape, dtype=np.float32)
    return cv2.remap(
        image,
        columns + flow[..., 0],
        rows + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def measure(truth: np.ndarray, kind: str, width: int, args: argparse.Namespace) -> None:
    """Print a row for every peer and method."""
    axis, gap = gap_of(truth.shape, kind, width)
    mask = np.zeros(truth.shape, dtype=bool)
    np.moveaxis(mask, axis, 0)[gap] = True
    damaged = np.where(mask, 0, truth).astype(truth.dtype)
    middle = len(truth) // 2
    sections = range(gap.start, gap.stop) if axis == 0 else range(middle, middle + args.sections)
    filled = peers_of(truth, axis, gap)
    if axis:
        nothing = np.zeros(truth.shape[1:], dtype=np.float32)
        filled["telea"] = damaged.copy()
        for z in sections:
            section = damaged[z].astype(np.float32)
            filled["telea"][z] = PEERS["telea"](section, nothing, nothing, mask[z])
    took = dict.fromkeys(filled, 0.0)
    stack = Stack.from_array(damaged, voxel_size=(10, 10, 10))
    for name in args.methods.split(","):
        started = time.perf_counter()
        done = damaged.copy()
        try:
            for z in sections:
                found = repair_section(
                    stack,
                    z,
                    mask[z],
                    masks=lambda n, box: mask[n][box.slices],
                    method=name,
                    options=RepairOptions(
                        max_gap=14,
                        texture=args.texture,
                        weights=args.weights if name == "gap_patches" else None,
                    ),
                )
                done[z][found.box.slices][found.mask] = found.result[found.mask]
        except RepairRefused as error:
            print(f"{kind} {width} {name:12s} refused: {str(error)[:90]}")
            continue
        filled[name], took[name] = done, time.perf_counter() - started
    for name, volume in filled.items():
        rows = [score(volume[z].astype(np.float32), truth[z], mask[z], 255) for z in sections]
        structure, plain = (
            np.mean([getattr(row, key) for row in rows]) for key in ("structure_psnr", "psnr")
        )
        seconds = took[name] / len(rows)
        print(
            f"{kind} {width} {name:12s} structure {structure:6.2f} psnr {plain:6.2f} "
            f"{seconds:.2f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("volume")
    parser.add_argument("--kinds", default="slab,stripe-x,stripe-y")
    parser.add_argument("--widths", default="3,6,12")
    parser.add_argument("--methods", default="gap_patches")
    parser.add_argument("--sections", type=int, default=16)
    parser.add_argument("--weights")
    parser.add_argument("--texture", default="noise")
    args = parser.parse_args()
    stack = open_stack(args.volume)
    truth = np.stack([stack.read(z) for z in range(stack.shape[0])])
    for kind in args.kinds.split(","):
        for width in map(int, args.widths.split(",")):
            measure(truth, kind, width, args)


if __name__ == "__main__":
    main()
