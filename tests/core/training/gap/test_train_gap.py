"""Training of the networks for gaps: samples, the loss of the paper, and a short training."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage as ndi

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks.gap.gap_network import GAP_SIZES, GapConfig, GapNetwork
from napari_flowinpaint.core.networks.weights import load_network
from napari_flowinpaint.core.training.data import StackSpec
from napari_flowinpaint.core.training.gap.gap_loss import (
    gap_loss,
    gradient_error,
    similarity,
    squared_error,
    structure_error,
)
from napari_flowinpaint.core.training.gap.gap_samples import GapSamples
from napari_flowinpaint.core.training.gap.train_gap import (
    GapPlan,
    case_kinds,
    fit_mixing,
    gap_cases,
    score,
)
from napari_flowinpaint.core.training.loop import train_network

TINY = GapConfig(channels=(4, 4), depth=12, widest=5)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(GAP_SIZES, "tiny", TINY)


@pytest.fixture
def volume(tmp_path) -> str:
    """A smooth random volume, alike in all directions."""
    rng = np.random.default_rng(0)
    smooth = ndi.gaussian_filter(rng.standard_normal((64, 64, 64)), 2.5)
    grey = 128 + 40 * smooth / smooth.std() + rng.normal(0, 4, smooth.shape)
    tifffile.imwrite(tmp_path / "volume.tif", np.clip(grey, 0, 255).astype(np.uint8))
    return str(tmp_path / "volume.tif")


def samples(volume, side=32):
    return GapSamples([StackSpec(volume)], TINY, side, seed=3)


def test_a_step_always_sees_the_same_patches(volume):
    first, second = samples(volume).batch(4, 3), samples(volume).batch(4, 3)
    for a, b in zip(vars(first).values(), vars(second).values(), strict=True):
        torch.testing.assert_close(a, b)
    assert first.truth.shape == (3, 12, 32, 32)
    assert not torch.equal(first.truth, samples(volume).batch(5, 3).truth)


def test_the_gap_is_missing_and_its_faces_are_not(volume):
    drawn = samples(volume)
    widths = set()
    for step in range(40):
        batch = drawn.batch(step, 1)
        width = int(batch.width[0])
        widths.add(width)
        first = TINY.place(width)
        inside = batch.inside[0].mean(dim=(1, 2))
        assert inside.nonzero().ravel().tolist() == list(range(first, first + width))
        assert (batch.missing[0] >= batch.inside[0]).all()
        faces = batch.missing[0, [first - 1, first + width]]
        assert faces.mean() < 0.9  # no other gap covers a face, but one may go across
        assert torch.isfinite(batch.values).all()
    assert widths == {1, 2, 3, 4, 5}


def test_the_terms_of_the_loss_are_those_of_the_paper():
    rng = np.random.default_rng(1)
    filled, truth = rng.standard_normal((2, 2, 4, 12, 12)).astype(np.float32)
    inside = np.zeros_like(filled)
    inside[0, 1:3] = 1
    inside[1, 2] = 1
    tensors = [torch.from_numpy(v) for v in (filled, truth, inside)]
    off, gone = filled - truth, inside > 0
    wanted = [np.mean(off[n][gone[n]] ** 2) for n in range(2)]
    np.testing.assert_allclose(squared_error(*tensors), wanted, rtol=1e-5)
    parts = []
    for axis in (1, 2, 3):  # differences of voxels of which one at least is missing
        either = np.maximum(np.delete(inside, -1, axis), np.delete(inside, 0, axis)) > 0
        steps = np.diff(off, axis=axis) ** 2
        parts.append([steps[n][either[n]].mean() for n in range(2)])
    np.testing.assert_allclose(gradient_error(*tensors), np.mean(parts, axis=0), rtol=1e-5)
    low = np.stack([[ndi.gaussian_filter(s, 2.0, mode="mirror") for s in v] for v in off * inside])
    wanted = [np.mean(low[n][gone[n]] ** 2) for n in range(2)]
    np.testing.assert_allclose(structure_error(*tensors), wanted, rtol=1e-3)


def test_similarity_is_one_of_equal_images_and_less_of_others():
    torch.manual_seed(0)
    truth, inside = torch.randn(1, 3, 24, 24), torch.ones(1, 3, 24, 24)
    torch.testing.assert_close(similarity(truth, truth, inside), torch.ones(1))
    assert similarity(truth + 1, truth, inside) < 0.99
    assert similarity(0 * truth, truth, inside) < 0.3


def test_only_the_gap_counts():
    torch.manual_seed(0)
    truth, inside = torch.randn(2, 4, 16, 16), torch.zeros(2, 4, 16, 16)
    inside[:, 1:3] = 1
    filled = truth + inside * torch.randn_like(truth)
    loss = gap_loss(filled, truth + inside, truth, inside)
    elsewhere = torch.where(inside > 0, filled, filled + 5)
    assert squared_error(elsewhere, truth, inside).equal(squared_error(filled, truth, inside))
    assert loss > gap_loss(truth, truth + inside, truth, inside)


def test_layers_are_mixed_by_least_squares(volume):
    net = GapNetwork(TINY)
    with torch.no_grad():
        net.net.last.weight.zero_()
        net.net.last.bias.zero_()
    cases = gap_cases([StackSpec(volume)], TINY)
    narrow = [case for case in cases if int(case.width) <= TINY.widest]
    before = np.mean([score(net, case)[0] for case in narrow])
    np.testing.assert_allclose(before, np.mean([score(None, case)[0] for case in narrow]))
    fit_mixing(net, samples(volume))
    assert np.mean([score(net, case)[0] for case in narrow]) > before + 1


def test_a_training_can_be_resumed(volume, tmp_path):
    spec, output = StackSpec(volume), tmp_path / "gap.safetensors"
    plan = GapPlan(size="tiny", steps=2, batch=2, crop=32, every=2)
    train_network([spec], [spec], output, plan)
    plan = GapPlan(size="tiny", steps=4, batch=2, crop=32, every=2)
    outcome = train_network(
        [spec], [spec], output, plan, resume=output.with_suffix(".state.safetensors")
    )
    assert outcome.steps == 4
    _, info = load_network(output, architecture="gap")
    assert info.training["plan"]["size"] == "tiny"
    log = (tmp_path / "gap.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "2", "4"]
    assert log[0].endswith(",".join(case_kinds(TINY)))


def test_what_cannot_be_trained_is_refused(volume, tmp_path):
    spec = StackSpec(volume)
    with pytest.raises(InputError, match="unknown size"):
        train_network([spec], [], tmp_path / "a.safetensors", GapPlan(size="huge"))
    with pytest.raises(InputError, match="smaller than patches"):
        train_network([spec], [], tmp_path / "a.safetensors", GapPlan(size="tiny", crop=80))
