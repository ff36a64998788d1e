"""Training: data, masks, schedule, checkpoints, and an end-to-end overfit."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from textures import texture

from napari_flowinpaint.core.errors import Cancelled, InputError
from napari_flowinpaint.core.metrics import score
from napari_flowinpaint.core.networks.joint import SIZES, JointConfig, JointNet
from napari_flowinpaint.core.networks.weights import load_network, save_network
from napari_flowinpaint.core.training import data, training_masks
from napari_flowinpaint.core.training.data import StackSpec, Triplets
from napari_flowinpaint.core.training.log import plot
from napari_flowinpaint.core.training.loop import train_network
from napari_flowinpaint.core.training.loss import joint_loss, log_error
from napari_flowinpaint.core.training.state import ParameterAverage, read_numbers
from napari_flowinpaint.core.training.train_joint import JointPlan
from napari_flowinpaint.core.training.training_masks import training_mask
from napari_flowinpaint.core.training.validation import (
    cases,
    structure_psnr,
    validate,
)

pytestmark = pytest.mark.usefixtures("tiny_joint")


@pytest.fixture
def stack(drifting) -> str:
    return drifting(9, 5, (96, 128), (160, 200))


def plan(**changes) -> JointPlan:
    defaults = {"size": "tiny", "steps": 4, "batch": 2, "crop": 64, "every": 2, "warm_up": 2}
    return JointPlan(**{**defaults, **changes})


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a.tif", StackSpec("a.tif")),
        ("a.h5:/raw@0-2", StackSpec("a.h5:/raw", (0, 1, 2))),
        ("a.tif@4,5@2-4", StackSpec("a.tif", (4, 5), (2, 3, 4))),
        ("a.tif@@3", StackSpec("a.tif", None, (3,))),
    ],
)
def test_stacks_are_written_with_sections_and_spacings(text, spec):
    assert StackSpec.parse(text) == spec
    assert spec.isotropic == (spec.spacings != (1,))


@pytest.mark.parametrize("text", ["a@b", "a@0-3@x", "a@1@2@3", "a@5-2"])
def test_bad_stacks_are_named(text):
    with pytest.raises(InputError, match=text):
        StackSpec.parse(text)


def test_sections_must_be_there_and_in_a_row(stack):
    with pytest.raises(InputError, match="only 9 sections"):
        StackSpec(stack, (8, 9, 10)).read()
    with pytest.raises(InputError, match="consecutive"):
        StackSpec(stack, (1, 3, 5)).read()
    with pytest.raises(InputError, match="too few"):
        StackSpec(stack, (1, 2)).read()
    with pytest.raises(InputError, match="cannot be read"):
        StackSpec(stack + "f.tif").read()
    with pytest.raises(InputError, match="smaller than the crops"):
        Triplets([StackSpec(stack)], 256, 0)


def test_a_batch_depends_on_seed_and_step_only(stack):
    one, two = (Triplets([StackSpec(stack)], 64, seed=3) for _ in range(2))
    two.batch(0, 2)
    for a, b in zip(vars(one.batch(5, 3)).values(), vars(two.batch(5, 3)).values(), strict=True):
        pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
        assert all(torch.equal(x, y) for x, y in pairs)
    assert not torch.equal(one.batch(5, 2).truth, one.batch(6, 2).truth)
    ahead = list(one.batches(4, 7, 2))
    assert torch.equal(ahead[1].truth, one.batch(5, 2).truth)


def test_samples_are_normalised_by_what_is_intact(stack):
    batch = Triplets([StackSpec(stack)], 64, seed=0).batch(0, 16)
    for truth, known in zip(batch.truth, batch.known, strict=True):
        shown = truth[known > 0]
        assert abs(float(shown.mean())) < 1e-3
        assert abs(float(shown.std()) - 1) < 1e-3
        assert 0.3 < float(known.mean()) < 0.97


def test_isotropic_stacks_imitate_other_thicknesses(stack, monkeypatch):
    seen = set()
    original = data._distances
    monkeypatch.setattr(data, "_distances", lambda *a: seen.add(found := original(*a)) or found)
    batch = Triplets([StackSpec(stack, None, (1, 2, 3))], 64, seed=0)
    with pytest.raises(InputError, match="smaller"):
        Triplets([StackSpec(stack, None, (1, 2, 3))], 128, seed=0)
    alphas = torch.cat([batch.batch(step, 8).alpha for step in range(10)])
    assert {(1, 1), (2, 2), (3, 3)} <= seen
    assert any(a != b for a, b in seen)
    assert ((alphas - 0.5).abs() > 0.1).any()
    assert ((alphas > 0) & (alphas < 1)).all()


def test_batches_of_one_have_crops_of_varied_size(tmp_path):
    path = tmp_path / "wide.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (3, 400, 340), dtype=np.uint8)
    tifffile.imwrite(path, pixels)
    one = Triplets([StackSpec(str(path))], 512, seed=0, varied=True)
    sides = {one.batch(step, 1).truth.shape[-2:] for step in range(20)}
    assert sides == {(n, n) for n in (256, 288, 320)}  # what there is room for
    with pytest.raises(InputError, match="smaller than the crops of 512"):
        Triplets([StackSpec(str(path))], 512, seed=0)
    fixed = Triplets([StackSpec(str(path))], 128, seed=0, varied=True)
    assert fixed.batch(0, 1).truth.shape[-1] == 128


def test_damage_of_large_windows_is_large(monkeypatch):
    scales = []
    original = training_masks._noise

    def noise(size, scale, rng):
        scales.append(scale)
        return original(size, scale, rng)

    monkeypatch.setattr(training_masks, "_noise", noise)
    rng = np.random.default_rng(0)
    for _ in range(60):
        training_mask(512, rng)
    assert 150 < max(scales) < 0.41 * 512
    assert min(scales) < 10


def test_masks_are_of_many_kinds_and_within_the_shares():
    rng = np.random.default_rng(0)
    masks = [training_mask(96, rng) for _ in range(60)]
    shares = np.array([mask.mean() for mask in masks])
    assert shares.min() > 0.03
    assert shares.max() < 0.66
    assert shares.std() > 0.1
    filled = [m for m in masks if m[np.ix_(m.any(1), m.any(0))].all()]
    assert 3 < len(filled) < 25  # rectangles
    assert sum(bool(m[0].any() or m[-1].any()) for m in masks) > 20


def test_the_rate_warms_up_and_ends_low():
    schedule = JointPlan(steps=1000, warm_up=100, rate=1.0)
    assert schedule.rate_at(0, 0) == pytest.approx(0.01)
    assert schedule.rate_at(100, 0) > 0.9
    assert schedule.rate_at(999, 0) == pytest.approx(0.02, abs=0.01)
    limited = JointPlan(steps=10**6, minutes=10, warm_up=1, rate=1.0)
    assert limited.rate_at(5, 300) == pytest.approx(0.51)
    assert limited.rate_at(5, 10_000) == pytest.approx(0.02)


def test_validation_scores_are_the_benchmarks():
    truth = texture((80, 90), sigma=2)
    repaired = truth + 9 * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[20:60, 30:70] = True
    repaired = np.where(mask, repaired, truth)
    theirs = score(repaired, truth, mask, 255)
    ours = structure_psnr(torch.from_numpy(repaired), torch.from_numpy(truth), mask, 255)
    assert ours[0] == pytest.approx(theirs.structure_psnr, abs=0.01)
    assert ours[1] == pytest.approx(theirs.psnr, abs=0.01)
    assert ours[2] == pytest.approx(theirs.detail, rel=0.01)


def test_the_loss_looks_at_every_output(stack, tiny_joint):
    """The gradient reaches every part of the network: no stage is disconnected."""
    torch.manual_seed(0)
    net = JointNet(tiny_joint)
    with torch.no_grad():  # heads that start at zero would stop the gradient of the first step
        for estimator in net.estimators:
            estimator.flow.weight.normal_(std=0.01)
        for last in (net.fusion.context.near[-1], net.fusion.context.up[-1]):
            last.weight.normal_(std=0.01)
    batch = Triplets([StackSpec(stack)], 64, seed=0).batch(0, 2)
    output = net(batch.truth * batch.known, batch.known, batch.neighbours, batch.valid, batch.alpha)
    joint_loss(output, batch).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_a_decibel_counts_alike_on_easy_and_on_hard_samples():
    weight = torch.ones(2, 1, 8, 8)
    error = torch.ones(2, 1, 8, 8)
    error[1] *= 0.2  # the easy sample
    easier = [error.clone(), error.clone()]
    for number in (0, 1):
        easier[number][number] *= 0.9
    before = log_error(error, weight)
    gains = [float(before - log_error(case, weight)) for case in easier]
    assert gains[0] > 0.1
    assert gains[1] == pytest.approx(gains[0], rel=0.05)


def _undistorted_crops(sections, size, rng):
    y, x = rng.integers(np.array(sections[0].shape) - size + 1)
    images = [section[y : y + size, x : x + size].astype(np.float32) for section in sections]
    return torch.from_numpy(np.stack(images))[None]


def test_overfit_on_a_drifting_texture(stack, tmp_path, monkeypatch):
    """In seconds a network learns to undo a drift that the plain average blurs."""
    # smaller than the other tests' network, which needs a minute for it
    monkeypatch.setitem(SIZES, "tiny", JointConfig((8, 12, 12), (2, 2), 12, (8, 8)))
    # to undo random distortions as well takes minutes to learn
    monkeypatch.setattr(data, "crops", _undistorted_crops)
    monkeypatch.setattr(data, "bend", lambda image, rng: image)
    monkeypatch.setattr(data, "restain", lambda image, curve, rng: image)
    monkeypatch.setattr(data, "roughen", lambda images, rng: images)
    monkeypatch.setattr(data, "degrade", lambda n, rng: (n, torch.ones_like(n)))
    spec, held_out = StackSpec(stack, tuple(range(6))), StackSpec(stack, (6, 7, 8))
    output = tmp_path / "w.safetensors"
    outcome = train_network(
        [spec],
        [held_out],
        output,
        plan(steps=150, every=75, rate=6e-3, decay=0.9, seed=7),
    )
    chosen = cases([held_out])
    found = validate(load_network(output)[0], chosen)
    means = [
        structure_psnr(
            torch.where(torch.from_numpy(c.mask), (c.previous + c.following) / 2, c.truth),
            c.truth,
            c.mask,
            c.span,
        )
        for c in chosen
    ]
    assert found.structure > np.mean(means, axis=0)[0] + 1
    assert found.structure == pytest.approx(outcome.best, abs=0.2)
    with output.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [75, 150]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert output.with_suffix(".svg").read_text() == plot(output.with_suffix(".csv"))
    assert "polyline" in output.with_suffix(".svg").read_text()


def _weights(path):
    return load_network(path)[0].state_dict()


def test_same_seed_same_weights_and_resumed_is_uninterrupted(stack, tmp_path):
    spec = [StackSpec(stack)]
    for name in ("a", "b"):
        train_network(spec, [], tmp_path / f"{name}.safetensors", plan())

    def stop(fraction: float, message: str) -> None:
        if message.startswith("step 2"):
            raise Cancelled("enough")

    cut = tmp_path / "cut.safetensors"
    with pytest.raises(Cancelled):
        train_network(spec, [], cut, plan(), progress=stop)
    half = _weights(cut)
    state = cut.with_suffix(".state.safetensors")
    assert read_numbers(state)["step"] == 2
    outcome = train_network(spec, [], cut, plan(), resume=state)
    assert outcome.steps == 4
    first, second, third = (_weights(tmp_path / f"{n}.safetensors") for n in ("a", "b", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(first[name], third[name]) for name in first)
    assert any(not torch.equal(first[name], half[name]) for name in first)
    other = tmp_path / "c.safetensors"
    train_network(spec, [], other, plan(seed=1))
    assert any(not torch.equal(first[name], _weights(other)[name]) for name in first)


def test_training_begins_with_given_weights(stack, tmp_path, tiny_joint):
    first, second, other = (tmp_path / f"{n}.safetensors" for n in ("first", "second", "other"))
    train_network([StackSpec(stack)], [], first, plan(seed=3))
    still = {"steps": 1, "rate": 1e-9}
    train_network([StackSpec(stack)], [], second, plan(**still, start=str(first)))
    train_network([StackSpec(stack)], [], other, plan(**still))

    def far(path) -> float:
        ours, theirs = _weights(first), _weights(path)
        return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)

    assert far(second) < 1e-3 < far(other)
    without = replace(tiny_joint, deep=0)
    save_network(first, JointNet(without))
    train_network([StackSpec(stack)], [], second, plan(**still, start=str(first)))
    assert far(second) < 1e-3
    assert load_network(second)[0].config == tiny_joint
    with pytest.raises(InputError, match="another size"):
        train_network([StackSpec(stack)], [], other, JointPlan(steps=1, crop=64, start=str(first)))


def test_a_time_limit_ends_the_training(stack, tmp_path):
    outcome = train_network(
        [StackSpec(stack)],
        [],
        tmp_path / "w.safetensors",
        plan(steps=10**6, minutes=0.02, every=1),
    )
    assert 1 <= outcome.steps < 1000
    assert (tmp_path / "w.safetensors").exists()


def test_checkpoints_of_others_are_refused(stack, tmp_path):
    spec, path = [StackSpec(stack)], tmp_path / "w.safetensors"
    train_network(spec, [], path, plan(steps=1))
    with pytest.raises(InputError, match="not a training checkpoint"):
        train_network(spec, [], path, plan(), resume=path)
    with pytest.raises(InputError, match="another size"):
        train_network(
            spec,
            [],
            tmp_path / "x.safetensors",
            plan(size="small"),
            resume=path.with_suffix(".state.safetensors"),
        )
    with pytest.raises(InputError, match="unknown size 'giant'"):
        train_network(spec, [], path, plan(size="giant"))


def test_a_gradient_that_is_not_finite_changes_nothing(stack, tmp_path, monkeypatch):
    module = "napari_flowinpaint.core.training.train_joint"
    monkeypatch.setattr(f"{module}.joint_loss", lambda out, batch: out.image.sum() * float("nan"))
    path = tmp_path / "w.safetensors"
    train_network([StackSpec(stack)], [], path, plan(steps=2))
    assert all(torch.isfinite(value).all() for value in _weights(path).values())


def test_the_average_follows_slowly():
    net = torch.nn.Linear(1, 1)
    average = ParameterAverage(net, decay=0.9)
    start = average.values["weight"].clone()
    with torch.no_grad():
        net.weight += 1
    average.update(net, step=10**6)
    assert float(average.values["weight"] - start) == pytest.approx(0.1, abs=1e-4)


def test_training_needs_few_libraries(stack, tmp_path):
    """A machine that only trains has no OpenCV, zarr, dask or napari."""
    code = """
