"""Missing sections that a single neighbour guides say that they are its copies."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_flowinpaint.core.batch import load_staged, plan_batch, run_batch
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

SHAPE = (9, 64, 64)


def plan_of(missing, *, hole=False, max_gap=5, method="auto", stack=None):
    mask = np.zeros(SHAPE, dtype=bool)
    for z in missing:
        mask[z] = True
        if hole:
            mask[z, :20] = False
    pixels = np.where(mask, 0, synthetic_stack(SampleConfig(shape=SHAPE)))
    stack = Stack.from_array(pixels) if stack is None else stack
    return plan_batch(stack, mask, method=method, options=RepairOptions(max_gap=max_gap))


def flags_of(plan):
    return [[flag for window in s.windows for flag in window.flags] for s in plan.sections]


@pytest.mark.parametrize(
    ("missing", "guide", "others"),
    [
        ((0,), 1, [""]),
        ((0, 1), 2, ["; section 1, missing as well, shows the same", "; section 0, missing"]),
        ((7, 8), 6, ["; section 8, missing as well, shows the same", "; section 7, missing"]),
        ((0, 1, 2), 3, ["; sections 1, 2, missing as well, show", "; sections 0, 2,", "0, 1,"]),
    ],
)
def test_missing_sections_at_an_end_are_said_to_be_copies(missing, guide, others):
    plan = plan_of(missing)
    for z, (flag,), other in zip(missing, flags_of(plan), others, strict=True):
        assert f"section {z} is missing as a whole and repeats section {guide} unchanged" in flag
        assert (other in flag) if other else flag.endswith("nothing shows how it differs")
    assert str(plan).count("nothing shows how it differs") == len(missing)
    assert "flags" in json.dumps(plan.to_dict()["sections"][0]["windows"])


def test_what_else_tells_is_no_copy():
    assert flags_of(plan_of((3, 4))) == [[], []]  # between two neighbours
    assert flags_of(plan_of((0, 1), hole=True)) == [[], []]  # some of the section is there
    # each has another neighbour
    assert all("missing as well" not in flag for (flag,) in flags_of(plan_of((3, 4), max_gap=1)))


def test_the_repair_is_flagged_as_its_plan_is(tmp_path):
    from napari_flowinpaint.core.export import save_ome_zarr

    mask = np.zeros(SHAPE, dtype=bool)
    mask[:2] = True
    pixels = np.where(mask, 0, synthetic_stack(SampleConfig(shape=SHAPE)))
    save_ome_zarr(Stack.from_array(pixels), tmp_path / "stack.zarr")
    plan = plan_of((0, 1), method="flow", stack=open_stack(tmp_path / "stack.zarr"))
    assert run_batch(plan, tmp_path / "staging", workers=1).complete
    for section, (flag,) in zip(plan.sections, flags_of(plan), strict=True):
        repair = load_staged(tmp_path / "staging").repair(section.z)
        assert flag in repair.flags
        assert flag in repair.provenance.flags
