"""Mask layers that scripts, other plugins and napari's own menus change."""

from copy import deepcopy

import numpy as np
import pytest
from flagging import SHAPE

pytest.importorskip("napari")
from napari.layers import Layer

from napari_flowinpaint.core.masks.sparse_mask import SparseMask
from napari_flowinpaint.viewer import layers, mask_layers


@pytest.fixture
def session(open_session):
    session = open_session()
    session.masks.new(session.image).data[2, 5:9, 5:9] = 3
    session.mask.commit()
    return session


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool])
def test_pixels_put_into_the_layer_become_the_mask_in_one_step(session, dtype):
    layer, mask = session.mask_layer, session.mask
    before = mask[...]
    given = np.zeros(SHAPE, dtype)
    given[1, 50:60, 200:210] = 1
    given[3, :4, :4] = 2
    layer.data = given
    assert session.mask is mask
    assert isinstance(layer.data, SparseMask)
    assert np.array_equal(mask[...], given)
    layer.paint((1, 5, 5), 1)
    assert mask[1, 5, 5] == 1
    for _ in range(2):
        session.masks.step(layer, back=True)
    assert np.array_equal(mask[...], before)


def test_numbers_that_are_no_kinds_are_damage(session):
    given = np.zeros(SHAPE, np.int32)
    given[1, 0, :3] = 300, -1, 255
    session.mask_layer.data = given
    assert session.mask[1, 0, :4].tolist() == [1, 1, 255, 0]


def test_pixels_of_another_shape_are_not_taken(session):
    before = session.mask[...]
    session.mask_layer.data = np.ones((3, 8, 8), np.uint8)
    assert np.array_equal(session.mask_layer.data[...], before)


def test_napari_converts_the_type_of_no_mask(session):
    before = session.mask[...]
    session.mask_layer.data = session.mask_layer.data.astype(np.int32)  # as its menu does
    assert session.mask.dtype == np.uint8
    assert np.array_equal(session.mask[...], before)


def test_a_copy_of_the_layer_is_a_layer_of_the_user_s(session):
    viewer, layer = session.viewer, session.mask_layer
    copy = viewer.add_layer(Layer.create(*deepcopy(layer.as_layer_data_tuple())))
    assert layers.role_of(copy) == ""
    assert session.mask_layer is layer
    assert mask_layers.fits(copy, session.image), "it can be loaded as the mask"
    session.mask[2, 5:9, 5:9] = 0
    assert copy.data[2, 6, 6] == 3
