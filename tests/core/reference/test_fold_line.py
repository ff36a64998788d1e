"""Where pixels lie relative to the line of a fold."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from napari_flowinpaint.core.reference.fold_line import Curve, LineFrame


def test_distances_and_normals_are_those_of_the_curve():
    t = np.linspace(-0.3, 0.7, 200)
    curve = Curve.through(
        np.stack([30 + 60 * t + 15 * np.sin(3 * t), -10 + 140 * t], 1), (False, True)
    )
    frame = LineFrame.of([curve], (96, 120))
    grid = np.stack(np.indices((96, 120)), axis=-1).astype(float)
    away, nearest = cKDTree(curve.points).query(grid.reshape(-1, 2))
    np.testing.assert_allclose(frame.distance, away.reshape(96, 120), atol=0.6)
    foot = grid.transpose(2, 0, 1) - frame.distance * frame.normal
    near = curve.points[nearest].T.reshape(2, 96, 120)
    assert np.abs(foot - near).max() < 2.5


def test_the_side_changes_across_the_line_only():
    curve = Curve.through(np.array([[20.5, -10.0], [20.5, 70.0]]))
    frame = LineFrame.of([curve], (40, 60))
    assert (frame.side[:20] == frame.side[0, 0]).all()
    assert (frame.side[21:] == -frame.side[0, 0]).all()
    assert np.allclose(frame.arc[:, 30], 40, atol=0.6)


def test_the_nearest_of_several_curves_counts():
    lines = [Curve.through(np.array([[y, -5.0], [y, 50.0]])) for y in (10.0, 30.0)]
    frame = LineFrame.of(lines, (40, 40))
    assert (frame.curve[:19] == 0).all()
    assert (frame.curve[21:] == 1).all()
