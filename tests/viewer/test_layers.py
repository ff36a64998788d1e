"""Layers and core types, without a window."""

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_flowinpaint.core.masks.sparse_mask import SparseMask
from napari_flowinpaint.core.section_repair import Patch, Provenance, SectionRepair
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.viewer import camera, layers, mask_layers, repair_layers
from napari_flowinpaint.viewer.tasks.loading import (
    LayerSource,
    LoadedStack,
    contrast_limits,
    open_layer,
)
from napari_flowinpaint.viewer.tasks.review import STAGES, Review, find_components


def no_progress(fraction, message):
    """Report to nobody."""


def make_repair(z=2, dtype=np.uint8):
    """Two windows, one component each, in a section of 60 x 80."""
    patches = []
    for number, box in enumerate((Box(5, 5, 25, 25), Box(30, 40, 50, 60)), start=1):
        components = np.zeros(box.shape, np.int32)
        components[6:12, 8:15] = number
        result = np.full(box.shape, 50, dtype)
        result[components > 0] = 200
        patches.append(
            Patch(
                box=box,
                components=components,
                initial_reference=np.full(box.shape, 100, dtype),
                refined_reference=np.full(box.shape, 150, dtype),
                result=result,
                confidence=np.full(box.shape, 0.25 * number, np.float32),
                neighbours=(z - 1, z + 1),
                alpha=0.5,
                method="flow",
            )
        )
    provenance = Provenance("flow", None, (z - 1, z + 1), (0.5, 0.5), 84, "now", "0")
    return SectionRepair(z, (60, 80), np.dtype(dtype), tuple(patches), provenance)


def make_review(z=2, dtype=np.uint8):
    repair = make_repair(z, dtype)
    return Review(repair, np.full(repair.box.shape, 50, dtype), find_components(repair))


def test_a_review_shows_the_original_where_a_component_is_rejected():
    review = make_review()
    assert [(c.number, c.pixels, c.confidence) for c in review.components] == [
        (1, 42, 0.25),
        (2, 42, 0.5),
    ]
    assert review.components[1].box == Box(36, 48, 42, 55)
    assert (review.image("result") == 200).sum() == 84
    review.set_accepted({1}, False)
    result = review.image("result")
    assert (result == 200).sum() == 42
    assert (result[31:37, 43:50] == 200).all(), "box starts at (5, 5)"
    assert review.selected().component_ids == (2,)
    review.set_accepted({1, 2}, True)
    assert (review.image("result") == 200).sum() == 84


def test_stages_show_the_section_between_windows_and_confidence_only_the_mask():
    review = make_review()
    initial = review.image("initial reference")
    assert initial.dtype == np.uint8
    assert initial[0, 0] == 100
    assert initial[0, -1] == 50, "no window there"
    assert (review.image("refined reference") == 150).sum() == 800
    confidence = review.image("confidence")
    assert np.isfinite(confidence).sum() == 84
    assert set(np.unique(confidence[np.isfinite(confidence)])) == {0.25, 0.5}


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"scale": (50, 4, 4), "translate": (100, 7, -3), "units": ("nm",) * 3},
        {"scale": (50, 4, 4), "translate": (1, 2, 3), "rotate": [[1, 0, 0], [0, 0, -1], [0, 1, 0]]},
        {"scale": (2, 1, 1), "affine": np.diag([1.0, 3, 0.5, 1])},
    ],
)
def test_derived_layers_lie_on_the_pixel_grid_of_the_stack(place):
    image = Image(np.zeros((9, 60, 80), np.uint8), axis_labels=("z", "y", "x"), **place)
    derived = Image(np.zeros((1, 20, 20)), **camera.placed_like(image, (4, 11, 13)))
    for point in ((0, 0, 0), (0, 5, 7)):
        world = image.data_to_world(np.add(point, (4, 11, 13)))
        assert np.allclose(derived.data_to_world(point), world)
    assert derived.units == image.units
    assert derived.axis_labels == image.axis_labels


def add_mask(viewer, image):
    mask = layers.mask_layer(image, SparseMask((5, 60, 80)), "damage")
    layers.add_hidden(viewer, len(viewer.layers), mask)
    return mask


def test_the_stages_are_shown_in_place_below_the_mask_and_reused():
    viewer = ViewerModel()
    image = viewer.add_image(
        np.full((5, 60, 80), 50, np.uint8),
        scale=(50, 4, 4),
        units=("nm",) * 3,
        contrast_limits=(10, 240),
        colormap="magma",
    )
    mask = add_mask(viewer, image)
    layers.take_brush(viewer, mask)
    assert str(mask.mode) == "paint"
    shown = {}
    list(repair_layers.show_stages(viewer, image, make_review(), shown))
    assert [layer.name for layer in viewer.layers] == [image.name, *STAGES, "damage"]
    assert set(viewer.layers.selection) == {mask}, "the brush stays in hand"
    assert viewer.layers.selection.active is mask
    assert [name for name in STAGES if shown[name].visible] == ["result"]
    for name in STAGES[:3]:
        assert tuple(shown[name].contrast_limits) == (10, 240)
        assert shown[name].colormap.name == "magma"
    assert tuple(shown["result"].translate) == (100, 20, 20)
    first = dict(shown)
    list(repair_layers.show_stages(viewer, image, make_review(z=3), shown))
    assert shown == first, "running again replaces what the layers show"
    assert tuple(shown["result"].translate) == (150, 20, 20)
    assert len(viewer.layers) == 6


