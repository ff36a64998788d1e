"""Find damaged sections and what is wrong with them; nothing is repaired.

Usage: python examples/detect_only.py
The stack is a synthetic one with eight damaged sections, in a temporary folder. What is found goes
into an OME-Zarr of labels, one number per kind of damage, and into a table.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from napari_flowinpaint import Stack, detect_damage, detect_stack, open_stack
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.simulation.sample import DamagedSample, SampleConfig, damaged_sample


def make_sample(folder: Path) -> tuple[Path, DamagedSample]:
    """Save a damaged stack; return its path and what is known of it."""
    sample = damaged_sample(SampleConfig(shape=(24, 256, 256)))
    stack = Stack.from_array(sample.stack, voxel_size=sample.voxel_size)
    return save_ome_zarr(stack, folder / "sample.zarr"), sample


def main(folder: Path) -> None:
    """Run the example."""
    path, sample = make_sample(folder)
    stack = open_stack(path)

    found = detect_stack(stack, folder / "damage.zarr", report=folder / "flagged.csv")
    for row in found.flagged:
        truth = sample.kinds.get(row.section, "nothing")
        print(
            f"section {row.section}: {row.kind}, {row.area_percent:.1f} % of it, "
            f"score {row.score:.1f} (really: {truth})"
        )
    print(f"searched {len(found.searched)} sections, damaged are {sorted(sample.kinds)}")
    print((folder / "flagged.csv").read_text().splitlines()[0])

    z = next(iter(sample.kinds))
    mask = detect_damage(stack, z)  # of one section: (Y, X) bool, True where damaged
    hit = np.count_nonzero(mask & sample.mask[z]) / np.count_nonzero(sample.mask[z])
    print(f"section {z}: {hit:.0%} of the {sample.kinds[z]} is in the mask")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
