"""How well sections that are missing as a whole are replaced: methods beside simple peers.

    python benchmarks/missing_sections.py STACK@SECTIONS[@EVERY]... [--methods flow,flowinpaint]

Every section named is taken out, one at a time, and made from the sections EVERY before and after
it (1 where it is not given); those beyond are there too, where the stack has them. Printed are
means of structure PSNR (dB over 255 grey values) and detail over the sections of a stack, the
section that gains least over the best peer, and seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from napari_flowinpaint.cli._parse import parse_sections
from napari_flowinpaint.core.benchmark.peers import PEERS
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.metrics import Scores, score
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions

#: Telea needs intact pixels of the section.
_PEERS = [name for name in PEERS if name != "telea"]


def scores_of(pixels: np.ndarray, methods: list[str]) -> dict[str, tuple[Scores, float]]:
    """Return scores and seconds of the middle one of some sections, made by peers and methods."""
    middle = len(pixels) // 2
    truth, mask = pixels[middle], np.ones(pixels.shape[1:], dtype=bool)
    gone = pixels.copy()
    gone[middle] = 0
    images = [image.astype(np.float32) for image in gone[[middle, middle - 1, middle + 1]]]
    stack, found = Stack.from_array(gone), {}

    def note(name: str, image: np.ndarray, started: float) -> None:
        found[name] = (score(image, truth, mask, 255), time.perf_counter() - started)

    for name in _PEERS:
        started = time.perf_counter()
        note(name, PEERS[name](*images, mask), started)
    for name in methods:
        for texture in ("noise", "smooth"):
            started = time.perf_counter()
            options = RepairOptions(texture=texture)
            repair = repair_section(stack, middle, mask, method=name, options=options)
            note(
                name if texture == "noise" else f"{name}, smooth", repair.patches[0].result, started
            )
    return found


def around(stack: Stack, z: int, step: int) -> np.ndarray:
    """Return a section with one or two on each side, as the stack has them, (3 or 5, Y, X)."""
    reach = 2 if z - 2 * step >= 0 and z + 2 * step < stack.shape[0] else 1
    return np.stack([stack.read(z + k * step) for k in range(-reach, reach + 1)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stacks", nargs="+", metavar="STACK@SECTIONS[@EVERY]")
    parser.add_argument("--methods", default="flow,flowinpaint")
    args = parser.parse_args()
    methods = args.methods.split(",")
    for spec in args.stacks:
        path, chosen, every = [*spec.split("@"), "1"][:3]
        stack, step = open_stack(path), int(every)
        sections = parse_sections(chosen)
        rows = [scores_of(around(stack, z, step), methods) for z in sections]
        print(f"{Path(path).stem}: {len(sections)} sections of {stack.shape[1:]}")
        for name in rows[0]:
            structure = [row[name][0].structure_psnr for row in rows]
            over = min(
                own - max(row[peer][0].structure_psnr for peer in _PEERS)
                for own, row in zip(structure, rows, strict=True)
            )
            detail = np.mean([row[name][0].detail for row in rows])
            seconds = np.mean([row[name][1] for row in rows])
            print(
                f"  {name:22s} structure {np.mean(structure):6.2f} dB, detail {detail:.2f}, "
                f"worst over the best peer {over:+.2f} dB, {seconds:.2f} s"
            )


if __name__ == "__main__":
    main()
