"""A narrower network begins with the channels of a wider one that matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.joint import SIZES, JointConfig, JointNet
from napari_flowinpaint.core.networks.weights import load_network, save_network
from napari_flowinpaint.core.training.data import StackSpec, Triplets
from napari_flowinpaint.core.training.loop import train_network
from napari_flowinpaint.core.training.narrow import _layers, _width, narrowed
from napari_flowinpaint.core.training.train_joint import JointPlan

WIDE = JointConfig((4, 4, 6), (1, 1), 6, (6, 8), 8)
NARROW = replace(WIDE, hidden=4, fusion=(4, 5), deep=6)


@pytest.fixture
def specs(unrelated) -> list[StackSpec]:
    return [StackSpec(unrelated(4, (64, 64)))]


@pytest.fixture
def batches(specs):
    data = Triplets(specs, 32, 0)
    return [data.batch(n, 2) for n in range(3)]


def wide(useless: bool) -> JointNet:
    """Return a network with random weights; ``useless``: some channels of it give nothing."""
    torch.manual_seed(3)
    net, small = JointNet(WIDE), JointNet(NARROW)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
        for layer in _layers(WIDE) if useless else ():
            if layer.gives is not None:
                idle = slice(1, 1 + _width(net, layer.gives) - _width(small, layer.gives))
                module = net.get_submodule(layer.name)
                module.weight[idle] = 0
                module.bias[idle] = 0
    return net


def output(net: JointNet, batch) -> torch.Tensor:
    with torch.no_grad():
        return net(
            batch.truth * batch.known, batch.known, batch.neighbours, batch.valid, batch.alpha
        ).image


def test_every_convolution_is_known():
    known = {layer.name for layer in _layers(WIDE)}
    convolutions = {
        name for name, module in JointNet(WIDE).named_modules() if hasattr(module, "in_channels")
    }
    assert {name for name in convolutions if not name.startswith("pyramid.")} == known


def test_channels_that_give_nothing_are_left_out_and_nothing_changes(batches):
    net = wide(useless=True)
    small = narrowed(net, NARROW, batches)
    assert small.config == NARROW
    for batch in batches:
        assert torch.allclose(output(small, batch), output(net, batch), atol=1e-5)


def test_as_wide_is_the_same(batches):
    net = wide(useless=False)
    same = narrowed(net, WIDE, batches)
    for name, value in net.state_dict().items():
        assert torch.equal(same.state_dict()[name], value), name


def test_other_channels_matter(batches):
    net = wide(useless=False)
    small = narrowed(net, NARROW, batches)
    assert not torch.allclose(output(small, batches[0]), output(net, batches[0]), atol=1e-3)


def test_a_training_begins_with_wider_weights(specs, tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "small", NARROW)
    given = tmp_path / "wide.safetensors"
    save_network(given, wide(useless=False))
    plan = JointPlan(steps=1, batch=1, crop=32, start=str(given))
    train_network(specs, [], tmp_path / "a.safetensors", plan)
    trained, _ = load_network(Path(tmp_path / "a.safetensors"), architecture="joint")
    assert trained.config == NARROW


def test_weights_of_another_shape_are_refused(specs, tmp_path, monkeypatch):
    given = tmp_path / "wide.safetensors"
    save_network(given, wide(useless=False))
    for other in (replace(NARROW, channels=(4, 5, 6)), replace(NARROW, hidden=7)):
        monkeypatch.setitem(SIZES, "small", other)
        plan = JointPlan(steps=1, batch=1, crop=32, start=str(given))
        with pytest.raises(InputError, match="another size"):
            train_network(specs, [], tmp_path / "a.safetensors", plan)
