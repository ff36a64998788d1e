"""Gated convolutions and LARN: equations 2 and 5-8 of Extend-GAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_flowinpaint.core.networks.one.gated import (
    EPSILON,
    LARN,
    GatedConv,
    region_deviation,
    region_mean,
)


@pytest.fixture
def features():
    """Features that are brighter and rougher on the right, and a soft mask of the right."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 16)
    x[..., 8:] = 4 * x[..., 8:] + 10
    mask = torch.zeros_like(x)
    mask[..., 8:] = 1
    return x, mask


def test_mean_and_deviation_are_those_of_the_region(features):
    x, mask = features
    weight = torch.rand_like(x)
    total = EPSILON + weight.sum(dim=(2, 3))
    mean = (x * weight).sum(dim=(2, 3)) / total
    torch.testing.assert_close(region_mean(x, weight)[..., 0, 0], mean)  # eq. 7
    off = ((x - mean[..., None, None]) ** 2 * weight).sum(dim=(2, 3))
    expected = (off / total).sqrt() + EPSILON
    torch.testing.assert_close(region_deviation(x, weight)[..., 0, 0], expected)  # eq. 8
    # the sums of eq. 8 as printed go over the whole map: the other region would count here
    inside = x[..., 8:].numpy().std(axis=(2, 3))
    np.testing.assert_allclose(region_deviation(x, mask)[..., 0, 0], inside, rtol=2e-3)


def test_the_masked_region_gets_the_statistics_of_the_known_one(features):
    x, mask = features
    out = LARN(3)(x, mask)
    assert torch.equal(out[..., :8], x[..., :8])  # eq. 5: what is known stays
    known, moved = x[..., :8], out[..., 8:]
    assert torch.allclose(moved.mean(dim=(2, 3)), known.mean(dim=(2, 3)), atol=0.02)
    assert torch.allclose(moved.std(dim=(2, 3)), known.std(dim=(2, 3)), rtol=0.02)


def test_gamma_and_beta_scale_what_is_shifted(features):
    x, mask = features
    layer = LARN(3)
    with torch.no_grad():
        layer.gamma.fill_(0.5)
        layer.beta.fill_(2.0)
    moved, known = layer(x, mask)[..., 8:], x[..., :8]
    assert torch.allclose(moved.std(dim=(2, 3)), 0.5 * known.std(dim=(2, 3)), rtol=0.02)
    assert torch.allclose(moved.mean(dim=(2, 3)), 2 * known.mean(dim=(2, 3)), atol=0.02)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_region_of_no_weight_and_a_flat_one_stay_finite(value):
    x = torch.full((1, 2, 6, 6), 3.0, requires_grad=True)
    out = LARN(2)(x, torch.full_like(x, value))
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()


def test_features_are_gated():
    torch.manual_seed(1)
    layer, image = GatedConv(2, 3, stride=2, larn=False), torch.randn(1, 2, 8, 8)
    features, gates = torch.nn.functional.conv2d(
        image, layer.both.weight, layer.both.bias, stride=2, padding=1
    ).split(3, dim=1)
    expected = torch.where(features > 0, features, 0.1 * features) * torch.sigmoid(gates)  # eq. 2
    torch.testing.assert_close(layer(image), expected)
    both = GatedConv(2, 3, dilation=4)
    assert both(image).shape == (1, 3, 8, 8)
    assert both.larn is not None
