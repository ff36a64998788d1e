"""What all trainings share: schedule, validations that are due, the best checkpoint."""

from __future__ import annotations

import csv
import math

import pytest
import torch

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.paper.refined_reference import (
    RefinedReferenceConfig,
    RefinedReferenceNetwork,
)
from napari_flowinpaint.core.networks.weights import load_network
from napari_flowinpaint.core.training import loop
from napari_flowinpaint.core.training.data import StackSpec
from napari_flowinpaint.core.training.loop import Schedule, Training
from napari_flowinpaint.core.training.validation import ValidationReport
from napari_flowinpaint.core.types import no_progress


class Plan(Schedule):
    def rate_at(self, step, seconds):
        return 1e-3 * (1 - self.share(step, seconds))


class Toy(Training):
    """Sets all parameters to the number of the step."""

    def _build(self):
        return RefinedReferenceNetwork(RefinedReferenceConfig((4,), 1, (4,), (4,)))

    def _optimize(self):
        return torch.optim.SGD(self.net.parameters(), self.plan.rate)

    def _loss(self, batch):
        raise NotImplementedError

    def _advance(self, batch):
        self.seen = [*getattr(self, "seen", []), float(batch.truth.sum())]
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.fill_(self.step + 1)
        self.average.update(self.net, self.step)
        return float(self.step)


@pytest.fixture
def toy(tmp_path, unrelated):
    specs = [StackSpec(unrelated(3, (40, 40)))]

    def build(held_out=True, **changes):
        plan = Plan(**{"crop": 32, "batch": 1, "decay": 0.0, **changes})
        return Toy(specs, specs if held_out else [], tmp_path / "a.safetensors", plan, "cpu")

    return build


def scripted(monkeypatch, scores):
    reports = [ValidationReport(score, score, 1.0, (score,)) for score in scores]
    monkeypatch.setattr(loop, "validate", lambda net, cases, device: reports.pop(0))


def rows(training):
    with training.output.with_suffix(".csv").open() as file:
        return list(csv.DictReader(file))


def test_share_of_steps_or_of_time_whichever_is_further():
    assert Schedule(steps=100).share(25, 1e9) == 0.25
    assert Schedule(steps=100, minutes=1).share(25, 30) == 0.5
    assert Schedule(steps=100, minutes=1).share(75, 30) == 0.75
    assert Schedule(steps=100).share(200, 0) == 1


def test_the_best_average_is_kept(toy, monkeypatch):
    scripted(monkeypatch, [10.0, 12.0, 11.0])
    training = toy(steps=7, every=3)
    outcome = training.run(None, no_progress)
    assert (outcome.steps, outcome.best) == (7, 12.0)
    found = rows(training)
    assert [row["step"] for row in found] == ["3", "6", "7"]
    assert [float(row["structure"]) for row in found] == [10, 12, 11]
    assert [float(row["loss"]) for row in found] == [1, 4, 6]  # means since the last validation
    assert float(found[1]["rate"]) == pytest.approx(1e-3 / 7, rel=1e-3)
    net, info = load_network(training.output)
    assert all((p == 6).all() for p in net.parameters())
    assert (info.training["step"], info.training["structure_psnr"]) == (6, 12.0)
    assert info.training["plan"]["steps"] == 7


def test_a_validation_at_the_last_step_is_not_repeated(toy, monkeypatch):
    scripted(monkeypatch, [10.0])
    assert len(rows(run(toy(steps=3, every=3)))) == 1


def run(training):
    training.run(None, no_progress)
    return training


def test_without_sections_to_validate_on_the_latest_average_is_kept(toy):
    training = run(toy(held_out=False, steps=4, every=2))
    assert training.best == -math.inf
    net, info = load_network(training.output)
    assert all((p == 4).all() for p in net.parameters())
    assert "structure_psnr" not in info.training
    assert [math.isnan(float(row["structure"])) for row in rows(training)] == [True, True]


def test_a_resumed_training_sees_the_batches_that_were_left(toy, monkeypatch):
    monkeypatch.setattr(loop, "validate", lambda *_: ValidationReport(1.0, 1.0, 1.0, (1.0,)))
    whole = run(toy(steps=4, every=9))
    first = toy(steps=4, every=9)

    def stop(fraction, message):
        if message.startswith("step 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(None, stop)
    second = toy(steps=4, every=9)
    second.run(first.output.with_suffix(".state.safetensors"), no_progress)
    assert first.seen + second.seen == whole.seen
    assert [row["step"] for row in rows(second)] == ["2", "4"]


@pytest.mark.parametrize("factor", [1.0, math.nan])
def test_a_gradient_that_is_not_finite_changes_nothing(toy, factor):
    training = toy(steps=1)
    before = [p.detach().clone() for p in training.net.parameters()]
    loss = sum((p * factor).sum() for p in training.net.parameters())
    assert training._descend(training.net, training.optimizer, loss) == math.isfinite(factor)
    changed = [
        not torch.equal(p, b) for p, b in zip(training.net.parameters(), before, strict=True)
    ]
    assert all(changed) == math.isfinite(factor)
    assert any(changed) == math.isfinite(factor)


def test_a_training_that_changes_nothing_says_so(toy):
    training = toy(steps=1)

    def descend(factor=math.nan):
        loss = sum((p * factor).sum() for p in training.net.parameters())
        return training._descend(training.net, training.optimizer, loss)

    for good in (False, True):  # one good step is enough
        assert not any(descend() for _ in range(loop._MOST_IDLE - 1))
        assert good or descend(1.0)
    with pytest.raises(InputError, match="changed nothing; start again"):
        descend()
