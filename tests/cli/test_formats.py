"""Formats on the command line: what a message proposes is pasted and works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return synthetic_stack(SampleConfig(shape=(3, 96, 96)))


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    damage = np.zeros((3, 96, 96), "uint8")
    damage[1, 40:50, 40:50] = 1
    tifffile.imwrite(tmp_path / "mask.tif", damage, photometric="minisblack")
    return tmp_path / "mask.tif"


def plan(stack: object, mask: Path, *options: str) -> int:
    return run(["repair", str(stack), "--mask", str(mask), "--plan", *options])


def two_series(path: Path, pixels: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels[0, :50], metadata=None)
        for section in pixels:
            writer.write(section, metadata=None, contiguous=False)


def two_channels(path: Path, pixels: np.ndarray) -> None:
    channels = np.stack([pixels, pixels])
    tifffile.imwrite(path, channels, photometric="minisblack", metadata={"axes": "CZYX"})


def two_datasets(path: Path, pixels: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["the raw one"] = file["volumes/raw"] = pixels


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.tif", two_series), ("a.tif", two_channels), ("of two.ims", two_datasets)],
)
def test_what_a_message_proposes_works_as_pasted(
    tmp_path: Path, pixels: np.ndarray, mask: Path, capsys: Any, name: str, write: Any
) -> None:
    write(tmp_path / name, pixels)
    assert plan(tmp_path / name, mask) == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    option = re.search("for example with (--.*)$", told)
    stack = re.search("name one: (.*)$", told)
    if option:
        assert plan(tmp_path / name, mask, *shlex.split(option[1])) == 0
    else:
        assert stack is not None, told
        assert plan(*shlex.split(stack[1]), mask) == 0


def test_what_a_message_proposes_for_a_mask_works_as_pasted(
    tmp_path: Path, pixels: np.ndarray, capsys: Any
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    damage = np.zeros(pixels.shape, "uint8")
    damage[1, 40:50, 40:50] = 1
    two_series(tmp_path / "mask.tif", damage)
    assert plan(tmp_path / "a.tif", tmp_path / "mask.tif") == 2
    option = re.search("for example with (--.*)$", capsys.readouterr().err.strip())
    assert option is not None
    assert plan(tmp_path / "a.tif", tmp_path / "mask.tif", *shlex.split(option[1])) == 0


def test_mrc_of_signed_bytes_is_repaired_elsewhere(
    tmp_path: Path, pixels: np.ndarray, mask: Path
) -> None:
    signed = (pixels.astype(int) - 128).astype("int8")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(signed)
        file.voxel_size = (40, 40, 400)
    output = tmp_path / "out.zarr"
    assert (
        run(["repair", str(tmp_path / "a.mrc"), "--mask", str(mask), "--output", str(output)]) == 0
    )
    stack = open_stack(output)
    assert (stack.dtype, stack.voxel_size) == (np.dtype("int8"), (40, 4, 4))
    intact = tifffile.imread(mask) == 0
    repaired = np.asarray(stack.array)
    np.testing.assert_array_equal(repaired[intact], signed[intact])
    assert np.abs(repaired.astype(int) - signed)[~intact].mean() < 40


@pytest.mark.parametrize("name", ["a.tif", "a.mrc"])
def test_repairs_in_place_of_a_file_are_kept_beside_it_from_the_first_on(
    tmp_path: Path, pixels: np.ndarray, mask: Path, capsys: Any, name: str
) -> None:
    path, kept = tmp_path / name, tmp_path / f"{name}.repairs"
    if name == "a.tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        with mrcfile.new(path) as file:
            file.set_data(pixels.astype("uint16"))
    before, damaged = path.read_bytes(), tifffile.imread(mask) != 0
    command = ["repair", str(path), "--mask", str(mask), "--in-place", "--method", "flow"]
    assert run([*command, "--plan"]) == 0
    assert not kept.exists()
    capsys.readouterr()
    assert run(command) == 0
    told = " ".join("".join(capsys.readouterr()).split())
    assert f"{path} stays as it is; its repairs are kept in {kept}" in told
    assert path.read_bytes() == before
    shown = np.asarray(open_stack(path).array)
    np.testing.assert_array_equal(shown[~damaged], pixels[~damaged])
    assert (shown[damaged] != pixels[damaged]).any()
    assert run(command) == 0
    assert "stays as it is" not in " ".join("".join(capsys.readouterr()).split())
    assert run(["revert", str(path)]) == 0
    np.testing.assert_array_equal(np.asarray(open_stack(path).array), pixels)


def test_what_lies_in_the_place_of_the_repairs_is_told_before_anything_is_computed(
    tmp_path: Path, pixels: np.ndarray, mask: Path, capsys: Any
) -> None:
    path, other = tmp_path / "a.tif", tmp_path / "a.tif.repairs"
    tifffile.imwrite(path, pixels, photometric="minisblack")
    other.write_text("mine")
    assert run(["repair", str(path), "--mask", str(mask), "--in-place"]) == 2
    told = "".join(capsys.readouterr())
    assert "plan:" not in told
    assert f"{other} is a file" in " ".join(told.split())
    assert other.read_text() == "mine"
