"""The demo: what it writes and prints, with a small sample; and its window, where one can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr
from repaired_stores import make_repair

from napari_flowinpaint import demo
from napari_flowinpaint.cli import run
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.open import open_mask, open_stack
from napari_flowinpaint.core.simulation import sample
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

CONFIG = sample.SampleConfig(shape=(24, 160, 160))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished demo, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    small = sample.damaged_sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "damaged_sample", lambda: small(CONFIG))
        assert run(["demo", "--folder", str(folder), "--no-window"]) == 0
    return folder


def test_demo_repairs_in_place_and_marks(finished):
    stack = open_stack(finished / demo.STACK)
    before = open_stack(finished / demo.BEFORE)
    mask = open_mask(finished / demo.MASK)
    assert stack.voxel_size == (40, 4, 4)
    damaged = [z for z in range(stack.shape[0]) if mask.read(z).any()]
    assert len(damaged) >= 5
    marks = open_mask(finished / demo.STACK / "labels" / "synthetic")
    for z in damaged:
        changed = stack.read(z) != before.read(z)
        assert changed.any()
        assert not changed[(mask.read(z) == 0) & (marks.read(z) == 0)].any()
    assert [entry.z for entry in history(stack)] == damaged
    (fold,) = (z for z in damaged if (mask.read(z) == KINDS["fold"].label).any())
    methods = {entry.z: entry.provenance.method for entry in history(stack)}
    assert methods[fold] == "unfold"
    assert (marks.read(fold) > 2**31).any()
    assert set(methods.values()) == {"unfold", "flowinpaint"}


def test_demo_scores(finished):
    lines = (finished / "scores.txt").read_text().splitlines()
    assert "structure psnr" in lines[0].lower()
    rows = [line.split() for line in lines if line.strip()[:1].isdigit()]
    assert len(rows) >= 5
    *_, mean, repaired, _detail = lines[-1].split()
    assert float(repaired) > float(mean) + 0.6, "better than the mean of the neighbours"


def test_demo_draws_a_comparison(finished):
    from PIL import Image

    picture = np.asarray(Image.open(finished / "comparison.png"))
    assert picture.shape[1] > 3 * 100
    assert picture.std() > 10


@pytest.fixture(scope="module")
def small_sample():
    return sample.damaged_sample(sample.SampleConfig(shape=(24, 96, 96)))


@pytest.fixture
def small(small_sample, monkeypatch):
    monkeypatch.setattr(sample, "damaged_sample", lambda: small_sample)


def test_demo_can_be_run_again_in_the_same_folder_until_its_mask_is_painted(
    small, tmp_path, capsys
):
    folder = tmp_path / "demo"
    for _ in range(2):
        assert run(["demo", "--folder", str(folder), "--no-window"]) == 0
    assert len(history(open_stack(folder / demo.STACK))) == 8
    mask = zarr.open_array(str(folder / demo.MASK / "0"), mode="r+")
    mask[0, 3:9, 3:9] = 1
    capsys.readouterr()
    assert run(["demo", "--folder", str(folder), "--no-window"]) == 2
    error = capsys.readouterr().err
    assert "has changed since the demo made it" in error
    assert error.count("\n") == 1
    assert mask[0, 5, 5] == 1
    assert len(history(open_stack(folder / demo.STACK))) == 8


def write_repair(path, z, mask):
    """Write a repair of any pixels."""
    stack = open_stack(path)
    write_back(stack, make_repair(stack, z, mask))


@pytest.mark.parametrize("name", [demo.BEFORE, demo.STACK])
def test_demo_does_not_throw_repairs_away(small, tmp_path, capsys, monkeypatch, name):
    """Those of the user, in either stack; its own it makes again."""

    def repair(folder, sample):
        for z in sample.kinds:
            write_repair(folder / demo.STACK, z, sample.mask[z])

    monkeypatch.setattr(demo, "_repair", repair)
    arguments = ["demo", "--folder", str(tmp_path / "demo"), "--no-window"]
    assert run(arguments) == 0
    path = tmp_path / "demo" / name
    if name == demo.STACK:
        revert(open_stack(path), repair_id=3)
        assert run(arguments) == 0
    mask = np.zeros((96, 96), dtype=bool)
    mask[40:52, 30:44] = True
    write_repair(path, 5, mask)
    written = [(entry.id, entry.z) for entry in history(open_stack(path))]
    pixels = open_stack(path).read(5)
    capsys.readouterr()
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert "is not replaced; move it away, or choose another --folder." in error
    assert error.count("\n") == 1
    assert [(entry.id, entry.z) for entry in history(open_stack(path))] == written
    assert np.array_equal(open_stack(path).read(5), pixels)
    path.rename(tmp_path / "mine.zarr")
    assert run(arguments) == 0


def test_demo_in_a_folder_of_the_users(small, tmp_path, capsys, monkeypatch):
    """Where no name is taken it makes new ones; a second one would replace what it cannot know."""
    monkeypatch.setattr(demo, "_repair", lambda folder, sample: None)
    (tmp_path / "notes.txt").write_text("mine")
    assert run(["demo", "--folder", str(tmp_path), "--no-window"]) == 0
    assert run(["demo", "--folder", str(tmp_path), "--no-window"]) == 2
    assert "is not replaced; choose another --folder" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_demo_says_which_package_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert demo._open_window(tmp_path) == 1
    error = capsys.readouterr().err
    assert "xvfb" in error
    assert error.count("\n") == 1


def test_demo_folder_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(["demo", "--folder", str(tmp_path / "file"), "--no-window"]) == 2
    assert "not a folder" in capsys.readouterr().err


@pytest.mark.skipif(
    sys.platform.startswith("linux") and not os.environ.get("DISPLAY"),
    reason="needs a display: run the tests under xvfb-run",
)
def test_window_of_the_demo(finished):
    from PIL import Image

    command = [sys.executable, "-m", "napari_flowinpaint._demo_window", str(finished)]
    process = subprocess.run(
        [*command, "--screenshots"], capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    pictures = [np.asarray(Image.open(p)) for p in sorted(finished.glob("window-*.png"))]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.shape[0] > 600
        middle = picture[250:-250, 400:-500, :3]
        assert middle.std() > 15, "the canvas is blank"
    assert not np.array_equal(pictures[0], pictures[2])
