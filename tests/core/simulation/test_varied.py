"""Damage of many shapes keeps shape and type, and is drawn anew from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.simulation.varied import SORTS, vary


@pytest.mark.parametrize("sort", SORTS)
def test_varied_damage(sort):
    section = texture((160, 176), seed=3).astype(np.uint8)
    done = vary(sort, section, np.random.default_rng(4))
    again = vary(sort, section, np.random.default_rng(4))
    assert (done.image.shape, done.image.dtype) == (section.shape, section.dtype)
    assert done.mask.any()
    assert (done.image != section).any()
    assert np.array_equal(done.image, again.image)
    assert set(done.kinds) <= set(KINDS)
