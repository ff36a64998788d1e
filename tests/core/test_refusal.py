"""Windows that would have to be made up are left, and told; the others are repaired."""

from __future__ import annotations

import doctest
import json

import numpy as np
import pytest

from napari_flowinpaint.core import refusal
from napari_flowinpaint.core.batch import load_staged, plan_batch, run_batch
from napari_flowinpaint.core.box import Box
from napari_flowinpaint.core.errors import RepairRefused
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.refusal import (
    Refusal,
    describe_reasons,
    describe_refused,
    in_short,
    sections_at_fault,
)
from napari_flowinpaint.core.repair.gate import NeighbourFit, describe_faults
from napari_flowinpaint.core.repair.quality import predict_quality
from napari_flowinpaint.core.repair.repair_section import plan_windows, repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.writing.writeback import revert, write_back

Z = 2
GOOD, LOST = Box(20, 20, 44, 50), Box(260, 200, 275, 220)
OPTIONS = RepairOptions(max_gap=1)
NEAR = {"method": "flow", "options": OPTIONS}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Return sections of which nobody shows what one hole of section 2 has hidden."""
    pixels = synthetic_stack(SampleConfig(shape=(5, 320, 320)))
    pixels[Z][mask()] = 0
    for z in (Z - 1, Z + 1):
        pixels[z, 200:] = 0
    return pixels


def mask() -> np.ndarray:
    mask = np.zeros((320, 320), dtype=bool)
    mask[GOOD.slices] = mask[LOST.slices] = True
    return mask


def volume_mask() -> np.ndarray:
    return np.stack([mask() if z == Z else np.zeros_like(mask()) for z in range(5)])


def test_examples_hold():
    assert doctest.testmod(refusal).failed == 0


def test_few_places_and_reasons_are_reported():
    same = [Refusal(Box(n, 0, n + 1, 1), 1, "blank") for n in range(5)]
    told = describe_refused([*same, Refusal(Box(9, 9, 10, 10), 7, "far")])
    assert told.startswith("5 pixels left at rows 0-0, columns 0-0 and ")
    assert "and 2 more: blank; 7 pixels left at rows 9-9" in told
    assert describe_reasons([*same, Refusal(Box(9, 9, 10, 10), 7, "far")]) == "blank; far"
    assert describe_refused([]) == ""


@pytest.mark.parametrize(
    ("fits", "short"),
    [
        ([(3, 0.2, 0.2, 1.0, 0)], "section 3 shows something other than section 4"),
        (
            [(3, 0.2, 0.2, 1.0, 0), (5, 0.2, 0.2, 1.0, 0), (7, 0.2, 0.2, 1.0, 0)],
            "sections 3, 5 and 7 show something other than section 4",
        ),
        (
            [(3, 0.2, 0.2, 1.0, 0), (5, 0.9, None, 0.5, 0)],
            "section 3 shows something other than section 4, and section 5 is out of focus",
        ),
        ([(3, 0.9, None, 1.0, 900)], "section 3 lies 900 px off section 4"),
        ([(3, 0.9, None, 0.5, 0), (5, 0.9, None, 0.5, 0)], "sections 3 and 5 are out of focus"),
    ],
)
def test_a_reason_of_the_gate_names_the_sections_at_fault_in_one_sentence(fits, short):
    said = describe_faults(4, [NeighbourFit(*fit) for fit in fits])
    reason = f"{said}; no other within 5 sections fits: align the stack there, {refusal.ANYWAY}"
    assert sections_at_fault(reason) == tuple(fit[0] for fit in fits)
    assert in_short(reason) == short
    assert refusal.is_of_gate(reason)
    assert sections_at_fault("section 4 has no usable neighbour within 5 sections") == ()


def test_one_refused_window_does_not_refuse_the_others(pixels):
    repair = repair_section(Stack.from_array(pixels), Z, mask(), **NEAR)
    (patch,) = repair.patches
    assert patch.mask.sum() == repair.provenance.mask_pixels == 24 * 30
    (left,) = repair.refused
    assert (left.box, left.pixels) == (LOST, 15 * 20)
    assert "no usable neighbour" in left.reason
    alone = repair_section(Stack.from_array(pixels), Z, mask() & in_box(GOOD), **NEAR)
    assert np.array_equal(patch.result, alone.patches[0].result)
    assert Refusal.from_dict(json.loads(json.dumps(left.to_dict()))) == left


def in_box(box: Box) -> np.ndarray:
    found = np.zeros((320, 320), dtype=bool)
    found[box.slices] = True
    return found


def test_a_section_of_which_every_window_is_refused_is_refused(pixels):
    stack, lost = Stack.from_array(pixels), mask() & in_box(LOST)
    for ask in (repair_section, plan_windows, predict_quality):
        with pytest.raises(RepairRefused, match="no usable neighbour"):
            ask(stack, Z, lost, **NEAR)


def test_the_plan_tells_what_will_be_left(pixels):
    plans, refused = plan_windows(Stack.from_array(pixels), Z, mask(), **NEAR)
    assert [plan.pixels for plan in plans] == [24 * 30]
    assert refused == repair_section(Stack.from_array(pixels), Z, mask(), **NEAR).refused


def test_the_quality_is_that_of_what_can_be_repaired(pixels):
    stack = Stack.from_array(pixels)
    repair = repair_section(stack, Z, mask(), **NEAR)
    expected = predict_quality(stack, Z, mask() & in_box(GOOD), places=1, **NEAR)
    assert predict_quality(stack, Z, mask(), places=1, **NEAR) == expected
    assert predict_quality(stack, Z, mask(), repair=repair, places=1, **NEAR) is not None


def test_only_what_was_repaired_is_written_and_marked(pixels, tmp_path):
    path = save_ome_zarr(Stack.from_array(pixels, voxel_size=(40, 4, 4)), tmp_path / "a.zarr")
    stack = open_stack(path)
    write_back(stack, repair_section(stack, Z, mask(), **NEAR))
    written = open_stack(path).read(Z)
    assert np.array_equal(written[~in_box(GOOD)], pixels[Z][~in_box(GOOD)])
    assert (written[GOOD.slices] != pixels[Z][GOOD.slices]).any()
    revert(open_stack(path))
    assert np.array_equal(open_stack(path).read(Z), pixels[Z])


def test_a_batch_keeps_and_tells_what_was_left(pixels, tmp_path):
    stack = Stack.from_array(pixels)
    plan = plan_batch(stack, volume_mask(), method="flow", options=OPTIONS)
    (section,) = plan.incomplete
    assert section.pixels == 24 * 30
    assert "300 pixels left at rows 260-274, columns 200-219" in str(section)
    assert "1 window left in the others" in plan.summary()
    assert plan.to_dict()["sections"][0]["refused_windows"] == [section.refused[0].to_dict()]
    first, again = (run_batch(plan, tmp_path / "staged", workers=1) for _ in range(2))
    for report, computed in ((first, (Z,)), (again, ())):
        assert report.computed == computed
        assert report.repaired == (Z,)
        assert not report.complete
        (outcome,) = report.incomplete
        assert outcome.refused == section.refused
    staging = load_staged(tmp_path / "staged")
    assert staging.sections[0].refused == section.refused
    assert staging.repair(Z).refused == section.refused
