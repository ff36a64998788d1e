"""Training for missing sections: nothing is known of the samples, and a training gains."""

from __future__ import annotations

import pytest
import torch

from napari_flowinpaint.core.networks.weights import load_network
from napari_flowinpaint.core.training.data import StackSpec
from napari_flowinpaint.core.training.loop import train_network
from napari_flowinpaint.core.training.train_missing import MissingPlan, MissingTriplets
from napari_flowinpaint.core.training.validation import cases, validate

pytestmark = pytest.mark.usefixtures("tiny_joint")


@pytest.fixture
def stack(drifting) -> StackSpec:
    return StackSpec(drifting(9, 3, (96, 128), (140, 200)))


def test_only_the_neighbours_are_known(stack):
    drawn = MissingTriplets([stack], 64, seed=1)
    alphas = set()
    for step in range(30):
        batch = drawn.batch(step, 2)
        assert not batch.known.any()
        assert all(bool(shown.all()) for shown in batch.valid)
        for image in (batch.truth, *batch.neighbours):
            assert image.shape == (2, 1, 64, 64)
            assert torch.allclose(image.std(dim=(1, 2, 3)), torch.ones(2), atol=1e-3)
        alphas |= {round(float(alpha), 3) for alpha in batch.alpha}
    assert alphas == {0.333, 0.5, 0.667}
    torch.testing.assert_close(drawn.batch(3, 2).truth, drawn.batch(3, 2).truth)


def test_cases_of_missing_sections_hide_all_and_tell_nothing_of_the_section(stack):
    (case, *_) = cases([stack], size=64, fractions=(1.0,))
    assert case.mask.all()


def test_a_training_gains(stack, tmp_path):
    path = tmp_path / "missing.safetensors"
    plan = MissingPlan(size="tiny", steps=60, batch=2, crop=64, every=30, warm_up=2, rate=3e-3)
    outcome = train_network([stack], [stack], path, plan)
    held_out = cases([stack], fractions=(1.0,))
    torch.manual_seed(plan.seed)
    untrained = load_network(path)[0]
    trained = validate(load_network(path)[0], held_out).structure
    for parameter in untrained.fusion.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert outcome.steps == 60
    assert trained == pytest.approx(outcome.best, abs=0.1)
    assert trained > validate(untrained, held_out).structure + 0.3
