"""Simulated damage keeps its promises, and the synthetic stack looks like what it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.simulation.sample import (
    SampleConfig,
    damaged_sample,
    synthetic_sections,
    synthetic_stack,
)
from napari_flowinpaint.core.simulation.simulate import (
    Charging,
    Debris,
    Hole,
    Line,
    Missing,
    StainingCloud,
    damage_section,
    irregular_mask,
    rectangular_mask,
)

KINDS = {
    "bright hole": Hole(0.05),
    "dark hole": Hole(0.05, bright=False),
    "debris": Debris(count=6),
    "cloud": StainingCloud(0.1),
    "charging": Charging(0.1),
    "fold": Line(8),
    "crack": Line(8, bright=True),
    "missing region": Missing(0.2),
    "missing section": Missing(),
}
DTYPES = {
    "uint8": (0, 255),
    "uint16": (300, 41000),
    "int16": (-12000, 9000),
    "float32": (-0.5, 1.5),
}


def _section(dtype: str, shape=(96, 120)) -> np.ndarray:
    low, high = DTYPES[dtype]
    rng = np.random.default_rng(3)
    return (low + (high - low) * rng.random(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_where_its_mask_says(kind, dtype):
    section = _section(dtype)
    before = section.copy()
    damaged, mask = damage_section(section, KINDS[kind], seed=5)
    assert np.array_equal(section, before), "the input was changed"
    assert (damaged.shape, damaged.dtype) == (section.shape, section.dtype)
    assert (mask.shape, mask.dtype) == (section.shape, np.dtype(bool))
    assert np.array_equal(damaged[~mask], section[~mask])
    # a soft border changes little, and noise may hit the true value: nearly all pixels differ
    assert np.mean(damaged[mask] != section[mask]) > 0.9
    again, same_mask = damage_section(section, KINDS[kind], seed=5)
    assert np.array_equal(again, damaged)
    assert np.array_equal(same_mask, mask)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "missing section"])
def test_seed_moves_the_damage(kind):
    section = _section("uint8")
    masks = [damage_section(section, KINDS[kind], seed=seed)[1] for seed in (1, 2)]
    assert not np.array_equal(*masks)


@pytest.mark.parametrize("kind", ["bright hole", "cloud", "charging", "missing region"])
def test_damage_covers_the_fraction_asked_for(kind):
    _, mask = damage_section(_section("uint8"), KINDS[kind], seed=1)
    assert mask.mean() == pytest.approx(KINDS[kind].fraction, abs=0.02)


def test_polarity_and_contrast():
    section = _section("uint16")
    for kind, sign in (("bright hole", 1), ("charging", 1), ("dark hole", -1), ("fold", -1)):
        damaged, mask = damage_section(section, KINDS[kind], seed=2)
        change = damaged[mask].astype(float).mean() - section[mask].mean()
        assert np.sign(change) == sign, kind
    damaged, mask = damage_section(section, KINDS["cloud"], seed=2)
    assert damaged[mask].std() < 0.7 * section[mask].std()


def test_a_stack_is_no_section():
    with pytest.raises(InputError, match="a section of two"):
        damage_section(np.zeros((3, 8, 8), np.uint8), Hole(), seed=0)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(24, 200), st.integers(24, 200)),
    fraction=st.sampled_from([0.1, 0.3, 0.5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_masks_reach_their_fraction(shape, fraction, seed):
    rng = np.random.default_rng(seed)
    for maker in (irregular_mask, rectangular_mask):
        mask = maker(shape, fraction, rng)
        assert mask.shape == shape
        assert mask.dtype == bool
        assert mask.mean() == pytest.approx(fraction, abs=0.02)


@pytest.mark.parametrize("maker", [irregular_mask, rectangular_mask])
@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_impossible_fraction(maker, fraction):
    with pytest.raises(InputError, match="between 0 and 1"):
        maker((32, 32), fraction, np.random.default_rng(0))


@pytest.mark.parametrize("maker", [irregular_mask, rectangular_mask])
def test_extreme_fractions_and_sections(maker):
    rng = np.random.default_rng(0)
    assert not maker((64, 64), 0.0, rng).any()
    assert maker((64, 64), 1.0, rng).all()
    assert maker((1, 1), 1.0, rng).all()
    assert maker((3, 500), 0.5, rng).mean() == pytest.approx(0.5, abs=0.02)


def test_irregular_masks_are_blobs_all_over_the_section():
    rng = np.random.default_rng(7)
    masks = [irregular_mask((256, 256), 0.3, rng) for _ in range(40)]
    coverage = np.mean(masks, axis=0)
    inner, whole = coverage[64:-64, 64:-64].mean(), coverage.mean()
    assert inner == pytest.approx(whole, abs=0.06), "the damage keeps to the frame"
    for mask in masks:
        counts = np.bincount(label(mask)[0].ravel())[1:]
        assert counts.max() > 100, "specks, no blobs"
        box_filling = mask.sum() / (np.ptp(np.nonzero(mask), axis=1) + 1).prod()
        assert box_filling < 0.9, "a rectangle"


def test_rectangular_masks_are_one_rectangle():
    rng = np.random.default_rng(7)
    for _ in range(40):
        mask = rectangular_mask((100, 140), 0.3, rng)
        rows, columns = np.nonzero(mask)
        assert mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


SMALL = SampleConfig(shape=(10, 160, 192), seed=4)


@pytest.fixture(scope="module")
def sample():
    return damaged_sample(SMALL)


def test_sample_is_reproducible(sample):
    assert np.array_equal(synthetic_stack(SMALL), sample.truth)
    other = next(synthetic_sections(SampleConfig(shape=SMALL.shape, seed=5)))
    assert not np.array_equal(other, sample.truth[0])


def test_sample_damage(sample):
    assert sample.truth.shape == sample.stack.shape == sample.mask.shape == SMALL.shape
    assert sample.truth.dtype == sample.stack.dtype == np.uint8
    assert np.array_equal(sample.truth[~sample.zone], sample.stack[~sample.zone])
    assert np.array_equal(sample.mask, sample.labels > 0)
    more = np.flatnonzero((sample.zone & ~sample.mask).any(axis=(1, 2))).tolist()
    assert [sample.kinds[z] for z in more] == ["fold"], "only it displaces tissue"
    damaged = np.flatnonzero(sample.mask.any(axis=(1, 2))).tolist()
    assert damaged == sorted(sample.kinds)
    assert 0 not in damaged
    assert SMALL.shape[0] - 1 not in damaged


def test_sample_too_thin():
    with pytest.raises(InputError, match="at least 3 sections"):
        damaged_sample(SampleConfig(shape=(2, 64, 64)))


def test_sample_is_continuous_deformed_and_grainy(sample):
    """Neighbours resemble each other, but neither pixel by pixel nor without grain."""
    import cv2

    smooth = [cv2.GaussianBlur(s, (0, 0), 3).astype(float).ravel() for s in sample.truth]
    near = np.mean([np.corrcoef(smooth[z], smooth[z + 1])[0, 1] for z in range(8)])
    far = np.mean([np.corrcoef(smooth[z], smooth[z + 6])[0, 1] for z in range(3)])
    assert 0.25 < near < 0.95
    assert far < near - 0.15
    section = sample.truth[0].astype(np.float32)
    grain = (section - cv2.medianBlur(sample.truth[0], 5)).std()
    assert 8 < grain < 20


def test_deformation_is_in_the_units_it_says():
    still = synthetic_stack(SampleConfig(shape=(3, 128, 128), deformation=0, grain=0.01))
    moved = synthetic_stack(SampleConfig(shape=(3, 128, 128), deformation=6, grain=0.01))
    import cv2

    flow = cv2.DISOpticalFlow_create(2).calc(still[1], moved[1], None)
    typical = np.sqrt((flow**2).mean())
    assert 3 < typical < 12
