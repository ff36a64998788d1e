"""The lines in the middle of painted bands."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_flowinpaint.core.reference.fold_curves import fold_bands
from napari_flowinpaint.core.reference.fold_line import LineFrame


def painted(*lines: tuple[tuple[int, int], tuple[int, int], int]) -> np.ndarray:
    """Return a mask with lines from (x, y) to (x, y) of some width."""
    mask = np.zeros((240, 260), np.uint8)
    for start, end, width in lines:
        cv2.line(mask, start, end, 1, width)
    return mask > 0


@pytest.mark.parametrize("width", [7, 21])
@pytest.mark.parametrize("end", [(250, 0), (259, 40), (130, 0)])
def test_a_line_goes_on_beyond_the_borders_it_meets(end, width):
    start = (0, 150)
    (band,) = fold_bands(painted((start, end, width)))
    (curve,) = band.curves
    assert curve.fades == (False, False)
    for point in (curve.points[0], curve.points[-1]):
        assert (point < -50).any() or (point > np.array([240, 260]) + 50).any()
    way = np.subtract(end, start) / np.hypot(*np.subtract(end, start))
    rows, columns = np.indices((240, 260))
    across = (columns - start[0]) * way[1] - (rows - start[1]) * way[0]
    frame = LineFrame.of(band.curves, (240, 260))
    np.testing.assert_allclose(frame.distance, np.abs(across), atol=2.5)


def test_a_line_that_ends_inside_fades_there():
    (band,) = fold_bands(painted(((0, 100), (150, 130), 9)))
    (curve,) = band.curves
    assert sorted(curve.fades) == [False, True]
    end = curve.points[0] if curve.fades[0] else curve.points[-1]
    np.testing.assert_allclose(end, (130, 150), atol=8)


def test_a_branch_is_a_line_of_its_own():
    (band,) = fold_bands(painted(((0, 60), (259, 100), 9), ((120, 80), (100, 239), 9)))
    assert len(band.curves) == 2


def test_a_blob_is_no_line():
    mask = np.zeros((200, 200), bool)
    mask[60:120, 50:120] = True
    assert fold_bands(mask) == []


def test_a_curved_line_goes_on_to_bend_beyond_the_border():
    rows, columns = np.indices((240, 260))
    from_middle = np.hypot(rows - 330, columns - 130)
    (band,) = fold_bands(np.abs(from_middle - 240) < 6)
    frame = LineFrame.of(band.curves, (240, 260))
    away = np.abs(from_middle - 240)
    outward = np.stack([rows - 330, columns - 130]) / from_middle
    along = np.abs((frame.normal * outward).sum(axis=0))[(away > 6) & (away < 120)]
    # straight on, the corners of the section would be taken to lie some 20 degrees elsewhere
    assert np.degrees(np.arccos(np.clip(np.percentile(along, 1), -1, 1))) < 9


@pytest.mark.parametrize("radius", [140, 200])
def test_a_wide_line_that_borders_cut_slantwise_stays_in_its_middle(radius):
    rows, columns = np.indices((240, 260))
    away = np.abs(np.hypot(rows - 130, columns - 20) - radius)
    (band,) = fold_bands(away < 16)
    frame = LineFrame.of(band.curves, (240, 260))
    off = np.abs(frame.distance - away)[away < 30]
    assert np.quantile(off, 0.99) < 2


def test_a_winding_line_does_not_come_back_into_the_section():
    rows, columns = np.indices((240, 260))
    middle = 120 + 50 * np.sin(2 * np.pi * columns / 150)
    slope = np.hypot(1, 50 * 2 * np.pi / 150 * np.cos(2 * np.pi * columns / 150))
    (band,) = fold_bands(np.abs(rows - middle) < 7 * slope)
    frame = LineFrame.of(band.curves, (240, 260))
    assert frame.distance[band.band].max() < 12
    for curve in band.curves:
        inside = ((curve.points >= 0) & (curve.points < (240, 260))).all(axis=1)
        assert (np.diff(inside.astype(int)) > 0).sum() <= 1


def test_pieces_of_a_broken_line_are_one_band():
    pieces = painted(((0, 60), (110, 85), 9), ((140, 92), (259, 119), 9))
    (band,) = fold_bands(pieces)
    (curve,) = band.curves
    assert curve.fades == (False, False)
    apart = fold_bands(painted(((0, 60), (110, 60), 9), ((140, 120), (259, 120), 9)))
    assert len(apart) == 2


def test_lines_that_cross_are_bands_of_their_own():
    for second in (((130, 0), (100, 239), 9), ((239, 239), (60, 0), 9)):
        bands = fold_bands(painted(((0, 60), (259, 130), 9), second))
        assert len(bands) == 2
        for band in bands:
            (curve,) = band.curves
            assert curve.fades == (False, False)
            assert LineFrame.of(band.curves, (240, 260)).distance[band.band].max() < 9


def test_a_line_goes_on_where_nothing_was_imaged():
    rows, columns = np.indices((240, 260))
    padding = columns + 0.5 * rows < 110
    line = painted(((0, 150), (259, 60), 15)) & ~padding
    (band,) = fold_bands(line, padding)
    (curve,) = band.curves
    assert curve.fades == (False, False)
    way = np.array([259, -90]) / np.hypot(259, 90)
    across = (columns - 0) * -way[1] + (rows - 150) * way[0]
    away = LineFrame.of(band.curves, (240, 260)).distance
    np.testing.assert_allclose(away[~padding], np.abs(across)[~padding], atol=2.5)
