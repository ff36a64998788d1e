"""Layers with axes of length one are stacks, wherever these axes are."""

import doctest

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel

from napari_flowinpaint.viewer import camera, layers, unit_axes
from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.viewer.tasks import loading, one_section

SHAPE = (5, 64, 72)


def quiet(fraction, message):
    """Report to nobody."""


def texture():
    import cv2

    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((SHAPE[1] + 10, SHAPE[2] + 10)), (0, 0), 3)
    noise = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    return np.stack([noise[z : z + SHAPE[1], z : z + SHAPE[2]] for z in range(SHAPE[0])])


def test_examples_hold():
    assert doctest.testmod(unit_axes).failed == 0


@pytest.mark.parametrize(
    "shape", [(5, 1, 64, 72), (5, 64, 72, 1), (1, 5, 1, 64, 72), (1, 5, 64, 72), (5, 64, 1, 72)]
)
@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "pyramid"])
def test_a_layer_with_axes_of_length_one_is_repaired_in_place(shape, kind):
    data = texture()
    stored = data.reshape(shape)
    viewer = ViewerModel()
    axes = unit_axes.zyx_axes(shape)
    scale = np.ones(len(shape))
    scale[list(axes)] = 50, 4, 2
    if kind == "dask":
        import dask.array

        stored = dask.array.from_array(stored)
    elif kind == "zarr":
        import zarr

        array = zarr.create_array({}, data=stored)
        stored = array
    elif kind == "pyramid":
        half = tuple(slice(None, None, 2 if axis in axes[1:] else 1) for axis in range(len(shape)))
        stored = [stored, stored[half]]
    layer = viewer.add_image(stored, scale=scale, multiscale=kind == "pyramid")
    session = session_of(viewer)
    assert session.image is layer
    assert layers.zyx_shape(layer) == SHAPE
    assert np.array_equal(np.asarray(layers.zyx_array(layer)[...]), data)
    assert tuple(layer.scale[-3:]) == (50, 4, 2)
    session.set_stack(layer, loading.open_layer(layers.source_of(layer), progress=quiet))
    camera.go_to_section(viewer, layer, 2)
    assert session.section == 2
    mask = session.masks.new(layer, paint=False)
    mask.brush_size = 10
    mask.paint((2, 30, 40), 1)
    session.settings.method = "flow"
    review = one_section.repair(session.request_repair(), progress=quiet)
    (patch,) = review.repair.patches
    at = patch.mask.nonzero()
    assert np.array_equal(session.mask.read(2)[patch.box.slices], patch.mask)
    assert np.abs(patch.result[at].astype(int) - data[2][patch.box.slices][at]).mean() < 20


@pytest.mark.parametrize("shape", [(2, 5, 64, 72), (64, 72, 1), (64, 1, 72)])
def test_other_shapes_are_refused_with_what_to_do(shape):
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros(shape, np.uint8), rgb=False)
    assert session_of(viewer).image is None
    assert str(shape) in layers.why_no_stack(layer)


def test_another_layer_of_that_shape_can_be_the_mask():
    from napari_flowinpaint.viewer import mask_layers

    viewer = ViewerModel()
    image = viewer.add_image(texture()[:, None])
    damage = np.zeros((5, 1, 64, 72), np.uint8)
    damage[3, 0, 5:9, 7:9] = 1
    labels = viewer.add_labels(damage)
    session_of(viewer)
    assert mask_layers.fits(labels, image)
    found = mask_layers.mask_of(viewer, labels, image, 3)
    assert np.argwhere(np.asarray(found.array)).min(axis=0).tolist() == [3, 5, 7]
