"""The learned method: its weights are checked, its hypotheses join those of ``flow``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensors import lively_joint

from napari_flowinpaint.core.benchmark.run_benchmark import run_benchmark
from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods import get_method
from napari_flowinpaint.core.methods.choice import Situation, choose_method
from napari_flowinpaint.core.metrics import score
from napari_flowinpaint.core.networks import released
from napari_flowinpaint.core.networks.registration import Registration
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.reference.hypotheses import Hypothesis, registered_average
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.simulation.simulate import irregular_mask


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Untrained weights with a right card, where the method looks for them."""
    monkeypatch.setattr(released, "weights_directory", lambda: tmp_path)
    path = tmp_path / released.JOINT
    save_network(path, lively_joint(), {})
    write_card(path)
    return path


def write_card(path, digest=None):
    import hashlib

    digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".md").write_text(f"# Weights\n\nsha256: `{digest}`\n")
    return digest


def damaged_stack(size=160):
    pixels = synthetic_stack(SampleConfig(shape=(3, size, size)))
    mask = np.zeros((size, size), dtype=bool)
    mask[60:100, 50:110] = True
    truth = pixels[1].copy()
    pixels[1][mask] = 255
    return Stack.from_array(pixels), mask, truth


def test_auto_prefers_it_only_where_its_weights_are(weights):
    assert choose_method("auto", Situation(2)).method.name == "flowinpaint"
    assert choose_method("auto", Situation(1)).method.name == "flow"
    assert choose_method("flow", Situation(2)).method.name == "flow"
    weights.unlink()
    assert choose_method("auto", Situation(2)).method.name == "flow"


def test_without_weights_it_says_so(weights):
    weights.unlink()
    stack, mask, _ = damaged_stack()
    with pytest.raises(InputError, match=r"not installed.*'flow'"):
        repair_section(stack, 1, mask, method="flowinpaint")
    assert repair_section(stack, 1, mask).provenance.method == "flow"
    table = run_benchmark(stack, fractions=(0.1,), shapes=("rectangular",))
    assert not any(row.method.startswith("flowinpaint") for row in table.rows)


def test_missing_sections_have_weights_of_their_own(weights, tmp_path):
    stack, mask, _ = damaged_stack()
    whole = np.ones_like(mask)
    joint = repair_section(stack, 1, mask, method="flowinpaint").provenance.weights_sha256
    assert repair_section(stack, 1, whole).provenance.weights_sha256 == joint
    own = tmp_path / released.MISSING
    save_network(own, lively_joint(seed=3), {})
    digest = write_card(own)
    assert repair_section(stack, 1, whole).provenance.weights_sha256 == digest
    assert repair_section(stack, 1, mask).provenance.weights_sha256 == joint
    chosen = RepairOptions(weights=str(weights))
    told = repair_section(stack, 1, whole, method="flowinpaint", options=chosen).provenance
    assert told.weights_sha256 == joint


@pytest.mark.parametrize("tampered", ["weights", "card", "no checksum", "no card"])
def test_weights_that_are_not_what_the_card_says_are_refused(weights, tampered):
    card = weights.with_suffix(".md")
    if tampered == "weights":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(bytes(content))
    elif tampered == "card":
        write_card(weights, "0" * 64)
    elif tampered == "no checksum":
        card.write_text("# Weights\n")
    else:
        card.unlink()
    stack, mask, _ = damaged_stack()
    with pytest.raises(InputError, match=r"card|checked|sha256"):
        repair_section(stack, 1, mask, method="flowinpaint")


def test_it_repairs_only_the_mask_and_records_its_weights(weights):
    stack, mask, truth = damaged_stack()
    plain = RepairOptions(texture="smooth")
    repair = repair_section(stack, 1, mask, method="flowinpaint", options=plain)
    assert repair.provenance.weights_sha256 == write_card(weights)
    patch = repair.patches[0]
    assert (patch.result[~patch.mask] == stack.read(1)[patch.box.slices][~patch.mask]).all()
    error = np.abs(patch.result.astype(float) - truth[patch.box.slices])[patch.mask].mean()
    assert error < 0.7 * np.abs(truth[mask].astype(float) - truth.mean()).mean()
    again = repair_section(stack, 1, mask, method="flowinpaint", options=plain)
    assert (again.patches[0].result == patch.result).all()


