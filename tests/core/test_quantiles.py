"""Percentiles by partitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_flowinpaint.core.damage.quantiles import medians, quantile, quantiles


@given(st.integers(1, 400), st.floats(0, 100), st.integers(0, 2**16))
def test_quantiles_are_those_of_numpy(size, percent, seed):
    values = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    expected = np.percentile(values.astype(float), percent)
    assert quantiles(values, percent)[0] == pytest.approx(expected, abs=1e-6)


@given(st.integers(1, 6), st.integers(1, 50), st.integers(0, 2**16))
def test_medians_are_those_of_numpy(rows, size, seed):
    values = np.random.default_rng(seed).standard_normal((rows, size)).astype(np.float32)
    expected = np.median(values.astype(float), axis=1)
    assert medians(values.copy()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("percent", [0.1, 1.0, 99.0, 99.9])
@pytest.mark.parametrize("few", [0.0001, 0.02, 0.2])
def test_the_outermost_values_are_enough_where_they_hold_the_percentile(percent, few):
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    expected = np.percentile(values.astype(float), percent)
    if percent < 50:
        outermost = values[values <= np.quantile(values, few)]
    else:
        outermost = values[values >= np.quantile(values, 1 - few)]
    assert quantile(values, percent, outermost) == pytest.approx(expected, abs=1e-6)
