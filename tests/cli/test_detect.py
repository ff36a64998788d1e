"""``flowinpaint detect``: masks that can be repaired with, the table, exit codes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.metrics import data_range, score
from napari_flowinpaint.core.open import open_mask, open_stack
from napari_flowinpaint.core.simulation.fold import Fold, fold_section
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.simulation.simulate import Hole, damage_section


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    stack = synthetic_stack(SampleConfig(shape=(6, 192, 192), seed=3))
    stack[2], _ = damage_section(stack[2], Hole(0.06), seed=1)
    stack[4] = 0
    return stack


@pytest.fixture
def path(volume, tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", volume)
    return tmp_path / "stack.tif"


def detect(path, *options) -> int:
    out = path.parent / "masks.zarr"
    return run(["detect", str(path), "--output", str(out), "--workers", "1", *options])


def test_detect_then_repair(path, volume, capsys):
    folder = path.parent
    assert detect(path, "--report", str(folder / "flagged.csv")) == 0
    output = capsys.readouterr().out
    assert "section 2: hole" in output
    assert "section 4: missing" in output
    assert "2 of 6 sections flagged." in output
    with (folder / "flagged.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["section"], r["kind"]) for r in rows] == [("2", "hole"), ("4", "missing")]
    assert list(rows[0])[:3] == ["section", "kind", "score"]
    masks, out = str(folder / "masks.zarr"), str(folder / "out.zarr")
    command = ["repair", str(path), "--mask", masks, "--output", out, "--method", "flow"]
    assert run([*command, "--sections", "2"]) == 0
    repaired = open_stack(out).read(2)
    mask = open_mask(masks).read(2) != 0
    assert np.array_equal(repaired[~mask], volume[2][~mask])
    assert (repaired[mask] != volume[2][mask]).mean() > 0.8


def test_what_was_found_to_be_a_fold_is_unfolded(tmp_path, capsys):
    truth = synthetic_stack(SampleConfig(shape=(5, 256, 256), seed=3))
    volume = truth.copy()
    volume[2] = fold_section(truth[2], Fold(10, 40, 0.1), seed=1).image
    tifffile.imwrite(tmp_path / "stack.tif", volume)
    assert detect(tmp_path / "stack.tif", "--kinds", "fold") == 0
    masks, out = str(tmp_path / "masks.zarr"), str(tmp_path / "out.zarr")
    capsys.readouterr()
    command = ["repair", str(tmp_path / "stack.tif"), "--mask", masks, "--output", out]
    assert run([*command, "--report", str(tmp_path / "report.json")]) == 0
    plan, *_, repaired, _written = capsys.readouterr().out.strip().splitlines()
    assert "by unfold (a fold: its tissue is moved back)" in plan
    assert "by unfold (a fold: its tissue is moved back)" in repaired
    (section,) = json.loads((tmp_path / "report.json").read_text())["sections"]
    assert section["provenance"]["options"]["kind"] == "fold"
    whole = np.ones(truth.shape[1:], bool)
    before, after = (
        score(image, truth[2], whole, data_range(truth[2])).structure_psnr
        for image in (volume[2], open_stack(out).read(2))
    )
    assert after > before + 1


def test_a_declared_value_is_neither_damage_nor_repaired(path, volume, capsys):
    folder, declared = path.parent, volume[:5].copy()
    declared[:, 60:120, 80:140] = 3
    declared[2], declared[4] = declared[1], declared[3]
    mask = np.zeros(declared.shape, np.uint8)
    mask[1, 100:150, 120:170] = 1
    tifffile.imwrite(path, declared)
    tifffile.imwrite(folder / "mask.tif", mask)
    assert detect(path, "--sections", "1", "--no-data", "3") == 0
    assert "0 of 1 sections flagged." in capsys.readouterr().out
    out, report = folder / "out.zarr", folder / "report.json"
    command = ["repair", str(path), "--mask", str(folder / "mask.tif"), "--output", str(out)]
    command += ["--method", "flow", "--gate", "off", "--no-data", "3", "--report", str(report)]
    assert run(command) == 0
    told = "400 masked pixels of section 1 lie where nothing was imaged (padding)"
    assert f"note: {told}" in capsys.readouterr().err
    assert any(note.startswith(told) for note in json.loads(report.read_text())["notes"])
    assert np.array_equal(open_stack(out).read(1)[60:120, 80:140], declared[1, 60:120, 80:140])
    assert json.loads(report.read_text())["no_data"] == 3


def test_report_as_json(path):
    report = path.parent / "flagged.json"
    assert detect(path, "--report", str(report), "--sections", "0-2") == 0
    (row,) = json.loads(report.read_text())["flagged"]
    assert (row["section"], row["kind"], row["decision"]) == (2, "hole", "")


def test_options(path, capsys):
    assert detect(path, "--kinds", "missing", "--estimate", "--sensitivity", "0.4") == 0
    output = capsys.readouterr().out
    assert "thresholds, as multiples of the defaults: missing" in output
    assert "1 of 6 sections flagged." in output
    assert detect(path, "--overwrite") == 0
    assert "2 of 6 sections flagged." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kinds", "rain"], "unknown kind 'rain'"),
        (["--sensitivity", "2"], "between 0 and 1"),
        (["--sections", "9"], "section 9 does not exist"),
        (["--workers", "0"], "--workers"),
        (["--report", "nowhere/flagged.csv"], "does not exist"),
    ],
)
def test_wrong_options(path, options, message, capsys):
    assert detect(path, *options) == 2
    assert message in capsys.readouterr().err
    assert not list(path.parent.glob("*masks.zarr*"))


def test_output_is_not_replaced_unasked(path, capsys):
    assert detect(path, "--sections", "0") == 0
    assert detect(path, "--sections", "0") == 2
    assert "exists" in capsys.readouterr().err


def test_sections_that_cannot_be_read(path, monkeypatch, capsys):
    from napari_flowinpaint.core.errors import StoreError
    from napari_flowinpaint.core.io.levels import Level

    read = Level.read

    def broken(self, z, box=None):
        if 3 in np.arange(self.shape[0])[z].reshape(-1):  # by itself or with others
            raise StoreError("section 3 is torn")
        return read(self, z, box)

    monkeypatch.setattr(Level, "read", broken)
    assert detect(path) == 1
    error = capsys.readouterr().err
    assert "1 section could not be searched: 3" in error
    assert "section 3 is torn" in error


def test_interrupted_search_goes_on(path, monkeypatch, capsys):
    from napari_flowinpaint.core.detection import store

    finish = store.DetectionStore.finish

    def interrupt(self, z, labels, found):
        finish(self, z, labels, found)
        if z == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.DetectionStore, "finish", interrupt)
        assert detect(path) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert not (path.parent / "masks.zarr").exists()
    searched = []

    def count(self, z, labels, found):
        searched.append(z)
        finish(self, z, labels, found)

    monkeypatch.setattr(store.DetectionStore, "finish", count)
    assert detect(path) == 0
    assert searched == [4, 5]
    assert "2 of 6 sections flagged." in capsys.readouterr().out
