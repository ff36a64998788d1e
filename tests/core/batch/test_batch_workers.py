"""A batch on a dask.distributed scheduler that loses a worker on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from batches import DAMAGED, Quick, masks, options, staged_files, write_scene

from napari_flowinpaint.core.batch import plan_batch, run_batch
from napari_flowinpaint.core.open import open_stack

distributed = pytest.importorskip("distributed", reason="it is in the extra cluster")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL of POSIX")
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    stack = open_stack(write_scene(tmp_path))
    plan = plan_batch(stack, masks(), method=Quick(0.2), options=options())
    run_batch(plan, tmp_path / "threads", workers=1)
    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(**workers, dashboard_address=None, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        victims = list(client.run(os.getpid).values())
        where = set()

        def lose(outcome: Any) -> None:
            where.add(outcome.worker)
            if victims:
                os.kill(victims.pop(), signal.SIGKILL)
                victims.clear()

        report = run_batch(
            plan, tmp_path / "st", scheduler=cluster.scheduler_address, on_section=lose
        )
    assert report.repaired == DAMAGED
    # The lost worker may have staged the section it was at, and died before it said so
    assert len(set(DAMAGED) - set(report.computed)) <= 1
    assert all(not worker.endswith(f":{os.getpid()}") for worker in where)
    assert staged_files(tmp_path / "st") == staged_files(tmp_path / "threads")
