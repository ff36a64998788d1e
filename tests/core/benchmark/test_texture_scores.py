"""Energy per band, and the discriminant that tells repaired from true patches."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.benchmark.texture_scores import (
    area_under_curve,
    patch_pairs,
    texture_scores,
)
from napari_flowinpaint.core.filters import blur

MASK = np.zeros((128, 128), dtype=bool)
MASK[8:120, 8:120] = True


def sections(count=3):
    rng = np.random.default_rng(0)
    return [texture((128, 128), seed) + rng.normal(0, 12, (128, 128)) for seed in range(count)]


def test_a_blurred_repair_lacks_fine_bands_and_is_told_from_tissue():
    pairs = [patch_pairs(blur(t.astype(np.float32), 1.5), t, MASK) for t in sections()]
    found = texture_scores(pairs)
    assert found.patches == sum(len(pair[0]) for pair in pairs)
    assert abs(found.bands[0]) < 0.3
    assert found.bands[-1] < -1
    assert found.auc > 0.95


def test_what_looks_alike_cannot_be_told_apart():
    same = texture_scores([patch_pairs(t, t, MASK) for t in sections()])
    assert same.bands == (0,) * 7
    assert same.auc == 0.5
    others = zip(sections(6)[:3], sections(6)[3:], strict=True)
    alike = texture_scores([patch_pairs(a, b, MASK) for a, b in others])
    assert 0.3 < alike.auc < 0.75


def test_without_room_for_a_patch_nothing_is_told():
    small = np.zeros((128, 128), dtype=bool)
    small[5:30, 5:30] = True
    image = sections(1)[0]
    assert texture_scores([patch_pairs(image, image, small)]) is None
    assert np.isnan(texture_scores([patch_pairs(image, image, MASK)]).auc)


def test_the_area_under_the_curve_counts_pairs():
    rng = np.random.default_rng(1)
    high, low = rng.integers(0, 9, 40).astype(float), rng.integers(0, 7, 30).astype(float)
    pairs = np.sign(high[:, None] - low[None, :])
    assert area_under_curve(high, low) == pytest.approx(float((pairs + 1).mean() / 2))