def test_marks_of_synthetic_pixels_lie_below_the_stages(tmp_path):
    from napari_flowinpaint.core.io.stack import Stack

    viewer = ViewerModel()
    data = np.full((5, 60, 80), 50, np.uint8)
    image = viewer.add_image(data, name="stack")
    add_mask(viewer, image)
    assert viewer.layers.selection.active is image, "nobody asked for the brush"
    stack = Stack.from_array(data)
    repair_layers.show_synthetic(viewer, image, stack, [np.zeros_like(data)])
    shown = {}
    list(repair_layers.show_stages(viewer, image, make_review(), shown))
    names = ["stack", "synthetic pixels", *STAGES, "damage"]
    assert [layer.name for layer in viewer.layers] == names
    repair_layers.show_synthetic(viewer, image, stack, ())
    repair_layers.show_synthetic(viewer, image, stack, [np.zeros_like(data)])
    assert [layer.name for layer in viewer.layers] == names


def test_displaced_pixels_are_told_from_synthetic_ones_by_colour_and_by_name(tmp_path):
    from napari_flowinpaint.core.io.stack import Stack

    viewer = ViewerModel()
    data = np.full((3, 60, 80), 50, np.uint8)
    image = viewer.add_image(data, name="stack")
    stack = Stack.from_array(data)
    marks = np.zeros(data.shape, np.uint32)
    marks[1, :20], marks[1, 20:40] = 7, 7 + 2**31
    marks[2, :20], marks[2, 20:40] = 70_000, 70_000 + 2**31

    def look(z, y):
        (layer,) = (other for other in viewer.layers if other.name == "synthetic pixels")
        place = layer.data_to_world((z, y, 5))
        return layer.get_color(layer.data[z, y, 5]), layer.get_status(place, world=True)["value"]

    for _ in range(2):  # added, then brought up to date
        repair_layers.show_synthetic(viewer, image, stack, [marks], [7, 70_000])
        viewer.dims.set_point(0, 1)
        (blue, made), (yellow, moved) = look(1, 5), look(1, 25)
        assert not np.allclose(blue, yellow)
        assert "pixels: synthetic, repair: 7" in made
        assert "pixels: displaced, repair: 7" in moved
        viewer.dims.set_point(0, 2)
        assert np.allclose(look(2, 5)[0], blue), "numbers beyond what can be shown"
        assert np.allclose(look(2, 25)[0], yellow)


def test_the_section_is_that_of_the_slider_in_any_unit():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 60, 80), np.uint8), scale=(50, 4, 4), units=("nm",) * 3)
    camera.go_to_section(viewer, image, 7)
    assert camera.section_of(viewer, image) == 7
    assert viewer.dims.point[0] == 350
    other = viewer.add_image(
        np.zeros((9, 60, 80), np.uint8), scale=(0.05, 0.004, 0.004), units=("um",) * 3
    )
    for layer in (image, other):
        camera.go_to_section(viewer, layer, 3)
        assert camera.section_of(viewer, image) == 3
        assert camera.section_of(viewer, other) == 3


def test_no_section_in_3d_across_or_beside_the_stack():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 60, 80), np.uint8))
    beside = viewer.add_image(np.zeros((2, 60, 80), np.uint8))
    camera.go_to_section(viewer, image, 7)
    assert camera.section_of(viewer, beside) is None
    viewer.dims.ndisplay = 3
    assert camera.section_of(viewer, image) is None
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    assert camera.section_of(viewer, image) is None


def test_why_no_section_is_shown_and_going_to_one_shows_it():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 60, 80), np.uint8))
    beside = viewer.add_image(np.zeros((2, 60, 80), np.uint8))
    camera.go_to_section(viewer, image, 7)
    assert camera.why_no_section(viewer, image) == ""
    assert "outside the stack" in camera.why_no_section(viewer, beside)
    viewer.dims.ndisplay = 3
    assert "3-D" in camera.why_no_section(viewer, image)
    camera.go_to_section(viewer, image, 5)
    assert camera.section_of(viewer, image) == 5
    viewer.dims.order = (1, 0, 2)
    assert "other axes" in camera.why_no_section(viewer, image)
    camera.go_to_section(viewer, image, 4)
    assert camera.section_of(viewer, image) == 4


