"""Repair all damaged sections of a stack on a dask cluster, look at them, write what is good.

Usage: python examples/dask_batch.py
Needs the extra "cluster" (dask.distributed). The cluster is one of two processes on this machine;
on a real one, pass the address of its scheduler, and put stack and staging folder where every
worker sees them.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

from napari_flowinpaint import Stack, history, open_stack
from napari_flowinpaint.core.batch import commit, load_staged, plan_batch, run_batch
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack


def make_sample(folder: Path) -> tuple[Path, np.ndarray]:
    """Save a stack with holes in four sections, two of them in a row; return it and the masks."""
    stack = synthetic_stack(SampleConfig(shape=(9, 256, 256)))
    masks = np.zeros(stack.shape, bool)
    for z in (1, 4, 5, 7):
        masks[z, 100:140, 20 * z : 20 * z + 60] = True
    stack[masks] = 0
    saved = save_ome_zarr(Stack.from_array(stack, voxel_size=(40, 4, 4)), folder / "sample.zarr")
    return saved, masks


def main(folder: Path) -> None:
    """Run the example."""
    from distributed import LocalCluster

    path, masks = make_sample(folder)
    stack = open_stack(path)
    plan = plan_batch(stack, masks, method="flow")  # nothing is computed
    print(plan.summary())

    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**workers, silence_logs=logging.ERROR) as cluster:
        report = run_batch(
            plan,
            folder / "staging",
            scheduler=cluster.scheduler_address,
            on_section=lambda outcome: print(f"section {outcome.z}: {outcome.status}"),
        )
    print(f"repaired: {report.repaired}; not: {[outcome.z for outcome in report.unrepaired]}")

    staged = load_staged(folder / "staging")
    for section in staged.worst_first():
        print(f"section {section.z}: quality {section.quality:.1f} dB")
    staged.accept_above(10.0)
    commit(stack, staged)  # the stack is written to here, and nowhere before
    print("written:", [entry.z for entry in history(stack)])


if __name__ == "__main__":  # the workers import this file
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
