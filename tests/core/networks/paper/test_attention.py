"""Contextual attention (eq. 8-10): against a naive loop, sharp, bounded."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_flowinpaint.core.networks.paper import attention
from napari_flowinpaint.core.networks.paper.attention import attend


def naive_attention(features, mask, sharpness):
    """Eq. 8-10 pixel by pixel."""
    out = features.clone()
    batch, _, height, width = features.shape
    padded = F.pad(features, (1, 1, 1, 1))
    holes = F.pad(mask, (1, 1, 1, 1))
    for b in range(batch):

        def patch(y, x, of=padded, b=b):
            return of[b, :, y : y + 3, x : x + 3]

        pixels = [(y, x) for y in range(height) for x in range(width)]
        missing = [p for p in pixels if mask[b, 0, p[0], p[1]] > 0.5]
        known = [p for p in pixels if not patch(*p, of=holes).any()]
        if not known:
            known = [p for p in pixels if p not in missing]
        if not known:
            continue
        total, count = torch.zeros_like(padded[b]), torch.zeros_like(padded[b, :1])
        for y, x in missing:
            mine = patch(y, x)
            scores = torch.stack(
                [(F.normalize(patch(*k).flatten(), dim=0) * F.normalize(mine.flatten(), dim=0))
                 .sum() for k in known]
            )  # fmt: skip
            weights = torch.softmax(sharpness * scores, dim=0)
            rebuilt = sum(w * patch(*k) for w, k in zip(weights, known, strict=True))
            total[:, y : y + 3, x : x + 3] += rebuilt
            count[:, y : y + 3, x : x + 3] += 1
        for y, x in missing:
            out[b, :, y, x] = total[:, y + 1, x + 1] / count[0, y + 1, x + 1]
    return out


@pytest.mark.parametrize("sharpness", [1.0, 10.0])
def test_attention_is_the_naive_loop(sharpness, monkeypatch):
    torch.manual_seed(0)
    features = torch.randn(3, 4, 7, 9, requires_grad=True)
    mask = torch.zeros(3, 1, 7, 9)
    mask[0, :, 2:4, 3:6] = 1
    mask[1, :, :, ::3] = 1  # no patch is whole
    mask[2, :, 0:2, 0:2] = 1
    theirs = naive_attention(features, mask, sharpness)
    weight = torch.randn_like(features)
    right = torch.autograd.grad((theirs * weight).sum(), features)[0]
    for portion in (attention._PORTION, 4 * 63):  # at once, and four patches at a time
        monkeypatch.setattr(attention, "_PORTION", portion)
        ours = attend(features, mask, sharpness=sharpness)
        assert torch.allclose(ours, theirs, atol=1e-5)
        mine = torch.autograd.grad((ours * weight).sum(), features)[0]
        assert torch.allclose(mine, right, atol=1e-5)


def test_attention_leaves_known_features_alone():
    features = torch.randn(2, 4, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:5, 2:5] = 1
    mask[1] = 1  # nothing is known
    out = attend(features, mask)
    assert torch.equal(out[0, :, mask[0, 0] < 1], features[0, :, mask[0, 0] < 1])
    assert not torch.equal(out[0], features[0])
    assert torch.equal(out[1], features[1])
    assert attend(features, torch.zeros_like(mask)) is features


def test_sharp_attention_copies_the_matching_patch():
    torch.manual_seed(0)
    tile = torch.randn(1, 6, 4, 4)
    features = tile.repeat(1, 1, 4, 4)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 6:9, 6:9] = 1
    assert torch.allclose(attend(features, mask, sharpness=500), features, atol=1e-3)
    blunt = attend(features, mask, sharpness=1)
    assert not torch.allclose(blunt, features, atol=0.1)


def test_attention_with_few_keys_is_bounded_and_repeatable():
    features = torch.randn(1, 4, 40, 40)
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 5:30, 5:30] = 1
    grid, usable = attention._sources(mask > 0.5, 64)
    assert grid.shape[1] <= 64
    assert usable.any()
    assert torch.equal(attend(features, mask, keys=64), attend(features, mask, keys=64))
