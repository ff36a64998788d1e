"""Adapting to one stack: what is held back, what is kept, whose weights are used."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from tensors import lively_joint
from textures import texture

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.errors import Cancelled, InputError, StoreError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods import learned
from napari_flowinpaint.core.networks.weights import read_info, save_network
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair import adapted
from napari_flowinpaint.core.repair.adapted import adapted_path, adapted_weights
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.training import adapt as adapting
from napari_flowinpaint.core.training import tune
from napari_flowinpaint.core.training.adapt import AdaptPlan, adapt
from napari_flowinpaint.core.training.places import choose_places

QUICK = AdaptPlan(minutes=0.01, crop=32, network=False)


def sections(depth: int = 12, side: int = 64) -> np.ndarray:
    """A stack that bends along its axis."""
    still, bend = texture((side, side), 1, 4) - 128, texture((side, side), 2, 4) - 128
    along = np.cos(np.arange(depth) * 1.2)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 1, (depth, side, side))
    return (128 + still + 0.5 * bend * along + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def path(tmp_path, monkeypatch):
    weights = tmp_path / "released.safetensors"
    save_network(weights, lively_joint())
    for module in (adapting, adapted, learned):
        monkeypatch.setattr(module, "released", lambda *_: weights)
    monkeypatch.setattr(learned, "load_released", learned.load_any)
    monkeypatch.setattr(adapting, "_HOLES", 1)
    for module in (adapting, tune):
        monkeypatch.setattr(module, "FRACTIONS", (0.3,))
    better = lambda weights, *_: np.array([30.0 if weights is None else 30.5])  # noqa: E731
    monkeypatch.setattr(adapting, "_scores", better)
    folder = tmp_path / "data"
    folder.mkdir()
    tifffile.imwrite(folder / "stack.tif", sections())
    return folder / "stack.tif"


@pytest.fixture
def soon(monkeypatch):
    """Let the command end after a second, not after the least time that it takes."""
    monkeypatch.setattr(tune, "_PATIENCE", 1)
    made = adapting.AdaptPlan
    monkeypatch.setattr(adapting, "AdaptPlan", lambda minutes, seed: made(minutes / 5, seed=seed))


def hole(shape=(64, 64)):
    mask = np.zeros(shape, dtype=bool)
    mask[24:40, 24:40] = True
    return mask


def test_weights_are_kept_beside_the_stack_and_used_from_then_on(path):
    stack = open_stack(path)
    before = repair_section(stack, 5, hole())
    assert "adapted_weights" not in before.provenance.options
    outcome = adapt(stack, plan=QUICK)
    assert outcome.gain == 0.5
    assert outcome.kept == adapted_path(stack) == path.with_name("stack.tif.adapted.safetensors")
    found = adapted_weights(open_stack(path))
    assert (found.path, found.note) == (outcome.kept, "")
    assert found.gain == pytest.approx(outcome.gain, abs=1e-3)
    after = repair_section(stack, 5, hole())
    assert after.provenance.options["adapted_weights"] == outcome.kept.name
    assert after.provenance.weights_sha256 == read_info(outcome.kept).sha256
    assert not list(path.parent.glob(".*"))


def test_nothing_is_kept_where_nothing_is_gained(path, monkeypatch):
    monkeypatch.setattr(adapting, "_LEAST_GAIN", 99)
    outcome = adapt(open_stack(path), plan=QUICK)
    assert outcome.kept is None
    assert sorted(p.name for p in path.parent.iterdir()) == ["stack.tif"]


def test_without_a_gain_it_says_which_weights_stay_in_use(path, soon, capsys, monkeypatch):
    earlier = adapt(open_stack(path), plan=QUICK).kept
    monkeypatch.setattr(adapting, "_LEAST_GAIN", 99)
    assert adapt(open_stack(path), plan=QUICK).stays == earlier
    assert run(["adapt", str(path), "--minutes", "0.1"]) == 0
    assert f"those of {earlier.name} stay in use" in capsys.readouterr().out
    earlier.unlink()
    assert adapt(open_stack(path), plan=QUICK).stays is None


def test_a_link_in_their_place_is_passed_over_and_it_is_said(path, tmp_path):
    elsewhere = tmp_path / "elsewhere.safetensors"
    save_network(elsewhere, lively_joint())
    path.with_name("stack.tif.adapted.safetensors").symlink_to(elsewhere)
    repair = repair_section(open_stack(path), 5, hole())
    assert "adapted_weights" not in repair.provenance.options
    (flag,) = repair.provenance.flags
    assert "is a link, which is not followed" in flag
    assert flag.endswith("the released weights are used")
    with pytest.raises(StoreError, match="is a link"):
        adapt(open_stack(path), plan=QUICK)


@pytest.mark.parametrize("change", ["pixels", "shape", "weights", "file"])
def test_weights_of_another_stack_are_not_used_and_it_is_said(path, change, tmp_path, monkeypatch):
    adapt(open_stack(path), plan=QUICK)
    if change == "pixels":
        tifffile.imwrite(path, sections()[::-1])
    elif change == "shape":
        tifffile.imwrite(path, sections(13))
    elif change == "weights":
        newer = tmp_path / "newer.safetensors"
        save_network(newer, lively_joint(seed=1))
        for module in (adapted, learned):
            monkeypatch.setattr(module, "released", lambda *_: newer)
    else:
        save_network(path.with_name("stack.tif.adapted.safetensors"), lively_joint())
    stack = open_stack(path)
    found = adapted_weights(stack)
    assert found.path is None
    assert "adapt" in found.note
    repair = repair_section(stack, 5, hole())
    assert found.note in repair.provenance.flags
    assert "adapted_weights" not in repair.provenance.options


def test_a_repair_of_some_pixels_does_not_make_the_weights_foreign(path):
    adapt(open_stack(path), plan=QUICK)
    pixels = sections()
    pixels[5][hole()] += 3
    tifffile.imwrite(path, pixels)
    assert adapted_weights(open_stack(path)).path is not None


def test_sections_held_back_are_never_learned_from():
    for depth in (12, 60):
        stack = Stack.from_array(sections(depth))
        places, held = choose_places(stack, adapting.no_masks, frozenset(), 0)
        seen = {z for place in places for z in range(place.z - 2, place.z + 3)}
        assert not seen & {place.z for place in held}


def test_damage_and_flagged_sections_are_left_out():
    stack = Stack.from_array(sections(40))
    broken = lambda z, box: np.full(box.shape, z == 20)  # noqa: E731
    places, held = choose_places(stack, broken, frozenset({10}), 0)
    learned_from = {z for p in [*places, *held] for z in (p.z - 1, p.z, p.z + 1)}
    assert not learned_from & {10, 20}
    with pytest.raises(InputError, match=r"too few intact sections .* mask or flag fewer"):
        choose_places(stack, lambda z, box: np.ones(box.shape, bool), frozenset(), 0)
    with pytest.raises(InputError, match=r"are needed\.$"):  # nothing is masked that could be fewer
        choose_places(Stack.from_array(sections(4)), adapting.no_masks, frozenset(), 0)


def test_a_cancelled_adaptation_goes_on_with_its_network(path):
    plan = AdaptPlan(minutes=10, crop=32, batch=1)
    steps = []

    def stop(fraction, message):
        if "step 3," in message:
            raise Cancelled("enough")

    def note(fraction, message):
        if "step" in message:
            steps.append(int(message.split("step ")[1].split(",")[0]))
            if len(steps) == 2:
                raise Cancelled("enough")

    for progress in (stop, note):
        with pytest.raises(Cancelled):
            adapt(open_stack(path), plan=plan, progress=progress)
    assert steps == [4, 5]
    assert not adapted_path(open_stack(path)).exists()


def test_a_cancelled_adaptation_leaves_nothing_where_it_is_not_to_go_on(path):
    def stop(fraction, message):
        if "step" in message or "weighing" in message:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        adapt(open_stack(path), plan=QUICK, resume=False, progress=stop)
    assert sorted(p.name for p in path.parent.iterdir()) == ["stack.tif"]


def test_the_command_says_what_was_gained(path, soon, capsys):
    assert run(["adapt", str(path), "--minutes", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "held back" in said
    assert "written: " in said
    assert "from now on" in said
    mask = path.with_name("mask.tif")
    tifffile.imwrite(mask, np.stack([hole() * (z == 5) for z in range(12)]).astype(np.uint8))
    assert run(["repair", str(path), "--mask", str(mask), "--plan"]) == 0
    told = capsys.readouterr()
    assert "adapted to this stack" in told.out + told.err
