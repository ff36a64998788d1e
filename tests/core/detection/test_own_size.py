"""Spots and lines are compared with the neighbours at their own size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_flowinpaint.core.detection.detect_section import DetectionOptions, detect_section
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
