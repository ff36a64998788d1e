"""Linear prediction across a gap, fitted to the volume."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_flowinpaint.core.reference.gap_interpolation import fill_columns, fill_gap
from napari_flowinpaint.core.reference.gap_prediction import GapPrediction


def volume() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = ndi.gaussian_filter(rng.standard_normal((68, 48, 56)), 2.5)
    return (smooth / smooth.std()).astype(np.float32)


def missing_from(block, *layers) -> np.ndarray:
    missing = np.zeros(block.shape, dtype=bool)
    for part in layers:
        missing[part] = True
    return missing


def test_it_is_nearer_than_interpolations():
    truth, gap = volume(), slice(32, 36)
    missing = missing_from(truth, gap)
    block = np.where(missing, 0, truth)
    found = GapPrediction(block, missing, 4).fill(block, missing, 32)

    def error(image):
        return float(np.mean((image - truth[gap]) ** 2))

    moved = fill_gap(block, missing, 32, 4)[0][gap]
    assert error(found) < 0.5 * min(error(moved), error(fill_columns(block, missing)[gap]))


def test_a_gap_that_is_rehearsed_does_not_tell_of_itself():
    truth = volume()
    missing = missing_from(truth, slice(32, 36))
    hidden = missing_from(truth, slice(32, 36), slice(14, 18))
    other = truth.copy()
    other[14:18] = 7.0
    found = [
        GapPrediction(block, missing, 4).fill(np.where(hidden, 0, block), hidden, 14)
        for block in (truth, other)
    ]
    np.testing.assert_array_equal(*found)


def test_where_too_little_is_known_nothing_is_predicted():
    truth = volume()
    missing = missing_from(truth, slice(0, 27), slice(32, 36), slice(41, None))
    assert GapPrediction(truth, missing, 4).fill(truth, missing, 32) is None
    columns = missing_from(truth, slice(32, 36))
    columns[:, :10] = True  # a gap that crosses it
    found = GapPrediction(truth, columns, 4).fill(truth, columns, 32)
    assert np.abs(found[:, 12:] - truth[32:36, 12:]).mean() < 0.3
