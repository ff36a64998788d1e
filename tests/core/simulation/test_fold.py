"""Folds that are curved, end inside the section, or tear it apart."""

from __future__ import annotations

import numpy as np
import pytest

from napari_flowinpaint.core.reference.optical_flow import warp
from napari_flowinpaint.core.simulation.fold import Fold, amplitude, fold_section


def ramp(shape: tuple[int, int] = (200, 220)) -> np.ndarray:
    """Return a smooth section: warping it twice loses nothing."""
    rows, columns = np.indices(shape)
    return (128 + 60 * np.sin(rows / 17) * np.cos(columns / 23)).astype(np.float32)


@pytest.mark.parametrize(
    "fold",
    [Fold(10, 40, 0.05, bend=0.2), Fold(10, 40, 0.05, part=0.6), Fold(12, 4, 0.05, uneven=0.4)],
)
def test_the_flow_is_the_fold(fold):
    section = ramp()
    folded = fold_section(section, fold, seed=3)
    inner = (slice(40, -40), slice(40, -40))
    away = ~folded.line[inner] & (np.abs(folded.flow[0]) + np.abs(folded.flow[1]) > 0)[inner]
    expected = warp(section, folded.flow)[inner]
    assert away.any()
    np.testing.assert_allclose(folded.image[inner][away], expected[away], atol=0.01)


def test_a_fold_that_ends_leaves_the_tissue_beyond_its_end():
    whole = fold_section(ramp(), Fold(8, 30, 0.3), seed=5)
    short = fold_section(ramp(), Fold(8, 30, 0.3, part=0.5), seed=5)
    assert 0 < short.line.sum() < 0.6 * whole.line.sum()
    assert short.moved.sum() < 0.8 * whole.moved.sum()


def test_a_crack_moves_tissue_away_from_its_line():
    def towards(fold: Fold) -> float:
        folded = fold_section(ramp(), fold, seed=1)
        rows, columns = np.nonzero(folded.line)
        y, x = np.nonzero(folded.moved)
        inwards = (rows.mean() - y) * folded.flow[0][y, x] + (columns.mean() - x) * folded.flow[1][
            y, x
        ]
        return float(inwards.mean())

    assert towards(Fold(10, 30, 0.1)) < 0 < towards(Fold(14, 0, 0.1))


@pytest.mark.parametrize(
    "fold",
    [Fold(10, 40, 0.05), Fold(10, 60, 0.002, bend=-0.1, uneven=0.3), Fold(12, 4, 0.05, part=0.7)],
)
def test_unfolding_brings_back_what_was_not_lost(fold):
    section = ramp()
    folded = fold_section(section, fold, seed=3)
    again = warp(folded.image, folded.unfolding)
    kept = np.ones(section.shape, dtype=bool)
    rows, columns = np.nonzero(folded.lost)
    kept[:40], kept[-40:], kept[:, :40], kept[:, -40:] = False, False, False, False
    for dy in range(-3, 4):  # what is sampled beside the line is mixed with it
        for dx in range(-3, 4):
            kept[np.clip(rows + dy, 0, 199), np.clip(columns + dx, 0, 219)] = False
    assert kept.mean() > 0.2
    assert np.abs(again - section)[kept].max() < 3


def test_a_fold_follows_algorithm_1():
    """A line along the middle row, by hand: A(d) = alpha d + b, with b = (w2 - w1) - alpha w2."""
    w1, w2, alpha = 8.0, 26.0, -0.1
    fold = Fold(w1, 2 * w2 - w1, -alpha)
    distance = np.array([4.0, 10.0, 50.0, 205.0, 230.0], dtype=np.float32)
    by_hand = np.maximum(alpha * distance + (w2 - w1) - alpha * w2, 0)
    # the project measures from the line's rim, the paper from its middle: half a width of decay
    np.testing.assert_allclose(amplitude(fold, distance), by_hand, atol=-alpha * w1 / 2 + 1e-4)
    folded = fold_section(ramp((300, 300)), fold, seed=2)
    length = np.hypot(*folded.flow)
    assert np.isclose(length[~folded.line].max(), w2 - w1 - alpha * (w2 - w1 / 2), atol=0.5)
    swallowed = folded.lost.sum() / folded.line.sum() * w1
    assert np.isclose(swallowed, w1 + 2 * (w2 - w1 - alpha * (w2 - w1)), rtol=0.05)
