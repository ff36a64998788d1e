"""Training of the network for one neighbour: samples, a short training, its ablations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensors import TINY, lively_joint

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.one.extend import EXTEND_SIZES, ExtendConfig
from napari_flowinpaint.core.networks.paper.discriminator import SIZES as DISCRIMINATORS
from napari_flowinpaint.core.networks.paper.discriminator import DiscriminatorConfig
from napari_flowinpaint.core.networks.weights import load_network, save_network
from napari_flowinpaint.core.training.data import StackSpec, Triplets
from napari_flowinpaint.core.training.loop import train_network
from napari_flowinpaint.core.training.one.train_one import OnePlan, Pairs


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(EXTEND_SIZES, "tiny", ExtendConfig(TINY, (4, 4), (2,)))
    monkeypatch.setitem(DISCRIMINATORS, "tiny", DiscriminatorConfig((4, 4)))


@pytest.fixture
def stack(drifting) -> str:
    return drifting(5, 2, (96, 96), (128, 160))


def plan(**settings) -> OnePlan:
    return OnePlan(**{"size": "tiny", "steps": 2, "batch": 1, "crop": 64, "every": 2, **settings})


def weights(path) -> dict[str, torch.Tensor]:
    return load_network(path, architecture="one-neighbour")[0].state_dict()


def test_samples_have_one_neighbour(stack):
    pairs = Pairs(Triplets([StackSpec(stack)], 64, seed=0))
    batch = pairs.batch(1, 2)
    assert not batch.neighbours[1].any()
    assert not batch.valid[1].any()
    assert batch.neighbours[0].std() > 0.5
    assert batch.alpha.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("parts", [{}, {"larn": False}, {"triplet": False}, {"adversarial": False}])
def test_it_begins_with_the_joint_network_and_learns(stack, tmp_path, parts):
    joint, path = tmp_path / "joint.safetensors", tmp_path / "one.safetensors"
    save_network(joint, lively_joint(), {})
    outcome = train_network(
        [StackSpec(stack)],
        [StackSpec(stack)],
        path,
        plan(start=str(joint), rate=1e-2, warm_up=1, **parts),
    )
    assert np.isfinite(outcome.best)
    net, info = load_network(path)
    assert net.config.larn == parts.get("larn", True)
    assert info.training["plan"]["start"] == "joint.safetensors"
    first = lively_joint().state_dict()
    changed = [
        not torch.allclose(value, first[name.removeprefix("joint.")], atol=2e-3)
        for name, value in net.state_dict().items()
        if name.startswith("joint.")
    ]
    assert any(changed)
    assert any(p.any() for p in net.generator.head.parameters())
    beside = path.with_suffix(".discriminator.safetensors")
    assert beside.exists() == parts.get("adversarial", True)


def test_a_resumed_training_gives_the_same_weights(stack, tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    spec = [StackSpec(stack)]
    train_network(spec, [], whole, plan(steps=4, every=9))

    def stop(fraction, message):
        if message.startswith("step 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(spec, [], parts, plan(steps=4, every=9), progress=stop)
    state = parts.with_suffix(".state.safetensors")
    train_network(spec, [], parts, plan(steps=4, every=9), resume=state)
    expected = weights(whole)
    for name, value in weights(parts).items():
        torch.testing.assert_close(value, expected[name])


def test_what_it_cannot_begin_with_is_refused(stack, tmp_path):
    from napari_flowinpaint.core.networks.paper.discriminator import Discriminator

    spec, path = [StackSpec(stack)], tmp_path / "one.safetensors"
    with pytest.raises(InputError, match="unknown size 'giant'"):
        train_network(spec, [], path, plan(size="giant"))
    other = tmp_path / "other.safetensors"
    save_network(other, Discriminator(DISCRIMINATORS["tiny"]))
    with pytest.raises(InputError, match="holds a network 'discriminator'"):
        train_network(spec, [], path, plan(start=str(other)))
    train_network(spec, [], path, plan(steps=1))
    with pytest.raises(InputError, match="has LARN where the plan has none"):
        train_network(spec, [], path, plan(start=str(path), larn=False))


def test_the_command_line_trains_it(stack, tmp_path, capsys):
    path = tmp_path / "one.safetensors"
    command = ["train", stack, "--network", "one-neighbour", "--output", str(path)]
    options = ["--size", "tiny", "--steps", "1", "--batch", "1", "--crop", "64"]
    assert run([*command, *options, "--ablation", "adversary"]) == 0
    assert "1 steps" in capsys.readouterr().out
    assert weights(path)
    for wrong, message in (
        (["--ablation", "references"], "unknown --ablation 'references'; choose from larn"),
        (["--fine-tune"], "needs --network inpainting"),
    ):
        assert run([*command, *wrong]) == 2
        assert message in capsys.readouterr().err
