"""What a file says beyond the pixels goes along into copies, masks and layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from make_stacks import volume, write_ngff

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.metadata import MOST_BYTES
from napari_flowinpaint.core.io.ngff_attributes import image_attributes, mask_attributes
from napari_flowinpaint.core.open import open_stack

SHAPE = (3, 20, 30)
WINDOW = {"start": 40.0, "end": 210.0, "min": 0.0, "max": 255.0}


def described(path: Path, version: str = "0.4", axes: str = "czyx", channels: int = 1) -> Path:
    """A store with everything that people write into one."""
    pixels = np.stack([volume(SHAPE)] * channels)
    pixels = pixels.reshape((*(1,) * (len(axes) - 4), channels, *SHAPE)[-len(axes) :])
    write_ngff(path, pixels, axes=axes, version=version)
    group = zarr.open_group(str(path), mode="r+")
    attributes: dict[str, Any] = dict(group.attrs)
    ome = attributes["ome"] if version == "0.5" else attributes
    image = ome["multiscales"][0]
    image["name"] = "cell7 raw"
    image["about"] = "kept"
    for axis in image["axes"]:
        if axis["name"] in "zyx":
            axis["unit"] = "micrometer"
    ones = [1.0] * (len(axes) - 3)
    image["datasets"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [*ones, 0.05, 0.005, 0.004]},
        {"type": "translation", "translation": [*([0.0] * len(ones)), -10.0, -20.0, 30.0]},
    ]
    ome["omero"] = {
        "name": "cell7",
        "channels": [
            {"label": f"detector {n}", "color": "00FF00", "inverted": True, "window": WINDOW}
            for n in range(channels)
        ],
    }
    if version == "0.5":
        ome["lab"] = {"who": "me"}
    attributes["acquired"] = {"on": "a Monday", "kV": 1.5}
    group.attrs.put(attributes)
    return path


def attributes_of(path: Path) -> dict[str, Any]:
    return dict(zarr.open_group(str(path), mode="r").attrs)


@pytest.mark.parametrize(
    ("version", "axes"), [("0.4", "czyx"), ("0.5", "tczyx"), ("0.5", "zyx"), ("0.4", "tzyx")]
)
def test_a_copy_has_it_all(tmp_path: Path, version: str, axes: str) -> None:
    stack = open_stack(described(tmp_path / "s.zarr", version, axes))
    assert stack.shape == SHAPE
    found = attributes_of(save_ome_zarr(stack, tmp_path / "o.zarr"))
    yaozarrs.validate_zarr_store(str(tmp_path / "o.zarr"))
    assert set(found) == {"ome", "acquired"}
    assert found["acquired"] == {"on": "a Monday", "kV": 1.5}
    ome = found["ome"]
    assert ome.get("lab") == ({"who": "me"} if version == "0.5" else None)
    assert ome["omero"]["channels"][0]["window"] == WINDOW
    assert ome["omero"]["channels"][0]["label"] == "detector 0"
    image = ome["multiscales"][0]
    assert (image["name"], image["about"]) == ("cell7 raw", "kept")
    assert [axis["name"] for axis in image["axes"]] == list(axes)
    assert {axis.get("unit") for axis in image["axes"] if axis["name"] in "zyx"} == {"micrometer"}
    scale, translation = image["datasets"][0]["coordinateTransformations"]
    assert scale["scale"][-3:] == [0.05, 0.005, 0.004]
    assert translation["translation"][-3:] == [-10.0, -20.0, 30.0]
    saved = open_stack(tmp_path / "o.zarr")
    assert (saved.shape, saved.voxel_size) == (SHAPE, (50.0, 5.0, 4.0))
    assert saved.metadata == stack.metadata  # also a copy of the copy is the same
    np.testing.assert_array_equal(saved.read(1), stack.read(1))


def test_every_level_lies_over_the_full_resolution(tmp_path: Path) -> None:
    stack = open_stack(described(tmp_path / "s.zarr"))
    image = image_attributes(stack, "o", 3).attributes["ome"]["multiscales"][0]
    for number, dataset in enumerate(image["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        # the outer edge of the first pixel is where it is at full resolution
        edge = np.subtract(translation["translation"], np.divide(scale["scale"], 2))
        np.testing.assert_allclose(edge, [-0.5, -10.025, -20.0025, 29.998], atol=1e-12)
        assert scale["scale"][-1] == pytest.approx(0.004 * 2**number)


def test_a_mask_lies_where_the_stack_lies(tmp_path: Path) -> None:
    stack = open_stack(described(tmp_path / "s.zarr"))
    attributes = mask_attributes(stack, "mask", 1).attributes
    assert set(attributes) == {"ome"}
    assert set(attributes["ome"]) == {"version", "multiscales"}, "a mask has no display window"
    image = attributes["ome"]["multiscales"][0]
    assert [axis["unit"] for axis in image["axes"]] == ["micrometer"] * 3
    scale, translation = image["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], translation["translation"]) == ([0.05, 0.005, 0.004], [-10, -20, 30])


def test_numbers_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    path = described(tmp_path / "s.zarr")
    file = path / ".zattrs"
    file.write_text(file.read_text().replace('"kV": 1.5', '"kV": NaN'))
    save_ome_zarr(open_stack(path), tmp_path / "o.zarr")
    assert attributes_of(tmp_path / "o.zarr")["acquired"] == {"on": "a Monday", "kV": None}


def test_of_several_channels_the_chosen_one_is_described(tmp_path: Path) -> None:
    stack = open_stack(described(tmp_path / "s.zarr", channels=2), channel=1)
    channels = attributes_of(save_ome_zarr(stack, tmp_path / "o.zarr"))["ome"]["omero"]["channels"]
    assert [c["label"] for c in channels] == ["detector 1"]
    assert stack.metadata.display.window == (40.0, 210.0)
    assert stack.metadata.display.colour == "#00ff00"


def test_another_voxel_size_moves_the_image_by_as_many_voxels(tmp_path: Path) -> None:
    stack = open_stack(described(tmp_path / "s.zarr"), voxel_size=(30, 10, 10))
    saved = open_stack(save_ome_zarr(stack, tmp_path / "o.zarr"))
    assert saved.voxel_size == (30, 10, 10)
    assert saved.metadata.voxel_translation() == pytest.approx((-200, -4000, 7500))


def test_what_is_too_much_is_left_out_with_a_word(tmp_path: Path) -> None:
    path = described(tmp_path / "s.zarr")
    group = zarr.open_group(str(path), mode="r+")
    deep: Any = "end"
    for _ in range(100):
        deep = [deep]
    for attributes in ({"acquired": "x" * (MOST_BYTES + 1)}, {"acquired": deep}):
        group.attrs.update(attributes)
        stack = open_stack(path)
        assert stack.metadata.attributes == {}
        assert any("too long or too deeply nested" in message for message in stack.messages)
        assert stack.metadata.display.label == "detector 0"


@pytest.mark.parametrize(
    "omero",
    [
        {"channels": "none"},
        {"channels": [{"window": {"start": 1.0, "end": 5.0}}]},
        {"channels": [{"window": {"start": "a", "end": None}, "color": 7}]},
        {"channels": [None, 3]},
        "what",
    ],
)
def test_odd_display_settings_do_no_harm(tmp_path: Path, omero: Any) -> None:
    path = described(tmp_path / "s.zarr")
    zarr.open_group(str(path), mode="r+").attrs.update({"omero": omero})
    stack = open_stack(path)
    assert stack.metadata.display.window in (None, (1.0, 5.0))
    save_ome_zarr(stack, tmp_path / "o.zarr")
    yaozarrs.validate_zarr_store(str(tmp_path / "o.zarr"))


def test_attributes_of_arrays_go_along(tmp_path: Path) -> None:
    pixels = volume(SHAPE)
    array = zarr.create_array(str(tmp_path / "a.zarr"), data=pixels)
    given = {"resolution": [40, 4, 4], "offset": [400, 40, 80], "microscope": "a"}
    array.attrs.put(given)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = pixels
        file["raw"].attrs.update({**given, "times": np.arange(3)})
    for path in (tmp_path / "a.zarr", tmp_path / "a.h5"):
        saved = save_ome_zarr(open_stack(path), tmp_path / f"o{path.suffix[1:]}.zarr")
        assert attributes_of(saved)["microscope"] == "a"
        assert open_stack(saved).metadata.translation == (400, 40, 80)
        json.dumps(attributes_of(saved))


def test_imagej_and_ome_tiff_go_along(tmp_path: Path) -> None:
    pixels = volume(SHAPE, "uint16")
    told = {"axes": "ZYX", "min": 100.0, "max": 900.0, "Info": "SBEM", "Labels": ["a", "b", "c"]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata=told)
    ome = {"axes": "CZYX", "Name": "cell", "Channel": {"Name": ["BSE"]}}
    tifffile.imwrite(tmp_path / "b.ome.tif", pixels[None], metadata=ome)
    first = open_stack(tmp_path / "a.tif").metadata
    assert first.display.window == (100.0, 900.0)
    assert first.attributes["imagej"]["Info"] == "SBEM"
    second = open_stack(tmp_path / "b.ome.tif").metadata
    assert (second.name, second.display.label) == ("cell", "BSE")


def test_axes_that_are_guessed_are_told(tmp_path: Path) -> None:
    pixels = volume(SHAPE)
    zarr.create_array(str(tmp_path / "a.zarr"), data=pixels[None])
    zarr.create_array(str(tmp_path / "b.zarr"), data=pixels, dimension_names=("p", "q", "r"))
    zarr.create_array(str(tmp_path / "c.zarr"), data=pixels, dimension_names=("z", "y", "x"))
    zarr.create_array(str(tmp_path / "d.zarr"), data=pixels)
    assert open_stack(tmp_path / "a.zarr").messages == (
        "The axes have no names; they are read as c, z, y, x.",
    )
    assert "p, q, r; they are read as z, y, x" in open_stack(tmp_path / "b.zarr").messages[0]
    assert open_stack(tmp_path / "c.zarr").messages == ()
    assert open_stack(tmp_path / "d.zarr").messages == ()
