"""Distortions of training samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_flowinpaint.core.training import distortions
from napari_flowinpaint.core.training.distortions import (
    bend,
    crops,
    degrade,
    normalise,
    restain,
    roughen,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_neighbours_are_bent_by_a_few_pixels_some_of_the_time(rng):
    across = torch.arange(64.0).expand(64, 64)
    bent = [bend(across, rng) for _ in range(60)]
    changed = [image for image in bent if not torch.equal(image, across)]
    assert 15 < len(changed) < 45
    inner = torch.stack(changed)[:, 16:48, 16:48] - across[16:48, 16:48]
    assert 0.2 < float(inner.std()) < 7


def test_crops_show_the_same_place_of_all_sections(rng):
    """Where nothing is shifted, turned or stretched the three crops of equal sections are equal."""
    section = rng.integers(0, 255, (80, 80), dtype=np.uint8)
    found = [crops([section] * 3, 48, rng) for _ in range(40)]
    assert all(images.shape == (1, 3, 48, 48) for images in found)
    equal = [torch.equal(images[0, 0], images[0, 1]) for images in found]
    assert 0.2 < np.mean(equal) < 0.7  # 0.65 unshifted of 0.65 not resampled


def test_resampled_crops_turn_all_sections_alike(rng):
    rows, columns = np.mgrid[:130, :130].astype(np.float32)
    ramps = torch.from_numpy(np.stack([rows, rows, columns]))
    first, second, third = distortions._resampled(ramps, 100, rng)[0]
    middle = slice(30, 70)
    dy, dx = torch.gradient(first[middle, middle])
    # gradients of a ramp say by how much an image was turned and scaled
    angle, zoom = torch.atan2(dx.mean(), dy.mean()), torch.hypot(dy.mean(), dx.mean())
    assert 0.6 < float(zoom) < 1.3
    other = torch.gradient(second[middle, middle])
    assert float(torch.atan2(other[1].mean(), other[0].mean()) - angle) == pytest.approx(0, abs=0.1)
    across = torch.gradient(third[middle, middle])
    turned = torch.atan2(across[1].mean(), across[0].mean()) - angle
    assert abs(float(turned)) == pytest.approx(np.pi / 2, abs=0.1)


def test_restaining_keeps_the_order_of_greys_but_for_slow_changes(rng):
    grey = torch.linspace(-2, 2, 81).expand(81, 81)
    for curve in (-0.1, 0.0, 0.1):
        images = [restain(grey, curve, rng) for _ in range(40)]
        plain = [image for image in images if torch.equal(image[0], image[-1])]
        assert 20 <= len(plain) < 40
        assert all(bool((image.diff(dim=1) > 0).all()) for image in plain)
        assert float(plain[0][0, 0] - grey[0, 0]) == pytest.approx(4 * curve, abs=1e-5)
        slow = next(image for image in images if not torch.equal(image[0], image[-1]))
        assert float((slow - plain[0]).diff(dim=0).abs().max()) < 0.1


def test_roughening_adds_other_noise_to_every_image_of_a_sample(rng):
    flat = [torch.zeros(64, 64)] * 3
    found = [roughen(flat, rng) for _ in range(80)]
    rough = [images for images in found if bool(images[0].any())]
    assert 8 < len(rough) < 35
    for images in rough:
        assert 0.08 < float(images[0].std()) < 0.5
        assert not torch.equal(images[0], images[1])
        assert float(images[0].std()) == pytest.approx(float(images[2].std()), rel=0.1)


def test_what_is_gone_of_a_neighbour_is_mostly_said(rng):
    image = normalise(
        torch.from_numpy(rng.random((64, 64), dtype=np.float32)), torch.ones(64, 64) > 0
    )
    assert float(image.std()) == pytest.approx(1, abs=1e-3)
    found = [degrade(image, rng) for _ in range(200)]
    said = [valid for _, valid in found if bool((valid == 0).any())]
    assert 5 < len(said) < 30
    assert all(0.03 < float((valid == 0).float().mean()) < 0.5 for valid in said)
