"""Repair a section by a method of one's own, and compare it with the one that comes along.

Usage: python examples/own_method.py
A method is any object with the attributes of ``napari_flowinpaint.core.methods.Method``; it is
passed where a method's name would be. ``docs/add-a-method.md`` tells how to give it a name on the
command line and in the viewer.
"""

from __future__ import annotations

import numpy as np

from napari_flowinpaint import Stack, repair_section
from napari_flowinpaint.core.errors import RepairRefused
from napari_flowinpaint.core.metrics import score
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.types import Box, Progress
from napari_flowinpaint.core.window import Window, WindowRepair

SECTION = 2


class WeightedMean:
    """The mean of the two neighbours, weighted by how near they are; nothing is moved."""

    name = "weighted-mean"
    description = "The mean of the two neighbours, weighted by their distance"
    neighbours = 2  # fewer, and the section is refused before it comes here
    weights_sha256: str | None = None

    def ready(self) -> bool:
        """Return True: nothing has to be installed."""
        return True

    def halo(self, damage: Box) -> int:
        """Return how many pixels around the damage are wanted."""
        return 32

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window: float32, in the grey values of the stack."""
        progress(0.0, f"section {window.z}: averaging")
        before, after = window.previous, window.following
        assert before is not None
        assert after is not None
        if not (before.valid & after.valid)[window.mask].all():
            raise RepairRefused(f"a neighbour of section {window.z} is damaged there; mask it")
        mean = (1 - window.alpha) * before.image + window.alpha * after.image
        result = np.where(window.mask, mean, window.section).astype(np.float32)
        confidence = np.where(window.mask, 0.5, 1).astype(np.float32)
        return WindowRepair(mean, mean, result, confidence)


def main() -> None:
    """Run the example."""
    truth = synthetic_stack(SampleConfig(shape=(5, 320, 320)))
    mask = np.zeros(truth.shape[1:], bool)
    mask[120:170, 100:190] = True
    damaged = truth.copy()
    damaged[SECTION][mask] = 0
    stack = Stack.from_array(damaged, voxel_size=(40, 4, 4))

    for method in (WeightedMean(), "flow"):
        repair = repair_section(stack, SECTION, mask, method=method)
        filled = damaged[SECTION].copy()
        filled[repair.box.slices][repair.mask] = repair.result[repair.mask]
        found = score(filled, truth[SECTION], mask, data_range=255)
        print(
            f"{repair.provenance.method:>13}: structure PSNR {found.structure_psnr:.1f} dB, "
            f"detail {found.detail:.2f} (1 is right)"
        )


if __name__ == "__main__":
    main()
