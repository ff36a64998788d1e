"""``flowinpaint train``."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.networks.joint import SIZES, JointConfig
from napari_flowinpaint.core.networks.weights import load_network


@pytest.fixture
def stack(tmp_path, monkeypatch):
    config = JointConfig(channels=(4, 8, 8), radii=(1, 1), hidden=8, fusion=(8, 8))
    monkeypatch.setitem(SIZES, "small", config)
    path = tmp_path / "stack.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (6, 64, 64), dtype=np.uint8)
    tifffile.imwrite(path, pixels)
    return path


def test_train_writes_weights_log_and_checkpoint(stack, tmp_path, capsys):
    output = tmp_path / "mine.safetensors"
    options = ["--output", str(output), "--steps", "2", "--crop", "32", "--batch", "1"]
    assert run(["train", f"{stack}@0-2", "--validate", f"{stack}@3-5", *options]) == 0
    said = capsys.readouterr().out
    assert "2 steps" in said
    assert "best structure PSNR" in said
    assert f"written: {output}" in said
    assert load_network(output)[0].config == SIZES["small"]
    state = tmp_path / "mine.state.safetensors"
    assert run(["train", str(stack), *options, "--steps", "3", "--resume", str(state)]) == 0
    assert "3 steps" in capsys.readouterr().out
    log = (tmp_path / "mine.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.tif", "--output", "w.safetensors"], "nowhere.tif"),
        (["STACK", "--output", "w.pt"], "must end in .safetensors"),
        (["STACK", "--output", "no/such/w.safetensors"], "does not exist"),
        (["STACK@4-9", "--output", "w.safetensors"], "only 6 sections"),
        (["STACK", "--output", "w.safetensors", "--crop", "512"], "smaller than the crops"),
        (["STACK", "--output", "w.safetensors", "--size", "giant"], "unknown size"),
        (
            ["STACK", "--output", "w.safetensors", "--crop", "32", "--resume", "STACK"],
            "not a checkpoint",
        ),
    ],
)
def test_bad_requests_are_one_line(stack, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = [a.replace("STACK", str(stack)) for a in arguments]
    assert run(["train", *arguments, "--steps", "1"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
