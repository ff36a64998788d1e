"""Damage within a rough outline, found by its grey value."""

import numpy as np
import pytest
from test_interpolate import disc, overlap

from napari_flowinpaint.core.masks.threshold import threshold_inside


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
    assert overlap(found, damage) > 0.8


def test_an_outline_within_plain_pixels_is_taken_as_it_is():
    outline = disc(60, 80, 20)
    pixels = np.full((120, 160), 7, np.uint16)
    assert np.array_equal(threshold_inside(pixels, outline), outline)
