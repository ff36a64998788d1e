"""Neighbours: nearest usable section on each side, and alpha."""

from __future__ import annotations

import numpy as np
import pytest

from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.repair.neighbours import (
    axial_position,
    find_neighbours,
    no_masks,
    read_neighbour,
)
from napari_flowinpaint.core.types import Box

BOX = Box(8, 8, 24, 24)
MASK = np.ones(BOX.shape, dtype=bool)


def stack_of(depth: int = 9) -> Stack:
    pixels = np.random.default_rng(0).integers(0, 255, (depth, 32, 32), dtype=np.uint8)
    return Stack.from_array(pixels)


def find(
    stack: Stack, z: int, step: int, max_gap: int = 5, masks=no_masks, mask: np.ndarray = MASK
) -> int | None:
    before, after = find_neighbours(stack, z, BOX, mask, max_gap, masks)
    return before if step < 0 else after


def test_the_nearest_sections_are_taken():
    assert (find(stack_of(), 4, -1), find(stack_of(), 4, 1)) == (3, 5)


def test_the_stack_ends():
    assert find(stack_of(), 0, -1) is None
    assert find(stack_of(), 8, 1) is None


def test_damaged_and_blank_sections_are_passed_over():
    pixels = np.asarray(stack_of().array).copy()
    pixels[5] = 128
    stack = Stack.from_array(pixels)

    def masks(z: int, box: Box) -> np.ndarray:
        return np.full(box.shape, z == 3)

    assert find(stack, 4, 1, masks=masks) == 6
    assert find(stack, 4, -1, masks=masks) == 2


def test_damage_elsewhere_does_not_matter():
    def masks(z: int, box: Box) -> np.ndarray:
        damage = np.zeros(box.shape, dtype=bool)
        damage[0, 0] = True
        return damage

    mask = MASK.copy()
    mask[0, 0] = False
    assert find(stack_of(), 4, 1, masks=masks, mask=mask) == 5


def test_a_section_that_does_not_cover_the_hole_is_passed_over():
    pixels = np.asarray(stack_of().array).copy()
    pixels[5, :20] = 0
    mask = np.zeros(BOX.shape, dtype=bool)
    mask[:10] = True
    assert find(Stack.from_array(pixels), 4, 1, mask=mask) == 6


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_contrast_over_the_whole_range_is_no_blank(dtype: str):
    """The range of int16 does not fit into int16."""
    info = np.iinfo(dtype) if dtype != "float32" else np.finfo("float16")
    pixels = np.full((9, 32, 32), info.min, dtype)
    pixels[:, ::2] = info.max
    assert find(Stack.from_array(pixels), 4, 1) == 5


@pytest.mark.filterwarnings("error")
def test_garbage_in_floats_does_not_guide():
    pixels = np.asarray(stack_of().array).astype(np.float32)
    pixels[5, 10, 10] = 1e30
    pixels[3, 0, 0] = -3e38
    stack = Stack.from_array(pixels)
    assert find(stack, 4, 1) == 6
    previous = read_neighbour(stack, 3, Box(0, 0, 32, 32), no_masks)
    assert previous is not None
    assert not previous.valid[0, 0]
    assert abs(previous.image).max() <= 255


def test_the_gap_is_limited():
    pixels = np.asarray(stack_of().array).copy()
    pixels[5:8] = 0
    assert find(Stack.from_array(pixels), 4, 1, max_gap=3) is None
    assert find(Stack.from_array(pixels), 4, 1, max_gap=4) == 8


@pytest.mark.parametrize(
    ("z", "previous", "following", "alpha"), [(5, 4, 6, 0.5), (5, 4, 7, 1 / 3), (5, 2, 6, 0.75)]
)
def test_alpha_from_distances(z: int, previous: int, following: int, alpha: float):
    assert axial_position(z, previous, following) == pytest.approx(alpha)


def test_alpha_weighs_thickness():
    thickness = [40, 40, 80, 40]
    assert axial_position(1, 0, 2, thickness) == pytest.approx(40 / (40 + 60))
    assert axial_position(1, 0, 3, [40, 40, 40, 40]) == pytest.approx(axial_position(1, 0, 3))
