"""Damage drawn at random: every kind keeps its promises and does what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.simulation.degrade import Blur, ContrastLoss, Misaligned, Saturated
from napari_flowinpaint.core.simulation.draw import DRAWN, draw_damage, simulate
from napari_flowinpaint.core.simulation.fold import Fold, fold_section
from napari_flowinpaint.core.simulation.simulate import Debris, Missing, damage_section

DTYPES = {"uint8": (0, 1), "uint16": (300, 150), "int16": (-12000, 70), "float32": (-0.5, 0.008)}


def section_of(dtype: str, shape=(128, 160)) -> np.ndarray:
    offset, scale = DTYPES[dtype]
    return (offset + scale * texture(shape, seed=3)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", DRAWN)
def test_drawn_damage_is_where_it_says(kind, dtype):
    section = section_of(dtype)
    for seed in range(4):
        damage = draw_damage(kind, np.random.default_rng(seed), section.shape)
        done = simulate(section, damage, seed=seed)
        assert (done.image.shape, done.image.dtype) == (section.shape, section.dtype)
        assert np.array_equal(done.image[~done.changed], section[~done.changed])
        assert done.mask.any()
        assert not (done.mask & ~done.changed).any()
        again = simulate(section, damage, seed=seed)
        assert np.array_equal(again.image, done.image)
        image, changed = damage_section(section, damage, seed=seed)
        assert np.array_equal(image, done.image)
        assert np.array_equal(changed, done.changed)


def test_drawing_is_random_and_reproducible():
    for kind in DRAWN:
        drawn = [draw_damage(kind, np.random.default_rng(seed), (512, 512)) for seed in range(6)]
        assert len({repr(d) for d in drawn}) > 1, kind
        assert draw_damage(kind, np.random.default_rng(5), (512, 512)) == drawn[5]


def test_unknown_kind():
    with pytest.raises(InputError, match="damage 'rain' cannot be drawn"):
        draw_damage("rain", np.random.default_rng(0), (64, 64))


def test_labels_of_kinds_never_change():
    """They are in files; a new kind gets a new number."""
    assert {kind.name: kind.label for kind in KINDS.values()} == {
        "missing": 1,
        "hole": 2,
        "dark": 3,
        "bright": 4,
        "staining": 5,
        "blur": 6,
        "fold": 7,
        "crack": 8,
        "misaligned": 9,
        "noise": 10,
        "copied": 11,
    }


def test_strength_is_what_was_asked_for():
    section = section_of("uint8")
    weak = simulate(section, ContrastLoss(loss=0.6), seed=0)
    assert weak.image.std() == pytest.approx(0.4 * section.std(), rel=0.1)
    blurred = simulate(section, Blur(sigma=4), seed=0)
    fine = np.diff(section.astype(float), axis=1).std()
    assert np.diff(blurred.image.astype(float), axis=1).std() < 0.6 * fine
    clipped = simulate(section, Saturated(0.1, bright=False), seed=0)
    assert (clipped.image[clipped.mask] == section.min()).all()
    bright = simulate(section, Debris(bright=True, excess=0.2), seed=0)
    assert bright.image[bright.mask].min() > np.percentile(section, 95)
    empty = simulate(section, Missing(bright=True, noise=0.02), seed=0)
    assert 0 < empty.image.std() < 6
    assert empty.image.mean() > section.mean()


def test_a_shifted_section_is_the_same_tissue():
    section = section_of("uint8")
    moved = simulate(section, Misaligned(shift=20), seed=1).image.astype(float)
    best = max(
        np.corrcoef(
            section[40:-40, 40:-40].ravel(), np.roll(moved, (y, x), (0, 1))[40:-40, 40:-40].ravel()
        )[0, 1]
        for y in range(-21, 22)
        for x in range(-21, 22)
        if 18 < np.hypot(y, x) < 22
    )
    assert best > 0.95
    assert np.corrcoef(section.ravel(), moved.ravel())[0, 1] < 0.5


def test_a_fold_changes_nothing_but_the_line_and_what_moved():
    section = texture((192, 192), seed=2, sigma=4)
    folded = fold_section(section, Fold(width=10, swallowed=30, decay=0.05), seed=4)
    assert folded.line.any()
    kept = ~(folded.line | folded.moved)
    assert np.array_equal(folded.image[kept], section[kept])
    assert np.abs(folded.image.astype(float) - section)[folded.moved].mean() > 5


def test_deformation_falls_off_with_the_distance():
    section = texture((192, 192), seed=2)
    folded = fold_section(section, Fold(width=8, swallowed=24, decay=0.1), seed=4)
    size = np.hypot(*folded.flow)
    assert size[folded.line].min() > 8
    assert size.max() < 8 + 0.1 * 12 + 1e-3
    assert (size[~(folded.line | folded.moved)] == 0).all()
    assert 0 < size[folded.moved].min() < 0.5