@pytest.mark.parametrize(
    ("share", "wanted", "views"), [(0.3, None, 1), (0.5, None, 8), (0.5, 1, 1), (0.3, 4, 4)]
)
def test_large_holes_are_looked_at_from_several_sides(weights, monkeypatch, share, wanted, views):
    from napari_flowinpaint.core.methods import flowinpaint

    seen = []

    def looked(net, section, known, neighbours, valid, alpha, **options):
        seen.append(options["views"])
        flow = np.zeros((2, *section.shape), np.float32)
        return Registration((flow, flow), np.mean(neighbours, axis=0))

    monkeypatch.setattr(flowinpaint, "register_jointly", looked)
    stack, mask, _ = damaged_stack()
    mask[:] = irregular_mask(mask.shape, share, np.random.default_rng(0))
    options = RepairOptions(views=wanted, halo=160, gate="off")
    repair_section(stack, 1, mask, method="flowinpaint", options=options)
    assert set(seen) == {views}


def test_a_network_that_knows_nothing_is_outvoted(weights, monkeypatch):
    """Whatever the network says, the rehearsal keeps the repair near that of ``flow``."""
    from napari_flowinpaint.core.methods import flowinpaint

    def nonsense(net, section, known, neighbours, valid, alpha, **options):
        rng = np.random.default_rng(0)
        noise = rng.normal(128, 60, section.shape).astype(np.float32)
        flow = np.full((2, *section.shape), 30, np.float32)
        return Registration((flow, -flow), noise)

    stack, mask, truth = damaged_stack()
    options = RepairOptions(texture="smooth")

    def error() -> float:
        repair = repair_section(stack, 1, mask, method="flowinpaint", options=options)
        patch = repair.patches[0]
        return float(
            np.abs(patch.result.astype(float) - truth[patch.box.slices])[patch.mask].mean()
        )

    flow = repair_section(stack, 1, mask, method="flow", options=options).patches[0]
    known = np.abs(flow.result.astype(float) - truth[flow.box.slices])[flow.mask].mean()
    monkeypatch.setattr(flowinpaint, "register_jointly", nonsense)
    assert error() < 1.15 * known


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_repairs_as_the_cpu_does(weights):
    stack, mask, _ = damaged_stack()
    options = RepairOptions(texture="smooth")
    results = [
        repair_section(stack, 1, mask, method="flowinpaint", device=device, options=options)
        .patches[0]
        .result.astype(float)
        for device in ("cpu", "cuda")
    ]
    assert np.abs(results[0] - results[1]).mean() < 1
    assert torch.cuda.max_memory_allocated() > 0


def test_a_damaged_neighbour_and_a_refusal(weights):
    stack, mask, _ = damaged_stack()
    spoilt = np.zeros_like(mask)
    spoilt[105:130, 70:120] = True
    repair = repair_section(
        stack,
        1,
        mask,
        masks=lambda z, box: spoilt[box.slices] & (z == 2),
        method="flowinpaint",
    )
    assert np.isfinite(repair.patches[0].confidence).all()
    lonely = Stack.from_array(np.stack([stack.read(0), stack.read(1)]))
    with pytest.raises(RepairRefused, match="one usable neighbour"):
        repair_section(lonely, 1, mask, method="flowinpaint")


def test_the_released_weights_are_what_their_card_says():
    path = released.released()
    if path is None:
        pytest.skip("no weights are released in this tree")
    net, digest = released.load_released(path, "cpu")
    assert len(digest) == 64
    assert path.stat().st_size <= 15 * 1024 * 1024
    assert not net.training
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())
    card = path.with_suffix(".md").read_text()
    assert "CC BY-NC-SA 4.0" in card
    assert get_method("flowinpaint").ready()


def test_the_refined_reference_is_what_the_registered_neighbours_show():
    def shows(value, follows=True, damaged=False):
        image = np.full((2, 3), value, np.float32)
        where = np.zeros((2, 3), dtype=bool)
        where[0, 0] = damaged
        return Hypothesis(image, where, follows=follows)

    first, second = shows(100, damaged=True), shows(200)
    average = registered_average([shows(9, follows=False), first, second], 0.25)
    assert average[0, 0] == pytest.approx(200, abs=0.01)
    assert average[1] == pytest.approx(125)
    assert registered_average([shows(9, follows=False)], 0.25) is None


def test_every_stage_of_the_released_network_is_better_than_the_one_before():
    stack, mask, truth = damaged_stack(256)
    options = RepairOptions(texture="smooth")
    repair = repair_section(stack, 1, mask, method="flowinpaint", options=options)
    (patch,) = repair.patches
    stages = [patch.initial_reference, patch.refined_reference, patch.result]
    scores = []
    for stage in stages:
        whole = truth.copy()
        whole[patch.box.slices][patch.mask] = stage[patch.mask]
        scores.append(score(whole, truth, mask, 255).structure_psnr)
    assert scores[0] + 0.5 < scores[1]
    assert scores[1] < scores[2]
