"""Padding is no damage, nor does it hide any."""

from __future__ import annotations

import numpy as np
import pytest
from padding import outside

from napari_flowinpaint.core.detection.detect_section import DetectionOptions, detect_section
from napari_flowinpaint.core.detection.features.sections import Sections
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

SHAPE = (256, 288)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    return synthetic_stack(SampleConfig(shape=(4, *SHAPE), seed=5))


def aligned(
    tissue: np.ndarray, value: float, turned: float = 2.0, shift: float = 6.0
) -> np.ndarray:
    """Return a stack whose sections were turned and shifted, padded with a value."""
    rng = np.random.default_rng(1)
    padded = tissue.copy()
    for section in padded:
        moved = rng.uniform(-shift, shift, 2)
        section[outside(SHAPE, rng.uniform(-turned, turned), tuple(moved), 10)] = value
    return padded


def found_in(pixels: np.ndarray, z: int, sensitivity: float = 0.5) -> dict[str, np.ndarray]:
    options = DetectionOptions(sensitivity=sensitivity)
    found = detect_section(Sections(Stack.from_array(pixels)), z, options)
    return {damage.kind: damage.mask for damage in found}


@pytest.mark.parametrize(
    ("dtype", "offset", "value", "z"),
    [
        ("uint8", 0, 0, 1),
        ("uint8", 0, 255, 3),
        ("uint16", 32768, 0, 1),
        ("float32", 3e4, np.nan, 2),
    ],
)
def test_nothing_is_flagged_on_padded_sections(tissue, dtype, offset, value, z):
    padded = aligned((tissue.astype(np.float64) + offset).astype(dtype), value)
    assert not found_in(padded, z, sensitivity=1.0)


def test_a_hole_is_found_as_without_padding(tissue):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    hole = np.hypot(y - 120, x - 150) < 24
    damaged, padded = tissue.copy(), aligned(tissue, 0)
    damaged[1][hole] = padded[1][hole] = 255
    plain, within = found_in(damaged, 1), found_in(padded, 1)
    assert list(plain) == list(within) == ["hole"]
    assert (plain["hole"] ^ within["hole"]).sum() < 0.03 * hole.sum()


def test_a_missing_section_is_missing_also_in_padding(tissue):
    padded = aligned(tissue, 0)
    imaged = padded[1] > 0
    padded[1][imaged] = 90
    (mask,) = found_in(padded, 1).values()
    assert mask[imaged].mean() > 0.9
    assert not mask[padded[1] == 0].any()
    padded[1] = 0
    assert list(found_in(padded, 1)) == ["missing"]


def test_a_lost_corner_is_damage_and_no_padding(tissue):
    lost = tissue.copy()
    lost[1, :120, :130] = 0
    (mask,) = found_in(lost, 1).values()
    assert mask[:120, :130].mean() > 0.95
    lost[:, :120, :130] = 0
    assert not found_in(lost, 1)
