"""napari's File > Open and drag and drop, for stacks that were repaired."""

import numpy as np
import pytest

from napari_flowinpaint import open_stack, repair_section, write_back
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.viewer.reader import get_reader


@pytest.fixture
def repaired(tmp_path):
    pixels = synthetic_stack(SampleConfig(shape=(3, 160, 160)))
    path = tmp_path / "stack.zarr"
    save_ome_zarr(Stack.from_array(pixels, voxel_size=(40, 4, 4)), path)
    mask = np.zeros((160, 160), dtype=bool)
    mask[60:80, 60:80] = True
    stack = open_stack(path)
    write_back(stack, repair_section(stack, 1, mask))
    return path


def test_a_repaired_stack_opens(make_napari_viewer, repaired):
    viewer = make_napari_viewer()
    (layer,) = viewer.open(str(repaired), plugin="napari-flowinpaint")
    assert layer.data.shape == (3, 160, 160)
    assert tuple(layer.scale) == (40, 4, 4)
    assert layer.source.path == str(repaired)
    np.testing.assert_array_equal(np.asarray(layer.data[1]), open_stack(repaired).read(1))


def test_what_is_no_stack_is_left_to_other_readers(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    assert get_reader(str(tmp_path / "empty.zarr")) is None
    assert get_reader([str(tmp_path), str(tmp_path)]) is None