import sys
from dataclasses import replace
for name in ("cv2", "zarr", "dask", "napari", "h5py", "typer", "qtpy"):
    sys.modules[name] = None
from pathlib import Path
from napari_flowinpaint.core.networks.joint import SIZES, JointConfig
from napari_flowinpaint.core.training.data import StackSpec
from napari_flowinpaint.core.training.loop import train_network
from napari_flowinpaint.core.training.train_joint import JointPlan
SIZES["small"] = JointConfig((4, 8, 8), (1, 1), 8, (8, 8))
spec = [StackSpec(sys.argv[1])]
outcome = train_network(spec, spec, Path(sys.argv[2]), JointPlan(steps=1, batch=1, crop=32))
assert outcome.steps == 1
"""
    output = tmp_path / "w.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", code, stack, str(output)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert output.exists()


@pytest.mark.parametrize("fast", [False, True])
def test_half_precision_only_where_the_processor_is_fast_at_it(stack, tmp_path, monkeypatch, fast):
    seen = []
    forward = JointNet.forward

    def watched(self, *args):
        seen.append(torch.is_autocast_enabled("cpu"))
        return forward(self, *args)

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(JointNet, "forward", watched)
    specs = [StackSpec(stack)]
    train_network(specs, specs, tmp_path / "a.safetensors", plan(steps=1))
    assert len(seen) > 1
    assert set(seen) == {fast}
