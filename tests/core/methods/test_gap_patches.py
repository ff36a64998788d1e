"""The method ``gap_patches``: gaps of all orientations, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from napari_flowinpaint import Stack, repair_section
from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.methods import gap_filling
from napari_flowinpaint.core.methods.gap_filling import (
    AROUND,
    best_shares,
    jumps,
    rehearsed_gaps,
    tiles,
    weights,
)
from napari_flowinpaint.core.methods.gap_patches import GapPatchesMethod
from napari_flowinpaint.core.methods.gap_texture import without_structure
from napari_flowinpaint.core.networks.gap.gap_network import GapConfig, GapNetwork
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.reference.gap_prediction import GapPrediction
from napari_flowinpaint.core.repair_options import RepairOptions

SMOOTH = RepairOptions(max_gap=14, texture="smooth", views=1)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A network that leaves the interpolation as it is."""
    net = GapNetwork(GapConfig(channels=(4,)))
    with torch.no_grad():
        for parameter in net.net.last.parameters():
            parameter.zero_()
    path = tmp_path_factory.mktemp("weights") / "gap.safetensors"
    save_network(path, net)
    return path


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    smooth = ndi.gaussian_filter(rng.standard_normal((72, 80, 88)), 4.0)
    return np.clip(128 + 40 * smooth / smooth.std(), 1, 254).astype(np.uint8)


def repair(weights, truth, mask, z, options=SMOOTH, voxel_size=(10, 10, 10), **keywords):
    damaged = np.where(mask, 0, truth).astype(truth.dtype)
    stack = Stack.from_array(damaged, voxel_size=voxel_size)
    return repair_section(
        stack,
        z,
        mask[z],
        masks=lambda n, box: mask[n][box.slices],
        method=GapPatchesMethod(weights),
        device="cpu",
        options=options,
        **keywords,
    )


def error(found, truth, mask, z):
    section = np.zeros(truth.shape[1:])
    section[found.box.slices] = found.result
    return float(np.abs(section - truth[z])[mask[z]].mean())


@pytest.mark.parametrize("kind", ["slab", "along y", "along x", "cross", "two"])
def test_gaps_are_filled_whatever_their_orientation(untrained, truth, kind):
    mask = np.zeros(truth.shape, dtype=bool)
    if kind == "slab":
        mask[30:33] = True
    if kind in ("along y", "cross", "two"):
        mask[:, :, 40:44] = True
    if kind in ("along x", "cross"):
        mask[:, 50:53] = True
    if kind == "two":
        mask[:, :, 50:54] = True
    found = repair(untrained, truth, mask, 31)
    assert int(found.mask.sum()) == mask[31].sum()
    assert error(found, truth, mask, 31) < 6  # the texture has a deviation of 40
    assert found.provenance.scores["gap_width"] in (3.0, 4.0)
    assert found.provenance.method == "gap_patches"


def test_the_ends_of_a_volume_are_filled(untrained, truth):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, 3:6] = True
    mask[2:4] = True
    for z in (0, len(truth) - 1, 2):
        assert error(repair(untrained, truth, mask, z), truth, mask, z) < 12, z


def test_padding_beside_a_gap_is_no_tissue(untrained, truth):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, 40:44] = True
    padded = np.pad(truth, ((0, 0), (24, 0), (0, 0)))
    found = repair(untrained, truth, mask, 20)
    beside = repair(untrained, padded, np.pad(mask, ((0, 0), (24, 0), (0, 0))), 20)
    assert int(beside.mask.sum()) == int(found.mask.sum())
    a = found.result[found.mask].astype(float)
    b = beside.result[beside.mask].astype(float)
    assert np.abs(a - b).mean() < 3


def test_texture_is_that_of_the_section(untrained, truth):
    noisy = truth.astype(float) + np.random.default_rng(1).normal(0, 8, truth.shape)
    noisy = np.clip(noisy, 1, 254).astype(np.uint8)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, 40:48] = True
    smooth, rough = (
        repair(untrained, noisy, mask, 20, replace(SMOOTH, texture=texture))
        for texture in ("smooth", "noise")
    )

    def grain(found):
        values = found.result[found.mask].reshape(-1, 8).astype(float)
        return np.diff(values, axis=0).std()

    assert grain(rough) > 1.2 * grain(smooth)
    assert grain(rough) == pytest.approx(np.diff(noisy[20].astype(float), axis=0).std(), rel=0.15)


