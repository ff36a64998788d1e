"""The paper's networks: every equation on tiny tensors."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensors import lively, scene

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.blocks import correlate, hide, intact_statistics, warp
from napari_flowinpaint.core.networks.paper import discriminator
from napari_flowinpaint.core.networks.paper.discriminator import DiscriminatorConfig
from napari_flowinpaint.core.networks.paper.guided import inpaint_guided
from napari_flowinpaint.core.networks.paper.inpainting import (
    PAPER_SIZES,
    FeatureAggregation,
    InpaintingConfig,
    InpaintingGenerator,
    PaperConfig,
    PaperNetwork,
)
from napari_flowinpaint.core.networks.paper.refined_reference import (
    SIZES,
    RefinedReferenceConfig,
    RefinedReferenceNetwork,
)
from napari_flowinpaint.core.training.paper.losses import gradient_features, refined_reference_loss

REFINED = RefinedReferenceConfig((4, 6, 8), 2, (8, 6), (6, 6))
GENERATOR = InpaintingConfig((8, 8, 12), finest_attention=2)
TINY = PaperConfig(REFINED, GENERATOR)


# ------------------------------------------------------------------ refined reference (3.2)


@pytest.mark.parametrize("shape", [(1, 1), (37, 45), (64, 8), (5, 100)])
def test_refined_reference_of_any_size(shape):
    section, mask, initial, *_ = scene(*shape)
    out = lively(RefinedReferenceNetwork(REFINED))(section, mask, initial)
    assert out.image.shape == section.shape
    assert out.flow.shape == (2, 2, *shape)
    assert [f.shape[-2:] for f in out.pyramid] == [
        tuple(-(-side // 2**k) for side in shape) for k in range(3)
    ]
    assert torch.isfinite(out.image).all()


def test_six_levels_as_in_the_paper():
    assert {name: len(config.channels) for name, config in SIZES.items()} == {"small": 6, "base": 6}
    assert all(len(c.inpainting.channels) == 6 for c in PAPER_SIZES.values())


def test_before_training_the_refined_reference_is_the_initial_one():
    section, mask, initial, *_ = scene()
    out = RefinedReferenceNetwork(REFINED)(section, mask, initial)
    assert not out.flow.any()
    assert torch.allclose(out.image, initial, atol=1e-5)


def test_refined_image_is_the_initial_one_sampled_where_the_flow_points():
    section, mask, initial, *_ = scene()
    net = lively(RefinedReferenceNetwork(REFINED))
    with torch.no_grad():
        # 1.5 px down at half resolution, after all other corrections: 3 px at full resolution
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d) and module.out_channels == 2:
                module.weight.zero_()
                module.bias.zero_()
        net.context.head.bias.copy_(torch.tensor([1.5, 0.0]))
        out = net(section, mask, initial)
    assert torch.allclose(out.flow[:, 0], torch.tensor(3.0))
    assert torch.allclose(out.image[..., :30, :], initial[..., 3:33, :], atol=1e-4)


def test_flow_of_a_level_is_doubled_on_the_way_up():
    net = lively(RefinedReferenceNetwork(REFINED))
    section, mask, initial, *_ = scene(32, 32)
    with torch.no_grad():
        for number, estimator in enumerate(net.estimators):
            estimator.head.weight.zero_()
            estimator.head.bias.fill_(1.0 if number == 2 else 0.0)
        net.context.head.weight.zero_()
        net.context.head.bias.zero_()
        out = net(section, mask, initial)
    assert [float(f.mean()) for f in out.pyramid] == pytest.approx([8, 4, 2])


def test_correlation_peaks_where_the_source_has_been_moved_from():
    torch.manual_seed(0)
    source = F.normalize(torch.randn(1, 8, 24, 24), dim=1)
    target = source.roll((-2, 1), (2, 3))  # target(x) = source(x + (2, -1))
    volume = correlate(target, source, 3)[0, :, 6:18, 6:18]
    assert (volume.argmax(dim=0) == (2 + 3) * 7 + (-1 + 3)).all()


def test_correlation_may_ignore_how_long_features_are():
    same = lively(RefinedReferenceNetwork(replace(REFINED, normalised=True)))
    as_is = lively(RefinedReferenceNetwork(replace(REFINED, normalised=False)))
    torch.manual_seed(0)
    features = torch.randn(1, 8, 6, 6) * 7
    flow, none = torch.zeros(1, 2, 6, 6), torch.zeros(1, 1, 6, 6)
    assert same.estimators[2].normalised
    a, b = (net.estimators[2](features, 3 * features, flow, none)[0] for net in (same, as_is))
    longer, other = (
        net.estimators[2](features, 6 * features, flow, none)[0] for net in (same, as_is)
    )
    assert torch.allclose(a, longer, atol=1e-4)
    assert not torch.allclose(b, other, atol=1e-4)


def test_a_known_shift_is_learned():
    """Which way the flow points: the loss falls only if correlation, flow and warp agree."""
    torch.manual_seed(0)
    net = RefinedReferenceNetwork(RefinedReferenceConfig((8, 8), 2, (16,), (8,)))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(60):
        torch.manual_seed(step)
        wide = F.avg_pool2d(torch.randn(4, 1, 44, 44), 5, 1) * 5
        initial, section = wide[..., 4:36, 4:36], wide[..., 6:38, 3:35]
        mask = torch.zeros_like(section)
        mask[..., 10:20, 10:20] = 1
        out = net(section, mask, initial)
        loss = refined_reference_loss(out.pyramid, initial, section, mask, gradient_features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    flow = out.flow[..., 8:24, 8:24].mean(dim=(0, 2, 3))
    assert flow[0] > 1.2
    assert flow[1] < -0.5
    inside = (out.image - section)[..., 10:20, 10:20].abs().mean()
    assert inside < 0.5 * (initial - section)[..., 10:20, 10:20].abs().mean()


# ------------------------------------------------------------------ generator (eq. 7-12)


@pytest.mark.parametrize("shape", [(1, 3), (37, 45), (16, 64)])
@pytest.mark.parametrize("reference", ["refined", "initial", "none"])
def test_whole_network_of_any_size_and_reference(shape, reference):
    section, mask, previous, following, initial = scene(*shape)
    net = lively(PaperNetwork(TINY.ablated(reference=reference)))
    out, refined = net(section, mask, (previous, following), torch.tensor([0.5, 0.3]), initial)
    assert out.image.shape == section.shape
    assert torch.isfinite(out.image).all()
    assert (refined is not None) == (reference == "refined")
    other, _ = net(section, mask, (previous, following), torch.tensor([0.5, 0.3]), -initial)
    assert torch.equal(other.drawn, out.drawn) == (reference == "none")


def test_intact_pixels_come_back_bit_for_bit():
    section, mask, previous, following, initial = scene()
    section = section * 1.2345e4 + 0.1
    net = lively(PaperNetwork(TINY))
    out, _ = net(section, mask, (previous, following), torch.tensor([0.5, 0.5]), initial)
    assert torch.equal(out.image[mask < 1], section[mask < 1])
    assert torch.equal(out.image[mask > 0], out.drawn[mask > 0])
    assert not torch.equal(out.image[mask > 0], section[mask > 0])


@pytest.mark.parametrize("hidden", [99.0, float("nan")])
def test_what_the_mask_hides_is_never_looked_at(hidden):
    section, mask, previous, following, initial = scene()
    net = lively(PaperNetwork(TINY))
    spoilt = torch.where(mask > 0, torch.tensor(hidden), section)
    alpha = torch.tensor([0.5, 0.5])
    before, _ = net(section, mask, (previous, following), alpha, initial)
    after, _ = net(spoilt, mask, (previous, following), alpha, initial)
    assert torch.equal(before.drawn, after.drawn)
    assert torch.equal(before.image, after.image)
    assert torch.equal(hide(section, mask), hide(spoilt, mask))
    for ours, theirs in zip(
        intact_statistics(section, mask), intact_statistics(spoilt, mask), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_every_input_matters():
    section, mask, previous, following, initial = scene()
    net, alpha = lively(PaperNetwork(TINY)), torch.tensor([0.5, 0.5])
    base = net(section, mask, (previous, following), alpha, initial)[0].drawn
    for changed in (
        net(section + (1 - mask), mask, (previous, following), alpha, initial),
        net(section, 1 - mask, (previous, following), alpha, initial),
        net(section, mask, (-previous, following), alpha, initial),
        net(section, mask, (previous, -following), alpha, initial),
        net(section, mask, (previous, following), alpha + 0.2, initial),
        net(section, mask, (previous, following), alpha, -initial),
    ):
        assert not torch.allclose(changed[0].drawn, base, atol=1e-4)


@pytest.mark.parametrize("validity", [True, False])
def test_networks_are_reported_where_neighbours_show_nothing(validity):
    """With the flag off, as in the paper, they are not."""
    config = PaperConfig(replace(REFINED, validity=validity), replace(GENERATOR, validity=validity))
    section, mask, *others, initial = scene(40, 48)  # a multiple of 8: nothing is padded
    net = lively(PaperNetwork(config))
    gone = torch.ones_like(mask)
    gone[..., 20:32, 8:24] = 0
    where = ((gone, gone), (torch.ones_like(gone), gone))
    everywhere, both, one = (
        net(section, mask, tuple(others), torch.full((2,), 0.5), initial, valid)
        for valid in (None, *where)
    )
    assert torch.equal(both[1].flow, everywhere[1].flow) != validity
    assert torch.equal(both[0].drawn, everywhere[0].drawn) != validity
    # what one neighbour shows, the reference shows
    assert torch.equal(one[1].flow, everywhere[1].flow)
    assert torch.equal(one[0].drawn, everywhere[0].drawn) != validity


def test_padding_is_nothing_that_a_neighbour_shows():
    seen = []
    net = lively(PaperNetwork(TINY))
    net.generator.guidance.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    section, mask, *others, initial = scene(37, 45)
    net(section, mask, tuple(others), torch.full((2,), 0.5), initial)
    shown = seen[0][:, -4:-2]
    assert (shown[..., :37, :45] == 1).all()
    assert not shown[..., 37:, :].any()
    assert not shown[..., 45:].any()


def test_gradients_reach_every_parameter():
    section, mask, previous, following, initial = scene()
    net = lively(PaperNetwork(TINY)).train()
    out, _ = net(section, mask, (previous, following), torch.tensor([0.5, 0.5]), initial)
    (out.drawn * torch.randn_like(out.drawn)).sum().backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_aggregation_joins_four_dilations():
    layer = FeatureAggregation(8)
    assert [branch[0].dilation for branch in layer.dilated] == [(1, 1), (2, 2), (4, 4), (8, 8)]
    features = torch.zeros(1, 8, 41, 41, requires_grad=True)
    layer(features + torch.randn(1, 8, 41, 41))[..., 20, 20].sum().backward()
    seen = features.grad[0].abs().sum(dim=0).nonzero()
    assert seen.min() == 20 - 9  # 8 of the widest, 1 of the joining layer
    assert seen.max() == 20 + 9


def test_ablations_by_configuration():
    whole, bare = PaperNetwork(TINY), PaperNetwork(TINY.ablated(aggregation=False))
    assert any(isinstance(m, FeatureAggregation) for m in whole.modules())
    assert not any(isinstance(m, FeatureAggregation) for m in bare.modules())
    assert PaperNetwork(TINY.ablated(reference="none")).refined is None
    section, mask, previous, following, initial = scene()
    without = InpaintingGenerator(replace(GENERATOR, reference="none"))
    with pytest.raises(ValueError, match="reference is 'none'"):
        without(section, mask, (previous, following), torch.tensor([0.5, 0.5]), initial)


def test_normalisation_knows_the_intact_pixels_only():
    section, mask, *_ = scene()
    section = 30 * section + 100
    mean, deviation = intact_statistics(section, mask)
    for b in range(2):
        intact = section[b][mask[b] < 1].numpy()
        assert float(mean[b]) == pytest.approx(intact.mean(), rel=1e-4)
        assert float(deviation[b]) == pytest.approx(intact.std(), rel=1e-4)
    mean, deviation = intact_statistics(section, torch.ones_like(mask))
    assert not mean.any()
    assert torch.equal(deviation, torch.ones_like(deviation))


# ------------------------------------------------------------------ windows


def window(height=70, width=90):
    rng = np.random.default_rng(0)
    section, previous, following, initial = rng.normal(120, 30, (4, height, width)).astype(
        np.float32
    )
    mask = np.zeros((height, width), dtype=bool)
    mask[20:50, 30:60] = True
    return section, mask, (previous, following), initial


@pytest.mark.parametrize("reference", ["refined", "initial", "none"])
def test_windows_in_grey_values(reference):
    section, mask, neighbours, initial = window()
    net = lively(PaperNetwork(TINY.ablated(reference=reference)))
    spoilt = np.where(mask, np.float32(np.nan), section)
    out = inpaint_guided(net, spoilt, mask, neighbours, 0.5, initial)
    assert out.image.dtype == np.float32
    assert np.array_equal(out.image[~mask], section[~mask])
    assert np.isfinite(out.image).all()
    assert np.isfinite(out.refined).all()
    assert (reference == "refined") == (np.abs(out.refined - initial).max() > 0.1)
    # twice the contrast in, twice the contrast out
    other = inpaint_guided(
        net, 2 * spoilt + 7, mask, tuple(2 * n + 7 for n in neighbours), 0.5, 2 * initial + 7
    )
    assert np.allclose(other.image[mask], 2 * out.image[mask] + 7, atol=0.5)


def test_tiles_of_a_window_meet():
    """A drawn pixel depends on what is near it: far from borders tiling changes nothing."""
    section, mask, neighbours, initial = window(160, 64)
    config = replace(GENERATOR, channels=(8, 8), finest_attention=3, reference="initial")
    net = lively(PaperNetwork(PaperConfig(REFINED, config)))
    seen = []
    whole = inpaint_guided(net, section, mask, neighbours, 0.5, initial)
    tiled = inpaint_guided(
        net, section, mask, neighbours, 0.5, initial, whole=96, overlap=64, report=seen.append
    )
    assert len(seen) > 1
    assert seen[-1] == 1
    assert np.abs(tiled.image - whole.image).max() < 0.1 * np.abs(whole.image - section).max()
    assert np.array_equal(tiled.image[~mask], section[~mask])


# ------------------------------------------------------------------ sizes and configurations


@pytest.mark.parametrize("config", [*PAPER_SIZES.values(), *discriminator.SIZES.values(), TINY])
def test_configurations_survive_json(config):
    import json

    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (RefinedReferenceConfig, {"channels": [10**9]}),
        (RefinedReferenceConfig, {"channels": [8] * 50}),
        (RefinedReferenceConfig, {"channels": "many"}),
        (RefinedReferenceConfig, {"radius": True}),
        (RefinedReferenceConfig, {"radius": 500}),
        (RefinedReferenceConfig, {"depth": 3}),
        (InpaintingConfig, {"channels": [8, -8]}),
        (InpaintingConfig, {"channels": [6, 6]}),
        (InpaintingConfig, {"reference": "elsewhere"}),
        (InpaintingConfig, {"sharpness": float("nan")}),
        (InpaintingConfig, {"keys": 10**9}),
        (InpaintingConfig, {"aggregation": 1}),
        (DiscriminatorConfig, {"spectral": "yes"}),
        (PaperConfig, {"refined": 3}),
        (PaperConfig, {"refined": {"channels": [0]}}),
    ],
)
def test_absurd_configurations_are_refused(kind, values):
    with pytest.raises(InputError, match="network's") as caught:
        kind.from_dict(values)
    assert "\n" not in str(caught.value)


_PEAK = """
import resource, torch
from napari_flowinpaint.core.networks.paper.attention import attend
from napari_flowinpaint.core.networks.paper.inpainting import PAPER_SIZES, PaperNetwork

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def damaged(edge):
    mask = torch.zeros(1, 1, edge, edge)
    mask[..., edge // 10 : -edge // 10, edge // 10 : -edge // 10] = 1
    return torch.randn(1, 1, edge, edge), mask

torch.set_num_threads(2)
net = PaperNetwork(PAPER_SIZES["small"]).eval()
with torch.inference_mode():
    first = peak()
    features, mask = damaged(192)
    attend(features.expand(-1, 4, -1, -1), mask)
    second = peak()
    image, mask = damaged(512)
    net(image, mask, (image, image), torch.tensor([0.5]), image)
print(second - first, peak() - second)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_of_a_large_window_is_bounded():
    """Attention would need 740 MiB without portions and 170 without a bound on the keys."""
    done = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True)
    attention, whole = map(int, done.stdout.split())  # KiB
    assert attention < 100 * 1024
    assert whole < 400 * 1024  # four times as much for an edge twice as long


def test_warp_and_package_flow_agree():
    """The networks' convention is the package's: order (dy, dx), sample at x + flow(x)."""
    from napari_flowinpaint.core.reference.optical_flow import warp as warp_numpy

    rng = np.random.default_rng(0)
    image = rng.normal(size=(20, 24)).astype(np.float32)
    flow = np.stack([np.full((20, 24), 2.0), np.full((20, 24), -3.0)]).astype(np.float32)
    ours = warp(torch.from_numpy(image)[None, None], torch.from_numpy(flow)[None])[0, 0].numpy()
    assert np.allclose(ours[:-2, 3:], image[2:, :-3], atol=1e-4)
    assert np.allclose(ours[:-2, 3:], warp_numpy(image, flow)[:-2, 3:], atol=1e-4)
