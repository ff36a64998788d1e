"""The simple segmentation that tells whether a repair changes one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_flowinpaint.core.benchmark.segmentation import (
    Segmentation,
    membrane_probability,
    watershed_cells,
)


def cells(side=160, pitch=40):
    """Return square cells, bright, between dark lines of 4 pixels, with grain."""
    image = np.full((side, side), 180.0)
    for start in range(pitch - 2, side - 4, pitch):
        image[start : start + 4] = image[:, start : start + 4] = 70
    grain = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.rint(gaussian_filter(image, 0.7) + grain).astype(np.uint8)


def agree(a, b):
    """Return whether labels are equal but for pixels on a ridge, where a rounding error decides."""
    return a.max() == b.max() and (a == b).mean() > 0.995


def test_cells_are_found():
    image = cells()
    probability = membrane_probability(image, "dark membranes", image.std())
    assert probability[20, 39] > 0.7
    assert probability[20, 20] < 0.1
    labels = watershed_cells(probability)
    assert labels.min() == 1
    assert labels.max() == 16
    middles = labels[20::40, 20::40]
    assert len(np.unique(middles)) == 16
    assert (labels[5:35, 5:35] == labels[20, 20]).all()


def test_both_polarities_give_the_same_cells():
    image = cells()
    dark = Segmentation(image, "dark membranes").labels
    assert agree(dark, Segmentation(255 - image, "bright membranes").labels)
    wrong = membrane_probability(image, "bright membranes", image.std())
    assert wrong[20, 39] < 0.1


def test_other_dtypes_give_the_same_cells():
    image = cells()
    labels = Segmentation(image, "dark membranes").labels
    for other in (image.astype(np.uint16) * 100 + 3000, image.astype(np.float32) / 255 - 2):
        assert agree(labels, Segmentation(other, "dark membranes").labels)


def test_a_lost_membrane_counts_where_the_mask_is():
    image = cells()
    repaired = image.copy()
    repaired[5:35, 32:48] = 180  # two cells become one
    segmentation = Segmentation(image, "dark membranes")
    mask = np.zeros(image.shape, dtype=bool)
    mask[2:36, 2:76] = True
    voi, error = segmentation.compare(repaired, mask)
    # half of the pixels in either cell: one bit tells which
    assert voi == pytest.approx(1, abs=0.1)
    assert error > 0.2
    elsewhere = np.roll(mask, 80, axis=0)
    assert segmentation.compare(repaired, elsewhere) == (0, 0)
    assert segmentation.compare(image, mask) == (0, 0)


def test_a_section_without_membranes_is_one_cell():
    flat = np.full((40, 40), 9, np.uint8)
    segmentation = Segmentation(flat, "dark membranes")
    assert segmentation.labels.max() == 1
    assert segmentation.compare(flat, np.ones(flat.shape, bool)) == (0, 0)
    assert (watershed_cells(np.ones((20, 20), np.float32)) == 1).all()
