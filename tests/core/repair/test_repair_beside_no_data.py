"""A stack gives the same repairs with and without padding around it."""

from __future__ import annotations

import numpy as np
import pytest
from padding import outside

from napari_flowinpaint.core.errors import RepairRefused
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.repair.neighbours import find_neighbours, no_masks
from napari_flowinpaint.core.repair.quality import predict_quality
from napari_flowinpaint.core.repair.repair_section import plan_windows, repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.types import Box

Z = 2
SHAPE = (160, 176)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    return synthetic_stack(SampleConfig(shape=(5, *SHAPE), seed=3))


@pytest.fixture(scope="module")
def hole() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(y - 70, x - 60) < 24


def result(
    pixels: np.ndarray, mask: np.ndarray, stack: Stack | None = None, **options
) -> np.ndarray:
    stack = stack or Stack.from_array(pixels)
    repair = repair_section(stack, Z, mask, method="flow", options=RepairOptions(**options))
    out = pixels[Z].copy()
    for patch in repair.patches:
        out[patch.box.slices][patch.mask] = patch.result[patch.mask]
    return out


@pytest.mark.parametrize(
    ("dtype", "offset", "value"),
    [
        ("uint8", 0, 255),
        ("uint16", 32768, 0),
        ("float32", 30000, np.nan),
    ],
)
def test_padding_around_a_stack_changes_no_repair(tissue, hole, dtype, offset, value):
    pixels = (tissue.astype(np.int64) + offset).astype(dtype)
    pixels[Z][hole] = pixels.max()
    around = ((0, 0), (20, 33), (11, 40))
    padded = np.pad(pixels, around, constant_values=value)
    mask = np.pad(hole, around[1:])
    plain, within = result(pixels, hole), result(padded, mask)
    inner = (slice(20, -33), slice(11, -40))
    np.testing.assert_array_equal(within[inner], plain)
    np.testing.assert_array_equal(within[~np.pad(np.ones_like(hole), around[1:])], padded[Z][0, 0])


def error(filled: np.ndarray, tissue: np.ndarray, hole: np.ndarray) -> float:
    return float(np.abs(filled[hole].astype(float) - tissue[Z][hole]).mean())


def test_padding_whose_border_moves_spoils_no_repair(tissue, hole):
    pixels = tissue.copy()
    for z, width in enumerate((20, 14, 9, 30, 25)):
        pixels[z][outside(SHAPE, 4 - 2 * z, (0, 0), width)] = 0
    plain = error(result(tissue, hole), tissue, hole)
    assert error(result(pixels, hole), tissue, hole) < 1.15 * plain


def test_where_one_neighbour_was_not_imaged_the_other_guides(tissue, hole):
    pixels = tissue.copy()
    pixels[Z + 1, :, :60] = 0
    filled = result(pixels, hole)
    both = error(result(tissue, hole), tissue, hole)
    one = error(result(tissue[: Z + 1], hole), tissue, hole)
    left = hole.copy()
    left[:, 60:] = False
    assert error(filled, tissue, hole) < (both + 1.2 * one) / 2
    assert abs(filled[left].mean() - tissue[Z][left].mean()) < 12


def test_neighbours_that_show_less_than_half_are_passed_over(tissue, hole):
    pixels = tissue.copy()
    pixels[Z + 1, :, :75] = 0
    box = Box.of_mask(hole)
    found = find_neighbours(Stack.from_array(pixels), Z, box, hole[box.slices], 5, no_masks)
    assert found == (Z - 1, Z + 2)


def test_two_neighbours_that_show_all_are_better_than_nearer_ones_that_do_not(tissue, hole):
    pixels = tissue.copy()
    pixels[Z - 1, :, :55] = pixels[Z + 1, :, :55] = 0
    box = Box.of_mask(hole)
    for depth, expected in ((5, {Z - 2, Z + 2}), (4, {Z - 2})):
        stack = Stack.from_array(pixels[:depth])
        found = find_neighbours(stack, Z, box, hole[box.slices], 5, no_masks)
        assert expected & set(found)


