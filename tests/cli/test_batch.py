"""The command line with many sections: plan, staging folder, going on, what is accepted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from batches import DAMAGED, image_files, masks, staged_files, write_scene

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.batch import load_staged
from napari_flowinpaint.core.batch.staging_folder import StagingFolder
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.writing.writeback import history


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    write_scene(tmp_path)
    return tmp_path


def repair(data: Path, *more: object, mask: str = "mask.tif") -> int:
    arguments = ["repair", data / "stack.zarr", "--mask", data / mask, "--method", "flow", *more]
    arguments += ["--gate", "off"]  # too small to tell neighbours from others
    return run([str(argument) for argument in arguments])


def repaired_ids(data: Path) -> dict[int, int]:
    return {e.z: e.id for e in history(open_stack(data / "stack.zarr")) if e.state == "committed"}


def test_the_plan_alone_writes_nothing_but_its_report(data, capsys):
    before = sorted(data.rglob("*"))
    report = data / "plan.json"
    assert repair(data, "--plan", "--report", report) == 0
    text = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in text[:-1]] == [f"section {z}" for z in DAMAGED]
    assert "guided by 3 and 6 (alpha 0.33)" in text[1]
    assert "4 sections, 4 windows" in text[-1]
    plan = json.loads(report.read_text())
    assert [section["windows"][0]["alpha"] for section in plan["sections"]] == [
        *(0.5, pytest.approx(1 / 3), pytest.approx(2 / 3), 0.5),
    ]
    report.unlink()
    assert sorted(data.rglob("*")) == before
    assert repair(data, "--plan", "--max-gap", 1) == 0
    assert "guided by 3 alone" in capsys.readouterr().out
    assert repair(data, "--plan", "--max-gap", 1, "--method", "flowinpaint") == 1
    output = capsys.readouterr()
    assert "plan: section 4: refused: it has only one usable neighbour" in output.out
    assert output.err.startswith("flowinpaint: 2 of 4 sections would not be repaired: 4, 5 (")
    assert output.err.count("\n") == 1
    assert sorted(data.rglob("*")) == before


def test_stage_review_and_write(data, capsys):
    pixels = image_files(data / "stack.zarr")
    staging = data / "repairs"
    assert repair(data, "--staging", staging, "--workers", 2) == 0
    assert image_files(data / "stack.zarr") == pixels
    assert "waiting to be accepted" in capsys.readouterr().out
    staged = load_staged(staging)
    staged.reject([4])
    report = data / "report.json"
    assert repair(data, "--staging", staging, "--resume", "--in-place", "--report", report) == 0
    out = capsys.readouterr().out
    assert out.count("already staged") == len(DAMAGED)
    assert repaired_ids(data) == {2: 1, 5: 2, 8: 3}
    text = json.loads(report.read_text())
    assert text["staging"] == str(staging)
    assert [s["decision"] for s in text["sections"]] == [
        *("written", "rejected", "written", "written"),
    ]
    assert not any(section["computed"] for section in text["sections"])
    decisions = {section.z: section.decision for section in load_staged(staging).sections}
    assert decisions == {2: "written", 4: "rejected", 5: "written", 8: "written"}
    assert repair(data, "--staging", staging, "--in-place") == 0
    assert repaired_ids(data) == {2: 1, 5: 2, 8: 3}, "nothing is written twice"


def test_in_place_and_output_agree_and_leave_no_staging(data):
    output = data / "out.zarr"
    assert repair(data, "--output", output, "--workers", 2) == 0
    assert repair(data, "--in-place", "--workers", 1) == 0
    assert not list(data.glob("*.staging"))
    assert repaired_ids(data) == {2: 1, 4: 2, 5: 3, 8: 4}, "written in their order"
    for z in range(10):
        assert np.array_equal(open_stack(output).read(z), open_stack(data / "stack.zarr").read(z))


def test_accept_above(data, capsys):
    staging = data / "stack.zarr.staging"
    assert repair(data, "--in-place", "--accept-above", 1000) == 1
    error = capsys.readouterr().err
    assert "sections 2, 4, 5, 8 stayed below --accept-above" in error
    assert error.count("\n") == 1
    assert repaired_ids(data) == {}
    quality = {section.z: section.quality for section in load_staged(staging).sections}
    worst = min(quality, key=quality.__getitem__)
    threshold = sorted(quality.values())[1]
    assert repair(data, "--in-place", "--accept-above", threshold) == 1
    assert set(repaired_ids(data)) == set(DAMAGED) - {worst}
    assert staging.exists(), "one repair waits there"
    assert repair(data, "--in-place") == 0
    assert set(repaired_ids(data)) == set(DAMAGED)
    assert not staging.exists()


def test_going_on_after_an_interruption(data, capsys, monkeypatch):
    """Interrupted in the third section: two are written, the same command does the others."""
    from napari_flowinpaint.core.repair import repair_section as module

    real, calls = module.repair_section, []

    def interrupted(stack: Any, z: int, *more: Any, **named: Any) -> Any:
        calls.append(z)
        if len(calls) == 3:
            raise MemoryError
        return real(stack, z, *more, **named)

    monkeypatch.setattr(module, "repair_section", interrupted)
    assert repair(data, "--in-place", "--workers", 1) == 1
    text = capsys.readouterr()
    assert "1 of 4 sections not repaired: 5" in text.err
    assert "section 5: failed: section 5 needs more memory than there is" in text.out
    staging = data / "stack.zarr.staging"
    assert not staging.exists(), "what is there was written"
    assert repair(data, "--in-place", "--workers", 1, "--sections", 5) == 0
    assert calls == [*DAMAGED, 5]


def test_one_section_goes_the_way_of_many(data, capsys):
    """It is planned and staged, resumed, and leaves nothing behind but what others staged."""
    staging, report = data / "stack.zarr.staging", data / "report.json"
    assert repair(data, "--in-place", "--sections", 2, "--accept-above", 1000) == 1
    assert [section.z for section in load_staged(staging).sections] == [2]
    capsys.readouterr()
    assert repair(data, "--in-place", "--sections", 8, "--report", report) == 0
    assert "plan: 1 section, 1 window" in capsys.readouterr().out
    text = json.loads(report.read_text())
    assert (text["staging"], text["sections"][0]["repair_id"]) == (str(staging), 1)
    waiting = [s.z for s in load_staged(staging).sections if s.decision != "written"]
    assert waiting == [2], "the repair of section 2 is not lost"
    assert repair(data, "--in-place", "--sections", 2) == 0
    assert "already staged" in capsys.readouterr().out
    assert not staging.exists()
    assert repaired_ids(data) == {8: 1, 2: 2}


@pytest.mark.parametrize("where", ["--in-place", "--output"])
def test_a_refused_section_leaves_no_staging_folder(data, monkeypatch, where):
    """The plan is fine, the repair is not: there is nothing to keep."""
    from napari_flowinpaint.core.errors import RepairRefused
    from napari_flowinpaint.core.repair import repair_section as module

    def refuse(*_: Any, **__: Any) -> Any:
        raise RepairRefused("the neighbours do not fit")

    monkeypatch.setattr(module, "repair_section", refuse)
    before = sorted(data.rglob("*"))
    to = ["--in-place"] if where == "--in-place" else ["--output", data / "out.zarr"]
    assert repair(data, *to, "--sections", 2) == 1
    assert sorted(data.rglob("*")) == before


def test_resume_and_its_opposite(data, capsys):
    staging = data / "repairs"
    assert repair(data, "--staging", staging, "--resume") == 2
    assert "nothing to resume" in capsys.readouterr().err
    assert repair(data, "--staging", staging) == 0
    first = staged_files(staging)
    load_staged(staging).reject(DAMAGED)
    capsys.readouterr()
    assert repair(data, "--staging", staging, "--no-resume") == 0
    assert "already staged" not in capsys.readouterr().out
    assert staged_files(staging) == first
    assert {section.decision for section in load_staged(staging).sections} == {"undecided"}


def test_a_batch_that_was_killed_before_its_plan_was_there_goes_on(data):
    with StagingFolder(data / "repairs").writing():
        pass
    assert [path.name for path in (data / "repairs").iterdir()]
    assert repair(data, "--staging", data / "repairs") == 0


@pytest.mark.skipif(os.name == "nt", reason="the lock of a process that waits is looked at")
def test_two_at_once(data):
    """One finishes, the other says who is at work, or finds that all is done."""
    command = [sys.executable, "-c", "from napari_flowinpaint.cli import main; main()"]
    command += ["repair", str(data / "stack.zarr")]
    command += ["--mask", str(data / "mask.tif"), "--in-place", "--method", "flow"]
    command += ["--gate", "off", "--texture", "smooth"]
    before = np.stack([open_stack(data / "stack.zarr").read(z) for z in range(10)])
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    text = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
    assert 0 in [code for _, code in text]
    for error, code in text:
        lines = [line for line in error.splitlines() if not line.startswith("note: ")]
        assert len(lines) == (code != 0)  # who waited for the other says so in a note
        if code:
            assert code in (1, 2)
            assert "another process" in error
            assert "at work in" in error
            assert "kept in" not in error
    after = np.stack([open_stack(data / "stack.zarr").read(z) for z in range(10)])
    assert repaired_ids(data).keys() == set(DAMAGED)
    assert np.array_equal(before[masks() == 0], after[masks() == 0])
    assert not list(data.glob("*.staging"))


def test_a_link_at_the_place_that_nobody_named_is_not_followed(data, capsys):
    (data / "elsewhere").mkdir()
    (data / "stack.zarr.staging").symlink_to(data / "elsewhere")
    assert repair(data, "--in-place") == 2
    assert "stack.zarr.staging is a link, which is not followed" in capsys.readouterr().err
    assert list((data / "elsewhere").iterdir()) == []


def test_beginning_anew_keeps_what_is_not_ours(data, capsys):
    staging = data / "repairs"
    assert repair(data, "--staging", staging) == 0
    (staging / "thesis.tex").write_text("years of work")
    capsys.readouterr()
    assert repair(data, "--staging", staging, "--no-resume", "--in-place") == 0
    assert "note: kept in" in capsys.readouterr().err
    assert (staging / "thesis.tex").read_text() == "years of work"
    copy = shutil.copytree(staging, data / "copy")
    assert repair(data, "--staging", copy, "--no-resume") == 2
    assert "nothing in it is removed" in capsys.readouterr().err
    assert sorted(path.name for path in copy.iterdir()) == sorted(
        path.name for path in staging.iterdir()
    )


def test_a_mask_that_grew_in_the_review_is_not_that_of_the_command_line(data, capsys):
    staging, before = data / "repairs", open_stack(data / "stack.zarr").read(8)
    assert repair(data, "--staging", staging) == 0
    larger = masks()[8] > 0
    larger[40:50, 40:50] = True
    load_staged(staging).redo(open_stack(data / "stack.zarr"), 8, mask=larger)
    capsys.readouterr()
    assert repair(data, "--staging", staging, "--in-place") == 1
    error = capsys.readouterr().err
    assert "section 8" in error
    assert "100 pixels outside the mask" in error
    assert error.count("\n") == 1
    assert np.array_equal(open_stack(data / "stack.zarr").read(8), before)


def test_staging_folders_that_cannot_be(data, capsys):
    (data / "photos").mkdir()
    (data / "photos" / "a.txt").write_text("mine")
    for staging, words in (
        (data / "photos", "not a staging folder"),
        (data / "no" / "st", "does not exist"),
        (data / "stack.zarr" / "st", "another place"),
        (data / "mask.tif", "another place"),
        ("", "empty"),
    ):
        assert repair(data, "--staging", staging) == 2, staging
        assert words in capsys.readouterr().err
    assert (data / "photos" / "a.txt").read_text() == "mine"
    pytest.importorskip("distributed")
    assert repair(data, "--staging", data / "st", "--scheduler", "nonsense") == 2
    error = capsys.readouterr().err
    assert "no dask scheduler answers at nonsense" in error
    assert error.count("\n") == 1


def test_a_deep_mask_in_zarr(data):
    """As detection writes it: labels of several kinds, in a group."""
    from make_stacks import write_ngff

    write_ngff(data / "damage.zarr", masks() * 3, chunks=(1, 32, 32))
    assert repair(data, "--in-place", mask="damage.zarr") == 0
    marks = zarr.open_array(str(data / "stack.zarr" / "labels" / "synthetic" / "0"), mode="r")
    assert np.array_equal(marks[...] > 0, masks() > 0)


@pytest.fixture
def two_holes(tmp_path: Path) -> Path:
    """Two holes far apart in section 2; the sections beside it are damaged at one of them too."""
    shape = (6, 300, 300)
    save_ome_zarr(Stack.from_array(synthetic_stack(SampleConfig(shape))), tmp_path / "stack.zarr")
    mask = np.zeros(shape, np.uint8)
    mask[1:5, 280:290, 280:290] = mask[2, 4:14, 4:14] = 1
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    return tmp_path


@pytest.mark.parametrize("staged", [False, True])
def test_a_hole_that_no_neighbour_shows_is_left_and_the_other_is_repaired(
    two_holes, capsys, staged
):
    report, before = two_holes / "report.json", open_stack(two_holes / "stack.zarr").read(2)
    more = ["--sections", 2, "--max-gap", 1]
    assert repair(two_holes, "--plan", *more) == 1
    text = capsys.readouterr()
    assert "100 pixels in 1 window" in text.out
    assert "1 of 1 sections would be repaired in part: 2 (section 2: 100 pixels left" in text.err
    more += ["--staging", two_holes / "repairs"] if staged else []
    assert repair(two_holes, "--in-place", "--report", report, *more) == 1
    text = capsys.readouterr()
    assert "repaired 100 pixels in 1 window" in text.out
    assert "100 pixels left at rows 280-289, columns 280-289: " in text.out
    assert "no usable neighbour" in text.err
    assert text.err.count("\n") == 1
    content = json.loads(report.read_text())
    assert (content["repaired"], content["incomplete"], content["refused"]) == (1, 1, 0)
    (section,) = content["sections"]
    assert [window["pixels"] for window in section["windows"]] == [100]
    assert [window["pixels"] for window in section["refused_windows"]] == [100]
    changed = open_stack(two_holes / "stack.zarr").read(2) != before
    assert changed[4:14, 4:14].any()
    changed[4:14, 4:14] = False
    assert not changed.any()


def test_sections_repaired_in_part_are_reported_beside_refused_ones(two_holes, capsys):
    assert repair(two_holes, "--in-place", "--sections", "2,3", "--max-gap", 1) == 1
    text = capsys.readouterr().err.splitlines()
    assert text[0].startswith("flowinpaint: 1 of 2 sections not repaired: 3 (section 3: ")
    assert text[1].startswith("flowinpaint: 1 of 2 sections repaired in part: 2 (section 2: ")
    assert len(text) == 2
