"""Damage within a rough outline, found by its grey value."""

import numpy as np
import pytest
from test_interpolate import disc, overlap

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.masks.threshold import threshold_inside
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack


@pytest.mark.parametrize("value", [15, 240])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_what_stands_out_is_found(value, dtype):
    rng = np.random.default_rng(0)
    pixels = rng.normal(128, 12, (120, 160))
    damage = disc(60, 80, 17)
    pixels[damage] = rng.normal(value, 4, int(damage.sum()))
    outline = disc(58, 84, 34)
    found = threshold_inside(pixels.clip(0, 255).astype(dtype), outline)
    assert not (found & ~outline).any()
    assert (found & damage).sum() == damage.sum(), "all of it"
    assert overlap(found, damage) > 0.7


def test_an_outline_within_plain_pixels_is_taken_as_it_is():
    outline = disc(60, 80, 20)
    pixels = np.full((120, 160), 7, np.uint16)
    assert np.array_equal(threshold_inside(pixels, outline), outline)


@pytest.fixture(scope="module")
def tissue():
    return synthetic_stack(SampleConfig(shape=(1, 220, 220), seed=3))[0]


@pytest.mark.parametrize("value", [0, 250])
@pytest.mark.parametrize(("radius", "drawn"), [(10, 20), (10, 45), (40, 65)])
def test_tissue_beside_the_damage_is_left(tissue, value, radius, drawn):
    """Cells and membranes inside the outline are as bright and dark as those around it."""
    damage, outline = (disc(110, 110, r, (220, 220)) for r in (radius, drawn))
    found = threshold_inside(np.where(damage, np.uint8(value), tissue), outline)
    assert (found & damage).sum() == damage.sum(), "all of it"
    assert overlap(found, damage) > 0.6


def test_a_narrow_line_is_found(tissue):
    outline, line = np.zeros((2, *tissue.shape), bool)
    line[110:113, 50:170] = True
    outline[100:122, 45:175] = True
    found = threshold_inside(np.where(line, 250, tissue).astype(np.uint8), outline)
    assert found[line].mean() > 0.99
    assert found.sum() < 3 * line.sum()


def test_nothing_that_stands_out_is_said(tissue):
    with pytest.raises(InputError, match="plain lasso"):
        threshold_inside(tissue, disc(110, 110, 60, (220, 220)))


def test_an_outline_around_everything_is_taken_as_it_is(tissue):
    assert threshold_inside(tissue, np.ones_like(tissue, bool)).all()
