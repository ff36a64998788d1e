"""The networks for gaps: the three of the paper, mixing of layers, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.gap.gap_network import (
    DilatedBlock,
    GapConfig,
    GapNetwork,
    LayerMixing,
    _MsdNet,
    mixed_layers,
)
from napari_flowinpaint.core.networks.weights import load_network, save_network

SMALL = {"channels": (8, 8), "depth": 12, "widest": 6}


def patch(config, width, side=16, seed=0):
    """A patch of noise with a gap: values, doubt, missing, width."""
    torch.manual_seed(seed)
    values = torch.randn(2, config.depth, side, side)
    missing = torch.zeros_like(values)
    first = config.place(width)
    missing[:, first : first + width] = 1
    return values, 0.1 * torch.randn_like(values) * missing, missing, torch.tensor([width, width])


@pytest.mark.parametrize("kind", ["unet", "msd", "dilated-unet"])
def test_only_missing_voxels_change(kind):
    config = GapConfig(kind=kind, **SMALL)
    net = GapNetwork(config)
    values, doubt, missing, width = patch(config, 3)
    missing[:, :, :4] = 1  # another gap across the first one
    out = net(values, doubt, missing, width)
    core = config.core
    assert out.shape == (2, core.stop - core.start, 16, 16)
    known = missing[:, core] == 0
    torch.testing.assert_close(out[known], values[:, core][known], rtol=0, atol=0)
    assert not torch.equal(out[~known], values[:, core][~known])
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_every_width_has_its_place_in_the_middle():
    config = GapConfig()
    for width in range(1, config.widest + 1):
        first = config.place(width)
        assert config.core.start <= first
        assert first + width <= config.core.stop
        assert abs(first - (config.depth - first - width)) <= 1


def test_layers_are_mixed_by_the_weights_of_the_width():
    config = GapConfig(**SMALL)
    mixing = LayerMixing(config)
    values, _, _, _ = patch(config, 2)
    width = torch.tensor([2, 5])
    torch.testing.assert_close(mixing(values, width), values[:, config.core])
    with torch.no_grad():
        mixing.weight[1] = 0
        mixing.weight[1, 0, 3] = 2.0  # a layer as it is
        mixing.weight[1, 1, config.depth + 4] = 1.0  # a low-passed one
    mixed = mixing(values, width)
    torch.testing.assert_close(mixed[0, 0], 2 * values[0, 3])
    torch.testing.assert_close(mixed[0, 1], mixed_layers(values)[0, config.depth + 4])
    torch.testing.assert_close(mixed[1], values[1, config.core])


def test_layers_of_the_msd_net_see_the_input_and_all_layers_before():
    net = _MsdNet(5, (3, 4, 2), 6)
    inputs = [layer[0].in_channels for layer in net.layers]
    assert inputs == [5, 8, 12]
    assert net.last.in_channels == 14
    assert [layer[0].dilation[0] for layer in net.layers] == [1, 2, 3]
    assert net(torch.zeros(1, 5, 9, 9)).shape == (1, 6, 9, 9)  # sides stay as they are


def test_a_dilated_block_sees_as_far_as_its_dilations():
    block = DilatedBlock(8, (4, 2, 1, 1)).eval()
    there = torch.zeros(1, 8, 21, 21, requires_grad=True)
    block(there)[0, :, 10, 10].sum().backward()
    rows, columns = np.nonzero(there.grad.abs().sum(dim=(0, 1)).numpy())
    assert {*rows} == {*columns} == {6, 8, 9, 10, 11, 12, 14}
    assert block.fuse.in_channels == 16


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "gan"}, {"widest": 31}, {"shrink": 3}, {"channels": ()}, {"depth": 100}],
)
def test_absurd_configurations_are_refused(wrong):
    with pytest.raises(InputError):
        GapConfig.from_dict(GapConfig().to_dict() | wrong)


def test_a_file_gives_the_same_network(tmp_path):
    config = GapConfig(**SMALL)
    net = GapNetwork(config)
    save_network(tmp_path / "gap.safetensors", net)
    again, info = load_network(tmp_path / "gap.safetensors", architecture="gap")
    assert info.config == config.to_dict() | {"channels": [8, 8]}
    inputs = patch(config, 4)
    torch.testing.assert_close(again(*inputs), net(*inputs), rtol=0, atol=0.01)
