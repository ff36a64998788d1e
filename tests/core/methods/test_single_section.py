"""The method ``single_section``: what it repairs, what it says of it, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from textures import texture

from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.filters import blur
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods import get_method
from napari_flowinpaint.core.methods.choice import Situation, choose_method
from napari_flowinpaint.core.methods.single_section import (
    FARTHEST,
    believed_distance,
    confidence_at,
    distance_to_intact,
)
from napari_flowinpaint.core.networks import released
from napari_flowinpaint.core.networks.single.separation import SeparationConfig, SeparationNetwork
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.repair.quality import predict_quality
from napari_flowinpaint.core.repair.repair_section import plan_windows, repair_section
from napari_flowinpaint.core.repair_options import RepairOptions

SHAPE = (3, 192, 208)


@pytest.fixture(autouse=True)
def options(tmp_path) -> RepairOptions:
    """An untrained network, which leaves the smooth fill."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_network(path, SeparationNetwork(SeparationConfig((4, 6), 1, 2)))
    return RepairOptions(weights=str(path))


def damaged(box: tuple[slice, slice]) -> tuple[np.ndarray, Stack, np.ndarray]:
    """Return sections that have nothing to do with each other, one damaged, and its mask."""
    truth = np.stack([texture(SHAPE[1:], seed=n, sigma=6) for n in range(3)]).astype(np.uint8)
    mask = np.zeros(SHAPE[1:], dtype=bool)
    mask[box] = True
    pixels = truth.copy()
    pixels[1][mask] = 255
    return truth[1], Stack.from_array(pixels), mask


def repair(stack: Stack, mask: np.ndarray, options: RepairOptions, z: int = 1):
    return repair_section(stack, z, mask, method="single_section", options=options)


def test_a_thin_line_is_closed_by_what_lies_beside_it(options):
    truth, stack, mask = damaged(np.s_[90:96, 20:180])
    found = repair(stack, mask, options)
    off = np.abs(found.result[found.mask].astype(float) - truth[mask])
    assert off.mean() < 0.3 * np.abs(truth[mask] - truth[~mask].mean()).mean()
    assert found.patches[0].scores["farthest_px"] == pytest.approx(3, abs=0.5)
    assert found.patches[0].scores["rounds"] == 1


def test_no_other_section_is_read(options):
    truth, stack, mask = damaged(np.s_[90:96, 20:60])
    alone = np.where(mask, 255, truth).astype(np.uint8)[None]
    other = repair(Stack.from_array(alone), mask, options, z=0)
    found = repair(stack, mask, replace(options, texture="smooth"))
    again = repair(Stack.from_array(alone), mask, replace(options, texture="smooth"), z=0)
    np.testing.assert_array_equal(found.result, again.result)
    for patch in (*found.patches, *other.patches):
        assert patch.neighbours == (None, None)


def test_the_record_says_that_nothing_but_the_section_was_used(options):
    _, stack, mask = damaged(np.s_[90:96, 20:60])
    mask[20:24, 100:104] = True
    record = repair(stack, mask, options).provenance
    assert record.method == "single_section"
    assert record.neighbours == ()
    assert record.flags == (
        "section 1 was repaired from nothing but itself: no neighbour was looked at",
    )


def test_it_says_where_it_guesses(options):
    _, stack, mask = damaged(np.s_[60:110, 60:120])
    found = repair(stack, mask, options)
    assert any("is a guess" in flag for flag in found.flags)
    scores = found.patches[0].scores
    assert 0 < scores["guessed_share"] < 1
    inside = found.confidence[found.mask]
    far = distance_to_intact(~mask)[mask]
    assert inside[far > believed_distance()].max() <= 0.5
    assert inside[far < believed_distance()].min() >= 0.5


