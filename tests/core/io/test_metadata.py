"""What a file says beyond the pixels goes along into copies, masks and layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import mrcfile
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


def write_cosem(path: Path) -> None:
    from make_formats import write_n5

    transform = {
        "axes": ["z", "y", "x"],
        "scale": [0.04, 0.005, 0.004],
        "translate": [0.4, 0.01, -0.02],
        "units": ["um"] * 3,
    }
    write_n5(path / "s0", volume(SHAPE), transform=transform)
    (path / "attributes.json").write_text(json.dumps({"name": "cell7", "sample": "a"}))


def write_n5_ij(path: Path) -> None:
    from make_formats import write_n5

    space = {"resolution": [4, 5, 40], "offset": [-20, 10, 400], "units": ["nm"] * 3}
    write_n5(path / "raw", volume(SHAPE), **space, sample="a")


def write_precomputed_place(path: Path) -> None:
    from make_formats import write_precomputed

    write_precomputed(path, volume(SHAPE))
    file = path / "info"
    told = json.loads(file.read_text())
    told["scales"][0]["voxel_offset"] = [-5, 2, 10]
    told["scales"][0]["resolution"] = [4, 5, 40]
    file.write_text(json.dumps({**told, "sample": "a"}))


def write_mrc_place(path: Path, flags: int) -> None:
    from make_formats import imod, set_bytes, write_mrc

    write_mrc(path, volume(SHAPE, "int16"))
    with mrcfile.open(path, "r+") as file:
        file.voxel_size = (40, 50, 400)
        sign = 1 if flags & 4 else -1
        file.header.origin = tuple(sign * n for n in (-200, 100, 4000))
    if flags:
        set_bytes(path, 152, imod(flags))


def write_bdv_place(path: Path) -> None:
    from test_hdf5_layouts import XML, write_bdv

    write_bdv(path, volume((9, 51, 60), "uint16"))
    with h5py.File(path, "r+") as file:
        del file["s01"], file["t00000/s01"]
    affines = ("1 0 0 0 0 1 0 0 0 0 1 2.5", "1 0 0 -5 0 1 0 2 0 0 8 77.5")
    registration = "".join(f"<ViewTransform><affine>{a}</affine></ViewTransform>" for a in affines)
    xml = XML.replace("<id>0</id>", "<id>0</id><name>detector 0</name>")
    xml = xml.replace("0.004 0.004 0.04", "0.004 0.005 0.04").replace(
        "</SpimData>",
        '<ViewRegistrations><ViewRegistration timepoint="0" setup="0">'
        f"{registration}</ViewRegistration></ViewRegistrations></SpimData>",
    )
    path.with_suffix(".xml").write_text(xml)


def write_imaris_place(path: Path) -> None:
    from test_hdf5_layouts import letters, write_imaris

    write_imaris(path, volume((9, 51, 60)))
    ends = {"0": (-0.02, 60 * 0.004), "1": (0.01, 51 * 0.005), "2": (0.4, 9 * 0.04)}
    with h5py.File(path, "r+") as file:
        image = file["DataSetInfo/Image"]
        for axis, (low, length) in ends.items():
            image.attrs[f"ExtMin{axis}"] = letters(f"{low:g}")
            image.attrs[f"ExtMax{axis}"] = letters(f"{low + length:g}")
        image.attrs["Name"] = letters("cell7")
        image.attrs["Description"] = letters("a")
        channel = file.create_group("DataSetInfo/Channel 0")
        told = {"Name": "detector 0", "ColorRange": "40.000 210.000", "Color": "0 1 0"}
        for name, text in told.items():
            channel.attrs[name] = letters(text)


@pytest.mark.parametrize(
    ("name", "write", "about"),
    [
        ("a.n5", write_cosem, {"sample": "a"}),
        ("b.n5", write_n5_ij, {"sample": "a"}),
        ("precomputed", write_precomputed_place, {"sample": "a"}),
        ("a.mrc", lambda path: write_mrc_place(path, 5), None),
        ("b.mrc", lambda path: write_mrc_place(path, 1), None),
        ("a.h5", write_bdv_place, {}),
        ("a.ims", write_imaris_place, {"imaris": {"Description": "a"}}),
    ],
)
def test_other_formats_say_where_they_lie(
    tmp_path: Path, name: str, write: Any, about: dict[str, Any] | None
) -> None:
    write(tmp_path / name)
    stack = open_stack(tmp_path / name)
    assert stack.voxel_size == pytest.approx((40, 5, 4))
    saved = open_stack(save_ome_zarr(stack, tmp_path / "o.zarr")).metadata
    assert saved.spacing == pytest.approx((40, 5, 4))
    assert saved.translation == pytest.approx((400, 10, -20))
    if about is None:
        assert "Created by mrcfile" in saved.attributes["mrc"]["labels"][0]
    else:
        assert saved.attributes == about
    if name in ("a.n5", "a.ims"):
        assert saved.name == "cell7"
    if name in ("a.h5", "a.ims"):
        assert saved.display.label == "detector 0"
    if name == "a.ims":
        assert (saved.display.window, saved.display.colour) == ((40, 210), "#00ff00")
