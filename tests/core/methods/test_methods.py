"""The registry and the training-free method's parts."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.methods import available_methods, get_method
from napari_flowinpaint.core.methods.choice import Situation, choose_method, describe_methods
from napari_flowinpaint.core.methods.missing_section import disagreement, trust_in_network
from napari_flowinpaint.core.reference.fusion import Bands, FusionWeights, ridge
from napari_flowinpaint.core.reference.guides import Guide
from napari_flowinpaint.core.reference.hypotheses import Hypothesis
from napari_flowinpaint.core.reference.optical_flow import IDENTITY, warp_affine
from napari_flowinpaint.core.reference.rehearsal import RehearsalResult
from napari_flowinpaint.core.reference.rehearsal_holes import rehearsal_holes, rehearsal_part
from napari_flowinpaint.core.reference.ring import close_seam
from napari_flowinpaint.core.repair.repair_section import WindowPlan
from napari_flowinpaint.core.types import Box


def test_every_method_can_be_made():
    for name in available_methods():
        method = get_method(name)
        assert method.name == name
        assert method.neighbours in (0, 1, 2)


def test_unknown_methods_are_named_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown method 'magic'.*flow"):
        get_method("magic")


def test_auto_says_why_and_a_method_that_was_asked_for_needs_no_reason():
    for kind in ("fold", "crack"):
        choice = choose_method("auto", Situation(2, kind))
        assert (choice.method.name, choice.why) == ("unfold", f"a {kind}: its tissue is moved back")
    assert choose_method("auto", Situation(2, "dark")).why == "two usable neighbours"
    assert choose_method("auto", Situation(1, "dark")).why == "one usable neighbour"
    assert choose_method("flow", Situation(2, "fold")).why == ""
    windows = [WindowPlan(Box(0, 0, 9, 9), 1, (0, 2), 0.5, name, why=name * 2) for name in "aba"]
    assert describe_methods(windows) == "a (aa) and b (bb)"


def test_auto_needs_enough_neighbours():
    assert choose_method("auto", Situation(1)).method.neighbours == 1
    assert choose_method("auto", Situation(0)) is None
    assert choose_method("flow", Situation(0)) is None


def test_rehearsal_holes_are_intact_pixels_only_and_repeatable():
    mask = np.zeros((200, 200), dtype=bool)
    mask[80:120, 60:130] = True
    intact = ~mask
    intact[:, :20] = False
    holes = rehearsal_holes(mask, intact, seed=3)
    assert not (holes & ~intact).any()
    assert 0.25 < holes.sum() / intact.sum() < 0.35
    assert (holes == rehearsal_holes(mask, intact, seed=3)).all()
    assert (holes != rehearsal_holes(mask, intact, seed=4)).any()


def test_rehearsal_holes_lie_away_from_the_damage_and_are_few_in_a_large_window():
    mask = np.zeros((600, 800), dtype=bool)
    mask[200:260, 300:420] = True
    holes = rehearsal_holes(mask, ~mask, seed=3)
    assert 0.08 < holes.sum() / (~mask).sum() < 0.12
    assert not holes[150:310, 250:470].any()


def test_nothing_is_rehearsed_where_little_is_intact():
    mask = np.ones((50, 50), dtype=bool)
    mask[0] = False
    assert not rehearsal_holes(mask, ~mask, seed=0).any()


def test_fusion_trusts_what_is_right_at_each_scale():
    truth, other = texture(seed=1), texture(seed=2)
    where = np.zeros(truth.shape, dtype=bool)
    where[60:200, 60:200] = True
    fusion = FusionWeights.learn(Bands.of([truth, other], truth, where))
    error = np.abs(fusion.apply([truth, other]) - truth)[where].mean()
    average = np.abs((truth + other) / 2 - truth)[where].mean()
    assert error < 0.6 * average
    assert (fusion.weights[:, 0] > fusion.weights[:, 1]).all()


def test_fusion_gives_up_scales_that_nobody_predicts():
    truth = texture(seed=1, sigma=8) + texture(seed=5, sigma=0.7) - 128
    guess = texture(seed=1, sigma=8) + texture(seed=6, sigma=0.7) - 128
    where = np.ones(truth.shape, dtype=bool)
    fusion = FusionWeights.learn(Bands.of([guess], truth, where))
    assert fusion.weights[0, 0] < 0.1
    assert fusion.weights[-1, 0] > 0.9


def test_ridge_draws_twins_to_equal_weights():
    x = np.random.default_rng(0).standard_normal((1, 500)).repeat(2, axis=0)
    assert ridge(x, x[0]) == pytest.approx([0.5, 0.5], abs=0.01)


def test_a_leader_counts_as_much_as_all_others_together():
    truth = texture(seed=1)
    noise = [texture(seed=n) - 128 for n in range(2, 9)]
    peers = [truth + 0.8 * n for n in noise[:6]]
    leader = truth + 0.2 * noise[6]
    where = np.zeros(truth.shape, dtype=bool)
    where[60:200, 60:200] = True

    def error(fusion: FusionWeights) -> float:
        return float(np.abs(fusion.apply([*peers, leader]) - truth)[where].mean())

    bands = Bands.of([*peers, leader], truth, where)
    led = FusionWeights.learn(bands, leader=6)
    assert error(led) < 0.9 * error(FusionWeights.learn(bands))
    assert (led.weights[:, 6] > led.weights[:, :6].max(axis=1)).all()


def rehearsed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a section, its known pixels, and the rehearsal holes among them."""
    known, holes = np.ones((2, 256, 256), dtype=bool)
    known[100:150, 100:150] = False
    holes[:] = False
    holes[20:80, 20:200] = True
    return texture(seed=1), known, holes


