"""FSIM and MS-SSIM against naive re-implementations and known properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from textures import texture

from napari_flowinpaint.core.benchmark.similarity import (
    FsimFeatures,
    block_mean,
    fsim,
    ms_ssim,
    phase_congruency,
    ratio,
    scale_count,
    scharr,
    ssim_maps,
)


def pair(shape=(96, 80), noise=12.0):
    rng = np.random.default_rng(1)
    a = texture(shape, sigma=1.5).astype(np.float64)
    return a, a + rng.normal(0, noise, shape)


def mask_of(shape):
    mask = np.zeros(shape, dtype=bool)
    mask[10:33, 15:40] = True
    return mask


# ---- MS-SSIM


def test_the_maps_are_those_of_ssim():
    a, b = pair()
    _, theirs = structural_similarity(
        a,
        b,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    luminance, structure = ssim_maps(a, b, 255)
    assert np.allclose(luminance * structure, theirs, atol=1e-9)


def naive_ms_ssim(a, b, mask, span):
    """Pixel by pixel, window by window, two scales."""
    weights = np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / np.outer(taps, taps).sum()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    share, product = mask.astype(float), 1.0
    for number in range(2):
        height, width = a.shape
        padded = [np.pad(image, 5, mode="symmetric") for image in (a, b)]
        luminance = structure = 0.0
        for y in range(height):
            for x in range(width):
                p, q = (image[y : y + 11, x : x + 11] for image in padded)
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                both = (window * (p - mp) * (q - mq)).sum()
                luminance += share[y, x] * (2 * mp * mq + c1) / (mp**2 + mq**2 + c1)
                structure += share[y, x] * (2 * both + c2) / (vp + vq + c2)
        product *= (structure / share.sum()) ** weights[number]
        if number == 1:
            product *= (luminance / share.sum()) ** weights[number]
        a, b, share = (
            np.array([[image[y : y + 2, x : x + 2].mean() for x in range(0, width, 2)]
                      for y in range(0, height, 2)])
            for image in (a, b, share)
        )  # fmt: skip
    return product


def test_ms_ssim_is_the_naive_one():
    a, b = pair((26, 24))
    mask = np.zeros(a.shape, dtype=bool)
    mask[3:14, 5:20] = True
    assert scale_count(a.shape) == 2
    assert ms_ssim(a, b, mask, 255) == pytest.approx(naive_ms_ssim(a, b, mask, 255), abs=1e-9)


def test_scales():
    assert [scale_count((n, 500)) for n in (8, 11, 21, 22, 43, 44, 175, 176, 4000)] == [
        1, 1, 1, 2, 2, 3, 4, 5, 5,
    ]  # fmt: skip


def test_block_means_repeat_the_border():
    image = np.arange(6.0).reshape(2, 3)
    assert block_mean(image, 2).tolist() == [[2.0, 3.5]]
    assert block_mean(image, 1) is not image
    assert np.array_equal(block_mean(image, 1), image)


@pytest.mark.parametrize("metric", [ms_ssim, fsim])
def test_what_a_similarity_has_to_do(metric):
    a, b = pair((200, 210))
    mask = mask_of(a.shape)
    worse = a + 3 * (b - a)
    assert metric(a, a, mask, 255) == pytest.approx(1)
    assert metric(a, b, mask, 255) == pytest.approx(metric(b, a, mask, 255))
    assert metric(a, worse, mask, 255) < metric(a, b, mask, 255) - 0.01 < 1
    blurred = gaussian_filter(a, 3)
    assert metric(a, blurred, mask, 255) < 0.95
    # other units, the same image
    scaled = metric(100 * a, 100 * b, mask, 25500)
    assert scaled == pytest.approx(metric(a, b, mask, 255), abs=1e-6)


@pytest.mark.parametrize("metric", [ms_ssim, fsim])
def test_the_mask_alone_counts(metric):
    a, b = pair((220, 220), noise=60)
    mask = np.zeros(a.shape, dtype=bool)
    mask[40:90, 40:90] = True
    far = a.copy()
    far[130:, 130:] = b[130:, 130:]  # beyond every window of the mask
    near = np.where(mask, b, a)
    assert metric(a, far, mask, 255) > 1 - 5e-3
    assert metric(a, near, mask, 255) < 0.95
    everywhere = np.ones(a.shape, dtype=bool)
    assert metric(a, near, mask, 255) < metric(a, near, everywhere, 255)


def test_opposite_structure_is_zero_not_nan():
    a, _ = pair()
    assert ms_ssim(a, 255 - a, np.ones(a.shape, bool), 255) == 0


# ---- FSIM


def test_ratio():
    assert ratio(np.array(3.0), np.array(1.0), 2.0) == pytest.approx(8 / 12)


def test_the_gradient_of_a_ramp_is_twice_its_slope():
    y, x = np.mgrid[:9.0, :9.0]
    assert np.allclose(scharr(3 * x)[1:-1, 1:-1], 6)
    assert np.allclose(scharr(3 * x + 4 * y)[1:-1, 1:-1], 10)


def naive_phase_congruency(image):
    """Every filter value by the formula, Fourier transforms as explicit sums."""
    height, width = image.shape
    fy, fx = (np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) for n in image.shape)
    spectrum = fy @ image @ fx
    energy, amplitude = np.zeros(image.shape), np.zeros(image.shape)
    for o in range(4):
        bank = np.zeros((4, height, width))
        for s in range(4):
            for k in range(height):
                for j in range(width):
                    v = (k - height if k >= height / 2 else k) / height
                    u = (j - width if j >= width / 2 else j) / width
                    radius = math.hypot(u, v)
                    if radius == 0:
                        continue
                    centre = 1 / (6 * 2**s)
                    radial = math.exp(-(math.log(radius / centre) ** 2) / (2 * math.log(0.55) ** 2))
                    radial /= 1 + (radius / 0.45) ** 30
                    turn = abs(math.atan2(-v, u) - o * math.pi / 4)
                    turn = min(turn, 2 * math.pi - turn)
                    bank[s, k, j] = radial * math.exp(-(turn**2) / (2 * (math.pi / 4 / 1.2) ** 2))
        inverse = [fy.conj() @ (spectrum * f) @ fx.conj() / image.size for f in bank]
        even = [(fy.conj() @ f @ fx.conj() / image.size).real * image.size**0.5 for f in bank]
        real, odd = (sum(part) for part in zip(*((r.real, r.imag) for r in inverse), strict=True))
        length = np.sqrt(real**2 + odd**2) + 1e-4
        local = np.zeros(image.shape)
        for r in inverse:
            along = r.real * real / length + r.imag * odd / length
            across = r.real * odd / length - r.imag * real / length
            local += along - np.abs(across)
        power = -np.median(np.abs(inverse[0]) ** 2) / math.log(0.5) / (bank[0] ** 2).sum()
        squares = sum((f**2).sum() for f in even)
        products = sum((even[i] * even[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = math.sqrt((2 * power * squares + 4 * power * products) / 2)
        threshold = tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)
        energy += np.maximum(local - threshold / 1.7, 0)
        amplitude += sum(np.abs(r) for r in inverse)
    return energy / amplitude


def test_phase_congruency_is_the_naive_one():
    image = texture((18, 22), sigma=1.5).astype(np.float64)
    found = phase_congruency(image)
    assert found.max() > 0.1
    assert np.allclose(found, naive_phase_congruency(image), atol=1e-9)


def test_phase_congruency_marks_edges_whatever_their_contrast():
    rng = np.random.default_rng(0)
    image = np.zeros((32, 256))
    image[:, 64:192] = 100
    image += rng.normal(0, 0.5, image.shape)
    found = phase_congruency(image)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[:, 63:65].mean() > 0.8
    assert found[:, 80:110].mean() < 0.5  # phases of the tails of the filters, and grain
    assert np.allclose(found, phase_congruency(0.2 * image + 40), atol=0.01)


def test_fsim_weighs_by_phase_congruency():
    a, b = pair((60, 60))
    mask = mask_of(a.shape)
    pa, pb = phase_congruency(a), phase_congruency(b)
    similar = ratio(pa, pb, 0.85) * ratio(scharr(a), scharr(b), 160)
    weight = np.maximum(pa, pb)[mask]
    expected = (similar[mask] * weight).sum() / weight.sum()
    assert fsim(a, b, mask, 255) == pytest.approx(expected)


def test_large_images_are_reduced_first():
    a, b = pair((800, 520))
    assert FsimFeatures(a, 255).factor == 2
    assert FsimFeatures(a[:300, :300], 255).factor == 1
    mask = np.zeros(a.shape, dtype=bool)
    mask[100:300, 100:300] = True  # whole blocks
    reduced = fsim(block_mean(a, 2), block_mean(b, 2), mask[::2, ::2], 255)
    assert fsim(a, b, mask, 255) == pytest.approx(reduced)


def test_flat_images_are_alike():
    flat = np.full((32, 32), 7.0)
    assert fsim(flat, flat, np.ones(flat.shape, bool), 255) == 1
