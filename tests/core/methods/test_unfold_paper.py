"""The method ``unfold-paper``: what it writes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from textures import texture

from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.methods import get_method
from napari_flowinpaint.core.methods.unfold_paper import PaperUnfoldMethod
from napari_flowinpaint.core.networks import released
from napari_flowinpaint.core.networks.fold.fold_fusion import FusionConfig
from napari_flowinpaint.core.networks.fold.kpn import KpnConfig
from napari_flowinpaint.core.networks.fold.restoration import FoldConfig, FoldNetwork
from napari_flowinpaint.core.networks.fold.unfolding import UnfoldingConfig
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.fold import Fold, fold_section
from napari_flowinpaint.core.types import Box, no_progress
from napari_flowinpaint.core.window import Neighbour, Window

PLAIN = RepairOptions()


@pytest.fixture
def weights(tmp_path):
    """Networks that begin with what they know without training."""
    return untrained(tmp_path / "tiny.safetensors", 5.0)


def untrained(path, trust):
    torch.manual_seed(0)
    config = FoldConfig(KpnConfig((4, 4), 3), UnfoldingConfig((4, 4)), FusionConfig((4, 4)))
    net = FoldNetwork(config)
    with torch.no_grad():
        for part in (net.unfolding, net.fusion):
            for parameter in part.net.last.parameters():
                parameter.zero_()
        net.interpolation.net.last.weight.zero_()
        net.unfolding.trust.mul_(trust)
    save_network(path, net)
    return path


def window(fold=None, shape=(224, 256)):
    """A folded section between neighbours that show what it showed before."""
    truth = texture(shape, sigma=6).astype(np.float32)
    folded = fold_section(truth, fold or Fold(10, 50, 0.02), seed=2)
    section = np.where(folded.line, np.nan, folded.image).astype(np.float32)
    whole = np.ones(shape, dtype=bool)
    sides = [Neighbour(z, truth.copy(), whole) for z in (0, 2)]
    mask = folded.line
    found = Window(1, Box(0, 0, *shape), section, mask, ~mask, *sides, 0.5, (0.0, 255.0))
    return found, truth, folded


def repair(weights, found, options=PLAIN):
    return PaperUnfoldMethod(weights).repair(found, options, "cpu", no_progress)


def test_tissue_goes_back_to_where_it_was(weights):
    found, truth, folded = window()
    out = repair(weights, found)
    moved = folded.moved & ~folded.lost
    before = np.abs(np.nan_to_num(found.section) - truth)[moved].mean()
    assert np.abs(out.result - truth)[moved].mean() < 0.6 * before
    assert np.isfinite(out.result).all()
    assert out.scores["fold_correlation"] > 0.5


def test_outside_its_zone_nothing_changes(weights):
    found, _, _ = window(Fold(8, 24, 0.2))
    out = repair(weights, found)
    zone = out.displaced.zone
    assert zone[found.mask].all()
    np.testing.assert_array_equal(out.result[~zone], found.section[~zone])
    assert (out.confidence[~zone] == 1).all()
    # all of it went through a network: nothing is called the section's own tissue
    assert not out.displaced.mask.any()


def test_where_nothing_was_imaged_nothing_is_repaired(weights):
    found, _, _ = window()
    intact = found.intact.copy()
    intact[:, :30] = False
    mask = found.mask.copy()
    mask[:, :30] = False
    section = np.where(intact, found.section, np.nan).astype(np.float32)
    out = repair(weights, replace(found, intact=intact, mask=mask, section=section))
    assert not out.displaced.zone[:, :30].any()
    assert np.isfinite(out.result[:, 30:]).all()


def test_neighbours_that_show_something_else_are_refused(tmp_path):
    weights = untrained(tmp_path / "sober.safetensors", 0.0)
    found, _, _ = window()
    other = texture(found.mask.shape, sigma=2, seed=9).astype(np.float32)
    strangers = {
        name: replace(getattr(found, name), image=other) for name in ("previous", "following")
    }
    apart = replace(found, **strangers)
    with pytest.raises(RepairRefused, match="cannot be unfolded"):
        repair(weights, apart)
    assert repair(weights, apart, replace(PLAIN, gate="off")).result.shape == other.shape


def test_it_needs_its_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "weights_directory", lambda: tmp_path)
    method = get_method("unfold-paper")
    assert not method.ready()
    with pytest.raises(InputError, match="not installed"):
        method.repair(window()[0], PLAIN, "cpu", no_progress)