def test_other_types_of_pixels_are_filled_alike(untrained, truth):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, 40:44] = True
    plain = repair(untrained, truth, mask, 20)
    for converted in (truth.astype(np.uint16) * 200, truth.astype(np.float32) / 255):
        found = repair(untrained, converted, mask, 20)
        assert found.dtype == converted.dtype
        scale = 200 if converted.dtype == np.uint16 else 1 / 255
        off = found.result[found.mask] / scale - plain.result[plain.mask]
        assert np.abs(off).mean() < 1


def test_what_is_not_isotropic_is_refused(untrained, truth):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, 40:44] = True
    with pytest.raises(RepairRefused, match=r"40 x 4 x 4 nm .* not isotropic"):
        repair(untrained, truth, mask, 20, voxel_size=(40, 4, 4))
    # whoever chooses the method where the size is not known, knows
    assert error(repair(untrained, truth, mask, 20, voxel_size=None), truth, mask, 20) < 6


def test_what_is_too_wide_is_refused(untrained, truth):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, 20:60, 30:60] = True
    with pytest.raises(RepairRefused, match="wider than 14"):
        repair(untrained, truth, mask, 20)


def test_a_slanted_gap_is_filled_piece_by_piece_or_refused(untrained, truth):
    mask = np.zeros(truth.shape, dtype=bool)
    for row in range(truth.shape[1]):
        mask[:, row, 20 + row // 4 : 24 + row // 4] = True
    assert error(repair(untrained, truth, mask, 20), truth, mask, 20) < 8
    mask[:] = False
    for row in range(truth.shape[1]):
        mask[:, row, row : row + 4] = True
    with pytest.raises(RepairRefused, match=r"wider than 14|not straight"):
        repair(untrained, truth, mask, 20)


def test_a_part_of_the_volume_gives_the_same_patches():
    whole = list(tiles(0, 1000, 1000, (64, 32)))
    assert whole[0] == (0, 64)
    assert whole[-1] == (936, 1000)
    some = list(tiles(500, 501, 1000, (64, 32)))
    assert set(some) <= set(whole)
    assert all(start <= 500 < stop for start, stop in some)
    assert len(some) == 2
    assert list(tiles(3, 9, 40, (64, 32))) == [(0, 40)]
    assert weights(64, 32).max() > 0.95
    assert weights(64, 32)[0] < 0.05


def test_a_network_that_knows_nothing_of_the_tissue_is_not_believed(truth, tmp_path):
    torch.manual_seed(0)
    net = GapNetwork(GapConfig(channels=(4,)))
    with torch.no_grad():
        net.mixing.weight.zero_()  # all gaps are grey, and noisy
        net.net.last.weight.mul_(30)
    save_network(tmp_path / "wrong.safetensors", net)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, 40:44] = True
    found = repair(tmp_path / "wrong.safetensors", truth, mask, 20)
    assert error(found, truth, mask, 20) < 6
    assert found.provenance.scores["gap_network_share"] < 0.1
    assert found.provenance.scores["gap_certainty"] > 0.8


def test_gaps_are_rehearsed_in_known_layers_on_both_sides():
    missing = np.zeros((2 * AROUND + 4, 8, 8), dtype=bool)
    missing[AROUND : AROUND + 4] = True
    assert rehearsed_gaps(missing, 4) == [(14, 4), (50, 4)]
    missing[:22] = True  # the volume begins there: 10 layers are left
    missing[-7:-4] = True
    assert rehearsed_gaps(missing, 4) == [(25, 4), (36 + 10, 4)]
    missing[: AROUND - 6] = True
    assert rehearsed_gaps(missing, 4)[0] == (28, 2)  # a narrower one
    missing[: AROUND - 4] = missing[AROUND + 8 :] = True
    assert rehearsed_gaps(missing, 4) == []


def test_the_best_mean_is_found():
    wrong = np.random.default_rng(0).standard_normal((3, 5000))
    wrong[2] = (wrong[0] * -0.6 - 0.3 * wrong[1]) / 0.1  # so that .6, .3 and .1 cancel
    np.testing.assert_allclose(best_shares(wrong @ wrong.T), [0.6, 0.3, 0.1], atol=0.1)
    wrong[1:] = 3 * wrong[0], 5 * wrong[0]  # nothing is gained by the others
    np.testing.assert_allclose(best_shares(wrong @ wrong.T), [1, 0, 0], atol=0.15)
    np.testing.assert_allclose(best_shares(np.zeros((3, 3))), 1 / 3)


