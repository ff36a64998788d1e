"""Spots and lines are compared with the neighbours at their own size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_flowinpaint.core.detection.detect_section import DetectionOptions, detect_section
from napari_flowinpaint.core.detection.detectors.chains import LinePiece, chained
from napari_flowinpaint.core.detection.features.sections import Sections
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    return synthetic_stack(SampleConfig(shape=(5, 384, 384), seed=5))


def found_in(volume: np.ndarray) -> dict[str, np.ndarray]:
    found = detect_section(Sections(Stack.from_array(volume)), 2, DetectionOptions())
    return {damage.kind: damage.mask for damage in found}


def test_a_disc_as_dark_as_membranes_is_found(tissue):
    volume = tissue.copy()
    mask = np.zeros(volume.shape[1:], np.uint8)
    cv2.circle(mask, (200, 170), 15, 1, -1)
    volume[2][mask > 0] = np.percentile(tissue, 0.1)
    (mine,) = found_in(volume).values()
    assert (mine & (mask > 0)).sum() / (mine | (mask > 0)).sum() > 0.6


def test_a_curved_fold_that_ends_inside(tissue):
    volume = tissue.copy()
    mask = np.zeros(volume.shape[1:], np.uint8)
    cv2.ellipse(mask, (190, 260), (150, 120), 0, 200, 320, 1, 9)
    volume[2][mask > 0] = np.percentile(tissue, 1)
    found = found_in(volume)
    assert list(found) == ["fold"]
    assert (found["fold"] & (mask > 0)).sum() / (found["fold"] | (mask > 0)).sum() > 0.5


def test_a_line_as_grey_as_tissue_is_told_by_its_length(tissue):
    volume = tissue.copy()
    mask = np.zeros(volume.shape[1:], np.uint8)
    cv2.line(mask, (20, 0), (330, 383), 1, 6)
    volume[2][mask > 0] = np.percentile(tissue, 10)
    found = found_in(volume)
    assert list(found) == ["fold"]
    assert (found["fold"] & (mask > 0)).sum() / (found["fold"] | (mask > 0)).sum() > 0.5


def test_a_disc_as_bright_as_tissue_elsewhere_is_new(tissue):
    volume = tissue.copy()
    mask = np.zeros(volume.shape[1:], np.uint8)
    cv2.circle(mask, (120, 210), 10, 1, -1)
    volume[2][mask > 0] = np.percentile(tissue, 88)
    (mine,) = found_in(volume).values()
    assert (mine & (mask > 0)).sum() / (mine | (mask > 0)).sum() > 0.7


def test_pieces_of_a_line_are_joined_where_they_point_at_each_other():
    def piece(start, end):
        mask = np.zeros((100, 200), np.uint8)
        cv2.line(mask, start, end, 1, 3)
        return LinePiece(mask > 0, float(np.hypot(*np.subtract(end, start))))

    one, other = piece((10, 20), (60, 30)), piece((80, 34), (150, 48))
    across = piece((190, 70), (185, 95))
    joined, alone = chained([one, other, across])
    assert joined.length == one.length + other.length
    assert joined.mask[32, 70]
    assert alone.mask.sum() == across.mask.sum()
