"""Nothing is done silently: notes are told on stderr, once each, and are in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from command_line import FAST, repair_arguments
from make_stacks import write_ngff
from PIL import Image

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.errors import ended
from napari_flowinpaint.core.open import open_stack


def notes_of(capsys: Any) -> list[str]:
    return [
        line.removeprefix("note: ")
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("note: ")
    ]


def test_a_pyramid_of_an_unknown_rule_is_told(data: Path, truth: np.ndarray, capsys: Any) -> None:
    path = write_ngff(data / "smooth.zarr", truth, levels=2)
    level = zarr.open_array(str(path / "1"), mode="r+")
    rng = np.random.default_rng(0)
    level[...] = rng.integers(0, 255, level.shape, dtype=np.uint8)
    report = data / "report.json"
    arguments = repair_arguments(data, *FAST, "--report", report, stack="smooth.zarr")
    assert run([str(a) for a in arguments]) == 0
    found = notes_of(capsys)
    assert [note for note in found if "unknown rule" in note] == found, "once, and nothing else"
    assert len(found) == 1
    assert [ended(note) for note in json.loads(report.read_text())["notes"]] == found
    assert run(["revert", str(path)]) == 0
    assert notes_of(capsys) == found


def test_a_copy_tells_what_it_lacks(data: Path, capsys: Any) -> None:
    labels = zarr.open_group(str(data / "stack.zarr" / "labels"), mode="a")
    labels.create_group("cells")
    out = data / "out.zarr"
    for stack, told in (
        ("stack.zarr", "label images are not copied: cells"),
        ("stack.tif", "voxel size is unknown"),
    ):
        arguments = repair_arguments(data, *FAST, "--output", out, "--overwrite", stack=stack)
        assert run([str(a) for a in arguments]) == 0
        assert any(told in note for note in notes_of(capsys))


def test_notes_of_masks_and_of_reading_are_told(
    data: Path, masks: np.ndarray, truth: np.ndarray, capsys: Any
) -> None:
    tifffile.imwrite(data / "small.tif", masks[:, ::2, ::2])
    tifffile.imwrite(data / "times.tif", truth, imagej=True, metadata={"axes": "TYX"})
    report = data / "plan.json"
    arguments = repair_arguments(
        data, "--plan", "--report", report, *FAST, mask="small.tif", stack="times.tif"
    )
    arguments.remove("--in-place")
    assert run([str(a) for a in arguments]) == 0
    found = notes_of(capsys)
    assert any("read as z" in note for note in found)
    assert any("reduced resolution" in note for note in found)
    assert [ended(note) for note in json.loads(report.read_text())["notes"]] == found


def test_classes_and_inversion_are_chosen(data: Path, masks: np.ndarray, capsys: Any) -> None:
    Image.fromarray((masks[2] > 0).astype(np.uint8) + 1).save(data / "classes.png")
    Image.fromarray(np.where(masks[2] > 0, 0, 255).astype(np.uint8)).save(data / "inverted.png")
    common = ["--plan", "--sections", "2", *FAST]
    for mask, choice, pixels in (
        ("classes.png", ["--mask-class", "2"], 600),
        ("inverted.png", ["--invert-mask"], 600),
    ):
        arguments = repair_arguments(data, *common, mask=mask)
        arguments.remove("--in-place")
        code = run([str(a) for a in arguments])
        error = capsys.readouterr().err
        assert " ".join(choice) in error
        assert code == (2 if mask == "classes.png" else code)
        assert run([str(a) for a in [*arguments, *choice]]) == 0
        assert f"{pixels} pixels" in capsys.readouterr().out


def test_the_copy_is_described_like_the_stack(data: Path, truth: np.ndarray) -> None:
    path = write_ngff(data / "far.zarr", truth[None], axes="czyx", version="0.4")
    group = zarr.open_group(str(path), mode="r+")
    images = group.attrs["multiscales"]
    group.attrs.update({"acquired": "by me", "multiscales": [{**images[0], "name": "cell"}]})
    arguments = repair_arguments(data, *FAST, "--output", data / "o.zarr", stack="far.zarr")
    assert run([str(a) for a in arguments]) == 0
    assert open_stack(data / "o.zarr").metadata == open_stack(path).metadata
    assert zarr.open_group(str(data / "o.zarr")).attrs["acquired"] == "by me"
