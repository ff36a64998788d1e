"""A damaged stack and its mask, for the tests of the command line."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from command_line import SHAPE

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, damaged_sample


@pytest.fixture(scope="module")
def truth():
    return damaged_sample(SampleConfig(shape=SHAPE, seed=2)).truth


@pytest.fixture(scope="module")
def masks():
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 30:50, 40:70] = 1
    mask[4, 60:80, 10:35] = 255
    return mask


@pytest.fixture
def data(tmp_path, truth, masks):
    """A folder with a damaged stack and its mask, as several formats."""
    stack = np.where(masks > 0, 255, truth).astype(np.uint8)
    save_ome_zarr(
        Stack.from_array(stack, voxel_size=(40, 4, 4), name="stack"), tmp_path / "stack.zarr"
    )
    tifffile.imwrite(tmp_path / "stack.tif", stack)
    tifffile.imwrite(tmp_path / "mask.tif", masks)
    return tmp_path
