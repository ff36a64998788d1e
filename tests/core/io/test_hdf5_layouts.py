"""HDF5 as BigDataViewer, Imaris, MATLAB and ilastik write it, and files of several datasets."""

import json
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from make_stacks import volume

from napari_flowinpaint.core.errors import ChoiceNeeded, InputError
from napari_flowinpaint.core.open import open_mask, open_stack

SHAPE = (9, 51, 60)
XML = """<SpimData><SequenceDescription><ViewSetups><ViewSetup><id>0</id><voxelSize>
<unit>um</unit><size>0.004 0.004 0.04</size></voxelSize></ViewSetup></ViewSetups>
</SequenceDescription></SpimData>"""


def write_bdv(path: Path, pixels: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for setup in range(2):
            for number, level in enumerate((pixels + setup, pixels[:, ::2, ::2] + setup)):
                name = f"t00000/s0{setup}/{number}/cells"
                file.create_dataset(name, data=level.view("int16"), chunks=(4, 16, 16))
            file[f"s0{setup}/resolutions"] = np.array([[1, 1, 1], [2, 2, 1]], float)


def letters(text: str) -> np.ndarray:
    return np.array([letter.encode() for letter in text], dtype="S1")


def write_imaris(path: Path, pixels: np.ndarray, depth: int | None = None) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["ImarisDataSet"] = letters("ImarisDataSet")
        for number, level in enumerate((pixels, pixels[:, ::2, ::2])):
            padded = np.zeros((16, 64, 64), pixels.dtype)
            padded[tuple(slice(n) for n in level.shape)] = level
            where = f"DataSet/ResolutionLevel {number}/TimePoint 0/Channel 0"
            group = file.create_group(where)
            group.create_dataset("Data", data=padded, chunks=(8, 32, 32), compression="gzip")
            for axis, size in zip("ZYX", level.shape, strict=True):
                group.attrs[f"ImageSize{axis}"] = letters(str(size))
            if depth is not None:
                group.attrs["ImageSizeZ"] = letters(str(depth))
        image = file.create_group("DataSetInfo/Image")
        image.attrs["Unit"] = letters("um")
        for axis, (size, voxel) in enumerate(zip(SHAPE[::-1], (0.004, 0.004, 0.04), strict=True)):
            image.attrs[f"ExtMin{axis}"] = letters("0")
            image.attrs[f"ExtMax{axis}"] = letters(f"{size * voxel:g}")


def write_matlab(path: Path, array: np.ndarray, name: str = "img") -> None:
    """Write an array as MATLAB does, which keeps the first axis closest together."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset(name, data=array.T)
        file["#refs#/a"] = np.zeros((2, 2, 2), "uint8")
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\x02IM")


def test_bigdataviewer(tmp_path: Path) -> None:
    pixels = volume(SHAPE, "uint16")
    write_bdv(tmp_path / "a.h5", pixels)
    with pytest.raises(ChoiceNeeded, match="for example with --channel 0"):
        open_stack(tmp_path / "a.h5")
    stack = open_stack(tmp_path / "a.h5", channel=1)
    assert (stack.dtype, stack.voxel_size) == (np.dtype("uint16"), None)
    np.testing.assert_array_equal(np.asarray(stack.array), pixels + 1)
    assert [level.scale for level in stack.levels] == [(1, 1, 1), (1, 2, 2)]
    (tmp_path / "a.xml").write_text(XML)
    assert open_stack(tmp_path / "a.h5", channel=0).voxel_size == (40, 4, 4)
    named = open_stack(f"{tmp_path}/a.h5:/t00000/s00/0/cells")
    np.testing.assert_array_equal(named.read(3), pixels[3])


@pytest.mark.parametrize("text", [XML[:80], "<!DOCTYPE a>" + XML, XML.replace("0.04<", "much<")])
def test_damaged_xml_beside_it_tells_no_voxel_size(tmp_path: Path, text: str) -> None:
    write_bdv(tmp_path / "a.h5", volume(SHAPE, "uint16"))
    (tmp_path / "a.xml").write_text(text)
    assert open_stack(tmp_path / "a.h5", channel=0).voxel_size is None


def test_imaris(tmp_path: Path) -> None:
    pixels = volume(SHAPE)
    write_imaris(tmp_path / "a.ims", pixels)
    stack = open_stack(tmp_path / "a.ims")
    assert stack.shape == SHAPE
    np.testing.assert_array_equal(np.asarray(stack.array), pixels)
    np.testing.assert_array_equal(stack.array[-1, 5:, :7], pixels[-1, 5:, :7])
    assert stack.voxel_size == pytest.approx((40, 4, 4))
    assert [level.shape for level in stack.levels] == [SHAPE, (9, 26, 30)]
    named = open_stack(f"{tmp_path}/a.ims:/DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data")
    assert named.shape == SHAPE
    write_imaris(tmp_path / "b.ims", pixels, depth=17)
    with pytest.raises(InputError, match="metadata are damaged"):
        open_stack(tmp_path / "b.ims")


def test_matlab(tmp_path: Path) -> None:
    pixels = volume(SHAPE)
    write_matlab(tmp_path / "a.mat", pixels.transpose(1, 2, 0))
    stack = open_stack(tmp_path / "a.mat")
    np.testing.assert_array_equal(np.asarray(stack.array), pixels)
    assert "rows, columns, sections" in stack.messages[0]
    write_matlab(tmp_path / "b.mat", pixels.transpose(1, 2, 0)[:, :, None])  # y, x, c, z
    np.testing.assert_array_equal(open_stack(tmp_path / "b.mat").read(2), pixels[2])
    write_matlab(tmp_path / "c.mat", np.zeros((20, 30, 3, 4), "uint8"))
    with pytest.raises(InputError, match="20 x 30 x 3 x 4"):
        open_stack(tmp_path / "c.mat")


def test_axis_tags_of_ilastik(tmp_path: Path) -> None:
    pixels = volume(SHAPE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item = file.create_dataset("exported_data", data=pixels.transpose(2, 1, 0)[..., None])
        item.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "xyzc"]})
    np.testing.assert_array_equal(open_stack(tmp_path / "a.h5").read(2), pixels[2])


@pytest.mark.parametrize("suffix", [".h5", ".ims", ".cell", ""])
def test_the_dataset_that_is_proposed_opens(tmp_path: Path, suffix: str) -> None:
    """Of several, one with pixels is proposed, in words that a shell takes as they are."""
    path = tmp_path / f"of two{suffix}"
    with h5py.File(path, "w") as file:
        file["labels/clefts of both"] = volume(SHAPE, "uint64")
        file["volumes/raw of it"] = volume(SHAPE)
    with pytest.raises(ChoiceNeeded) as error:
        open_stack(path)
    (proposed,) = shlex.split(re.search("name one: (.*)$", str(error.value))[1])
    assert open_stack(proposed).shape == SHAPE
    for choice in error.value.choices:
        assert open_mask(path, dataset=choice).shape == SHAPE
    with pytest.raises(InputError, match=r"it holds .*raw of it"):
        open_stack(f"{path}:/volumes")


def test_a_link_out_of_the_file_is_not_followed_in_a_layout(tmp_path: Path) -> None:
    write_bdv(tmp_path / "secret.h5", volume(SHAPE, "uint16"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t00000/s00/0/cells"] = h5py.ExternalLink("secret.h5", "t00000/s00/0/cells")
        file["s00/resolutions"] = np.ones((1, 3))
    with pytest.raises(InputError, match="link to another file"):
        open_stack(tmp_path / "a.h5")