def test_what_no_neighbour_shows_is_left_and_told(tissue, hole):
    pixels = tissue.copy()
    pixels[:Z, :, :45] = pixels[Z + 1 :, :, :45] = 0
    repair = repair_section(Stack.from_array(pixels), Z, hole, method="flow")
    (left,) = repair.refused
    assert left.pixels == hole[:, :45].sum()
    assert f"neither {Z - 1} nor {Z + 1} was imaged" in left.reason
    assert repair.mask.sum() == hole[:, 45:].sum()
    (alone,) = repair_section(Stack.from_array(pixels[Z:]), 0, hole, method="flow").refused
    assert "section 1 was not imaged" in alone.reason


def test_what_only_a_neighbour_shows_that_does_not_fit_is_left_and_told(tissue, hole):
    pixels = tissue.copy()
    pixels[:Z, :, :45] = 0
    pixels[Z + 1 :] = np.roll(tissue[Z + 1 :], (70, 80), (1, 2))
    repair = repair_section(Stack.from_array(pixels), Z, hole, method="flow")
    assert repair.patches[0].neighbours == (Z - 1, None)
    (left,) = repair.refused
    assert left.pixels == hole[:, :45].sum()
    assert f"section {Z - 1} was not imaged" in left.reason
    assert repair.mask.sum() == hole[:, 45:].sum()


def test_masked_padding_is_never_repaired(tissue):
    pixels = tissue.copy()
    pixels[:, :, :30] = 0
    mask = np.zeros(SHAPE, bool)
    mask[40:80, 10:60] = True
    stack = Stack.from_array(pixels)
    repair = repair_section(stack, Z, mask, method="flow")
    assert repair.mask.sum() == mask[:, 30:].sum()
    assert f"{mask[:, :30].sum()} masked pixels of section {Z}" in repair.flags[0]
    assert not repair.refused
    plans, _ = plan_windows(stack, Z, mask)
    assert sum(plan.pixels for plan in plans) == mask[:, 30:].sum()
    mask[:, 25:] = False
    with pytest.raises(RepairRefused, match="nothing was imaged"):
        repair_section(stack, Z, mask)


def test_a_lost_section_is_repaired_where_its_neighbours_were_imaged(tissue):
    pixels = tissue.copy()
    pixels[:, :, :20] = 0
    pixels[:Z, :, :30] = 0
    pixels[Z] = 0
    repair = repair_section(Stack.from_array(pixels), Z, np.ones(SHAPE, bool), method="flow")
    assert not repair.refused
    np.testing.assert_array_equal(repair.mask, np.broadcast_to(np.arange(SHAPE[1]) >= 20, SHAPE))
    assert f"{20 * SHAPE[0]} masked pixels of section {Z} lie where nothing was" in repair.flags[0]


def test_a_lost_corner_that_is_masked_is_repaired(tissue):
    pixels = tissue.copy()
    mask = np.zeros(SHAPE, bool)
    mask[:40, :50] = True
    pixels[Z][mask] = 0
    filled = result(pixels, mask)
    assert error(filled, tissue, mask) < 25


def test_a_declared_value_enters_the_repair_and_its_record(tissue, hole):
    pixels = tissue.copy()
    pixels[:, 100:140, 40:80] = 255
    declared = Stack.from_array(pixels).with_no_data(255)
    filled = result(pixels, hole, declared)
    assert error(filled, tissue, hole) < 1.3 * error(result(tissue, hole), tissue, hole)
    repair = repair_section(declared, Z, hole, method="flow")
    assert repair.provenance.options["no_data"] == 255


def test_the_quality_is_predicted_without_padding(tissue, hole):
    pixels = tissue.copy()
    pixels[:, outside(SHAPE, 2, (0, 0), 14)] = 0
    plain, padded = (
        predict_quality(Stack.from_array(p), Z, hole, method="flow", places=1)
        for p in (tissue, pixels)
    )
    assert abs(plain.mean_structure - padded.mean_structure) < 6
    assert abs(plain.structure - padded.structure) < 6
