"""The network for one neighbour: what it sees, where it begins, its file."""

from __future__ import annotations

import pytest
import torch
from tensors import TINY, lively, lively_joint, scene

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.one.extend import EXTEND_SIZES, ExtendConfig, ExtendNet
from napari_flowinpaint.core.networks.weights import load_network, save_network

SMALL = ExtendConfig(joint=TINY, channels=(8, 8), dilations=(2,))
ALPHA = torch.full((2,), 0.5)


def look(net, section, mask, neighbour, shown=None, *, second=False):
    """Return the output for one neighbour, in the first slot or in the second."""
    shown = torch.ones_like(section) if shown is None else shown
    nothing = torch.zeros_like(shown)
    pair = (torch.randn_like(neighbour), neighbour) if second else (neighbour, neighbour.flip(-1))
    valid = (nothing, shown) if second else (shown, nothing)
    with torch.no_grad():
        return net(section, 1 - mask, pair, valid, ALPHA)


def test_before_training_it_is_the_joint_network_with_a_silent_neighbour():
    section, mask, neighbour, *_ = scene(64, 64)
    net, joint = ExtendNet(SMALL).eval(), lively_joint()
    net.joint.load_state_dict(joint.state_dict())
    ones, nothing = torch.ones_like(section), torch.zeros_like(section)
    with torch.no_grad():
        plain = joint(section, 1 - mask, (neighbour, nothing), (ones, nothing), ALPHA)
    found = look(net, section, mask, neighbour)
    torch.testing.assert_close(found.image, plain.image)
    torch.testing.assert_close(found.flows[0], plain.flows[0])


def test_which_of_the_two_is_silent_does_not_matter():
    section, mask, neighbour, *_ = scene(64, 64)
    net = lively(ExtendNet(SMALL))
    torch.testing.assert_close(
        look(net, section, mask, neighbour).image,
        look(net, section, mask, neighbour, second=True).image,
    )


def test_hidden_pixels_are_never_looked_at():
    section, mask, neighbour, *_ = scene(64, 64)
    net = lively(ExtendNet(SMALL))
    shown = torch.ones_like(section)
    shown[..., 40:50, 40:50] = 0
    first = look(net, section, mask, neighbour, shown).image
    assert not torch.equal(first, look(net, section, mask, neighbour).image)
    section, neighbour = section + 99 * mask, neighbour + 99 * (1 - shown)
    torch.testing.assert_close(look(net, section, mask, neighbour, shown).image, first)


def test_the_generator_adds_to_the_reference():
    section, mask, neighbour, *_ = scene(64, 64)
    net = lively(ExtendNet(SMALL))
    found = look(net, section, mask, neighbour).image
    for parameter in net.generator.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert not torch.equal(found, look(net, section, mask, neighbour).image)


@pytest.mark.parametrize("size", list(EXTEND_SIZES))
def test_its_file_alone_brings_it_back(tmp_path, size):
    net = ExtendNet(EXTEND_SIZES[size])
    path = tmp_path / "one.safetensors"
    save_network(path, net, {"step": 3})
    again, info = load_network(path, architecture="one-neighbour")
    assert again.config == net.config
    assert info.training == {"step": 3}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"joint": 3}, "'joint' must be a description"),
        ({"joint": {"hidden": 10**9}}, "hidden"),
        ({"channels": [8]}, "channels"),
        ({"dilations": [64]}, "dilations"),
        ({"larn": 1}, "larn"),
    ],
)
def test_impossible_networks_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        ExtendConfig.from_dict({**SMALL.to_dict(), **config})
