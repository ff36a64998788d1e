"""Training of the networks that undo folds: samples, losses, and a short training of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.blocks import warp
from napari_flowinpaint.core.networks.fold.fold_fusion import FUSION_SIZES, FusionConfig
from napari_flowinpaint.core.networks.fold.kpn import KPN_SIZES, KpnConfig
from napari_flowinpaint.core.networks.fold.unfolding import UNFOLDING_SIZES, UnfoldingConfig
from napari_flowinpaint.core.networks.weights import load_network
from napari_flowinpaint.core.simulation.fold import Fold
from napari_flowinpaint.core.training.data import StackSpec
from napari_flowinpaint.core.training.fold.fold_samples import (
    FoldBatch,
    FoldSamples,
    folded,
    random_fold,
    restorable,
)
from napari_flowinpaint.core.training.fold.interpolation_samples import InterpolationSamples
from napari_flowinpaint.core.training.fold.train_fold import FoldPlan, flow_loss
from napari_flowinpaint.core.training.loop import train_network


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(KPN_SIZES, "tiny", KpnConfig((4, 4), 3))
    monkeypatch.setitem(UNFOLDING_SIZES, "tiny", UnfoldingConfig((4, 4), search=3))
    monkeypatch.setitem(FUSION_SIZES, "tiny", FusionConfig((4, 4)))


@pytest.fixture
def stack(drifting) -> str:
    return drifting(5, 2, (128, 128), (160, 200))


def mean(previous: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    return (previous + following) / 2


def test_the_neighbours_of_a_sample_are_those_of_its_section(stack):
    samples = InterpolationSamples([StackSpec(stack)], 64, seed=0)
    batch = samples.batch(3, 2)
    assert batch.truth.shape == batch.previous.shape == (2, 1, 64, 64)
    torch.testing.assert_close(samples.batch(3, 2).truth, batch.truth)
    for truth, other in zip(batch.truth, batch.previous, strict=True):
        assert np.corrcoef(truth.flatten(), other.flatten())[0, 1] > 0.5


def test_folds_are_drawn_from_the_papers_ranges():
    rng = np.random.default_rng(0)
    folds = [random_fold(rng) for _ in range(300)]
    assert all(5 <= f.width <= 30 and f.width <= f.swallowed <= 160 for f in folds)
    assert all(0.0001 <= f.decay <= 0.1 for f in folds)
    assert 0.3 < np.mean([f.bend == 0 for f in folds]) < 0.7


def test_the_flow_of_a_sample_unfolds_it():
    section = torch.from_numpy(texture((192, 192), sigma=5).astype(np.float32))
    section = (section - section.mean()) / section.std()
    rng = np.random.default_rng(1)
    layers = folded(section, section, Fold(10, 50, 0.05), rng)[None, :, None]
    truth, _, degraded, distance, lost = (layers[:, n] for n in (0, 1, 2, 3, 6))
    unfolded = warp(degraded, layers[0, 4:6].transpose(0, 1))
    kept = (lost == 0) & (torch.nn.functional.max_pool2d(lost, 9, 1, 4) == 0)
    kept[..., :40, :] = kept[..., -40:, :] = kept[..., :40] = kept[..., -40:] = False
    assert kept.float().mean() > 0.2
    # contrast and brightness were changed beside the line, so only what is alike is asked for
    both = np.corrcoef(unfolded[kept], truth[kept])[0, 1]
    assert both > 0.97
    assert both > np.corrcoef(degraded[kept], truth[kept])[0, 1] + 0.05
    assert (distance <= 0).float().mean() == pytest.approx(10 / 192, rel=0.8)


def test_what_was_lost_has_no_flow_to_learn(stack):
    batch = FoldSamples(restorable([StackSpec(stack)], 64, mean), 64, seed=0).batch(0, 2)
    off = batch.flow + 3 * (1 - batch.lost) + 1000 * batch.lost
    assert flow_loss(batch.flow, batch) == 0
    torch.testing.assert_close(flow_loss(off, batch), torch.tensor(6.0))


def test_restorable_sections_are_beside_what_interpolates_them(stack):
    (sections,) = restorable([StackSpec(stack)], 64, mean, most=2)
    assert len(sections) == 2
    truth, reference = sections[0].images.float()
    assert truth.mean().abs() < 1e-2
    assert np.corrcoef(truth.flatten(), reference.flatten())[0, 1] > 0.5


def test_the_three_are_trained_one_after_the_other(stack, tmp_path):
    shared = {"size": "tiny", "steps": 2, "batch": 1, "crop": 64, "every": 2}
    weights: dict[str, str] = {}
    for stage in ("interpolation", "unfolding", "fusion"):
        output = tmp_path / f"{stage}.safetensors"
        plan = FoldPlan(stage=stage, **shared, **weights)
        outcome = train_network([StackSpec(stack)], [StackSpec(stack)], output, plan)
        assert outcome.steps == 2
        assert np.isfinite(outcome.best)
        told = load_network(output)[1].training["plan"]
        assert told["stage"] == stage
        assert all(told[key] == f"{key}.safetensors" for key in weights)
        weights[stage] = str(output)
        weights.pop("fusion", None)
    state = tmp_path / "fusion.state.safetensors"
    longer = FoldPlan(stage="fusion", **(shared | {"steps": 3}), **weights)
    again = train_network([StackSpec(stack)], [], output, longer, resume=state)
    assert again.steps == 3


def test_a_stage_needs_those_before(stack, tmp_path):
    for plan, message in (
        (FoldPlan(stage="fusion", crop=64, size="tiny"), "interpolation"),
        (FoldPlan(stage="mending"), "unknown stage"),
        (FoldPlan(size="giant"), "unknown size"),
    ):
        with pytest.raises(InputError, match=message):
            train_network([StackSpec(stack)], [], tmp_path / "w.safetensors", plan)


def test_a_batch_moves_as_a_whole(stack):
    batch = FoldSamples(restorable([StackSpec(stack)], 64, mean), 64, seed=0).batch(0, 1)
    assert isinstance(batch.to("cpu"), FoldBatch)
