"""The Fréchet distance against closed forms, and InceptionV3 from a file."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.linalg import sqrtm

from napari_flowinpaint.core.benchmark.fid.frechet import (
    TILE,
    cut_tiles,
    frechet_distance,
    tile_corners,
)
from napari_flowinpaint.core.benchmark.fid.inception import FEATURES, InceptionV3, load_inception
from napari_flowinpaint.core.errors import InputError

# ---- distance


def test_distance_of_a_stretched_and_moved_set():
    a = np.random.default_rng(0).normal(0, [1, 2, 3], (400, 3))
    b = 1.5 * a + [4, 0, -3]
    variances = a.var(axis=0, ddof=1)
    shift = ((b.mean(axis=0) - a.mean(axis=0)) ** 2).sum()
    # the same axes: the roots of the variances differ by half of the smaller
    assert frechet_distance(a, b) == pytest.approx(shift + 0.25 * variances.sum())
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("samples", [200, 4])  # more and fewer than there are features
def test_distance_with_the_root_of_the_matrix(samples):
    rng = np.random.default_rng(1)
    a, b = (
        rng.normal(size=(samples, 6)),
        rng.normal(size=(samples + 1, 6)) @ rng.normal(size=(6, 6)),
    )
    ca, cb = np.cov(a.T), np.cov(b.T)
    nudge = 1e-10 * np.eye(6)
    root = np.trace(sqrtm((ca + nudge) @ (cb + nudge))).real
    shift = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    expected = shift + np.trace(ca) + np.trace(cb) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-3)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_one_sample_has_no_distance():
    assert math.isnan(frechet_distance(np.zeros((1, 3)), np.zeros((9, 3))))


# ---- tiles


def test_tiles_lie_over_the_mask():
    mask = np.zeros((400, 500), dtype=bool)
    mask[:128, :160] = True
    corners = tile_corners(mask)
    assert (0, 0) in corners
    assert all(mask[y : y + TILE, x : x + TILE].mean() >= 0.25 for y, x in corners)
    assert len(tile_corners(np.ones((2000, 2000), bool))) == 64
    assert tile_corners(np.ones((60, 300), bool))[0] == (0, 0)
    assert tile_corners(np.zeros((300, 300), bool)) == []
    section = np.arange(400 * 500, dtype=np.float64).reshape(400, 500)
    tiles = cut_tiles(section, corners, 0, section.max())
    assert tiles.shape == (len(corners), TILE, TILE)
    y, x = corners[-1]
    assert tiles[-1, 0, 0] == pytest.approx(section[y, x] / section.max())
    assert cut_tiles(section, [], 0, 1).shape == (0, TILE, TILE)


# ---- the network


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Save a random network with the head of the FID port."""
    torch.manual_seed(0)
    state = {
        k: v for k, v in InceptionV3().state_dict().items() if not k.endswith("batches_tracked")
    }
    state |= {"fc.weight": torch.zeros(1008, FEATURES), "fc.bias": torch.zeros(1008)}
    path = tmp_path_factory.mktemp("inception") / "random.safetensors"
    save_file(state, path)
    return path, state


def test_it_is_inception_v3(weights):
    _, state = weights
    learned = sum(v.numel() for k, v in state.items() if k.endswith(("weight", "bias")))
    assert learned - 1008 * (FEATURES + 1) == 21_785_568  # of all publications
    assert sum(k.endswith("conv.weight") for k in state) == 94
    shapes = {  # as in torchvision's and the FID port's files
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_5c.branch_pool.conv.weight": (64, 256, 1, 1),
        "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_6b.branch7x7dbl_2.conv.weight": (128, 128, 7, 1),
        "Mixed_6c.branch7x7dbl_5.conv.weight": (192, 160, 1, 7),
        "Mixed_7a.branch7x7x3_4.bn.running_var": (192,),
        "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch1x1.conv.weight": (320, 2048, 1, 1),
    }
    assert {k: tuple(state[k].shape) for k in shapes} == shapes


def test_sizes_on_the_way(weights):
    net = load_inception(weights[0])
    seen = {}
    for name, layer in net.named_children():
        layer.register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: tuple(out.shape[1:])})
        )
    features = net.describe(np.zeros((1, 32, 32), np.float32))
    assert features.shape == (1, FEATURES)
    assert seen["Mixed_5d"] == (288, 35, 35)
    assert seen["Mixed_6e"] == (768, 17, 17)
    assert seen["Mixed_7c"] == (2048, 8, 8)


def test_both_layouts_load_and_differ_in_the_pooling(weights, tmp_path):
    path, state = weights
    tiles = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    fid = load_inception(path).describe(tiles)
    torchvision = {
        **state,
        "fc.weight": torch.zeros(1000, FEATURES),
        "fc.bias": torch.zeros(1000),
        "AuxLogits.fc.bias": torch.zeros(1000),
        "Mixed_7c.branch_pool.bn.num_batches_tracked": torch.tensor(7),
    }
    torch.save(torchvision, tmp_path / "inception.pth")
    other = load_inception(tmp_path / "inception.pth").describe(tiles)
    assert np.isfinite(fid).all()
    assert not np.allclose(fid, other)
    assert np.array_equal(fid, load_inception(path).describe(tiles))


class Hostile:
    def __reduce__(self):
        return (print, ("run",))


def test_what_is_no_inception_is_refused(weights, tmp_path, capsys):
    _, state = weights
    bad = tmp_path / "bad.safetensors"
    cases = {
        "fc.bias": {"x": torch.zeros(3)},
        "absent": {k: v for k, v in state.items() if not k.startswith("Mixed_7c.branch1x1.bn")},
        "should be": {**state, "Mixed_5b.branch1x1.conv.weight": torch.zeros(3, 3)},
    }
    for words, tensors in cases.items():
        save_file(tensors, bad)
        with pytest.raises(InputError, match=words):
            load_inception(bad)
    bad.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_inception(bad)
    with pytest.raises(InputError, match="cannot be read"):
        load_inception(tmp_path / "none.pth")
    torch.save({"fc.bias": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(InputError, match="cannot be read"):
        load_inception(tmp_path / "hostile.pth")
    assert "run" not in capsys.readouterr().out
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="state dict"):
        load_inception(tmp_path / "list.pth")