def test_which_layers_are_stacks_and_masks():
    grey, colour = np.zeros((3, 20, 20), np.uint8), np.zeros((3, 20, 20, 3), np.uint8)
    assert layers.is_stack(Image(grey))
    assert not layers.is_stack(Image(colour, rgb=True))
    assert not layers.is_stack(Image(grey[0]))
    assert not layers.is_stack(Labels(grey))
    assert not layers.is_stack(None)
    stack = Image(grey)
    assert mask_layers.fits(Labels(grey), stack)
    assert mask_layers.fits(Image(colour[0], rgb=True), stack), "of one section"
    assert not mask_layers.fits(Labels(grey[:, :, :-1]), stack)
    assert not mask_layers.fits(Labels(grey[1:]), stack)
    assert not mask_layers.fits(stack, stack)


def test_voxel_size_in_nm():
    data = np.zeros((3, 4, 5))
    micro = Image(data, scale=(0.05, 0.004, 0.004), units=("um",) * 3)
    assert np.allclose(layers.voxel_size_of(micro), (50, 4, 4))
    assert layers.voxel_size_of(Image(data)) is None, "pixels are no length"


def test_a_layer_over_a_file_is_traced_to_the_file_only_if_it_shows_the_same(tmp_path):
    import zarr

    data = np.random.default_rng(0).integers(0, 255, (4, 40, 40)).astype(np.uint8)
    array = zarr.create_array(tmp_path / "a.zarr", data=data, chunks=(1, 40, 40))
    path = str(tmp_path / "a.zarr")
    same = open_layer(LayerSource(path, array, None, "a"), progress=no_progress)
    assert same.kind == "zarr"
    assert same.writable
    other = open_layer(LayerSource(path, 255 - data, None, "a"), progress=no_progress)
    assert other.kind == "array"
    assert not other.writable
    gone = open_layer(LayerSource(path + "x", data, None, "a"), progress=no_progress)
    assert gone.kind == "array"


def test_a_layer_over_dask_shows_new_pixels_after_a_write(tmp_path):
    import dask.array
    import zarr

    from napari_flowinpaint.core.open import open_stack

    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, data=np.zeros((4, 40, 40), np.uint8), chunks=(1, 40, 40))
    viewer = ViewerModel()
    image = viewer.add_image(dask.array.from_zarr(str(path)))
    viewer.dims.set_point(0, 1)
    assert image.get_value((1, 5, 5)) == 0
    array[1] = 9
    layers.refresh_stack(image, open_stack(path))
    assert image.get_value((1, 5, 5)) == 9


def test_limits_come_from_tiles_that_show_something():
    from napari_flowinpaint.core.io.stack import Stack

    data = np.zeros((5, 700, 900), np.uint16)
    data[2, 300:420, 380:520] = np.linspace(1000, 2000, 140).astype(np.uint16)
    low, high = contrast_limits(Stack.from_array(data))
    assert low < high <= 2000
    assert contrast_limits(Stack.from_array(data * 0)) == (0, 65535)
    stack = Stack.from_array(data, voxel_size=(50, 4, 4), name="blocks")
    layer = layers.stack_layer(LoadedStack(stack, (low, high), "dark membranes"))
    assert layer.name == "blocks"
    assert tuple(layer.scale) == (50, 4, 4)
    assert [str(unit) for unit in layer.units] == ["nanometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")


def test_the_camera_goes_to_a_component():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 600, 800), np.uint8), scale=(50, 4, 4), units=("nm",) * 3)
    camera.center_on(viewer, image, 6, Box(100, 200, 140, 260))
    assert camera.section_of(viewer, image) == 6
    assert np.allclose(viewer.scene.camera.center[-2:], (4 * 119.5, 4 * 229.5))


def test_the_camera_goes_to_a_component_where_the_axes_are_transposed():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 600, 800), np.uint8), scale=(50, 4, 4))
    viewer.dims.order = (0, 2, 1)
    camera.center_on(viewer, image, 6, Box(100, 200, 140, 260))
    assert camera.section_of(viewer, image) == 6
    assert np.allclose(viewer.scene.camera.center[-2:], (4 * 229.5, 4 * 119.5))


def test_a_labels_layer_may_say_which_kinds_its_values_are():
    from napari_flowinpaint.core.io.stack import Stack
    from napari_flowinpaint.core.kinds import KINDS
    from napari_flowinpaint.core.masks.mask_choice import NOT_ZERO
    from napari_flowinpaint.viewer.tasks.mask_loading import MaskRequest, from_layer

    data = np.zeros((3, 20, 30), np.uint8)
    data[1, 5:9] = 2
    viewer = ViewerModel()
    image = viewer.add_image(data)
    features = {"index": [1, 2], "kind": ["cell", "fold"]}
    labels = viewer.add_labels(data, features=features)
    found = mask_layers.mask_of(viewer, labels, image, 1)
    request = MaskRequest(Stack.from_array(data), 1, NOT_ZERO, None)
    opened = from_layer(found, request, progress=no_progress)
    kinds = opened.mask.kinds(1, Box(0, 0, 20, 30))
    assert set(np.unique(kinds)) == {0, KINDS["fold"].label}
