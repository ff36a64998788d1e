"""How good a repair is going to be, and which neighbours are no use."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from batches import Quick
from textures import texture

from napari_flowinpaint.core.batch import load_staged, plan_batch, run_batch
from napari_flowinpaint.core.errors import Cancelled, RepairRefused
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods.flow import FlowMethod
from napari_flowinpaint.core.metrics import score
from napari_flowinpaint.core.repair.job import make_job
from napari_flowinpaint.core.repair.quality import Quality, combine, predict_quality
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair.trials import find_trials
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.types import Box

SIDE = 256
Z = 4


def series(seed: int = 0, depth: int = 9, side: int = SIDE) -> np.ndarray:
    """Return sections of a texture that changes and moves from one to the next, with grain."""
    rng = np.random.default_rng(seed)
    wide = side + 2 * depth
    first, last = texture((wide, wide), seed + 1), texture((wide, wide), seed + 2)
    sections = []
    for z in range(depth):
        angle = 0.1 * z
        mixed = np.cos(angle) * (first - 128) + np.sin(angle) * (last - 128) + 128
        moved = mixed[z : z + side, 2 * depth - z : 2 * depth - z + side]
        sections.append(moved + rng.normal(0, 6, moved.shape))
    return np.clip(sections, 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return series()


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[60:110, 50:120] = True
    return mask


def damaged(volume: np.ndarray, mask: np.ndarray, z: int = Z) -> Stack:
    out = volume.copy()
    out[z][mask] = 255
    return Stack.from_array(out)


# ---- prediction


def test_the_prediction_is_close_to_the_truth(volume, mask):
    stack = damaged(volume, mask)
    repair = repair_section(stack, Z, mask, method="flow", options=RepairOptions(quality=True))
    filled = volume[Z].copy()
    for patch in repair.patches:
        filled[patch.box.slices][patch.mask] = patch.result[patch.mask]
    truth = score(filled, volume[Z], mask, 255)
    mean = (volume[Z - 1].astype(float) + volume[Z + 1]) / 2
    plain = score(np.where(mask, mean, volume[Z]), volume[Z], mask, 255)
    scores = repair.provenance.scores
    assert scores["expected_places"] == 3
    assert scores["expected_share"] == 1
    assert scores["expected_structure"] == pytest.approx(truth.structure_psnr, abs=1.5)
    assert scores["expected_mean_structure"] == pytest.approx(plain.structure_psnr, abs=1.5)
    assert scores["expected_ssim"] == pytest.approx(truth.ssim, abs=0.1)
    assert scores["expected_mean_ssim"] == pytest.approx(plain.ssim, abs=0.1)
    assert scores["expected_structure"] > scores["expected_mean_structure"]
    again = predict_quality(stack, Z, mask, method="flow", repair=repair)
    assert again.scores() == {k: v for k, v in scores.items() if k.startswith("expected_")}


def test_a_worse_repair_is_predicted_worse(volume, mask):
    noisy = volume.copy()
    rng = np.random.default_rng(0)
    noisy[::2] = np.clip(noisy[::2] + rng.normal(0, 60, noisy[::2].shape), 0, 255)
    good = predict_quality(damaged(volume, mask, 5), 5, mask, method="flow", places=2)
    bad = predict_quality(damaged(noisy, mask, 5), 5, mask, method="flow", places=2)
    assert bad.structure < good.structure - 2


def test_what_lies_under_the_mask_is_not_looked_at(volume, mask):
    options = RepairOptions(quality=True)
    found = []
    for value in (0, 255):
        out = volume.copy()
        out[Z][mask] = value
        repair = repair_section(Stack.from_array(out), Z, mask, method="flow", options=options)
        found.append(repair.provenance.scores)
    assert found[0] == found[1]


def test_without_trials_the_rehearsal_tells(volume, mask):
    scores = repair_section(damaged(volume, mask), Z, mask, method="flow").provenance.scores
    assert scores["expected_places"] == 0
    assert scores["expected_structure"] > scores["expected_mean_structure"]
    assert "expected_ssim" not in scores
    quality = Quality.from_scores(scores)
    assert quality.scores() == {k: v for k, v in scores.items() if k.startswith("expected_")}


def test_a_section_without_intact_pixels_is_tried_on_its_neighbours(volume):
    whole = np.ones((SIDE, SIDE), dtype=bool)
    stack = damaged(volume, whole)
    quality = predict_quality(stack, Z, whole, method="flow")
    assert quality.places == 3
    assert quality.share == 1
    mean = (volume[Z - 1].astype(float) + volume[Z + 1]) / 2
    plain = score(mean, volume[Z], whole, 255)
    assert quality.mean_structure == pytest.approx(plain.structure_psnr, abs=1)
    # three sections only: neither neighbour has two others, so each is guided by what there is
    few = Stack.from_array(stack.array[Z - 2 : Z + 2])
    assert predict_quality(few, 2, whole, method="flow").places == 1


def test_a_tiny_and_much_damaged_section_falls_back_and_says_so(volume):
    tiny = volume[Z - 1 : Z + 2, :48, :48]
    mask = np.zeros((48, 48), dtype=bool)
    mask[:, 10:26] = True
    quality = predict_quality(damaged(tiny, mask, 1), 1, mask, method="flow", places=1)
    assert quality.share > 0.9
    mask[:, 4:44] = True
    with pytest.raises(RepairRefused, match="no intact place"):
        predict_quality(damaged(tiny, mask, 1), 1, mask, method="flow", places=1)
    wide = np.zeros((SIDE, SIDE), dtype=bool)
    wide[:, 20:210] = True
    stack = damaged(volume[Z - 1 : Z + 2], wide, 1)
    repair = repair_section(stack, 1, wide, method="flow", options=RepairOptions(quality=True))
    assert Quality.from_scores(repair.provenance.scores).places == 0


def test_part_of_a_mask_is_tried_where_all_of_it_finds_no_place(volume):
    wide = np.zeros((SIDE, SIDE), dtype=bool)
    wide[:, 20:170] = True
    stack = damaged(volume[Z - 1 : Z + 2], wide, 1)
    quality = predict_quality(stack, 1, wide, method="flow", places=1)
    assert 0.5 < quality.share < 0.9


def test_places_are_intact_and_the_same_every_time(volume, mask):
    def trials(seed: int = 0):
        options = RepairOptions(seed=seed)
        job = make_job(damaged(volume, mask), Z, mask, None, None, "flow", "cpu", options)
        damage = Box.of_mask(mask)
        return list(find_trials(job, damage, mask[damage.slices], (Z - 1, Z + 1)))

    found = trials()
    assert [(p.z, p.box, p.neighbours) for p in found] == [
        (p.z, p.box, p.neighbours) for p in trials()
    ]
    assert [p.box for p in found] != [p.box for p in trials(1)]
    assert [p.z for p in found[:3]] == [Z, Z - 2, Z + 2]
    for trial in found:
        assert trial.neighbours == (trial.z - 1, trial.z + 1)
        if trial.z == Z:
            assert not mask[trial.box.slices][trial.hole].any()
        else:
            assert Z not in trial.neighbours


def test_damage_of_other_sections_is_avoided(volume, mask):
    def masks(z, box):
        return mask[box.slices] if z == Z - 1 else np.zeros(box.shape, dtype=bool)

    job = make_job(damaged(volume, mask), Z, mask, masks, None, "flow", "cpu", None)
    damage = Box.of_mask(mask)
    found = list(find_trials(job, damage, mask[damage.slices], (Z - 2, Z + 1)))
    beside = [(trial.z, trial.neighbours) for trial in found if trial.box == damage]
    assert (Z + 3, (Z + 1, Z + 4)) in beside  # as far away as for the real damage
    assert all(not {Z, Z - 1} & {z, *guides} for z, guides in beside)


def test_reading_follows_the_damage(mask):
    read = []

    class Watched(Stack):
        def read(self, z, box=None):
            read.append(box.shape)
            return super().read(z, box)

    volume = np.pad(series(), ((0, 0), (0, 800), (0, 800)), mode="reflect")
    wide = np.zeros(volume.shape[1:], dtype=bool)
    wide[:SIDE, :SIDE] = mask
    stack = damaged(volume, wide)
    stack.__class__ = Watched
    predict_quality(stack, Z, wide, method="flow", places=2)
    assert max(max(shape) for shape in read) <= 70 + 2 * (96 + 2)  # two to tell padding by


def test_it_can_be_cancelled(volume, mask):
    told = []

    def stop(fraction, message):
        told.append(fraction)
        if fraction > 0.5:
            raise Cancelled("enough")

    options = RepairOptions(quality=True)
    with pytest.raises(Cancelled):
        repair_section(
            damaged(volume, mask), Z, mask, method="flow", options=options, progress=stop
        )
    assert told == sorted(told)


def test_windows_are_averaged_as_errors_are():
    one = Quality(20, 0.4, 18, 0.3, 1, 3, 1)
    both = combine([(one, 100), (replace(one, structure=30, places=2), 300)])
    assert both.structure == pytest.approx(-10 * np.log10((0.01 + 3 * 0.001) / 4))
    assert (both.mean_structure, both.places) == (pytest.approx(18), 2)
    assert combine([]) is None
    assert Quality.from_scores(one.scores()) == one
    assert Quality.from_scores({"rehearsal_psnr": 3.0}) is None


# ---- refused for it


def test_a_repair_expected_worse_than_the_mean_is_refused(volume, mask):
    class Bad:
        name, neighbours, weights_sha256 = "bad", 2, None

        def ready(self):
            return True

        def halo(self, damage):
            return 64

        def repair(self, window, options, device, progress):
            from napari_flowinpaint.core.window import WindowRepair

            grey = np.full(window.mask.shape, 255, np.float32)
            return WindowRepair(grey, grey, grey, grey)

    stack = damaged(volume, mask)
    with pytest.raises(RepairRefused, match=r"worse .* than by the mean of its neighbours"):
        repair_section(stack, Z, mask, method=Bad(), options=RepairOptions(quality=True))
    options = RepairOptions(quality=True, gate="flag")
    assert len(repair_section(stack, Z, mask, method=Bad(), options=options).flags) == 1


def test_a_speck_does_not_get_a_section_refused(volume, mask):
    class BadOnSpecks(FlowMethod):
        def repair(self, window, options, device, progress):
            done = super().repair(window, options, device, progress)
            grey = np.full_like(done.result, 255)
            return replace(done, result=grey) if window.mask.sum() < 20 else done

    with_speck = mask.copy()
    with_speck[220:223, 220:223] = True
    stack, options = damaged(volume, with_speck), RepairOptions(quality=True)
    repair = repair_section(stack, Z, with_speck, method=BadOnSpecks(), options=options)
    speck = Quality.from_scores(repair.patches[1].scores)
    assert speck.structure < speck.mean_structure - 3
    assert repair.flags == ()


# ---- in a batch


def test_a_batch_keeps_flags_and_counts_the_trials(volume, mask, tmp_path):
    bad = volume.copy()
    for z in range(Z - 5, Z + 6):
        if 0 <= z < len(bad) and z != Z:
            bad[z] = cv2.GaussianBlur(bad[z], (0, 0), 4)
    stack = damaged(bad, mask)
    options = RepairOptions(gate="flag", halo=96)
    plan = plan_batch(stack, {Z: mask}, method=Quick(), options=options)
    run_batch(plan, tmp_path / "staging", workers=1)
    repair = load_staged(tmp_path / "staging").repair(Z)
    assert "out of focus" in repair.flags[0]
    slow = plan_batch(stack, {Z: mask}, method=Quick(), options=replace(options, quality=True))
    assert slow.seconds == pytest.approx(4 * plan.seconds)
