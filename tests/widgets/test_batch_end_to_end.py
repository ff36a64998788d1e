"""The scripted batch: find damage, decide, repair, review, write, revert; real clicks and keys."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scripted_batch_session.py"


def test_search_decide_repair_review_write_revert(make_napari_viewer, tmp_path):
    from napari_flowinpaint.core.simulation.sample import SampleConfig

    if not SCRIPT.exists():
        pytest.skip("benchmarks are not part of the source distribution")
    spec = importlib.util.spec_from_file_location("scripted_batch_session", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    path = script.sample(tmp_path, SampleConfig(shape=(14, 256, 256)))
    script.run(make_napari_viewer(show=True), path, tmp_path)
    assert len(list(tmp_path.glob("*.png"))) >= 14
