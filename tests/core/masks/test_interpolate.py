"""Masks between two painted sections."""

import numpy as np
import pytest

from napari_flowinpaint.core.masks.interpolate import interpolate_masks


def disc(y, x, radius, shape=(120, 160)):
    """Return a mask with a disc."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def overlap(first, second):
    """Return intersection over union."""
    return (first & second).sum() / (first | second).sum()


def test_the_ends_are_the_masks_themselves():
    first, last = disc(40, 40, 12), disc(50, 60, 18)
    assert np.array_equal(interpolate_masks(first, last, 0.0), first)
    assert np.array_equal(interpolate_masks(first, last, 1.0), last)


@pytest.mark.parametrize("drift", [8, 45])
def test_a_component_that_drifts_and_grows_does_not_vanish(drift):
    first, last = disc(40, 40, 10), disc(48, 40 + drift, 16)
    between = interpolate_masks(first, last, 0.5)
    assert overlap(between, disc(44, 40 + drift / 2, 13)) > 0.9


def test_cracks_keep_their_width():
    first, last = np.zeros((2, 120, 160), bool)
    first[60:63, 10:150] = True
    last[70:73, 10:150] = True
    between = interpolate_masks(first, last, 0.5)
    assert set(np.flatnonzero(between.any(axis=1))) <= {64, 65, 66, 67, 68}
    assert (between.sum(axis=0)[20:140] == 3).all()


def test_each_component_goes_its_own_way():
    first = disc(30, 30, 8) | disc(90, 120, 8)
    last = disc(34, 36, 8) | disc(86, 112, 8)
    between = interpolate_masks(first, last, 0.5)
    assert overlap(between, disc(32, 33, 8) | disc(88, 116, 8)) > 0.9


def test_what_has_no_counterpart_reaches_half_way():
    both, lone = disc(30, 30, 8), disc(90, 130, 5)
    assert (interpolate_masks(both | lone, both, 0.25) & lone).any()
    assert not (interpolate_masks(both | lone, both, 0.75) & lone).any()
    assert (interpolate_masks(both, both | lone, 0.75) & lone).any()
    assert not (interpolate_masks(both, both | lone, 0.25) & lone).any()
