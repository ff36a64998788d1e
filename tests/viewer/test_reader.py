"""napari's File > Open and drag and drop."""

import mrcfile
import numpy as np
import pytest
import tifffile
from npe2 import PluginManager

from napari_flowinpaint import open_stack, repair_section, write_back
from napari_flowinpaint.core.errors import InputError
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


@pytest.mark.parametrize(
    "name", ["a.zarr.zip", "a.n5", "a.MRC", "a.rec", "a.st", "a.map", "a.h5", "a.ims", "a.tif"]
)
def test_the_reader_is_asked_for_what_is_opened_here(name):
    manager = PluginManager()
    manager.discover()
    readers = manager.iter_compatible_readers(name)
    assert any(reader.command == "napari-flowinpaint.get_reader" for reader in readers)


def test_an_mrc_file_opens(make_napari_viewer, tmp_path):
    pixels = synthetic_stack(SampleConfig(shape=(3, 64, 64))).astype("int16")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(pixels)
        file.voxel_size = (40, 40, 400)
    (layer,) = make_napari_viewer().open(str(tmp_path / "a.mrc"), plugin="napari-flowinpaint")
    assert tuple(layer.scale) == (40, 4, 4)
    np.testing.assert_array_equal(np.asarray(layer.data), pixels)


def test_of_several_stacks_the_reader_says_how_to_choose(tmp_path):
    pixels = np.zeros((2, 3, 20, 30), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "CZYX"})
    reader = get_reader(str(tmp_path / "a.tif"))
    with pytest.raises(InputError, match=r"2 channels; open it with .* Load stack"):
        reader(str(tmp_path / "a.tif"))