def test_a_leader_leads_only_where_it_rehearses_better():
    truth, known, holes = rehearsed()
    clean = np.zeros_like(known)
    peers = [Hypothesis(truth + 0.5 * (texture(seed=n) - 128), clean) for n in (2, 3)]

    def lesson(amount: float, leader: bool) -> RehearsalResult:
        guess = truth + amount * (texture(seed=9) - 128)
        hypotheses = [Hypothesis(guess, clean, leader=leader), *peers]
        return RehearsalResult.learn(hypotheses, truth, known, holes)

    def psnr_of(lesson: RehearsalResult) -> float:
        return lesson.rely().scores["rehearsal_psnr"]

    good, bad = lesson(0.1, True), lesson(2.0, True)
    assert not np.allclose(good.fusion.weights, lesson(0.1, False).fusion.weights)
    assert np.allclose(bad.fusion.weights, lesson(2.0, False).fusion.weights)
    assert psnr_of(good) > psnr_of(lesson(0.1, False))


def test_less_is_expected_of_a_hole_with_larger_errors_than_those_rehearsed():
    truth, known, holes = rehearsed()
    guess = Hypothesis(truth + 0.5 * (texture(seed=9) - 128), np.zeros_like(known))
    relied = RehearsalResult.learn([guess, guess], truth, known, holes).rely()

    def expected(error: float) -> float:
        confidence = np.full(truth.shape, np.exp(-error / relied.errors.scale), np.float32)
        return relied.scores_at(confidence, ~known)["rehearsal_psnr"]

    assert expected(relied.error) == pytest.approx(relied.scores["rehearsal_psnr"], abs=0.01)
    assert expected(2 * relied.error) == pytest.approx(expected(relied.error) - 3.01, abs=0.01)
    assert relied.scores_at(np.ones_like(truth), ~known) == relied.scores


def test_close_seam_leaves_no_step_and_does_not_reach_deep():
    section = np.full((80, 80), 100, dtype=np.float32)
    known = np.ones((80, 80), dtype=bool)
    known[20:60, 20:60] = False
    filled = np.full((80, 80), 70, dtype=np.float32)
    closed = close_seam(filled, section, known)
    assert abs(closed[20, 40] - 100) < 8
    assert abs(closed[40, 40] - 70) < 1


def test_a_part_of_a_large_window_is_rehearsed_in_where_enough_is_intact():
    mask = np.zeros((1600, 2400), dtype=bool)
    mask[500:540, 400:460] = True
    small = np.s_[:900, :900]
    assert rehearsal_part(mask[small], ~mask[small]) == Box(0, 0, 900, 900)
    part = rehearsal_part(mask, ~mask)
    assert part.shape == (1024, 1024)
    assert mask[part.slices].any()
    intact = ~mask
    intact[:, :1300] = False
    assert intact[rehearsal_part(mask, intact).slices].mean() >= 0.5


def test_a_cropped_guide_samples_the_same_pixels():
    image = texture(seed=3)
    affine = np.array([[1.01, 0.02, 3], [-0.02, 0.99, -4]], np.float32)
    valid = np.ones(image.shape, dtype=bool)
    valid[100:120, 90:140] = False
    shown = warp_affine(valid.astype(np.float32), affine) > 0.99
    guide = Guide(image, valid, 0.5, affine, warp_affine(image, affine), shown)
    flow = np.random.default_rng(0).normal(0, 3, (2, *image.shape)).astype(np.float32)
    part = Box(40, 70, 170, 210)
    here = guide.crop(part)
    there = np.ascontiguousarray(flow[:, *part.slices])
    assert np.allclose(here.sample(there), guide.sample(flow)[part.slices], atol=0.1)
    assert (here.damaged(there) == guide.damaged(flow)[part.slices]).mean() > 0.999
    assert (here.aligned == guide.aligned[part.slices]).all()


def test_what_the_registration_reaches_by_itself_is_not_resampled():
    section, valid = texture((192, 192), seed=1), np.ones((192, 192), dtype=bool)

    def moved(pixels, reach):
        image = np.roll(section, pixels, axis=1)
        guide = Guide(image, valid, 0.5, IDENTITY.copy(), image, valid)
        return guide.align_to(section, valid, reach) is not guide

    assert moved(8, reach=0)
    assert not moved(8, reach=16)
    assert moved(28, reach=16)


def test_a_network_is_trusted_where_neighbours_differ_and_none_is_near():
    first, other = texture(seed=1), texture(seed=2)
    flat = np.zeros((2, *first.shape), dtype=np.float32)

    def trust(second, share):
        valid = np.ones(first.shape, dtype=bool)
        guides = [
            Guide(image, valid, s, IDENTITY.copy(), image, valid)
            for image, s in ((first, share), (second, 1 - share))
        ]
        squared, variance = disagreement(guides, [flat, flat])
        return float(trust_in_network(guides, squared / variance))

    assert trust(first + 0.1 * (other - 128), 0.5) < 0.01
    assert trust(other, 0.5) > 0.9
    assert trust(other, 0.05) < 0.1