def test_texture_costs_next_to_no_structure_and_keeps_its_grain():
    texture = np.random.default_rng(0).normal(0, 10, (96, 96)).astype(np.float32)
    mask = np.zeros(texture.shape, dtype=bool)
    mask[:, 40:44] = True
    texture[~mask] = 0

    def structure(image):
        return float(np.mean(ndi.gaussian_filter(image, 2.0)[mask] ** 2))

    kept = without_structure(texture, mask, 0.05)
    assert structure(texture) > 0.5 > 0.06 > structure(kept)
    assert kept[mask].std() > 0.85 * texture[mask].std()
    assert not kept[~mask].any()
    np.testing.assert_array_equal(without_structure(texture, mask, 100.0), texture)


def test_brightness_that_jumps_comes_from_the_faces(truth, tmp_path):
    net = GapNetwork(GapConfig(channels=(4,)))
    with torch.no_grad():
        for parameter in net.net.last.parameters():
            parameter.zero_()
        layers = net.config.depth
        before, after = (layers - 3) // 2 - 1, (layers - 3) // 2 + 3
        # far layers count, so their steps are carried into the gap, as those of linear prediction
        net.mixing.weight[2, :, before - 5] -= 1.5
        net.mixing.weight[2, :, before] += 1.5
        net.mixing.weight[2, :, after + 5] -= 1.5
        net.mixing.weight[2, :, after] += 1.5
    block = np.broadcast_to(truth[30] / 40.0, (2 * AROUND + 3, *truth.shape[1:]))
    block = block.astype(np.float32) - block.mean()
    missing = np.zeros(block.shape, dtype=bool)
    missing[AROUND : AROUND + 3] = True
    steps = np.random.default_rng(3).normal(0, 0.3, (len(block), 1, 1)).astype(np.float32)
    steps[AROUND - 6], steps[AROUND + 3 + 5] = 0.6, 0.6
    jumping = block + steps
    faces = jumps(jumping, missing)
    fill = partial(
        gap_filling._fill,
        *(net, jumping, missing, AROUND, 3, "cpu", 1),
        predictions={3: GapPrediction(jumping, missing, 3)},
    )
    drawn, moved, _, fitted = fill(faces=faces)
    assert faces == 1
    for image in (drawn, fitted):
        np.testing.assert_allclose(image.mean(axis=(1, 2)), moved.mean(axis=(1, 2)), atol=1e-3)
    carried = fill(faces=0.0)[0]
    assert np.abs((carried - moved).mean(axis=(1, 2))).min() > 0.3


def test_brightness_jumps_by_chance_or_follows_a_trend():
    rng = np.random.default_rng(0)
    missing = np.zeros((67, 8, 8), dtype=bool)
    missing[32:35] = True
    missing[:, 2:4] = True
    flat = np.ones(missing.shape, dtype=np.float32)
    trend = flat * np.sin(np.arange(67) / 10, dtype=np.float32)[:, None, None]
    assert jumps(trend, missing) < 0.05
    assert jumps(flat, missing) == 0
    assert jumps(flat * rng.standard_normal((67, 1, 1)).astype(np.float32), missing) == 1
    missing[:30] = missing[37:] = True  # too few layers to tell
    assert jumps(trend, missing) == 1


def test_sections_of_a_gap_share_what_was_computed(untrained, truth, monkeypatch):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[30:33, :, :] = True
    monkeypatch.setattr(gap_filling, "_kept", gap_filling._Kept())
    calls = []
    fill = gap_filling._as_rehearsed
    monkeypatch.setattr(gap_filling, "_as_rehearsed", lambda *a: calls.append(1) or fill(*a))
    first = repair(untrained, truth, mask, 30)
    again = repair(untrained, truth, mask, 30)
    repair(untrained, truth, mask, 31)
    assert len(calls) == 1
    np.testing.assert_array_equal(first.result, again.result)


def test_how_well_a_gap_is_filled_is_not_predicted(untrained, truth):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:, :, 40:44] = True
    found = repair(untrained, truth, mask, 20, replace(SMOOTH, quality=True))
    assert not any(name.startswith("expected") for name in found.provenance.scores)


def test_other_weights_are_refused(untrained, truth, tmp_path):
    from napari_flowinpaint.core.networks.fold.kpn import KernelPredictionNetwork, KpnConfig

    save_network(tmp_path / "kpn.safetensors", KernelPredictionNetwork(KpnConfig((4, 4), 3)))
    mask = np.zeros(truth.shape, dtype=bool)
    mask[30] = True
    with pytest.raises(InputError, match="not 'gap'"):
        repair(tmp_path / "kpn.safetensors", truth, mask, 30)
