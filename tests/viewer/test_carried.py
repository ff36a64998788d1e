"""What a file says of its image is seen in its layers; axes of length one do not matter."""

import numpy as np
import pytest
import zarr

pytest.importorskip("napari")
from make_stacks import volume, write_ngff
from napari.components import ViewerModel
from napari.layers import Image

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.viewer import camera, layers
from napari_flowinpaint.viewer.reader import read_stack
from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.viewer.tasks.loading import load, open_layer

SHAPE = (5, 24, 32)


def no_progress(fraction, message):
    """Report to nobody."""


def described(path, **channel):
    """An OME-Zarr away from the origin, with display settings."""
    write_ngff(path, volume(SHAPE)[None], axes="czyx", version="0.4", unit="micrometer")
    group = zarr.open_group(str(path), mode="r+")
    images = group.attrs["multiscales"]
    images[0]["name"] = "cell"
    images[0]["datasets"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [1.0, 0.05, 0.004, 0.004]},
        {"type": "translation", "translation": [0.0, 0.1, 0.4, 0.8]},
    ]
    window = {"start": 20.0, "end": 90.0, "min": 0.0, "max": 255.0}
    omero = {"channels": [{"label": "BSE", "color": "FFFFFF", "window": window, **channel}]}
    group.attrs.update({"multiscales": images, "omero": omero, "kV": 1.5})
    return path


def test_a_layer_shows_place_and_display(tmp_path):
    layer = layers.stack_layer(load(str(described(tmp_path / "a.zarr")), progress=no_progress))
    np.testing.assert_allclose(layer.scale, [50, 4, 4])
    np.testing.assert_allclose(layer.translate, [100, 400, 800])
    assert [str(unit) for unit in layer.units] == ["nanometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert tuple(layer.contrast_limits) == (20, 90)
    assert layer.metadata["attributes"] == {"kV": 1.5}
    assert (layer.metadata["name"], layer.metadata["channel"]) == ("cell", "BSE")
    mask = layers.mask_layer(layer, np.zeros(SHAPE, np.uint8), "mask")
    np.testing.assert_allclose(mask.translate, layer.translate)
    ((_, told, _),) = read_stack(str(tmp_path / "a.zarr"))
    np.testing.assert_allclose(told["translate"], layer.translate)
    assert layers.ROLE not in told["metadata"]


@pytest.mark.parametrize(
    ("channel", "first", "last"),
    [
        ({}, (0, 0, 0), (1, 1, 1)),
        ({"inverted": True}, (1, 1, 1), (0, 0, 0)),
        ({"color": "00FF00"}, (0, 0, 0), (0, 1, 0)),
        ({"color": "00FF00", "inverted": True}, (0, 1, 0), (0, 0, 0)),
    ],
)
def test_the_colours_of_a_channel(tmp_path, channel, first, last):
    path = described(tmp_path / "a.zarr", **channel)
    layer = layers.stack_layer(load(str(path), progress=no_progress))
    shown = np.asarray(layer.colormap.map(np.array([0.0, 1.0])))
    np.testing.assert_allclose(shown[:, :3], [first, last], atol=0.01)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("colour", ["ffffff", "00ff00"])
def test_what_a_layer_shows_is_shown_again(tmp_path, colour, inverted):
    path = described(tmp_path / "a.zarr", color=colour, inverted=inverted)
    layer = layers.stack_layer(load(str(path), progress=no_progress))
    display = layers.source_of(layer).metadata.display
    assert (display.colour, display.inverted) == (f"#{colour}", inverted)
    assert display.window == (20, 90)


def test_a_layer_is_saved_where_it_lies(tmp_path):
    layer = Image(
        volume(SHAPE), scale=(0.05, 0.004, 0.004), translate=(1, 2, 3), units=("um",) * 3, name="a"
    )
    layer.contrast_limits = (10, 100)
    stack = open_layer(layers.source_of(layer), progress=no_progress)
    saved = open_stack(save_ome_zarr(stack, tmp_path / "o.zarr"))
    assert saved.voxel_size == (50, 4, 4)
    np.testing.assert_allclose(saved.metadata.translation, [1000, 2000, 3000])
    assert saved.metadata.display.window == (10, 100)
    assert saved.metadata.name == "a"


@pytest.mark.parametrize("leading", [(1,), (1, 1)])
@pytest.mark.parametrize("lazy", [False, True])
def test_layers_with_further_axes_of_length_one(tmp_path, leading, lazy):
    pixels = volume(SHAPE).reshape(leading + SHAPE)
    data = zarr.create_array(str(tmp_path / "a.zarr"), data=pixels) if lazy else pixels
    viewer = ViewerModel()
    ones = (1,) * len(leading)
    image = viewer.add_image(data, scale=(*ones, 50, 4, 4), translate=(*ones, 100, 8, 8))
    session = session_of(viewer)
    assert session.image is image
    stack = open_layer(layers.source_of(image), progress=no_progress)
    assert stack.shape == SHAPE
    session.set_stack(image, stack)
    camera.go_to_section(viewer, image, 3)
    assert session.section == 3
    mask = session.masks.new(image)
    assert mask.data.shape == SHAPE
    np.testing.assert_allclose(mask.translate, [100, 8, 8])
    np.testing.assert_allclose(camera.to_world(image, (2, 1, 1)), [200, 12, 12])
    np.testing.assert_allclose(camera.placed_like(image, (2, 1, 1))["translate"], [200, 12, 12])
    camera.go_to_section(viewer, mask, 1)
    assert session.section == 1


@pytest.mark.parametrize(
    ("shape", "rgb", "told"),
    [
        ((4, 20, 30, 3), True, "Split RGB"),
        ((2, 4, 20, 30), False, "Split Stack"),
        ((20, 30), False, "single image"),
    ],
)
def test_a_layer_that_is_no_stack_is_told_why(shape, rgb, told):
    layer = Image(np.zeros(shape, np.uint8), rgb=rgb)
    assert not layers.is_stack(layer)
    assert told in layers.why_no_stack(layer)
