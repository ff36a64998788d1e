"""Deciding about a batch: accept, reject, redo, write once, revert."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr
from batches import DAMAGED, SHAPE, image_files, masks, options, plan_of

from napari_flowinpaint.core.batch import commit, load_staged, run_batch
from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.writing.writeback import history, revert


def test_decisions_commit_and_revert(stack, store, tmp_path):
    staging, before = tmp_path / "st", image_files(store)
    run_batch(plan_of(stack), staging)
    staged = load_staged(staging)
    assert commit(stack, staged) == {}, "nothing is accepted"
    quality = {section.z: section.quality for section in staged.sections}
    worst = sorted(DAMAGED, key=lambda z: quality[z])
    assert staged.accept_above(quality[worst[2]]) == tuple(sorted(worst[2:]))
    staged.undecide(worst)
    staged.accept([5, 8])
    staged.reject([2])
    staged = load_staged(staging)
    decisions = {section.z: section.decision for section in staged.sections}
    assert decisions == {2: "rejected", 4: "undecided", 5: "accepted", 8: "accepted"}
    assert [section.z for section in staged.worst_first()] == worst
    assert image_files(store) == before, "nothing is written before it is accepted"
    assert commit(stack, staged, [8]) == {8: 1}
    assert commit(stack, staged) == {5: 2}
    assert commit(stack, staged) == {}
    level = zarr.open_array(str(store / "0"), mode="r")
    for z in (5, 8):
        repair = staged.repair(z)
        here = level[z][repair.box.slices]
        assert np.array_equal(here[repair.mask], repair.result[repair.mask])
    assert [entry.z for entry in history(stack)] == [8, 5]
    assert run_batch(plan_of(open_stack(store)), staging).computed == (), (
        "our own writing counts not"
    )
    revert(stack, repair_id=2)
    revert(stack)
    after = image_files(store)
    assert {name: after[name] for name in before} == before
    staged.accept([5])
    assert commit(stack, staged) == {5: 3}, "it was reverted, so it is written again"


def test_a_commit_that_was_killed_writes_nothing_twice(stack, store, tmp_path):
    run_batch(plan_of(stack), tmp_path / "st")
    staged = load_staged(tmp_path / "st")
    staged.accept(DAMAGED)
    assert commit(stack, staged) == {2: 1, 4: 2, 5: 3, 8: 4}
    staged.accept([4, 8])  # as if it had been killed before it was noted
    assert commit(open_stack(store), staged) == {4: 2, 8: 4}
    assert len(history(stack)) == 4


def test_redo_with_another_mask_or_method(stack, tmp_path):
    staging = tmp_path / "st"
    plan = plan_of(stack, method="flow")
    run_batch(plan, staging)
    staged = load_staged(staging)
    staged.accept(DAMAGED)
    smaller = masks()[8] > 0
    smaller[:, 50:] = False
    section = staged.redo(stack, 8, mask=smaller)
    assert (section.decision, section.pixels) == ("undecided", 70)
    key = section.key
    section = staged.redo(stack, 2, options=replace(options(), seed=3))
    assert section.decision == "undecided"
    again = run_batch(plan, staging)
    assert again.computed == (), "running the batch again does not undo what was chosen"
    found = {section.z: section for section in load_staged(staging).sections}
    assert (found[8].key, found[8].pixels) == (key, 70)
    assert [found[z].decision for z in DAMAGED] == [
        *("undecided", "accepted", "accepted", "undecided"),
    ]
    with pytest.raises(InputError, match="no mask"):
        staged.redo(stack, 7)
    with pytest.raises(InputError, match="empty"):
        staged.redo(stack, 8, mask=np.zeros(SHAPE[1:], bool))
    with pytest.raises(RepairRefused, match="usable neighbour"):
        staged.redo(stack, 9, mask=np.ones(SHAPE[1:], bool), options=RepairOptions(max_gap=1))


def test_single_components_are_accepted(stack, store, tmp_path):
    z, mask = 2, masks()
    mask[z, 40:50, 40:50] = 1
    run_batch(plan_of(stack, mask), tmp_path / "st")
    staged = load_staged(tmp_path / "st")
    repair = staged.repair(z)
    first, *others = repair.component_ids
    with pytest.raises(InputError, match="no component"):
        staged.accept([z], {z: ()})
    staged.accept([z], {z: [first]})
    assert load_staged(tmp_path / "st").chosen(z) == (first,)
    before = stack.read(z)
    (number,) = commit(stack, staged).values()
    assert commit(stack, staged) == {}, "written once"
    changed = stack.read(z, repair.box) != before[repair.box.slices]
    of_others = repair.select(set(others))
    assert changed.any()
    for patch in of_others.patches:
        assert not changed[patch.box.within(repair.box)][patch.mask].any()
    assert staged.chosen(z) == (first,), "what was written is known"
    assert staged.accepted_repair(z).component_ids == (first,)
    revert(stack, repair_id=number)
    staged.accept([z])
    assert staged.chosen(z) is None
