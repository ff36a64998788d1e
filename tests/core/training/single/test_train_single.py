"""Training of the repair from a section itself: samples, loss, a short training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.single.separation import (
    SEPARATION_SIZES,
    SeparationConfig,
    SeparationNetwork,
)
from napari_flowinpaint.core.networks.weights import load_network, save_network
from napari_flowinpaint.core.training.data import StackSpec
from napari_flowinpaint.core.training.loop import train_network
from napari_flowinpaint.core.training.single.single_samples import (
    SingleBatch,
    SingleSamples,
    irregular_hole,
    random_hole,
    widest_at,
)
from napari_flowinpaint.core.training.single.train_single import (
    SinglePlan,
    single_loss,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(SEPARATION_SIZES, "tiny", SeparationConfig((4, 6, 8), 1, 2))


@pytest.fixture
def stack(unrelated) -> str:
    return unrelated(3, (96, 112), sigma=4, dtype="uint8")


def test_holes_lie_in_the_middle_and_are_neither_nothing_nor_all():
    rng = np.random.default_rng(0)
    masks = [random_hole(96, rng) for _ in range(60)]
    shares = np.array([mask.mean() for mask in masks])
    assert (shares > 0).all()
    assert (shares < 0.9).all()
    middle = np.mean([mask[24:72, 24:72].mean() for mask in masks])
    assert middle > np.mean(shares)


def test_a_share_of_a_section_is_covered_by_holes_of_the_size_that_was_asked_for():
    from scipy import ndimage

    rng = np.random.default_rng(1)

    def depth(smooth: float) -> float:
        holes = [irregular_hole(96, rng, smooth, 0.1) for _ in range(6)]
        return float(np.mean([ndimage.distance_transform_edt(hole).max() for hole in holes]))

    assert depth(12.0) > 2 * depth(2.0)


def test_holes_become_wider_as_the_training_goes_on():
    assert widest_at(0) < widest_at(500) < widest_at(5_000) == widest_at(50_000)


def test_a_sample_hides_its_hole_and_is_the_same_at_every_draw(stack):
    samples = SingleSamples([StackSpec(stack)], 64, seed=0)
    batch, again = samples.batch(3, 2), samples.batch(3, 2)
    assert batch.truth.shape == (2, 1, 64, 64)
    torch.testing.assert_close(batch.filled, again.filled)
    hole = batch.known == 0
    assert hole.any(dim=-1).any(dim=-1).all()
    torch.testing.assert_close(batch.filled[~hole], batch.truth[~hole])
    assert not torch.allclose(batch.filled[hole], batch.truth[hole])
    assert isinstance(batch.to("cpu"), SingleBatch)


def test_only_what_is_hidden_is_judged_and_grain_less_than_structure():
    truth = torch.from_numpy(texture((64, 64), sigma=4) / 40)[None, None]
    known = torch.ones_like(truth)
    known[..., 20:44, 20:44] = 0
    batch = SingleBatch(truth, truth, known)
    perfect = single_loss(truth, batch)
    torch.testing.assert_close(single_loss(truth + 5 * known, batch), perfect)
    grain = torch.from_numpy(texture((64, 64), seed=1, sigma=0.5) / 40)[None, None]
    coarse = torch.from_numpy(texture((64, 64), seed=1, sigma=6) / 40)[None, None]
    off = [single_loss(truth + wrong - wrong.mean(), batch) for wrong in (grain, coarse)]
    assert perfect < off[0] < off[1]


def test_it_is_trained_and_goes_on(stack, tmp_path):
    output = tmp_path / "single.safetensors"
    how = {"size": "tiny", "batch": 2, "crop": 64, "every": 2}
    spec = StackSpec(stack)
    outcome = train_network([spec], [spec], output, SinglePlan(steps=2, **how))
    assert outcome.steps == 2
    assert np.isfinite(outcome.best)
    net, info = load_network(output, architecture="separation")
    assert net.config == SEPARATION_SIZES["tiny"]
    assert info.training["plan"]["crop"] == 64
    state = tmp_path / "single.state.safetensors"
    again = train_network([spec], [], output, SinglePlan(steps=3, **how), resume=state)
    assert again.steps == 3


def test_it_begins_with_the_weights_that_are_given(stack, tmp_path):
    """A net of random weights would paint the smooth fill: its last layer is zero."""
    first = SeparationNetwork(SEPARATION_SIZES["tiny"])
    torch.nn.init.constant_(first.last.bias, 0.5)
    start, output = tmp_path / "first.safetensors", tmp_path / "single.safetensors"
    save_network(start, first)
    how = {"batch": 2, "crop": 64, "steps": 1, "rate": 1e-9, "start": str(start)}
    train_network([StackSpec(stack)], [], output, SinglePlan(size="tiny", **how))
    net, _ = load_network(output, architecture="separation")
    for name, value in first.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, atol=1e-3, rtol=1e-2)
    with pytest.raises(InputError, match="another size than 'small'"):
        train_network([StackSpec(stack)], [], output, SinglePlan(size="small", **how))


def test_impossible_plans_are_refused(stack, tmp_path):
    for plan, message in (
        (SinglePlan(size="giant"), "unknown size"),
        (SinglePlan(size="tiny", crop=60), "multiple of 8"),
    ):
        with pytest.raises(InputError, match=message):
            train_network([StackSpec(stack)], [], tmp_path / "w.safetensors", plan)
