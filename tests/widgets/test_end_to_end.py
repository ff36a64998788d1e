"""The scripted session: a real window, real clicks and keys, a real stack on disk."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scripted_session.py"


def test_load_paint_cancel_repair_accept_revert(make_napari_viewer, tmp_path, monkeypatch):
    from napari_flowinpaint.core.simulation.sample import SampleConfig

    if not SCRIPT.exists():
        pytest.skip("benchmarks are not part of the source distribution")
    spec = importlib.util.spec_from_file_location("scripted_session", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    path = script.sample(tmp_path, SampleConfig(shape=(6, 256, 256)))
    script.run(make_napari_viewer(show=True), path, tmp_path, repeats=1)
    assert len(list(tmp_path.glob("*.png"))) >= 14
