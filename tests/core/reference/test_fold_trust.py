"""Unfolded tissue is left out where an interpolation is nearer to the truth."""

from __future__ import annotations

import numpy as np
from folded_stacks import tissue

from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods import unfold
from napari_flowinpaint.core.reference.fold_trust import untrusted
from napari_flowinpaint.core.reference.optical_flow import warp
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.simulation.fold import Fold, fold_section

SIZE = 384


def judged(off: float, moved: np.ndarray) -> np.ndarray:
    """Return what is not trusted of tissue of which the left third is ``off`` pixels off."""
    section = tissue(size=SIZE)[1].astype(np.float32)
    flow = np.zeros((2, SIZE, SIZE), np.float32)
    flow[0, :, : SIZE // 3] = off
    every, still = np.ones((SIZE, SIZE), bool), np.zeros_like(flow)
    reference = tissue(size=SIZE)[0].astype(np.float32)
    return untrusted(warp(section, flow), every, reference, still, moved)


def test_tissue_that_was_moved_to_its_place_is_trusted_and_other_tissue_is_not():
    moved = np.zeros((SIZE, SIZE), bool)
    moved[:, : SIZE // 4] = True
    assert not judged(0, moved).any()
    wrong = judged(9, moved)
    assert wrong[moved].all()
    left, right = wrong[:, SIZE // 4 : SIZE // 3], wrong[:, -SIZE // 4 :]
    assert left.mean() > 0.9, "tissue that should have been moved"
    assert right.mean() < 0.1, "tissue that was in its place"


def test_what_is_not_trusted_is_interpolated_marked_as_synthetic_and_flagged(monkeypatch):
    array = tissue(size=192, depth=9)[::4].copy()  # not much alike
    truth = array[1].copy()
    made = fold_section(truth, Fold(8, 36, 0.15), seed=0)
    array[1] = made.image
    found = unfold._unfold

    def misled(*args):
        right = found(*args)
        return unfold.replace(right, flow=right.flow * np.float32(0.4))

    def repair():
        (patch,) = repair_section(Stack.from_array(array), 1, made.line, method="unfold").patches
        assert patch.box.shape == truth.shape
        return patch, float(np.abs(patch.result.astype(float) - truth).mean())

    patch, _ = repair()
    assert patch.displaced.mask.sum() > 0.7 * patch.mask.sum()
    monkeypatch.setattr(unfold, "_unfold", misled)
    patch, interpolated = repair()
    assert patch.mask.sum() > 2 * made.line.sum()
    assert not patch.displaced.mask.any()
    assert any("interpolated" in flag for flag in patch.flags)
    monkeypatch.setattr(unfold, "untrusted", lambda *args: np.zeros(truth.shape, bool))
    assert interpolated < 0.6 * repair()[1]