def test_noise_leaves_the_structure_alone(options):
    mask = np.zeros(SHAPE[1:], dtype=bool)
    mask[50:130, 50:130] = True
    grain = 0.6 * (texture(mask.shape, seed=3, sigma=1.5) - 128)
    section = np.clip(texture(mask.shape, seed=2, sigma=8) + grain, 0, 255).astype(np.float32)
    patch = repair(Stack.from_array(section[None]), mask, options, z=0).patches[0]
    distance = distance_to_intact(patch.components == 0)
    added = patch.result - patch.refined_reference
    under = distance > 0
    for where in (under & (distance < 4), distance > 25):
        assert blur(added, 2.0)[where].std() < 0.35 * added[where].std()


def test_confidence_falls_with_the_distance_and_ends_at_a_guess():
    confidence = confidence_at(np.arange(1, 200, dtype=np.float32))
    assert (np.diff(confidence) <= 0).all()
    assert confidence[0] > 0.6
    assert confidence[-1] < 0.02


def test_deep_damage_is_refused_unless_it_is_told_to_go_on(options):
    _, stack, mask = damaged(np.s_[10:180, 10:190])
    with pytest.raises(RepairRefused, match=rf"farther than {FARTHEST} px.*--gate flag"):
        repair(stack, mask, options)
    flagged = repair(stack, mask, replace(options, gate="flag"))
    assert any("is a guess" in flag for flag in flagged.flags)
    assert flagged.patches[0].scores["rounds"] > 1


def test_a_missing_section_is_refused_whatever_is_asked(options):
    _, stack, mask = damaged(np.s_[:, :])
    with pytest.raises(RepairRefused, match="hardly an intact pixel"):
        repair(stack, mask, replace(options, gate="off"))


def test_auto_never_takes_it():
    assert choose_method("auto", Situation(0)) is None
    assert choose_method("single_section", Situation(0)).method.name == "single_section"


def test_where_no_neighbour_is_usable_it_is_named(options):
    _, stack, mask = damaged(np.s_[90:96, 20:60])
    with pytest.raises(RepairRefused, match="for small damage --method single_section"):
        repair_section(stack, 1, mask, masks=lambda z, box: np.full(box.shape, z != 1))


def test_the_plan_names_no_neighbour(options):
    _, stack, mask = damaged(np.s_[90:96, 20:60])
    plans, refused = plan_windows(stack, 1, mask, method="single_section", options=options)
    assert [plan.neighbours for plan in plans] == [(None, None)]
    assert not refused


def test_the_plan_names_what_is_going_to_be_refused(options):
    _, stack, mask = damaged(np.s_[120:, 140:])  # 68 px deep
    mask[4:8, 4:8] = True
    plan = partial(plan_windows, stack, 1, method="single_section")
    plans, refused = plan(mask, options=options)
    assert [window.pixels for window in plans] == [16]
    assert [window.pixels for window in refused] == [72 * 68]
    assert f"farther than {FARTHEST} px" in refused[0].reason
    assert refused == repair(stack, mask, options).refused
    assert len(plan(mask, options=replace(options, gate="flag"))[0]) == 2
    with pytest.raises(RepairRefused, match="hardly an intact pixel"):
        plan(np.ones_like(mask), options=options)


def test_no_quality_is_predicted(options):
    _, stack, mask = damaged(np.s_[90:96, 20:60])
    with pytest.raises(RepairRefused, match="repaired from itself"):
        predict_quality(stack, 1, mask, method="single_section", options=options)
    found = repair(stack, mask, replace(options, quality=True))
    assert not any(name.startswith("expected") for name in found.patches[0].scores)


def test_other_damage_and_padding_are_not_looked_at(options):
    truth, _, mask = damaged(np.s_[90:96, 20:60])
    pixels = np.where(mask, 255, truth).astype(np.float32)
    pixels[:40] = np.nan
    found = repair(Stack.from_array(pixels[None]), mask, options, z=0)
    assert np.isfinite(found.result).all()


def test_it_needs_its_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "weights_directory", lambda: tmp_path)
    _, stack, mask = damaged(np.s_[90:96, 20:60])
    assert not get_method("single_section").ready()
    with pytest.raises(InputError, match="not installed"):
        repair(stack, mask, RepairOptions())
