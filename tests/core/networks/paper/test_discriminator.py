"""The discriminator: patches judged globally and locally, spectral norm."""

from __future__ import annotations

import pytest
import torch
from tensors import scene

from napari_flowinpaint.core.networks.paper.discriminator import Discriminator, DiscriminatorConfig


def test_discriminator_judges_patches_globally_and_locally():
    section, mask, *_ = scene(40, 48)
    net = Discriminator(DiscriminatorConfig((8, 8))).eval()
    out = net(section, mask)
    assert out.scores.shape == (2, 1, 10, 12)
    assert len(out.features) == 4
    outside = net(section + (1 - mask), mask)
    assert torch.equal(outside.features[1], out.features[1])  # local: masked pixels only
    assert not torch.equal(outside.features[0], out.features[0])
    moved = net(section, 1 - mask)
    assert torch.equal(moved.features[0], out.features[0])
    assert not torch.equal(moved.features[1], out.features[1])


def test_spectral_norm_bounds_every_layer():
    torch.manual_seed(0)
    net = Discriminator(DiscriminatorConfig((8, 16)))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(20)
        for _ in range(30):  # each forward in training improves the estimate of the norm
            net(torch.randn(1, 1, 16, 16), torch.ones(1, 1, 16, 16))
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            norm = torch.linalg.matrix_norm(module.weight.flatten(1), 2)
            assert float(norm) == pytest.approx(1, abs=0.05)
    plain = Discriminator(DiscriminatorConfig((8, 16), spectral=False))
    assert not any("parametrizations" in name for name, _ in plain.named_parameters())
