"""The networks that undo folds: the equations they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.blocks import gaussian, warp
from napari_flowinpaint.core.networks.fold.fold_fusion import FusionConfig, FusionNetwork
from napari_flowinpaint.core.networks.fold.kpn import (
    KernelPredictionNetwork,
    KpnConfig,
    apply_separable,
)
from napari_flowinpaint.core.networks.fold.restoration import (
    FoldConfig,
    FoldNetwork,
    interpolate_between,
    restore_fold,
)
from napari_flowinpaint.core.networks.fold.settling import settle
from napari_flowinpaint.core.networks.fold.unfolding import (
    UNFOLDING_SIZES,
    UnfoldingConfig,
    UnfoldingNetwork,
    cover,
    swallowed,
    towards_tissue,
)
from napari_flowinpaint.core.reference.fold_distance import line_distance

KPN = KpnConfig((8, 8), 5)
UNFOLDING = UnfoldingConfig((8, 8), shrink=2, search=6, step=4, back=1)


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def explicit(image: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Return ``sum_ij down_i across_j image(y + i - r, x + j - r)``, pixel by pixel."""
    taps, batch, height, width = down.shape
    radius = taps // 2
    out = torch.zeros(batch, 1, height, width)
    for y in range(height):
        for x in range(width):
            for i in range(taps):
                for j in range(taps):
                    row = min(max(y + i - radius, 0), height - 1)
                    column = min(max(x + j - radius, 0), width - 1)
                    weight = down[i, :, y, x] * across[j, :, y, x]
                    out[:, 0, y, x] += weight * image[:, 0, row, column]
    return out


def test_separable_kernels_are_the_explicit_sum():
    image = images(2, 1, 6, 7)
    kernels = [images(3, 2, 6, 7, seed=n).requires_grad_(True) for n in (1, 2)]
    ours, theirs = apply_separable(image, *kernels), explicit(image, *kernels)
    torch.testing.assert_close(ours, theirs)
    weight = images(2, 1, 6, 7, seed=3)
    gradients = [torch.autograd.grad((out * weight).sum(), kernels) for out in (ours, theirs)]
    for mine, autograd in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, autograd, atol=1e-4, rtol=1e-4)


def test_the_interpolation_begins_as_the_mean_of_the_neighbours():
    net = KernelPredictionNetwork(KPN)
    with torch.no_grad():
        net.net.last.weight.zero_()
    flat = torch.full((1, 1, 16, 16), 1.0)
    torch.testing.assert_close(net(flat, 3 * flat), 2 * flat)


def test_an_even_number_of_taps_has_no_middle():
    with pytest.raises(InputError, match="odd"):
        KpnConfig(taps=4)


def band(height: int = 32, width: int = 32) -> np.ndarray:
    line = np.zeros((height, width), dtype=bool)
    line[12:17] = True
    return line


def to_band() -> torch.Tensor:
    """Return the exact distance to the band's rim."""
    rows = np.abs(np.arange(32, dtype=np.float32) - 14) - 2.5
    return as_tensor(np.repeat(rows[:, None], 32, axis=1))


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image)[None, None]


