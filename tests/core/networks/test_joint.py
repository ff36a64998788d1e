"""The joint network: its equations on tiny tensors, its weights file, windows of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tensors import TINY, lively_joint
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.filters import blur
from napari_flowinpaint.core.networks.blocks import conv, correlate, gaussian, join, pad_to, warp
from napari_flowinpaint.core.networks.joint import SIZES, JointConfig, JointNet
from napari_flowinpaint.core.networks.registration import register_jointly
from napari_flowinpaint.core.networks.weights import load_network, save_network
from napari_flowinpaint.core.reference.optical_flow import warp as warp_numpy


def inputs(shape=(1, 1, 32, 48), seed=0):
    rng = torch.Generator().manual_seed(seed)
    section, previous, following = (torch.randn(shape, generator=rng) for _ in range(3))
    known = torch.ones(shape)
    known[..., 8:20, 8:30] = 0
    return section, known, (previous, following), (torch.ones(shape),) * 2, torch.tensor([0.5])


def naive(target, source, radius):
    batch, _, height, width = target.shape
    side = 2 * radius + 1
    out = torch.zeros(batch, side * side, height, width)
    for y in range(height):
        for x in range(width):
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        product = target[:, :, y, x] * source[:, :, y + dy, x + dx]
                        out[:, (dy + radius) * side + dx + radius, y, x] = product.mean(dim=1)
    return out


@pytest.mark.parametrize(("width", "radius"), [(5, 1), (32, 2), (40, 1)])
def test_correlation_is_the_naive_loop(width, radius):
    torch.manual_seed(0)
    target = torch.randn(2, 3, 4, width, requires_grad=True)
    source = torch.randn(2, 3, 4, width, requires_grad=True)
    ours, theirs = correlate(target, source, radius), naive(target, source, radius)
    assert torch.allclose(ours, theirs, atol=1e-6)
    weight = torch.randn_like(theirs)
    mine = torch.autograd.grad((ours * weight).sum(), (target, source))
    right = torch.autograd.grad((theirs * weight).sum(), (target, source))
    assert torch.allclose(mine[0], right[0], atol=1e-6)
    assert torch.allclose(mine[1], right[1], atol=1e-6)


def test_warp_samples_the_source_where_the_flow_points():
    image = texture((40, 50))
    rng = np.random.default_rng(0)
    flow = np.stack([np.full((40, 50), 3.0), rng.uniform(-2, 2, (40, 50))]).astype(np.float32)
    ours = warp(torch.from_numpy(image)[None, None], torch.from_numpy(flow)[None])[0, 0].numpy()
    # OpenCV rounds positions to 1/32 pixel
    assert np.abs(ours - warp_numpy(image, flow)).max() < 1.5
    down = torch.zeros(1, 2, 40, 50)
    down[:, 0] = 5
    moved = warp(torch.from_numpy(image)[None, None], down)[0, 0].numpy()
    assert np.allclose(moved[:35], image[5:], atol=1e-3)


def test_low_pass_is_that_of_the_metrics():
    image = texture((40, 50), sigma=1)
    ours = gaussian(torch.from_numpy(image)[None, None], 2.0)[0, 0].numpy()
    assert np.abs(ours - blur(image, 2.0)).max() < 1e-2


@pytest.mark.parametrize("shape", [(40, 50), (64, 32), (9, 90)])
def test_low_pass_without_backward_is_that_of_training(shape):
    image = torch.randn(2, 3, *shape)
    with torch.inference_mode():
        fast = gaussian(image, 2.0)
    assert torch.allclose(fast, gaussian(image, 2.0), atol=1e-6)


def test_joined_maps_are_concatenated_channels():
    one, two = torch.randn(2, 3, 4, 5), torch.randn(2, 2, 4, 5)
    out = join(one.contiguous(memory_format=torch.channels_last), two)
    assert torch.equal(out, torch.cat([one, two], dim=1))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_hidden_pixels_are_never_looked_at():
    net = lively_joint()
    section, known, neighbours, valid, alpha = inputs()
    with torch.no_grad():
        before = net(section, known, neighbours, valid, alpha)
        other = torch.where(known > 0, section, torch.full_like(section, 50.0))
        after = net(other, known, neighbours, valid, alpha)
        seen = net(section + 1, known, neighbours, valid, alpha)
    assert torch.equal(before.image, after.image)
    assert torch.equal(before.flows[0], after.flows[0])
    assert not torch.equal(before.image, seen.image)


def test_missing_parts_of_a_neighbour_are_never_looked_at():
    net = lively_joint()
    section, known, (previous, following), (valid, whole), alpha = inputs()
    valid = valid.clone()
    valid[..., 10:, :] = 0
    spoilt = torch.where(valid > 0, previous, torch.full_like(previous, -40.0))
    with torch.no_grad():
        before = net(section, known, (previous, following), (valid, whole), alpha)
        after = net(section, known, (spoilt, following), (valid, whole), alpha)
    assert torch.equal(before.image, after.image)


def test_before_training_the_neighbours_are_averaged():
    section, known, neighbours, valid, alpha = inputs()
    torch.manual_seed(0)
    with torch.no_grad():
        out = JointNet(TINY)(section, known, neighbours, valid, alpha)
    assert all(not flow.any() for flow in out.flows)
    assert torch.allclose(out.warped[0], neighbours[0], atol=1e-3)
    low = [gaussian(n, 2.0) for n in neighbours]
    assert torch.allclose(out.image, sum([*neighbours, *low]) / 4, atol=0.1)
    assert [f[0].shape[-1] for f in out.pyramid] == [6, 12]


def test_context_goes_on_where_a_network_without_it_was():
    shallow = lively_joint(replace(TINY, deep=0))
    deep = JointNet(TINY).eval()
    left = deep.load_state_dict(shallow.state_dict(), strict=False)
    assert left.missing_keys
    assert all(key.startswith("fusion.context.") for key in left.missing_keys)
    with torch.no_grad():
        before = shallow(*inputs()).image
        assert torch.equal(deep(*inputs()).image, before)
        for last in (deep.fusion.context.near[-1], deep.fusion.context.up[-1]):
            last.weight.normal_(std=0.5)
            after = deep(*inputs()).image
            assert not torch.equal(after, before)
            before = after


def test_the_flow_between_the_neighbours_speaks_in_the_hole():
    """Where nothing is known, the outcome still depends on how the neighbours fit each other."""
    net = lively_joint()
    section, known, (previous, following), valid, alpha = inputs()
    known = torch.zeros_like(known)  # silences the cost volumes of the section itself
    with torch.no_grad():
        one = net(section, known, (previous, following), valid, alpha)
        two = net(section, known, (previous, following.flip(-1)), valid, alpha)
    assert not torch.equal(one.flows[0], two.flows[0])


@pytest.mark.parametrize("size", list(SIZES))
def test_weights_file_alone_brings_the_network_back(tmp_path, size):
    net = lively_joint(SIZES[size])
    save_network(tmp_path / "a.safetensors", net, {"step": 3})
    again, info = load_network(tmp_path / "a.safetensors", architecture="joint")
    assert info.training == {"step": 3}
    assert again.config == net.config
    assert (tmp_path / "a.safetensors").stat().st_size < 15 * 1024 * 1024
    for name, value in net.state_dict().items():
        assert torch.allclose(again.state_dict()[name], value, atol=1e-2), name
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden": 10**9}, "hidden"),
        ({"hidden": "48"}, "hidden"),
        ({"radii": [3]}, "do not fit together"),
        ({"radii": [99, 3, 4, 4]}, "do not fit together"),
        ({"channels": []}, "channels"),
        ({"fusion": [8]}, "fusion"),
        ({"deep": -1}, "deep"),
        ({"channels": [8, 8], "radii": [2], "deep": 8}, "three levels"),
        ({"width": 3}, "unknown entries"),
    ],
)
def test_impossible_networks_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        JointConfig.from_dict({**SIZES["small"].to_dict(), **config})


def _register(net, shape, **options):
    base = texture((shape[0], shape[1] + 16))
    section, previous, following = base[:, 8:-8], base[:, 4:-12], base[:, 12:-4]
    known = np.ones(shape, dtype=bool)
    known[shape[0] // 3 : shape[0] // 2, 10:30] = False
    whole = np.ones(shape, dtype=bool)
    return register_jointly(
        net, section, known, (previous, following), (whole, whole), 0.5, **options
    )


@pytest.mark.parametrize("shape", [(33, 47), (64, 64), (9, 100)])
def test_windows_of_any_size(shape):
    found = _register(lively_joint(), shape)
    assert found.image.shape == shape
    assert found.flows[0].shape == (2, *shape)
    assert np.isfinite(found.image).all()


def test_tiles_meet_without_seams():
    net = lively_joint()
    steps = []
    whole = _register(net, (200, 330))
    tiled = _register(net, (200, 330), whole=128, overlap=96, report=steps.append)
    difference = np.abs(whole.image - tiled.image)
    assert (difference > 1).mean() < 0.01
    assert np.abs(whole.flows[0] - tiled.flows[0]).mean() < 0.05
    assert len(steps) > 4
    assert steps[-1] == 1


@pytest.mark.parametrize("tiling", [{}, {"whole": 64, "overlap": 32}])
def test_it_can_be_stopped_between_views(tiling):
    class Stop(Exception):
        pass

    steps = []

    def report(share):
        steps.append(share)
        if len(steps) == 2:
            raise Stop

    with pytest.raises(Stop):
        _register(lively_joint(), (64, 96), views=4, report=report, **tiling)
    assert 0 < steps[0] < steps[1] <= 0.5


def test_views_are_turned_back_and_averaged():
    """All eight views of a turned window are those of the window: the average turns along."""
    torch.manual_seed(4)
    net = JointNet(JointConfig(channels=(8, 8, 8), radii=(2, 2), hidden=8, fusion=(8, 8))).eval()
    torch.nn.init.normal_(net.fusion.head.weight, std=0.2)
    rng = np.random.default_rng(0)
    images = rng.normal(100, 20, (3, 48, 64)).astype(np.float32)
    known = rng.random((48, 64)) < 0.7

    def run(turn, alpha, views):
        section, previous, following = (np.ascontiguousarray(turn(image)) for image in images)
        shown = np.ones_like(turn(known))
        found = register_jointly(
            net,
            section,
            np.ascontiguousarray(turn(known)),
            (previous, following),
            (shown, shown),
            alpha,
            views=views,
        )
        return found.image

    def same(image):
        return image

    def turned(image):
        return np.rot90(image)[:, ::-1]

    whole = run(same, 0.5, 8)
    assert np.abs(turned(whole) - run(turned, 0.5, 8)).max() < 0.5
    assert np.abs(turned(run(same, 0.5, 1)) - run(turned, 0.5, 1)).max() > 1
    assert np.abs(whole - run(same, 0.5, 1)).max() > 1


def test_padding_repeats_the_edge():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_to(image, 4)
    assert padded.shape == (1, 1, 4, 4)
    assert padded[0, 0, 3].tolist() == [3, 4, 5, 5]


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_dilated_convolutions_are_trained_under_autocast(dilation):
    torch.manual_seed(0)
    layer = conv(40, 40, dilation=dilation).to(memory_format=torch.channels_last)
    image = torch.randn(2, 40, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(image)
    assert out.dtype == torch.bfloat16
    out.float().square().mean().backward()
    found = layer[0].weight.grad.clone()
    layer.zero_grad()
    layer(image).square().mean().backward()
    torch.testing.assert_close(found, layer[0].weight.grad, rtol=0.1, atol=1e-4)
