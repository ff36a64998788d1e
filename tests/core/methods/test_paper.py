"""The method ``flowinpaint-paper``: any window, its weights, refusals, ablations."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods import get_method
from napari_flowinpaint.core.methods.choice import Situation, choose_method
from napari_flowinpaint.core.methods.paper import paper_method
from napari_flowinpaint.core.networks import released
from napari_flowinpaint.core.networks.paper.inpainting import (
    InpaintingConfig,
    PaperConfig,
    PaperNetwork,
)
from napari_flowinpaint.core.networks.paper.refined_reference import (
    RefinedReferenceConfig,
    RefinedReferenceNetwork,
)
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.types import Box, no_progress
from napari_flowinpaint.core.window import Neighbour, Window

TINY = PaperConfig(
    RefinedReferenceConfig((8, 8, 8), 2, (12,), (8,)),
    InpaintingConfig((8, 8), finest_attention=2, residual=True),
)
PLAIN = RepairOptions(texture="smooth")


def network(config=TINY, seed=0):
    """Untrained, but not silent: the layers that begin at nothing say a little."""
    torch.manual_seed(seed)
    net = PaperNetwork(config)
    torch.nn.init.normal_(net.generator.draw[-1].weight, std=0.02)
    return net


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_network(path, network())
    return path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Weights with a card where the method looks for them."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(released, "weights_directory", lambda: folder)
    path = folder / released.PAPER
    save_network(path, network())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".md").write_text(f"sha256: `{digest}`\n")
    return path


def window(shape=(120, 140), hole=(slice(40, 70), slice(50, 90)), alpha=0.5, seed=0):
    """Sections of a texture that drifts by 4 pixels; what is hidden is NaN."""
    height, width = shape
    base = texture((height, width + 4), sigma=3, seed=seed).astype(np.float32)
    at = round(4 * alpha)
    truth = base[:, at : at + width]
    mask = np.zeros(shape, bool)
    mask[hole] = True
    whole = np.ones(shape, bool)
    sides = [Neighbour(z, base[:, x : x + width].copy(), whole) for z, x in ((0, 0), (2, 4))]
    box = Box(0, 0, *shape)
    section = np.where(mask, np.nan, truth).astype(np.float32)
    found = Window(1, box, section, mask, ~mask, sides[0], sides[1], alpha, (0.0, 255.0))
    return found, truth


def repair(weights, found, options=PLAIN):
    return paper_method(weights).repair(found, options, "cpu", no_progress)


@pytest.mark.parametrize(
    ("shape", "hole", "alpha"),
    [
        ((120, 140), (slice(40, 70), slice(50, 90)), 0.5),
        ((97, 131), (slice(0, 30), slice(100, 131)), 0.25),  # touches two borders
        ((64, 150), (slice(0, 64), slice(60, 90)), 0.5),  # from border to border
        ((24, 20), (slice(8, 14), slice(6, 12)), 1 / 3),  # too small to rehearse in
        ((9, 11), (slice(3, 6), slice(3, 6)), 0.5),  # fewer intact pixels than registration needs
    ],
)
def test_any_window_is_filled_near_the_truth(weights, shape, hole, alpha):
    found, truth = window(shape, hole, alpha)
    for kind in ("smooth", "noise"):
        out = repair(weights, found, replace(PLAIN, texture=kind))
        for image in (out.initial_reference, out.refined_reference, out.result, out.confidence):
            assert image.shape == shape
            assert image.dtype == np.float32
            assert np.isfinite(image[found.mask]).all()
        assert out.confidence.min() >= 0
        assert out.confidence.max() <= 1
        assert (out.confidence[~found.mask] == 1).all()
    error = np.abs(out.result - truth)[found.mask].mean()
    assert error < 0.8 * np.abs(truth - truth.mean())[found.mask].mean()


def test_what_is_hidden_plays_no_role(weights):
    found, _ = window()
    other = replace(found, section=np.where(found.mask, 1e6, found.section).astype(np.float32))
    first, second = repair(weights, found), repair(weights, other)
    assert np.array_equal(first.result[found.mask], second.result[found.mask])
    assert first.scores == second.scores
    assert set(first.scores) == {
        "registration_correlation",
        "rehearsal_correlation",
        "rehearsal_psnr",
    }


def test_pixels_that_are_intact_stay_as_they_are(weights):
    found, truth = window()
    out = repair(weights, found)
    assert np.allclose(out.result[~found.mask], truth[~found.mask], atol=1e-2)


@pytest.mark.parametrize("reference", ["refined", "initial", "none"])
@pytest.mark.parametrize("validity", [True, False])
def test_damage_of_a_neighbour_is_not_copied(tmp_path, reference, validity):
    config = TINY.ablated(reference=reference)
    config = replace(
        config,
        refined=replace(config.refined, validity=validity),
        inpainting=replace(config.inpainting, validity=validity),
    )
    path = tmp_path / "a.safetensors"
    torch.manual_seed(0)
    save_network(path, PaperNetwork(config))
    found, truth = window()
    valid = np.ones_like(found.mask)
    valid[45:65, 60:80] = False
    spoilt = np.where(valid, found.previous.image, 1e4).astype(np.float32)
    out = repair(path, replace(found, previous=Neighbour(0, spoilt, valid)))
    gone = np.zeros_like(valid)
    gone[47:63, 64:76] = True
    assert np.abs(out.initial_reference - truth)[gone].mean() < 20
    if reference != "none":  # which has nothing but the mean of the neighbours to begin with
        assert np.abs(out.result - truth)[gone].mean() < 30
    assert np.isfinite(out.result).all()


def test_it_needs_two_neighbours_and_is_never_chosen_by_itself(installed):
    method = get_method("flowinpaint-paper")
    assert method.ready()
    assert choose_method("flowinpaint-paper", Situation(1)) is None
    assert choose_method("auto", Situation(2)).method.name != "flowinpaint-paper"


def test_a_section_of_a_stack(installed, tmp_path):
    pixels = synthetic_stack(SampleConfig(shape=(3, 160, 160)))
    mask = np.zeros((160, 160), bool)
    mask[60:100, 50:110] = True
    stack = Stack.from_array(pixels)
    found = repair_section(stack, 1, mask, method="flowinpaint-paper", options=PLAIN)
    digest = hashlib.sha256(installed.read_bytes()).hexdigest()
    assert found.provenance.weights_sha256 == digest
    mine = tmp_path / "mine.safetensors"
    save_network(mine, network(seed=1))
    chosen = replace(PLAIN, weights=str(mine))
    other = repair_section(stack, 1, mask, method="flowinpaint-paper", options=chosen)
    assert other.provenance.weights_sha256 == hashlib.sha256(mine.read_bytes()).hexdigest()
    assert (other.patches[0].result != found.patches[0].result).any()


def test_weights_that_are_not_there_or_not_its_own(installed, tmp_path):
    found, _ = window()
    method = get_method("flowinpaint-paper")
    other = tmp_path / "other.safetensors"
    save_network(other, RefinedReferenceNetwork(TINY.refined))
    with pytest.raises(InputError, match="holds a network 'refined-reference', not 'paper'"):
        repair(other, found)
    with pytest.raises(InputError, match="cannot be read as weights"):
        repair(tmp_path / "nowhere.safetensors", found)
    installed.with_suffix(".md").write_text("sha256: `" + "0" * 64 + "`\n")
    with pytest.raises(InputError, match="not the file its card describes"):
        method.repair(found, PLAIN, "cpu", no_progress)
    installed.unlink()
    assert not method.ready()
    with pytest.raises(InputError, match=r"not installed.*'flow'"):
        method.repair(found, PLAIN, "cpu", no_progress)


def test_the_released_weights_are_what_their_card_says():
    path = released.released(released.PAPER)
    if path is None:
        pytest.skip("no weights of the paper's networks are released in this tree")
    net, digest = released.load_released(path, "cpu", "paper")
    assert len(digest) == 64
    assert path.stat().st_size <= 15 * 1024 * 1024
    assert not net.training
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())
    assert "CC BY-NC-SA 4.0" in path.with_suffix(".md").read_text()
