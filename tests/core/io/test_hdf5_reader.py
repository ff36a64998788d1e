"""HDF5 datasets."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from make_stacks import DTYPES, assert_same, volume

from napari_flowinpaint.core.errors import ChoiceNeeded, InputError
from napari_flowinpaint.core.open import open_stack


@pytest.mark.parametrize("dtype", DTYPES)
def test_hdf5(tmp_path: Path, dtype: str) -> None:
    pixels = volume((4, 30, 40), dtype)
    path = tmp_path / "cremi.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("volumes/raw", data=pixels, chunks=(1, 16, 16), compression="gzip")
        file["volumes/raw"].attrs["resolution"] = (40.0, 4.0, 4.0)
        file["annotations"] = np.zeros((5, 3))
    for stack in (
        open_stack(f"{path}:/volumes/raw"),
        open_stack(f"{path}:volumes/raw"),
        open_stack(path, dataset="volumes/raw"),
        open_stack(path),  # the only one with three axes
    ):
        assert_same(stack, pixels)
        assert stack.voxel_size == (40.0, 4.0, 4.0)
        assert (stack.kind, stack.writable) == ("hdf5", False)
        assert "--output" in stack.why_not_writable
    path.rename(tmp_path / "cremi.nwb")
    assert_same(open_stack(tmp_path / "cremi.nwb"), pixels)


def test_hdf5_choices_and_units(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    pixels = volume((1, 4, 30, 40, 1))
    with h5py.File(path, "w") as file:
        file["exported"] = pixels  # ilastik: t z y x c
        file["exported"].attrs["element_size_um"] = (0.04, 0.004, 0.004)
        file["colour"] = np.zeros((4, 30, 40, 3), "uint8")
        file["funlib"] = pixels[0, ..., 0]
        file["funlib"].attrs["voxel_size"] = (0.04, 0.004, 0.004)
        file["funlib"].attrs["units"] = ["um", "um", "um"]
    with pytest.raises(ChoiceNeeded, match="/colour, /exported, /funlib"):
        open_stack(path)
    with pytest.raises(InputError, match=r"no dataset '/raw'; it holds /colour"):
        open_stack(f"{path}:/raw")
    with pytest.raises(InputError, match="looks like colour"):
        open_stack(f"{path}:/colour")
    for name in ("exported", "funlib"):
        stack = open_stack(path, dataset=name)
        assert_same(stack, pixels[0, ..., 0])
        assert stack.voxel_size == (40.0, 4.0, 4.0)
