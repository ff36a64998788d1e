"""What is flagged as a fold is unfolded: section by section, component by component."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from folded_stacks import FOLDED, HOLED, folded_stack, tissue

from napari_flowinpaint.core.batch import plan_batch, run_batch
from napari_flowinpaint.core.batch.staging import Staging
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.mask_files import open_damage
from napari_flowinpaint.core.masks.sparse_mask import SparseMask
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.repair_section import plan_windows, repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.fold import Fold, fold_section


def masks_on_disk(labels, path, values=None):
    """Save labels as a label image that says what its values mean, and return its path."""
    values = values or {kind.label: name for name, kind in KINDS.items()}
    save_ome_zarr(Stack.from_array(labels), path)
    group = zarr.open_group(path, mode="r+")
    properties = [{"label-value": value, "kind": kind} for value, kind in values.items()]
    group.attrs["ome"] = {**group.attrs["ome"], "image-label": {"properties": properties}}
    return path


def methods_of(plan):
    return {section.z: section.methods for section in plan.sections}


def test_a_mask_that_tells_kinds_decides_section_by_section(tmp_path):
    _, array, labels = folded_stack()
    stack = Stack.from_array(array)
    mask = open_damage(masks_on_disk(labels, tmp_path / "m.zarr"), stack)
    plan = plan_batch(stack, mask)
    assert methods_of(plan) == {FOLDED: ("unfold",), HOLED: ("flowinpaint",)}
    assert "by unfold (a fold: its tissue is moved back)" in str(plan)
    assert plan.to_dict()["sections"][0]["windows"][0]["kind"] == "fold"
    asked = plan_batch(stack, mask, method="flow")
    assert methods_of(asked) == {FOLDED: ("flow",), HOLED: ("flow",)}


def test_label_images_of_others_say_themselves_what_their_values_mean(tmp_path):
    _, array, labels = folded_stack()
    stack = Stack.from_array(array)
    theirs = np.select([labels == 7, labels == 2], [2, 7]).astype(np.uint8)
    path = masks_on_disk(theirs, tmp_path / "m.zarr", {2: "fold", 7: "hole"})
    plan = plan_batch(stack, open_damage(path, stack))
    assert methods_of(plan)[FOLDED] == ("unfold",)
    plain = plan_batch(stack, labels)
    assert methods_of(plain)[FOLDED] == ("flowinpaint",)


def test_a_plan_tells_how_many_pixels_an_unfolding_may_replace():
    _, array, labels = folded_stack()
    stack = Stack.from_array(array)
    (fold,) = plan_batch(stack, labels, [FOLDED], options=RepairOptions(kind="fold")).sections
    lines, window = int((labels[FOLDED] > 0).sum()), labels[FOLDED].size
    assert f"{lines} pixels (up to {window:,} with the tissue that folds have displaced)" in str(
        fold
    )
    (hole,) = plan_batch(stack, labels, [HOLED]).sections
    assert hole.most_pixels == hole.pixels


@pytest.mark.parametrize(
    ("told", "section", "said"),
    [
        ("crack", FOLDED, "the mask says fold, but you asked for crack"),
        ("hole", FOLDED, "the mask says fold, but you asked for hole"),
        ("fold", HOLED, "the mask says hole, but you asked for fold"),
        ("fold", FOLDED, ""),
        ("dark", HOLED, ""),
    ],
)
def test_a_kind_that_was_asked_for_overrules_the_mask_and_says_so(tmp_path, told, section, said):
    _, array, labels = folded_stack()
    stack = Stack.from_array(array)
    mask = open_damage(masks_on_disk(labels, tmp_path / "m.zarr"), stack)
    plan = plan_batch(stack, mask, [section], options=RepairOptions(kind=told))
    (window,) = plan.sections[0].windows
    assert (window.method == "unfold") == (told in ("fold", "crack"))
    assert said in window.why
    assert ("you asked" in window.why) == bool(said)


@pytest.mark.parametrize("over_a_file", [False, True])
def test_painted_kinds_count(tmp_path, over_a_file):
    _, array, labels = folded_stack()
    stack = Stack.from_array(array)
    base = open_damage(masks_on_disk(labels, tmp_path / "m.zarr"), stack)
    painted = SparseMask(stack.shape, base if over_a_file else None)
    if not over_a_file:
        painted[:] = labels
    assert methods_of(plan_batch(stack, painted))[FOLDED] == ("unfold",)


def test_damage_near_a_fold_is_repaired_with_it_and_far_away_without():
    _, array, labels = folded_stack()
    both = np.maximum(labels[FOLDED], labels[HOLED])
    mask = both > 0
    stack = Stack.from_array(array)
    (plan,), _ = plan_windows(stack, FOLDED, mask, kinds=both)
    assert (plan.method, plan.kind) == ("unfold", "fold")
    wide = Stack.from_array(np.tile(array, (1, 1, 8)))
    far, kinds = (np.zeros(wide.shape[1:], t) for t in (bool, np.uint8))
    far[:, :192], kinds[:, :192] = labels[FOLDED] > 0, labels[FOLDED]
    far[60:90, -60:-30] = True
    plans, _ = plan_windows(wide, FOLDED, far, kinds=kinds)
    assert {plan.method for plan in plans} == {"unfold", "flowinpaint"}


@pytest.mark.parametrize(("decay", "seed", "components"), [(0.1, 1, 1), (0.3, 0, 2)])
def test_folds_whose_zones_touch_are_accepted_together(decay, seed, components):
    size = 224 if components == 1 else 320
    array = tissue(size=size)
    part = array[1, :, : size // 2]
    halves = [fold_section(part, Fold(6, 30, decay), seed=seed) for _ in (0, 1)]
    array[1] = np.hstack([halves[0].image, halves[1].image[:, ::-1]])
    lines = np.hstack([halves[0].line, halves[1].line[:, ::-1]])
    (patch,) = repair_section(Stack.from_array(array), 1, lines, method="unfold").patches
    assert set(np.unique(patch.components)) - {0} == set(range(1, components + 1))
    beside = [np.s_[:, 1:], np.s_[:, :-1]]
    a, b = (patch.components[part] for part in beside)
    assert not ((a != b) & (a > 0) & (b > 0)).any(), "zones have no seam"


def test_a_batch_unfolds_and_repairs_again_from_the_kinds_that_it_was_given(tmp_path):
    _, array, labels = folded_stack()
    save_ome_zarr(Stack.from_array(array), tmp_path / "s.zarr")
    stack = open_stack(tmp_path / "s.zarr")
    mask = open_damage(masks_on_disk(labels, tmp_path / "m.zarr"), stack)
    options = RepairOptions(halo=48)
    run_batch(plan_batch(stack, mask, [FOLDED], options=options), tmp_path / "staged", workers=1)
    staging = Staging(tmp_path / "staged")
    (first,) = staging.get([FOLDED])
    assert first.method == "unfold"
    assert staging.repair(FOLDED).provenance.options["kind"] == "fold"
    assert first.expected_structure is None
    again = staging.redo(stack, FOLDED, options=RepairOptions(halo=40))
    assert again.method == "unfold"
    edited = labels[FOLDED] > 0
    edited[:20] = False
    assert staging.redo(stack, FOLDED, mask=edited, kinds=labels[FOLDED]).method == "unfold"
    assert staging.redo(stack, FOLDED, mask=edited, method="flow").method == "flow"
