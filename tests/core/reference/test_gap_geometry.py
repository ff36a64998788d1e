"""What of a mask is a gap, across which axis, and what lies between its faces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_flowinpaint.core.filters import ENDLESS, run_lengths
from napari_flowinpaint.core.reference.gap_geometry import bars_of, is_isotropic
from napari_flowinpaint.core.reference.gap_interpolation import between, fill_columns, fill_gap
from napari_flowinpaint.core.types import Box


def blank(shape=(60, 80)):
    return np.zeros(shape, dtype=bool)


def test_runs_that_end_somewhere_are_counted():
    gone = np.array([[0, 1, 1, 0, 1, 1], [0, 0, 1, 0, 0, 0]], dtype=bool)
    assert run_lengths(gone, 1).tolist() == [
        [0, 2, 2, 0, ENDLESS, ENDLESS],
        [0, 0, 1, 0, 0, 0],
    ]
    assert (run_lengths(gone, 0)[gone] == ENDLESS).all()


def test_a_stripe_is_a_bar_across_its_narrow_side():
    mask = blank()
    mask[:, 30:36] = True
    bars, rest = bars_of(mask, ~mask)
    assert not rest.any()
    assert [(bar.axis, bar.box) for bar in bars] == [(2, Box(0, 30, 60, 36))]
    bars, rest = bars_of(mask.T, ~mask.T)
    assert [(bar.axis, bar.box) for bar in bars] == [(1, Box(30, 0, 36, 60))]


def test_bars_that_cross_are_all_of_the_mask():
    mask = blank()
    mask[:, 30:36] = mask[20:30] = mask[:, 50:54] = True
    bars, rest = bars_of(mask, ~mask)
    assert not rest.any()
    assert sum(int(bar.where.sum()) for bar in bars) == mask.sum()
    upright = [bar for bar in bars if bar.axis == 2]
    assert sorted(bar.box.shape for bar in upright) == [(60, 4), (60, 6)]
    assert {bar.box.shape[0] for bar in bars if bar.axis == 1} == {10}


def test_where_one_side_is_padding_a_bar_goes_on():
    mask, imaged = blank(), ~blank()
    mask[:, 30:36] = True
    for row in range(20):  # a slanted edge of the padding, over the bar
        imaged[row, : 45 - row] = False
    mask &= imaged
    bars, rest = bars_of(mask, imaged & ~mask)
    assert not rest.any()
    assert {bar.axis for bar in bars} == {2}


def test_what_is_wide_in_both_directions_is_no_gap():
    mask = blank()
    mask[10:40, 10:40] = True
    bars, rest = bars_of(mask, ~mask)
    assert not bars
    assert np.array_equal(rest, mask)
    edge = blank()
    edge[:, :6] = True  # nothing is known beyond
    bars, rest = bars_of(edge, ~edge)
    assert not bars
    assert rest.sum() == edge.sum()


def test_only_what_is_known_to_be_isotropic_is():
    assert is_isotropic((10, 10, 10))
    assert is_isotropic((24, 23, 23))
    assert not is_isotropic((40, 4, 4))
    assert not is_isotropic(None)


def test_columns_are_filled_linearly():
    block = np.zeros((6, 8, 8), dtype=np.float32)
    block[1], block[5] = 2, 10
    missing = np.ones(block.shape, dtype=bool)
    missing[1] = missing[5] = False
    filled = fill_columns(block, missing)
    assert filled[:, 3, 3].tolist() == [2, 2, 4, 6, 8, 10]
    missing[:, 4] = True  # nothing is known there: what is around it in the layer
    filled = fill_columns(block, missing)
    np.testing.assert_allclose(filled[:, 4, 3], [2, 2, 4, 6, 8, 10], rtol=1e-4)
    assert (fill_columns(block, np.ones_like(missing)) == 0).all()


def test_a_gap_is_filled_along_the_motion_between_its_faces():
    rng = np.random.default_rng(0)
    import cv2

    wide = cv2.GaussianBlur(rng.standard_normal((96, 140)).astype(np.float32), (0, 0), 4)
    wide /= wide.std()
    truth = np.stack([wide[:, 10 + 2 * z : 106 + 2 * z] for z in range(10)])
    missing = np.zeros(truth.shape, dtype=bool)
    missing[4:7] = True
    filled, doubt = fill_gap(np.where(missing, 0, truth), missing, 4, 3)
    linear = fill_columns(truth, missing)
    inner = (slice(4, 7), slice(16, -16), slice(16, -16))
    error, before = (np.abs(v - truth)[inner].mean() for v in (filled, linear))
    assert error < 0.5 * before
    assert (doubt[~missing] == 0).all()
    assert np.abs(doubt[inner]).mean() < before
    np.testing.assert_array_equal(filled[~missing], truth[~missing])


@pytest.mark.parametrize("shape", [(5, 7), (1, 40)])
def test_faces_too_small_for_motion_are_interpolated(shape):
    block = np.zeros((4, *shape), dtype=np.float32)
    block[3] = 3
    missing = np.zeros(block.shape, dtype=bool)
    missing[1:3] = True
    filled, _ = fill_gap(block, missing, 1, 2)
    np.testing.assert_allclose(filled[:, 0, 0], [0, 1, 2, 3], atol=1e-6)


def test_faces_of_few_sections_are_moved_too():
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.standard_normal((16, 100)), 3.0, mode="wrap").astype(np.float32)
    image /= image.std()
    before, truth, after = (np.roll(image, step, axis=1) for step in (0, 2, 4))
    found = np.mean(between(before, after, 1), axis=0)[0]
    error, still = (np.abs(i - truth)[:, 8:-8].mean() for i in (found, (before + after) / 2))
    assert error < 0.5 * still
