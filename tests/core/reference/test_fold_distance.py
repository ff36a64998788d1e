"""How far pixels are from the line of a fold."""

from __future__ import annotations

import numpy as np

from napari_flowinpaint.core.reference.fold_distance import line_distance


def test_distances_are_those_to_the_rim():
    mask = np.zeros((60, 80), dtype=bool)
    mask[20:27] = True
    distance = line_distance(mask)
    np.testing.assert_allclose(distance[:, 40], np.abs(np.arange(60) - 23) - 3.5, atol=1)
    assert (distance[mask] < 0).all()
    assert (distance[~mask] > -1).all()


def test_the_line_goes_on_beyond_the_borders():
    """Where it leaves the section, directions are those beside it, not towards its last pixel."""
    rows, columns = np.indices((100, 100))
    distance = line_distance(np.abs(rows - columns + 40) < 4)
    slope = np.stack(np.gradient(distance))
    slope /= np.hypot(*slope)
    corner = slope[:, 90:98, 40:60].mean(axis=(1, 2))
    np.testing.assert_allclose(corner, [0.5**0.5, -(0.5**0.5)], atol=0.05)


def test_what_is_no_line_has_a_distance_too():
    mask = np.zeros((60, 60), dtype=bool)
    mask[20:40, 20:40] = True
    distance = line_distance(mask)
    assert distance[30, 45] == 6
    assert (distance[mask] < 0).all()
    assert np.isinf(line_distance(np.zeros((9, 9), dtype=bool))).all()
