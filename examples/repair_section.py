"""Repair one damaged section of a stack, write the repair into it, and take it back.

Usage: python examples/repair_section.py
Needs nothing but the package: the stack is a synthetic one, in a temporary folder.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from napari_flowinpaint import Stack, history, open_stack, repair_section, revert, write_back
from napari_flowinpaint.core.errors import RepairRefused
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

SECTION = 3


def make_sample(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Save a stack of seven sections with a hole in one; return its path, the truth, the mask."""
    truth = synthetic_stack(SampleConfig(shape=(7, 320, 320)))
    mask = np.zeros(truth.shape[1:], bool)  # (Y, X), True where damaged
    mask[120:170, 100:190] = True
    damaged = truth.copy()
    damaged[SECTION][mask] = 0
    stack = Stack.from_array(damaged, voxel_size=(40, 4, 4))
    return save_ome_zarr(stack, folder / "sample.zarr"), truth, mask


def main(folder: Path) -> None:
    """Run the example."""
    path, truth, mask = make_sample(folder)

    stack = open_stack(path)  # lazy: no pixel is read
    before = stack.read(SECTION)
    try:
        repair = repair_section(stack, SECTION, mask)
    except RepairRefused as reason:  # nothing that would have to be made up
        raise SystemExit(f"refused: {reason}") from reason
    scores = repair.provenance.scores
    print(f"section {SECTION}: {mask.sum()} pixels by {repair.provenance.method}")
    print(f"guided by the sections {repair.provenance.neighbours}")
    print(
        f"expected structure PSNR {scores['expected_structure']:.1f} dB, "
        f"by the mean of the neighbours {scores['expected_mean_structure']:.1f} dB"
    )

    write_back(stack, repair)  # journalled; the pixels are marked as synthetic
    after = open_stack(path).read(SECTION)
    error = np.abs(after[mask].astype(float) - truth[SECTION][mask]).mean()
    print(f"written: differs from the truth by {error:.0f} grey values on average")
    print(f"pixels outside the mask are unchanged: {np.array_equal(after[~mask], before[~mask])}")

    print("history:", [(entry.id, entry.z, entry.state) for entry in history(stack)])
    revert(stack, z=SECTION)
    print(f"reverted: {np.array_equal(open_stack(path).read(SECTION), before)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
