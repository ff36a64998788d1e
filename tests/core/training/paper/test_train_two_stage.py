"""The paper's two stages: losses equation by equation, and the training of both."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from textures import texture

from napari_flowinpaint.core.errors import Cancelled, InputError
from napari_flowinpaint.core.networks.paper.discriminator import SIZES as DISCRIMINATORS
from napari_flowinpaint.core.networks.paper.discriminator import DiscriminatorConfig
from napari_flowinpaint.core.networks.paper.inpainting import (
    PAPER_SIZES,
    InpaintingConfig,
    PaperConfig,
    PaperNetwork,
)
from napari_flowinpaint.core.networks.paper.refined_reference import (
    RefinedReferenceConfig,
    RefinedReferenceNetwork,
)
from napari_flowinpaint.core.networks.weights import load_network, save_network
from napari_flowinpaint.core.training.data import StackSpec, TrainingBatch, Triplets
from napari_flowinpaint.core.training.loop import train_network
from napari_flowinpaint.core.training.paper.initial import (
    farneback,
    initial_references,
    lucas_kanade,
)
from napari_flowinpaint.core.training.paper.losses import (
    LEVEL_WEIGHTS,
    VggFeatures,
    discriminator_loss,
    generator_hinge,
    generator_loss,
    gradient_features,
    perceptual,
    reconstruction,
    refined_reference_loss,
    structural_similarity,
    to_unit,
)
from napari_flowinpaint.core.training.paper.train_two_stage import TwoStagePlan

TINY = PaperConfig(
    RefinedReferenceConfig((8, 8, 8), 2, (12,), (8,)),
    InpaintingConfig((8, 8), finest_attention=2, residual=True),
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(PAPER_SIZES, "tiny", TINY)
    monkeypatch.setitem(DISCRIMINATORS, "tiny", DiscriminatorConfig((8, 8)))


@pytest.fixture
def stack(drifting) -> str:
    return drifting(7, 3, (80, 96), (120, 160))


@pytest.fixture
def first(tmp_path):
    """Weights of an untrained first stage."""
    torch.manual_seed(0)
    path = tmp_path / "first.safetensors"
    save_network(path, RefinedReferenceNetwork(TINY.refined))
    return str(path)


def plan(**changes) -> TwoStagePlan:
    defaults = {"size": "tiny", "steps": 2, "batch": 2, "crop": 32, "every": 2}
    return TwoStagePlan(**{**defaults, **changes})


def images(count=3, shape=(2, 1, 16, 24), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


# ------------------------------------------------------------------ equations


def test_similarity_of_an_image_with_itself_is_perfect():
    image, other = images(2)
    assert float(structural_similarity(image, image)) == pytest.approx(0, abs=1e-5)
    assert 0.5 < float(structural_similarity(image, other)) <= 2
    assert float(structural_similarity(image[..., :2, :3], other[..., :2, :3])) > 0.1


def test_similarity_is_that_of_scikit_image():
    from skimage.metrics import structural_similarity as theirs

    image, other = images(2, (1, 1, 20, 30))
    other = image + 0.5 * other
    _, full = theirs(
        to_unit(image)[0, 0].numpy(),
        to_unit(other)[0, 0].numpy(),
        win_size=7,
        data_range=1.0,
        use_sample_covariance=False,
        full=True,
    )
    ours = float(structural_similarity(image, other))
    assert ours == pytest.approx(1 - full[3:-3, 3:-3].mean(), abs=1e-4)


def test_pyramid_loss_weighs_levels_and_damage():
    """Eq. 13-14, with flows of zero and features that say nothing."""
    truth, initial = images(2)
    mask = torch.zeros_like(truth)
    mask[..., 4:12, 8:16] = 1
    flows = [torch.zeros(2, 2, 16, 24), torch.zeros(2, 2, 8, 12)]

    def nothing(image):
        return []

    ours = refined_reference_loss(flows, initial, truth, mask, nothing)
    expected = 0.0
    for level, weight in ((0, 1.0), (1, 0.64)):
        x, y, m = (torch.nn.functional.avg_pool2d(i, 2**level) for i in (truth, initial, mask))
        error = (y - x).abs()
        expected += weight * float(
            5 * (error * m).mean()
            + (error * (1 - m)).mean()
            + structural_similarity(y, x)
        )  # fmt: skip
    assert float(ours) == pytest.approx(expected, rel=1e-5)
    assert LEVEL_WEIGHTS == (1, 0.64, 0.32, 0.16, 0.08, 0.04)
    with_features = refined_reference_loss(flows, initial, truth, mask, gradient_features)
    assert float(with_features) > expected
    perfect = refined_reference_loss(flows, truth, truth, mask, gradient_features)
    assert float(perfect) == pytest.approx(0, abs=1e-4)


def test_generator_loss_weighs_damage_and_the_opponent():
    truth, drawn, scores = images(3)
    mask = torch.zeros_like(truth)
    mask[..., 4:12, 8:16] = 1
    result = torch.where(mask > 0, drawn, truth)
    error = (drawn - truth).abs()
    expected = float((error * (1 - mask)).mean() + 6 * (error * mask).mean())
    assert float(generator_loss(result, truth, mask, None, drawn)) == pytest.approx(expected)
    against = expected - 0.1 * float(scores.mean())
    assert float(generator_loss(result, truth, mask, scores, drawn)) == pytest.approx(against)
    assert float(generator_hinge(scores)) == pytest.approx(-float(scores.mean()))


def test_discriminator_loss_is_a_hinge():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    # real: 0, 0.5, 2; fake: 0, 1, 2
    assert float(discriminator_loss(real, fake)) == pytest.approx(0.1 * (2.5 / 3 + 3 / 3))


def test_perceptual_loss_sums_the_layers():
    image, other = images(2)
    ours = perceptual(image, other, lambda x: [x, 2 * x])
    assert float(ours) == pytest.approx(3 * float(reconstruction(image, other)), rel=1e-5)
    assert float(perceptual(image + 1, image, gradient_features)) == pytest.approx(0, abs=1e-6)
    for shape in ((1, 1, 1, 1), (1, 1, 2, 9), (1, 1, 64, 64)):
        assert all(
            f.numel() == 0 or f.isfinite().all() for f in gradient_features(torch.ones(shape))
        )


def vgg_tensors():
    torch.manual_seed(0)
    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128)}
    shapes |= {12: (256, 256), 14: (256, 256)}
    tensors = {f"features.{n}.weight": torch.randn(*s, 3, 3) * 0.02 for n, s in shapes.items()}
    return tensors | {f"features.{n}.bias": torch.zeros(s[0]) for n, s in shapes.items()}


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_vgg_from_a_weights_file(tmp_path, suffix):
    path = tmp_path / f"vgg16.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(vgg_tensors(), path)
    features = VggFeatures(path)
    image = torch.randn(1, 1, 16, 20, requires_grad=True)
    found = features(image)
    assert [tuple(f.shape) for f in found] == [(1, 64, 16, 20), (1, 128, 8, 10), (1, 256, 4, 5)]
    perceptual(image, image.detach() + 1, features).backward()
    assert image.grad.any()
    assert not any(p.requires_grad for p in features.parameters())
    assert features(torch.zeros(1, 1, 1, 1))[-1].shape == (1, 256, 1, 1)


def test_files_that_are_no_vgg(tmp_path):
    path = tmp_path / "vgg16.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"does not hold VGG16's 'features\.0'"):
        VggFeatures(path)
    for name, content in (("a.pth", b"nonsense"), ("a.safetensors", b"nonsense")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as VGG16's weights") as caught:
            VggFeatures(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        VggFeatures(tmp_path / "nowhere.pth")


# ------------------------------------------------------------------ initial references (eq. 1-3)


@pytest.mark.parametrize("flow", [farneback, lucas_kanade])
@pytest.mark.parametrize("alpha", [0.25, 0.5])
def test_initial_reference_lies_where_alpha_says(flow, alpha):
    base = texture((90, 120), sigma=3)
    base = torch.from_numpy((base - base.mean()) / base.std())[None, None]
    shift = 8  # pixels from previous to following
    at = int(shift * alpha)
    previous, truth, following = (base[..., 4:84, x : x + 100] for x in (0, at, shift))
    ones = torch.ones_like(truth)
    batch = TrainingBatch(truth, ones, (previous, following), (ones, ones), torch.tensor([alpha]))
    initial = initial_references(batch, flow)
    inner = (..., slice(16, -16), slice(20, -20))
    error = (initial - truth)[inner].abs().mean()
    plain = ((1 - alpha) * previous + alpha * following - truth)[inner].abs().mean()
    assert error < 0.35 * plain


def test_initial_reference_takes_the_neighbour_that_shows_something():
    base = texture((90, 120), sigma=3)
    base = torch.from_numpy((base - base.mean()) / base.std())[None, None]
    previous, truth, following = (base[..., 4:84, x : x + 100] for x in (0, 1, 2))
    ones = torch.ones_like(truth)
    valid = ones.clone()
    valid[..., 30:50, 40:60] = 0
    for number in (0, 1):
        neighbours, shown = [previous, following], [ones, ones]
        neighbours[number] = torch.where(valid > 0, neighbours[number], 2.5)
        shown[number] = valid
        batch = TrainingBatch(truth, ones, tuple(neighbours), tuple(shown), torch.tensor([0.5]))
        error = (initial_references(batch) - truth).abs()[..., 33:47, 43:57].mean()
        unaware = TrainingBatch(truth, ones, tuple(neighbours), (ones, ones), torch.tensor([0.5]))
        worse = (initial_references(unaware) - truth).abs()[..., 33:47, 43:57].mean()
        assert error < 0.5 * worse


def test_without_opencv_scikit_image_finds_the_flow(monkeypatch):
    from napari_flowinpaint.core.training.paper import initial

    assert initial._best_at_hand() is farneback
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert initial._best_at_hand() is lucas_kanade


# ------------------------------------------------------------------ both stages


def test_the_paper_schedule_halves_the_rate_four_times():
    schedule = TwoStagePlan(steps=1_200_000, warm_up=1)
    rates = [schedule.rate_at(s, 0) / 1e-4 for s in (0, 399_999, 400_000, 600_000, 800_000, 1e6)]
    assert rates == [1, 1, 0.5, 0.25, 0.125, 0.0625]
    assert TwoStagePlan(minutes=10).rate_at(1000, 360) == pytest.approx(1e-4 / 4)


def test_the_rate_begins_low():
    schedule = TwoStagePlan(steps=1_200_000, warm_up=100)
    rates = [schedule.rate_at(step, 0) / 1e-4 for step in (0, 49, 99, 100)]
    assert rates == pytest.approx([0.01, 0.5, 1, 1])


def test_both_stages_go_on_from_weights_of_the_second(stack, tmp_path, first):
    paper, output = tmp_path / "paper.safetensors", tmp_path / "next.safetensors"
    torch.manual_seed(5)
    net = PaperNetwork(TINY)
    save_network(paper, net)
    still = {"steps": 1, "rate": 1e-9, "start": str(paper)}
    train_network([StackSpec(stack)], [], output, plan(**still))
    _assert_alike(load_network(output)[0], net.refined)
    still |= {"stage": "inpainting", "refined": str(paper)}
    train_network([StackSpec(stack)], [], output, plan(**still))
    _assert_alike(load_network(output)[0], net)
    with pytest.raises(InputError, match="another size than 'tiny', or other parts"):
        train_network([StackSpec(stack)], [], output, plan(**still, aggregation=False))


def _assert_alike(trained, begun):
    for name, value in begun.state_dict().items():
        assert torch.allclose(trained.state_dict()[name], value, atol=2e-3), name


def test_both_stages_one_after_the_other(stack, tmp_path):
    held_out = [StackSpec(stack, (0, 1, 2))]
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    train_network([StackSpec(stack)], held_out, one, plan(stage="reference"))
    network, info = load_network(one)
    assert info.architecture == "refined-reference"
    assert info.training["plan"]["stage"] == "reference"
    outcome = train_network(
        [StackSpec(stack)], held_out, two, plan(stage="inpainting", refined=str(one))
    )
    assert outcome.steps == 2
    assert np.isfinite(outcome.best)
    whole, info = load_network(two)
    assert info.architecture == "paper"
    assert info.training["structure_psnr"] == outcome.best
    assert info.training["plan"]["refined"] == "one.safetensors"  # and not in which folder
    for name, value in whole.refined.state_dict().items():  # stays as it is
        assert torch.equal(value, network.state_dict()[name])
    with two.with_suffix(".csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2"]
    assert two.with_suffix(".svg").exists()
    assert (tmp_path / "two.discriminator.safetensors").exists()


@pytest.mark.parametrize(
    "ablation",
    [
        {"reference": "none"},
        {"reference": "initial"},
        {"aggregation": False},
        {"adversarial": False},
        {"fine_tune": True},
    ],
)
def test_ablations_train(stack, tmp_path, first, ablation):
    output = tmp_path / "a.safetensors"
    train_network(
        [StackSpec(stack)], [], output, plan(stage="inpainting", refined=first, **ablation)
    )
    net, _ = load_network(output)
    config = net.config.inpainting
    assert config.reference == ablation.get("reference", "refined")
    assert config.aggregation == ablation.get("aggregation", True)
    opponent = tmp_path / "a.discriminator.safetensors"
    assert opponent.exists() == ablation.get("adversarial", True)
    if "fine_tune" in ablation:
        before = load_network(Path(first))[0].state_dict()
        after = net.refined.state_dict()
        assert any(not torch.equal(after[k], before[k]) for k in before)


@pytest.mark.parametrize("stage", ["reference", "inpainting"])
def test_cancelled_and_resumed_is_as_if_never_interrupted(stack, tmp_path, first, stage):
    specs = [StackSpec(stack)]
    how = plan(stage=stage, refined=first, steps=4, every=100)
    train_network(specs, [], tmp_path / "whole.safetensors", how)

    def stop(fraction, message):
        if message.startswith("step 2"):
            raise Cancelled("enough")

    part = tmp_path / "part.safetensors"
    with pytest.raises(Cancelled):
        train_network(specs, [], part, how, progress=stop)
    load_network(part)  # usable
    state = tmp_path / "part.state.safetensors"
    train_network(specs, [], part, how, resume=state)
    whole, resumed = (load_network(tmp_path / f"{n}.safetensors")[0] for n in ("whole", "part"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_bad_plans_are_one_line(stack, tmp_path, first):
    def attempt(**changes):
        resume = changes.pop("resume", None)
        train_network(
            [StackSpec(stack)], [], tmp_path / "a.safetensors", plan(**changes), resume=resume
        )

    for message, changes in {
        "unknown stage 'third'": {"stage": "third"},
        "unknown size 'giant'": {"size": "giant"},
        "needs the weights of the reference stage": {"stage": "inpainting"},
        "must be one of refined": {"stage": "inpainting", "reference": "else", "refined": first},
        "another size than 'small'": {"stage": "inpainting", "size": "small", "refined": first},
        "not a training checkpoint": {"resume": Path(first)},
    }.items():
        with pytest.raises(InputError, match=message):
            attempt(**changes)
    attempt()
    state = tmp_path / "a.state.safetensors"
    with pytest.raises(InputError, match="checkpoint of another network"):
        attempt(stage="inpainting", refined=first, resume=state)


def test_a_few_triplets_can_be_learned_by_heart(stack, tmp_path, monkeypatch):
    """End to end; fails when a stage is disconnected from the next, or from its loss."""
    base = torch.from_numpy(texture((120, 120), sigma=3))
    base = ((base - base.mean()) / base.std())[None, None]
    # 2 px off the middle between its neighbours, of less contrast than they are
    truth = 0.8 * base[..., 20:68, 22:70]
    neighbours = (base[..., 20:68, 17:65], base[..., 20:68, 23:71])
    mask, ones = torch.zeros_like(truth), torch.ones_like(truth)
    mask[..., 12:32, 12:36] = 1
    batch = TrainingBatch(truth, 1 - mask, neighbours, (ones, ones), torch.tensor([0.5]))
    monkeypatch.setattr(Triplets, "batch", lambda self, step, count: batch)
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    how = {"steps": 60, "rate": 5e-3, "every": 1000, "decay": 0.9}
    train_network([StackSpec(stack)], [], one, plan(stage="reference", **how))
    how |= {"stage": "inpainting", "refined": str(one)}
    train_network([StackSpec(stack)], [], two, plan(**how))
    initial = initial_references(batch)
    with torch.no_grad():
        net, _ = load_network(two)
        out, refined = net(truth, mask, neighbours, batch.alpha, initial)

    def error(image):
        return float(((image - truth).abs() * mask).sum() / mask.sum())

    assert error(refined.image) < 0.5 * error(initial)
    assert error(out.image) < 0.8 * error(refined.image)
