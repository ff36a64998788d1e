"""Which neighbours guide a window, and which are left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from textures import texture

from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.repair.gate import NeighbourFit, describe_faults, measure_fit
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.core.window import Neighbour, Window

SIDE = 256
Z = 4


def series(seed: int = 0, depth: int = 9, side: int = SIDE, change: float = 0.1) -> np.ndarray:
    """Return sections of a texture that changes and moves from one to the next, with grain."""
    rng = np.random.default_rng(seed)
    wide = side + 2 * depth
    first, last = texture((wide, wide), seed + 1), texture((wide, wide), seed + 2)
    sections = []
    for z in range(depth):
        angle = change * z
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


def spoil(section: np.ndarray, how: str, seed: int = 0) -> np.ndarray:
    if how == "other":
        return series(seed=100 + seed)[Z]
    if how == "turned":
        return section[::-1, ::-1]
    if how == "blurred":
        return cv2.GaussianBlur(section, (0, 0), 4)
    if how == "shifted":
        return np.roll(section, (120, 110), (0, 1))
    noise = np.random.default_rng(seed).normal(128, 40, section.shape)
    return noise.clip(0, 255).astype(np.uint8)


def planted(volume: np.ndarray, mask: np.ndarray, spoilt: dict[int, str]) -> Stack:
    out = volume.copy()
    for z, how in spoilt.items():
        out[z] = spoil(out[z], how)
    out[Z][mask] = 255
    return Stack.from_array(out)


def window_of(section, previous, following, mask, alpha=0.5) -> Window:
    shown = np.ones(mask.shape, dtype=bool)
    neighbours = [
        Neighbour(z, n.astype(np.float32), shown) for z, n in ((3, previous), (5, following))
    ]
    section = np.where(mask, 0, section).astype(np.float32)
    box = Box.whole(mask.shape)
    return Window(Z, box, section, mask, ~mask, *neighbours, alpha=alpha, value_range=(0, 255))


def repair(stack: Stack, mask: np.ndarray, **options):
    return repair_section(stack, Z, mask, method="flow", options=RepairOptions(**options))


HOWS = ("other", "turned", "blurred", "shifted", "noise")


@pytest.mark.parametrize("how", HOWS)
def test_a_bad_neighbour_is_told_from_a_real_one(mask, how):
    for seed in range(2):
        volume = series(seed=seed)
        bad = spoil(volume[Z + 1], how, seed)
        real, fit = measure_fit(window_of(volume[Z], volume[Z - 1], bad, mask))
        assert real.fault == "", real
        assert fit.fault in ({"shifted", "other"} if how == "shifted" else {how, "other"}), fit


def test_neighbours_that_hardly_correlate_are_real_all_the_same(mask):
    """The fixed correlations of old refused such sections."""
    volume = series(change=0.9)
    rng = np.random.default_rng(0)
    noisy = np.clip(volume + rng.normal(0, 55, volume.shape), 0, 255).astype(np.uint8)
    assert np.corrcoef(noisy[Z - 1].ravel(), noisy[Z].ravel())[0, 1] < 0.2
    found = repair(planted(noisy, mask, {}), mask)
    assert found.flags == ()
    assert found.provenance.neighbours == (Z - 1, Z + 1)


@pytest.mark.parametrize(("how", "z"), zip(HOWS, [Z - 1, Z + 1] * 3, strict=False))
def test_one_bad_neighbour_is_left_out_and_the_other_one_guides(volume, mask, how, z):
    found = repair(planted(volume, mask, {z: how}), mask, max_gap=1)
    assert found.patches[0].neighbours == ((None, Z + 1) if z < Z else (Z - 1, None))
    (flag,) = found.flags
    assert flag.startswith(f"section {z} ")
    assert flag.endswith(f"; section {Z} was repaired with section {2 * Z - z}")
    assert found.provenance.flags == found.flags


def test_the_next_section_on_that_side_guides_where_it_fits(volume, mask):
    found = repair(planted(volume, mask, {Z - 1: "noise"}), mask)
    patch = found.patches[0]
    assert patch.neighbours == (Z - 2, Z + 1)
    assert patch.alpha == pytest.approx(2 / 3)
    assert found.flags[0].endswith(f"was repaired with sections {Z - 2} and {Z + 1}")


def test_what_is_refused_names_the_sections_at_fault(volume, mask):
    stack = planted(volume, mask, {Z - 1: "noise", Z + 1: "blurred"})
    with pytest.raises(RepairRefused) as error:
        repair(stack, mask, max_gap=1)
    message = str(error.value)
    assert message.startswith(f"section {Z - 1} shows something other than section {Z} (it agrees ")
    assert f"section {Z + 1} is out of focus (it has" in message
    assert message.endswith("align the stack there, or repair it anyway (--gate flag)")
    assert "\n" not in message
    flagged = repair(stack, mask, max_gap=1, gate="flag")
    assert flagged.patches[0].neighbours == (Z - 1, Z + 1)
    assert flagged.flags[0].endswith("it was repaired anyway")
    free = repair(stack, mask, max_gap=1, gate="off")
    assert free.flags == ()
    np.testing.assert_array_equal(free.patches[0].result, flagged.patches[0].result)


@pytest.mark.parametrize(
    "spoilt",
    [{3: "noise", 5: "noise"}, {3: "other"}, {5: "noise", 6: "noise"}],
)
def test_a_larger_gap_never_repairs_less(volume, mask, spoilt):
    """A section farther away is looked for only beside one that fits, never in its place."""
    stack, before = planted(volume, mask, spoilt), set()
    for gap in (1, 2, 3):
        try:
            guides = repair(stack, mask, max_gap=gap).patches[0].neighbours
        except RepairRefused:
            guides = ()
        now = {n for n in guides if n is not None}
        assert before <= now
        before = now
    assert before


def test_a_method_that_needs_two_is_refused_where_one_is_left(volume, mask):
    stack = planted(volume, mask, dict.fromkeys(range(Z), "noise"))
    with pytest.raises(RepairRefused, match="section 5 alone is too few for method 'flow"):
        repair_section(stack, Z, mask, method="flowinpaint")


def test_good_neighbours_are_not_touched(volume, mask):
    stack = planted(volume, mask, {})
    judged, free = repair(stack, mask), repair(stack, mask, gate="off")
    np.testing.assert_array_equal(judged.patches[0].result, free.patches[0].result)
    assert judged.flags == ()
    scores = judged.provenance.scores
    assert scores["neighbour_fit"] >= scores["neighbour_least_fit"] > 0.2


def test_where_a_window_shows_too_little_more_context_is_looked_at(volume):
    hole = np.zeros((SIDE, SIDE), dtype=bool)
    hole[100:112, 100:112] = True
    found = repair(planted(volume, hole, {Z + 1: "noise"}), hole, max_gap=1, halo=16)
    assert found.patches[0].box == Box(84, 84, 128, 128)
    assert found.patches[0].neighbours == (Z - 1, None)


def test_where_too_little_is_intact_nothing_is_judged(volume):
    whole = np.ones((SIDE, SIDE), dtype=bool)
    assert measure_fit(window_of(volume[Z], volume[Z - 1], volume[Z + 1], whole)) == ()
    assert repair(planted(volume, whole, {}), whole).flags == ()


def test_a_gate_that_does_not_exist_is_named(volume, mask):
    with pytest.raises(InputError, match="choose one of: refuse, flag, off"):
        repair(planted(volume, mask, {}), mask, gate="maybe")


def test_several_sections_with_one_fault_are_named_together():
    def fit(
        z: int,
        agreement: float,
        chance: float | None = 0.3,
        sharpness: float = 1.0,
        shift: float = 0.0,
    ):
        return NeighbourFit(z, agreement, chance, sharpness, shift)

    text = describe_faults(4, [fit(6, 0.3), fit(3, 0.35), fit(5, 0.9, shift=140), fit(2, 0.9)])
    assert text == (
        "sections 3 and 6 show something other than section 4 (they agree by 0.35, "
        "their mirror images by 0.30), "
        "and section 5 lies 140 px off section 4 (at most 100 px is permitted)"
    )
