"""Texture: looks like the section, costs little, and is no structure."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.filters import blur
from napari_flowinpaint.core.reference.texture import TEXTURES, add_texture


def noisy(shape=(256, 256), sigma=0.7, seed=0, strength=20.0):
    """Return noise of some pixels."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return (strength * noise / noise.std()).astype(np.float32)


@pytest.fixture
def scene():
    """Return a smooth prediction, the section it is of, and the mask."""
    smooth = 128 + noisy(sigma=8, seed=1, strength=30)
    section = smooth + noisy(seed=2)
    mask = np.zeros(smooth.shape, dtype=bool)
    mask[90:170, 80:180] = True
    return smooth, section, mask


def lag(image, where):
    """Return the correlation of the fine scales with themselves one pixel on."""
    fine = image - blur(image, 2.0)
    both = where[:, 1:] & where[:, :-1]
    return float(np.mean((fine[:, 1:] * fine[:, :-1])[both]) / np.mean(fine[where] ** 2))


def test_the_noise_has_the_power_and_the_correlation_of_the_section(scene):
    smooth, section, mask = scene
    out = add_texture(smooth, section, mask, ~mask, texture="noise", error=900.0)
    fine = [(image - blur(image, 1.5))[mask].std() for image in (out, section)]
    assert fine[0] == pytest.approx(fine[1], rel=0.1)
    assert lag(out, mask) == pytest.approx(lag(section, mask), abs=0.05)


def test_nothing_outside_the_mask_changes(scene):
    smooth, section, mask = scene
    for kind in TEXTURES:
        out = add_texture(smooth, section, mask, ~mask, texture=kind)
        np.testing.assert_array_equal(out[~mask], smooth[~mask])


def test_smooth_is_the_prediction_and_a_seed_gives_the_same_noise(scene):
    smooth, section, mask = scene
    assert add_texture(smooth, section, mask, ~mask, texture="smooth") is smooth
    one, same, other = (
        add_texture(smooth, section, mask, ~mask, texture="noise", seed=s) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other)[mask].mean() > 0.99


def test_natural_has_the_coarser_scales_that_noise_leaves_out(scene):
    smooth, _, mask = scene
    section = smooth + noisy(sigma=2.5, seed=3)  # periods of some 15 pixels
    band = [
        (blur(out, 1.5) - blur(out, 4.0))[mask].std()
        for out in (add_texture(smooth, section, mask, ~mask, texture=t) for t in TEXTURES)
    ]
    assert band[0] < band[1] < band[2]


def test_noise_is_as_strong_as_at_that_grey_value_in_the_section(scene):
    smooth, _, mask = scene
    smooth = smooth.copy()
    smooth[:, :130] = 60
    smooth[:, 130:] = 190
    noise = noisy(seed=4)
    section = smooth + np.where(smooth < 128, 0.3, 1.0).astype(np.float32) * noise
    out = add_texture(smooth, section, mask, ~mask, texture="noise")
    fine = out - blur(out, 1.5)
    dark, bright = (fine[90:170, columns].std() for columns in (slice(80, 120), slice(140, 180)))
    assert 0.2 < dark / bright < 0.45


def test_a_prediction_that_lacks_nothing_gets_nothing(scene):
    smooth, _, mask = scene
    out = add_texture(smooth, smooth, mask, ~mask, texture="noise")
    assert np.abs(out - smooth).max() < 0.3


def test_noise_has_the_direction_of_the_sections(scene):
    smooth, _, mask = scene
    noise = np.random.default_rng(5).standard_normal(smooth.shape)
    section = smooth + (20 * gaussian_filter(noise, (0, 2))).astype(np.float32)
    out = add_texture(smooth, section, mask, ~mask, texture="noise") - smooth
    along, across = (np.diff(out, axis=axis)[100:160, 100:160].std() for axis in (1, 0))
    assert across > 1.5 * along


@pytest.mark.parametrize("shape", [(6, 300), (20, 30), (33, 40)])
def test_small_windows_and_few_known_pixels(shape):
    smooth, section = np.full(shape, 100, np.float32), 100 + noisy(shape, seed=6)
    mask = np.zeros(shape, dtype=bool)
    mask[2:5, 3:20] = True
    for known in (~mask, np.zeros_like(mask), np.zeros_like(mask) | (np.arange(shape[1]) < 3)):
        out = add_texture(smooth, section, mask, known, texture="noise")
        assert np.isfinite(out).all()


def test_an_unknown_texture_is_refused(scene):
    smooth, section, mask = scene
    with pytest.raises(InputError, match="choose one of: smooth, noise, natural"):
        add_texture(smooth, section, mask, ~mask, texture="grain")


def test_noise_costs_little_where_nearly_everything_was_predicted(scene):
    smooth, _, mask = scene
    section = smooth + noisy(sigma=1.6, seed=5, strength=12)  # periods of some 10 pixels
    close = 4.0
    free, held = (
        add_texture(smooth, section, mask, ~mask, texture="natural", error=e) for e in (400, close)
    )
    cost = [float(np.mean(blur(out - smooth, 2.0)[mask] ** 2)) for out in (free, held)]
    assert cost[0] > 0.3 * close
    assert cost[1] < 0.5 * cost[0]


def test_texture_adds_a_bounded_share_of_the_error_of_the_structure(scene):
    smooth, section, mask = scene
    truth = section + noisy(
        sigma=4, seed=7, strength=25
    )  # periods of some 25 pixels, not predicted
    error = float(np.mean(blur(truth - smooth, 2.0)[mask] ** 2))
    for kind, most in (("noise", 0.08), ("natural", 0.29)):
        out = add_texture(smooth, truth, mask, ~mask, texture=kind, error=error)
        added = float(np.mean(blur(out - smooth, 2.0)[mask] ** 2))
        assert 0.1 * most < added / error < most


def test_coarse_noise_has_no_direction_though_membranes_have_one():
    rng = np.random.default_rng(8)
    lines = gaussian_filter(rng.standard_normal((256, 256)), (1.8, 12))  # stripes along x
    section = (128 + 30 * lines / lines.std()).astype(np.float32) + noisy(seed=9, strength=5)
    smooth = np.full_like(section, 128)
    mask = np.zeros(section.shape, dtype=bool)
    mask[60:190, 60:190] = True
    out = add_texture(smooth, section, mask, ~mask, texture="natural", error=2000.0)
    band = (blur(out, 1.5) - blur(out, 4.0))[80:170, 80:170]
    along, across = (np.diff(band, axis=axis).std() for axis in (1, 0))
    assert 0.7 < across / along < 1.4


def test_edges_become_as_steep_as_the_sections_not_steeper():
    truth = np.where((np.indices((256, 256)).sum(axis=0) // 12) % 2, 90, 170).astype(np.float32)
    truth = blur(truth, 1.0)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[80:170, 80:170] = True
    faint = 130 + 0.6 * (blur(truth, 1.5) - 130)
    steep = [
        np.abs(np.diff(image, axis=1))[mask[:, 1:]].mean()
        for image in (
            faint,
            add_texture(faint, truth, mask, ~mask, texture="noise", error=2000.0),
            truth,
        )
    ]
    assert 1.1 * steep[0] < steep[1] < 1.1 * steep[2]
