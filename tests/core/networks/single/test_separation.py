"""The network of two branches, the smooth fill it begins with, the progressive reconstruction."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.single.progressive import (
    KERNEL,
    LEAST_SHARE,
    MOST_ROUNDS,
    grow_known,
    reconstruct,
)
from napari_flowinpaint.core.networks.single.section_painting import paint_section
from napari_flowinpaint.core.networks.single.separation import (
    SeparationConfig,
    SeparationNetwork,
    sub_pixel,
)
from napari_flowinpaint.core.networks.single.smooth_fill import smooth_fill

TINY = SeparationConfig((4, 6, 8), residual=1, shrink=2)


def tiny() -> SeparationNetwork:
    torch.manual_seed(0)
    return SeparationNetwork(TINY).eval()


def known_around(box: tuple[slice, slice], shape: tuple[int, int] = (64, 64)) -> torch.Tensor:
    known = torch.ones(1, 1, *shape)
    known[0, 0][box] = 0
    return known


class Painter(torch.nn.Module):
    """Paints the number of its round, and keeps what it was told is known."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.seen = TINY, []

    def forward(self, filled: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        self.seen.append(known.clone())
        return torch.full_like(filled, float(len(self.seen)))


# ---- the smooth fill


def test_a_slope_is_continued_as_a_slope():
    ramp = torch.arange(48.0).repeat(48, 1)[None, None] / 10
    known = known_around(np.s_[12:30, 15:29], (48, 48))
    filled = smooth_fill(torch.where(known > 0, ramp, torch.nan), known)
    torch.testing.assert_close(filled, ramp, atol=0.1, rtol=0)


def test_what_is_filled_is_nearly_harmonic_and_within_what_surrounds_it():
    image = torch.from_numpy(texture((64, 64), sigma=4))[None, None]
    known = known_around(np.s_[20:40, 24:44])
    filled = smooth_fill(image, known)
    torch.testing.assert_close(filled[known > 0], image[known > 0])
    laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    curved = torch.nn.functional.conv2d(filled, laplacian, padding=1)[known == 0]
    there = torch.nn.functional.conv2d(image, laplacian, padding=1)[known == 0]
    assert curved.std() < 0.2 * there.std()
    assert filled[known == 0].min() >= image[known > 0].min()


def test_where_nothing_is_known_there_is_nothing_to_continue():
    image = torch.full((1, 1, 16, 24), torch.nan)
    assert (smooth_fill(image, torch.zeros_like(image)) == 0).all()


# ---- the network


def test_one_branch_keeps_its_resolution_and_the_other_halves_it_in_every_phase():
    net = tiny()
    shapes = []
    for phase in net.phases:
        phase.register_forward_hook(lambda _m, _i, out: shapes.append([t.shape for t in out]))
    net(torch.zeros(1, 1, 32, 48), torch.ones(1, 1, 32, 48))
    high = (1, 4, 16, 24)
    assert shapes == [[high, (1, 6, 8, 12)], [high, (1, 8, 4, 6)]]
    assert [phase.first for phase in net.phases] == [True, False]
    assert SeparationConfig().phases == 4


def test_it_begins_with_the_smooth_fill_and_every_part_learns():
    net = tiny()
    filled, known = torch.randn(1, 1, 32, 32), known_around(np.s_[8:20, 8:20], (32, 32))
    torch.testing.assert_close(net(filled, known), filled)
    torch.nn.init.normal_(net.last.weight)
    net(filled, known).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_features_keep_their_variance_from_phase_to_phase():
    torch.manual_seed(0)
    net = SeparationNetwork()
    deviations = []
    for phase in net.phases:
        phase.register_forward_hook(lambda _m, _i, out: deviations.append(float(out[0].std())))
    net(torch.randn(1, 1, 128, 128), torch.ones(1, 1, 128, 128))
    assert min(deviations) > 0.3 * max(deviations)


def test_a_sub_pixel_layer_makes_a_square_of_four_channels():
    layer = sub_pixel(4, 1)
    with torch.no_grad():
        layer[0].weight.copy_(torch.eye(4)[..., None, None])
        layer[0].bias.zero_()
    out = layer(torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1))
    assert out[0, 0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "settings", [{"channels": (4,)}, {"shrink": 3}, {"residual": 0}, {"channels": (4, 10_000)}]
)
def test_impossible_networks_are_refused(settings):
    with pytest.raises(InputError):
        SeparationConfig.from_dict(settings)


# ---- progressive reconstruction


def test_known_pixels_grow_by_half_a_kernel():
    known = torch.zeros(1, 1, 41, 41)
    known[..., 20, 20] = 1
    grown = grow_known(known)
    assert grown.sum() == KERNEL**2
    assert grown[0, 0, 20 - KERNEL // 2 : 21 + KERNEL // 2, 20].all()


def test_a_small_hole_is_painted_once():
    net, known = Painter(), known_around(np.s_[20:30, 20:30])
    image = torch.full((1, 1, 64, 64), 9.0)
    filled, rounds = reconstruct(net, image, known)
    assert rounds == len(net.seen) == 1
    assert (filled[known == 0] == 1).all()
    assert (filled[known > 0] == 9).all()


def test_a_large_hole_is_painted_from_its_rim_until_less_than_a_fifth_is_left():
    net, known = Painter(), known_around(np.s_[4:60, 4:60])
    filled, rounds = reconstruct(net, torch.full((1, 1, 64, 64), 9.0), known)
    shares = [float(1 - seen.mean()) for seen in net.seen]
    assert rounds == len(shares) > 1
    assert all(later < sooner for sooner, later in pairwise(shares))
    assert shares[-1] >= LEAST_SHARE  # after it, less was left
    assert float(1 - grow_known(net.seen[-1]).mean()) < LEAST_SHARE
    # what a round took as known stays as that round painted it
    for number, (seen, later) in enumerate(zip(net.seen, net.seen[1:], strict=False), start=1):
        assert (filled[(seen == 0) & (later > 0)] == number).all()


def test_the_rounds_come_to_an_end():
    net = Painter()
    _, rounds = reconstruct(net, torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
    assert rounds == len(net.seen) == MOST_ROUNDS


# ---- windows


def test_windows_of_any_shape_and_grey_values_are_painted():
    net = tiny()
    section = (1000 * texture((75, 91)) + 5).astype(np.float32)
    known = np.ones(section.shape, dtype=bool)
    known[30:50, 60:91] = False
    hidden = np.where(known, section, np.nan).astype(np.float32)
    painted, rounds = paint_section(net, hidden, known, views=8)
    assert rounds == 1
    assert painted.shape == section.shape
    np.testing.assert_array_equal(painted[known], section[known])
    # an untrained network leaves the smooth fill, whichever way it is turned
    there = torch.from_numpy(known)[None, None].float()
    smooth = smooth_fill(torch.from_numpy(section)[None, None], there)[0, 0].numpy()
    assert np.abs(painted - smooth)[~known].mean() < 0.05 * section.std()


def test_tiles_meet_without_a_seam():
    net = tiny()
    section = texture((96, 224))
    known = np.ones(section.shape, dtype=bool)
    known[40:60, 20:200] = False
    whole, _ = paint_section(net, section, known)
    tiled, _ = paint_section(net, section, known, whole=128, overlap=64)
    assert np.abs(whole - tiled).max() < 0.1 * section.std()