def test_directions_lead_away_from_the_line():
    direction = towards_tissue(as_tensor(line_distance(band())))
    torch.testing.assert_close(direction[0, :, 25, 9], torch.tensor([1.0, 0.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(direction[0, :, 3, 9], torch.tensor([-1.0, 0.0]), atol=0.02, rtol=0)


def test_what_would_come_from_beyond_the_line_is_swallowed():
    distance = to_band()
    pull = 4.0
    lost = swallowed(distance, -pull * towards_tissue(distance))[0, 0, :, 8]
    assert lost.nonzero().flatten().tolist() == list(range(7, 22))


def test_what_would_come_from_outside_the_section_is_lost():
    flow = torch.zeros(1, 2, 32, 32)
    flow[:, 1] = -5
    lost = swallowed(torch.full((1, 1, 32, 32), 90.0), flow)
    assert lost[..., :4].all()
    assert not lost[..., 4:].any()


def test_all_of_the_line_is_lost_also_where_no_direction_leads_away():
    away = to_band()
    lost = swallowed(away, -40 * torch.ones(1, 2, 32, 32) * torch.sign(away))
    assert lost[0, 0][torch.from_numpy(band())].all()


def test_the_line_is_covered_by_one_grey_value():
    image, distance = images(1, 1, 32, 32), to_band()
    covered = cover(image, distance)[0, 0].numpy()
    assert (covered[band()] == 0).all()
    assert (covered[~band()] == image[0, 0].numpy()[~band()]).all()


def test_the_flow_does_not_depend_on_what_the_line_looks_like():
    net = UnfoldingNetwork(UNFOLDING).eval()
    distance = as_tensor(line_distance(band()))
    section, reference = images(1, 1, 32, 32), images(1, 1, 32, 32, seed=1)
    other = torch.where(distance <= 0, -5.0, section)
    with torch.inference_mode():
        torch.testing.assert_close(
            net(section, reference, distance), net(other, reference, distance)
        )


def test_displacements_are_found_without_any_training():
    """What the U-Net begins with: the section is most alike at the right displacement."""
    config = UnfoldingConfig((4, 4, 4), shrink=2, search=10, step=4, back=1)
    net = UnfoldingNetwork(config).eval()
    with torch.no_grad():
        for parameter in net.net.last.parameters():
            parameter.zero_()
        net.trust.mul_(20)  # as sure of itself as it can be
    line = np.zeros((128, 128), dtype=bool)
    line[:4] = True
    section = gaussian(images(1, 1, 128, 128), 2)
    section = section / section.std()
    reference = torch.roll(section, 16, dims=2)  # what is at y now was at y - 16
    with torch.inference_mode():
        flow = net(section, reference, as_tensor(line_distance(line)))[0, :, 40:120, 30:100]
    torch.testing.assert_close(flow[0], torch.full_like(flow[0], -16.0), atol=0.5, rtol=0)
    assert flow[1].abs().max() < 0.1


def test_the_flow_is_the_mean_of_the_displacements():
    net = UnfoldingNetwork(UNFOLDING).eval()
    last = net.net.last
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[3] = 500.0  # the displacement (3 - back) * step = 8
    distance = as_tensor(line_distance(band()))
    with torch.inference_mode():
        flow = net(images(1, 1, 32, 32), images(1, 1, 32, 32), distance)
    torch.testing.assert_close(flow[0, :, 24, 8], torch.tensor([-8.0, 0.0]), atol=0.1, rtol=0)


def test_the_papers_network_sees_the_two_images_alone():
    config = UNFOLDING_SIZES["paper"]
    assert (config.shrink, config.search, len(config.channels)) == (1, 0, 5)
    net = UnfoldingNetwork(UnfoldingConfig((4, 4), shrink=1, search=0))
    distance = as_tensor(line_distance(band()))
    flow = net(images(1, 1, 32, 32), images(1, 1, 32, 32), distance)
    assert flow.shape == (1, 2, 32, 32)


def test_the_fusion_begins_with_both_stitched():
    net = FusionNetwork(FusionConfig((4, 4)))
    with torch.no_grad():
        for parameter in net.net.last.parameters():
            parameter.zero_()
    unfolded, reference = images(1, 1, 16, 16), images(1, 1, 16, 16, seed=1)
    lost = torch.zeros(1, 1, 16, 16)
    lost[..., :5] = 1
    fused = net(unfolded, reference, lost)
    torch.testing.assert_close(fused[..., :5], reference[..., :5])
    torch.testing.assert_close(fused[..., 5:], unfolded[..., 5:])


@pytest.mark.parametrize("config", [UnfoldingConfig, FusionConfig])
def test_squares_have_sides_of_powers_of_two(config):
    with pytest.raises(InputError, match="shrink"):
        config(shrink=3)


def small() -> FoldNetwork:
    torch.manual_seed(0)
    return FoldNetwork(FoldConfig(KPN, UNFOLDING, FusionConfig((4, 4)))).eval()


def test_sections_of_any_size_and_grey_values_are_restored():
    section, previous, following = ((1000 + 80 * images(37, 45, seed=n)).numpy() for n in range(3))
    line = np.zeros((37, 45), dtype=bool)
    line[:, 20:24] = True
    restored = restore_fold(small(), section, line_distance(line), (previous, following))
    assert restored.fused.shape == (37, 45)
    assert restored.flow.shape == (2, 37, 45)
    assert restored.lost[line].all()
    assert abs(float(restored.reference.mean()) - 1000) < 40
    other = section.copy()
    other[line] = 0  # what the line looks like does not matter
    again = restore_fold(small(), other, line_distance(line), (previous, following))
    np.testing.assert_array_equal(again.fused, restored.fused)


def test_what_neighbours_do_not_show_is_not_looked_at():
    section, previous, following = (images(32, 32, seed=n).numpy() for n in range(3))
    valid = np.ones((32, 32), dtype=bool)
    valid[:8, :8] = False
    broken = np.where(valid, previous, 1e6).astype(np.float32)
    restored = [
        restore_fold(
            small(),
            section,
            line_distance(band()),
            (image, following),
            (valid, np.ones_like(valid)),
        )
        for image in (previous, broken)
    ]
    np.testing.assert_array_equal(restored[0].fused, restored[1].fused)


def test_three_networks_become_one():
    whole = small()
    joined = FoldNetwork.joined(whole.interpolation, whole.unfolding, whole.fusion)
    assert joined.config == whole.config
    for name, value in joined.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name])


def test_the_interpolation_is_in_the_grey_values_asked_for():
    neighbours = (images(30, 41).numpy(), images(30, 41, seed=1).numpy())
    image = interpolate_between(small().interpolation, neighbours, (1000.0, 20.0))
    assert image.shape == (30, 41)
    assert abs(float(image.mean()) - 1000) < 10


def moved_band(noise: float) -> tuple[torch.Tensor, ...]:
    """Return a section whose tissue lies 12 pixels off, its reference, and distance and flow."""
    rows = np.abs(np.arange(256, dtype=np.float32) - 14) - 2.5
    distance = as_tensor(np.repeat(rows[:, None], 160, axis=1))
    reference = gaussian(images(1, 1, 256, 160), 3)
    reference = reference / reference.std()
    flow = -12 * towards_tissue(distance)
    section = warp(reference, -flow)
    return section + noise * images(1, 1, 256, 160, seed=4), reference, distance, flow


def test_errors_of_a_flow_are_evened_out():
    section, reference, distance, flow = moved_band(0.5)
    wrong = flow + 3 * gaussian(images(1, 2, 256, 160, seed=5), 8) / 0.035
    settled = settle(wrong, section, reference, distance)
    inner = (..., slice(60, 240), slice(20, 140))
    before, after = ((f - flow)[inner].abs().mean() for f in (wrong, settled))
    assert after < 0.35 * before


def test_a_flow_that_no_linear_one_fits_stays():
    section, reference, distance, flow = moved_band(0.0)
    waves = 10 * torch.sin(torch.arange(160) / 9)[None, None, None, :]
    uneven = flow * (1 + waves / 12)
    section = warp(reference, -uneven)
    inner = (..., slice(60, 240), slice(20, 140))
    settled = settle(uneven, section, reference, distance)
    assert (settled - uneven)[inner].abs().max() == 0
