"""The method for one neighbour: when it is taken, what guides it, what keeps it in check."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tensors import TINY, lively_joint

from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods import get_method
from napari_flowinpaint.core.methods.choice import Situation, choose_method
from napari_flowinpaint.core.networks import released
from napari_flowinpaint.core.networks.one.extend import ExtendConfig, ExtendNet
from napari_flowinpaint.core.networks.registration import Registration
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.repair.repair_section import plan_windows, repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

PLAIN = RepairOptions(texture="smooth")


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Untrained weights with a right card, where the method looks for them; their checksum."""
    monkeypatch.setattr(released, "weights_directory", lambda: tmp_path)
    net = ExtendNet(ExtendConfig(joint=TINY, channels=(8, 8), dilations=(2,)))
    net.joint.load_state_dict(lively_joint().state_dict())
    path = tmp_path / released.ONE
    save_network(path, net, {})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".md").write_text(f"# Weights\n\nsha256: `{digest}`\n")
    return digest


@pytest.fixture
def damaged():
    """A stack whose last section is damaged, the mask, and the truth."""
    pixels = synthetic_stack(SampleConfig(shape=(3, 160, 160)))
    mask = np.zeros((160, 160), dtype=bool)
    mask[60:100, 50:110] = True
    truth = pixels[2].copy()
    pixels[2][mask] = 255
    return Stack.from_array(pixels), mask, truth


def test_auto_takes_it_for_one_neighbour_where_its_weights_are(digest, tmp_path):
    choice = choose_method("auto", Situation(1))
    assert (choice.method.name, choice.why) == ("one_neighbour", "one usable neighbour")
    assert choose_method("auto", Situation(2)).method.name == "flow"
    assert choose_method("one_neighbour", Situation(2)).method.name == "one_neighbour"
    assert choose_method("one_neighbour", Situation(0)) is None
    (tmp_path / released.ONE).unlink()
    choice = choose_method("auto", Situation(1))
    assert choice.method.name == "flow"
    assert "no weights" in choice.why


def test_the_last_section_is_repaired_and_its_weights_recorded(digest, damaged):
    stack, mask, truth = damaged
    repair = repair_section(stack, 2, mask, options=PLAIN)
    record, patch = repair.provenance, repair.patches[0]
    assert (record.method, record.weights_sha256) == ("one_neighbour", digest)
    assert record.neighbours == (1,)
    own = stack.read(2)[patch.box.slices]
    assert (patch.result[~patch.mask] == own[~patch.mask]).all()
    error = np.abs(patch.result.astype(float) - truth[patch.box.slices])[patch.mask].mean()
    assert error < 0.7 * np.abs(truth[mask].astype(float) - truth.mean()).mean()
    # the refined reference is the neighbour, registered with the network's help
    assert (patch.refined_reference != patch.result)[patch.mask].any()


@pytest.mark.parametrize(("z", "lost", "guide"), [(1, 2, 0), (2, 1, 3)])
def test_of_two_neighbours_the_nearer_one_guides(digest, z, lost, guide):
    pixels = synthetic_stack(SampleConfig(shape=(4, 160, 160)))
    stack, mask = Stack.from_array(pixels), np.zeros((160, 160), dtype=bool)
    mask[60:100, 50:110] = True
    request = {"masks": lambda n, box: np.full(box.shape, n == lost), "method": "one_neighbour"}
    (plan,), _ = plan_windows(stack, z, mask, **request)
    assert {n for n in plan.neighbours if n is not None} == {guide}
    repair = repair_section(stack, z, mask, options=PLAIN, **request)
    assert repair.provenance.neighbours == (guide,)


def test_a_network_that_knows_nothing_is_outvoted(digest, damaged, monkeypatch):
    """Whatever the network says, the rehearsal keeps the repair near that of ``flow``."""
    from napari_flowinpaint.core.methods import one_neighbour

    def nonsense(net, section, known, neighbours, valid, alpha, **options):
        noise = np.random.default_rng(0).normal(128, 60, section.shape).astype(np.float32)
        flow = np.full((2, *section.shape), 30, np.float32)
        return Registration((flow, flow), noise)

    stack, mask, truth = damaged

    def error(method) -> float:
        patch = repair_section(stack, 2, mask, method=method, options=PLAIN).patches[0]
        off = np.abs(patch.result.astype(float) - truth[patch.box.slices])
        return float(off[patch.mask].mean())

    known = error("flow")
    monkeypatch.setattr(one_neighbour, "register_jointly", nonsense)
    assert error("one_neighbour") < 1.15 * known


def test_quality_is_predicted_with_one_neighbour(digest, damaged):
    stack, mask, _ = damaged
    options = RepairOptions(quality=True, gate="flag")
    repair = repair_section(stack, 2, mask, options=options)
    assert repair.provenance.method == "one_neighbour"
    assert "expected_structure" in repair.provenance.scores


def test_it_says_how_many_neighbours_it_uses():
    assert get_method("one_neighbour").most_neighbours == 1
