"""The command line with stores, masks, paths and streams that are legal but unusual."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from make_stacks import write_ngff

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.damage.sample import SampleConfig, damaged_sample

SHAPE = (5, 64, 72)
HOLE = (2, slice(20, 40), slice(30, 50))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return damaged_sample(SampleConfig(shape=SHAPE, seed=2)).truth


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[HOLE] = 1
    return mask


@pytest.fixture
def data(tmp_path: Path, truth: np.ndarray, mask: np.ndarray) -> Path:
    """A folder with a stack and its mask."""
    write_ngff(tmp_path / "stack.zarr", truth, scale=(40, 4, 4), levels=2, chunks=(1, 32, 32))
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    return tmp_path


def flowinpaint(*arguments: object) -> int:
    return run([str(argument) for argument in arguments])


def pixels(store: Path, level: str = "0") -> np.ndarray:
    array = zarr.open_array(str(store / level), mode="r")
    return np.asarray(array[...])


def test_a_channel_can_be_repaired_listed_and_reverted(data, truth, capsys):
    stack = data / "many.zarr"
    many = np.stack([np.stack([truth, truth[:, ::-1]]), np.stack([truth // 2, truth // 3])])
    write_ngff(stack, many, axes="tczyx", levels=2, chunks=(1, 1, 1, 32, 32))
    before = pixels(stack)
    chosen = ["--channel", 1, "--time", 0]
    assert flowinpaint("repair", stack, "--mask", data / "mask.tif", "--in-place", *chosen) == 0
    assert not np.array_equal(pixels(stack)[0, 1], before[0, 1])
    capsys.readouterr()
    assert flowinpaint("history", stack, *chosen) == 0
    assert "committed" in capsys.readouterr().out
    assert flowinpaint("history", stack, "--channel", 0, "--time", 0) == 0
    assert "no repairs" in capsys.readouterr().out
    assert flowinpaint("revert", stack) == 2, "which channel is not for us to guess"
    assert flowinpaint("revert", stack, *chosen) == 0
    assert np.array_equal(pixels(stack), before)


# ---- masks


def write_mask(folder: Path, mask: np.ndarray, kind: str) -> str:
    """Write a mask in one of many ways; return what to give to ``--mask``."""
    import h5py

    if kind == "hdf5 image":
        with h5py.File(folder / "mask.h5", "w") as file:
            file["other"] = mask
            file["damage"] = mask[HOLE[0]]
        return f"{folder}/mask.h5:/damage"
    if kind == "tiff of one page":
        tifffile.imwrite(folder / "one.tif", mask[HOLE[0]][None], photometric="minisblack")
        return str(folder / "one.tif")
    if kind == "zarr of one section":
        zarr.create_array(str(folder / "one.zarr"), data=mask[HOLE[0]][None])
        return str(folder / "one.zarr")
    tifffile.imwrite(folder / "typed.tif", mask.astype(kind) / np.dtype(kind).type(2))
    return str(folder / "typed.tif")


@pytest.mark.parametrize(
    "kind", ["hdf5 image", "tiff of one page", "zarr of one section", "float32", "float64"]
)
def test_masks_come_in_many_ways(data, truth, mask, kind):
    where = write_mask(data, mask, kind)
    stack = data / "stack.zarr"
    assert flowinpaint("repair", stack, "--mask", where, "--sections", 2, "--in-place") == 0
    marked = pixels(stack / "labels" / "synthetic") != 0
    assert np.array_equal(marked, mask != 0)
    assert np.array_equal(pixels(stack)[~marked], truth[~marked])


@pytest.mark.parametrize("where", [HOLE[0], 4])
def test_a_mask_with_nan_is_refused(data, mask, capsys, where):
    unclear = mask.astype(np.float32)
    unclear[where, 0, 0] = np.nan
    tifffile.imwrite(data / "nan.tif", unclear)
    before = pixels(data / "stack.zarr")
    arguments = ["--mask", data / "nan.tif", "--in-place"]
    assert flowinpaint("repair", data / "stack.zarr", *arguments) == 2
    assert f"mask of section {where} contains NaN" in capsys.readouterr().err
    assert np.array_equal(pixels(data / "stack.zarr"), before)
