"""Every kind of damage is found and named; intact sections and neighbours are not flagged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_flowinpaint.core.detection.detect_section import (
    DetectionOptions,
    detect_damage,
    detect_section,
    estimate_parameters,
)
from napari_flowinpaint.core.detection.detectors import (
    Finding,
    MisalignedDetector,
    default_detectors,
)
from napari_flowinpaint.core.detection.features.maps import make_features
from napari_flowinpaint.core.detection.features.sections import Sections
from napari_flowinpaint.core.detection.features.view import register
from napari_flowinpaint.core.detection.features.working_level import read_working, working_factor
from napari_flowinpaint.core.detection.search import search
from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.degrade import (
    Blur,
    ContrastLoss,
    Misaligned,
    NoiseBurst,
    Saturated,
)
from napari_flowinpaint.core.simulation.draw import simulate
from napari_flowinpaint.core.simulation.fold import Fold
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.simulation.simulate import (
    Charging,
    Debris,
    Hole,
    Line,
    Missing,
    StainingCloud,
)
from napari_flowinpaint.core.writing.writeback import write_back

SHAPE = (7, 320, 352)
MIDDLE = 3

CASES = {
    "missing section": ("missing", Missing(), 1.0),
    "missing section, bright and noisy": ("missing", Missing(bright=True, noise=0.03), 1.0),
    "missing region": ("missing", Missing(0.2), 0.9),
    "missing region, nearly constant": ("missing", Missing(0.4, bright=True, noise=0.02), 0.9),
    "bright hole": ("hole", Hole(0.04), 0.8),
    "dark hole": ("hole", Hole(0.03, bright=False), 0.8),
    "clipped": ("hole", Saturated(0.03), 0.8),
    "dark debris": ("dark", Debris(12, (5, 12), excess=0.1), 0.6),
    "bright debris": ("bright", Debris(12, (5, 12), bright=True, excess=0.1), 0.6),
    "charging": ("bright", Charging(0.08), 0.6),
    "staining cloud": ("staining", StainingCloud(0.12), 0.5),
    "weak staining": ("staining", ContrastLoss(loss=0.6), 1.0),
    "defocus": ("blur", Blur(sigma=3), 0.9),
    "defocused region": ("blur", Blur(0.3, sigma=3), 0.6),
    "fold": ("fold", Fold(8, 24), 0.5),
    "fold without deformation": ("fold", Line(10, wander=6), 0.6),
    "crack": ("crack", Line(10, bright=True, wander=6), 0.6),
    "shifted": ("misaligned", Misaligned(45), 1.0),
    "turned": ("misaligned", Misaligned(20, 8), 1.0),
    "burst of noise": ("noise", NoiseBurst(0.2), 0.75),
}


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    return synthetic_stack(SampleConfig(shape=SHAPE, seed=11))


def found_in(volume: np.ndarray, z: int = MIDDLE, **options) -> dict[str, np.ndarray]:
    return search_in(Sections(Stack.from_array(volume)), z, **options)


def search_in(sections: Sections, z: int = MIDDLE, **options) -> dict[str, np.ndarray]:
    found = detect_section(sections, z, DetectionOptions(**options))
    return {damage.kind: damage.mask for damage in found}


def damaged(tissue: np.ndarray, damage, z: int = MIDDLE, seed: int = 2):
    volume = tissue.copy()
    done = simulate(volume[z], damage, seed=seed)
    volume[z] = done.image
    return volume, done.mask


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("case", CASES)
def test_damage_is_found_and_named_and_its_neighbours_are_not_flagged(tissue, case):
    kind, damage, least = CASES[case]
    volume, mask = damaged(tissue, damage)
    sections = Sections(Stack.from_array(volume))
    found = search_in(sections)
    assert list(found) == [kind]
    assert overlap(found[kind], mask) >= least
    for z in (MIDDLE - 1, MIDDLE + 1):
        assert not search_in(sections, z), z


def test_intact_sections_are_not_flagged(tissue):
    sections = Sections(Stack.from_array(tissue))
    for z in range(SHAPE[0]):
        assert not search_in(sections, z), z


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("inverted", [False, True])
def test_any_dtype_and_polarity(tissue, dtype, inverted):
    scale = {"uint16": 150, "int16": 100, "float32": 0.004}[dtype]
    offset = {"uint16": 500, "int16": -12000, "float32": -0.4}[dtype]
    volume = tissue.astype(np.float32)
    volume = (offset + scale * (255 - volume if inverted else volume)).astype(dtype)
    for name in ("dark debris", "bright debris", "clipped", "fold"):
        kind, damage, least = CASES[name]
        broken, mask = damaged(volume, damage)
        found = found_in(broken)
        assert list(found) == [kind]
        assert overlap(found[kind], mask) >= least - 0.1


@pytest.mark.parametrize("from_before", [True, False])
@pytest.mark.parametrize("change", ["none", "brightness", "noise"])
def test_copies_of_a_neighbour_are_found_and_the_original_is_not(tissue, from_before, change):
    volume = tissue.astype(np.float32)
    copy = tissue[MIDDLE - 1 if from_before else MIDDLE + 1].astype(np.float32)
    if change == "brightness":
        copy = 0.8 * copy + 20
    if change == "noise":
        copy += np.random.default_rng(0).normal(0, 6, copy.shape)
    volume[MIDDLE] = copy
    sections = Sections(Stack.from_array(volume.clip(0, 255).astype(np.uint8)))
    found = search_in(sections)
    assert list(found) == ["copied"]
    assert found["copied"].all()
    for z in (MIDDLE - 1, MIDDLE + 1):
        assert not search_in(sections, z), z


def test_sections_of_a_stack_in_which_all_are_alike_are_no_copies(tissue):
    volume = np.repeat(tissue[:1], 6, axis=0)
    assert not found_in(volume)


def test_rows_that_flicker_are_noise_and_no_lines(tissue):
    rng = np.random.default_rng(3)
    volume = tissue.copy()
    rows = volume[MIDDLE, 100:160].astype(np.float32) + rng.normal(0, 90, (60, 1))
    volume[MIDDLE, 100:160] = rows.clip(60, 220).astype(np.uint8)
    assert list(found_in(volume)) == ["noise"]


def test_a_small_black_disc_is_found(tissue):
    """It is hardly larger than the smallest disc that is looked for."""
    volume = tissue.copy()
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    spot = np.hypot(rows - 150, columns - 140) <= 5
    volume[MIDDLE][spot] = 10
    found = found_in(volume)
    assert list(found) == ["dark"]
    near = (slice(130, 170), slice(120, 160))
    assert overlap(found["dark"][near], spot[near]) > 0.5


def test_a_film_that_tissue_shines_through_is_found_by_its_lack_of_grain(tissue):
    volume = tissue.copy()
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    film = np.hypot(rows - 150, columns - 140) <= 30
    grey = volume[MIDDLE].astype(np.float32)
    volume[MIDDLE] = np.where(film, 0.3 * grey + 0.7 * np.median(grey), grey).astype(np.uint8)
    found = np.logical_or.reduce(list(found_in(volume).values()))
    assert overlap(found, film) > 0.5


# ---- kinds that resemble each other


@pytest.mark.parametrize("seed", range(3))
def test_small_charging_is_no_hole(tissue, seed):
    volume, _ = damaged(tissue, Charging(0.02, 1.25), seed=seed)
    assert list(found_in(volume)) == ["bright"]


@pytest.mark.parametrize("seed", range(3))
def test_charging_that_hardly_saturates_is_no_cloud(tissue, seed):
    volume, _ = damaged(tissue, Charging(0.12, 0.8), seed=seed)
    assert list(found_in(volume)) == ["bright"]


@pytest.mark.parametrize(("seed", "sigma"), [(0, 4), (1, 4), (2, 6), (4, 6)])
def test_flat_patches_of_a_blurred_region_are_no_holes(tissue, seed, sigma):
    volume, _ = damaged(tissue, Blur(0.3, sigma=sigma), seed=seed)
    assert list(found_in(volume)) == ["blur"]


def test_a_long_flat_strip_is_a_line(tissue):
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    strip = np.abs(rows - 0.5 * columns - 60) < 16
    volume = tissue.copy()
    volume[MIDDLE][strip] = np.percentile(tissue, 1)
    found = found_in(volume)
    assert list(found) == ["fold"]
    assert overlap(found["fold"], strip) > 0.8


def test_a_row_of_spots_is_no_line(tissue):
    volume = tissue.copy()
    for x in range(20, 340, 40):
        volume[MIDDLE, 150:162, x : x + 12] = 0
    assert list(found_in(volume)) == ["dark"]


def test_a_fold_that_is_as_dark_as_membranes(tissue):
    for seed in range(3):
        volume, mask = damaged(tissue, Fold(6, 30, decay=0.01, level=0.1), seed=seed)
        found = found_in(volume)
        assert list(found) == ["fold"]
        assert overlap(found["fold"], mask) > 0.3


def test_pieces_of_a_hole_are_no_debris(tissue):
    volume = tissue.copy()
    volume[MIDDLE, 100:180, 100:190] = 255
    volume[MIDDLE, 200:216, 120:140] = 255
    found = found_in(volume)
    assert list(found) == ["missing"] or list(found) == ["hole"]
    (mask,) = found.values()
    assert mask[202:214, 122:138].all()


def test_much_debris_is_found_all_of_it(tissue):
    # it raises the contrast to which the neighbours are matched
    volume, mask = damaged(tissue, Debris(40, (5, 12), excess=0.15))
    found = found_in(volume)
    assert list(found) == ["dark"]
    assert overlap(found["dark"], mask) > 0.5


def test_a_shift_against_both_neighbours_though_these_do_not_match(tissue):
    volume, _ = damaged(tissue, Misaligned(45))
    section, (before, after) = volume[MIDDLE], (tissue[MIDDLE - 1], tissue[MIDDLE + 1])
    view = Sections(Stack.from_array(np.stack([before, section, after]))).view(1)
    unlike = replace(view, between=0.0)
    assert [f.kind for f in MisalignedDetector().detect(unlike)] == ["misaligned"]
    intact = Sections(Stack.from_array(tissue)).view(MIDDLE)
    assert not MisalignedDetector().detect(replace(intact, between=0.0))


def test_a_gap_of_several_sections(tissue):
    volume = tissue.copy()
    volume[2:5] = 0
    sections = Sections(Stack.from_array(volume))
    for z in (2, 3, 4):
        assert search_in(sections, z)["missing"].all()
    for z in (1, 5):
        assert not search_in(sections, z)


def test_what_is_blank_in_every_section_is_no_damage(tissue):
    volume = tissue.copy()
    volume[:, :, :60] = 0
    assert not found_in(volume)


def test_numbers_that_are_none(tissue):
    volume = tissue.astype(np.float32)
    volume[MIDDLE, 100:180, 100:200] = np.nan
    found = found_in(volume)
    assert set(found) <= {"hole", "missing"}
    assert sum(mask[100:180, 100:200].mean() for mask in found.values()) > 0.9


def test_numbers_that_are_absurd(tissue):
    assert not found_in(tissue.astype(np.float32) * np.float32(1e35))
    volume = tissue.astype(np.float32)
    volume[MIDDLE, 100:180, 100:200] = 3e37
    assert set(found_in(volume)) == {"missing"}


def test_a_stack_of_one_section(tissue):
    volume, mask = damaged(tissue[:1], Hole(0.05), z=0)
    assert overlap(found_in(volume, 0)["hole"], mask) > 0.5
    assert detect_damage(Stack.from_array(tissue[:1]), 0).mean() < 0.02


def test_sensitivity(tissue):
    for loss, flagged in ((0.3, [False, False, True]), (0.45, [False, True, True])):
        volume, _ = damaged(tissue, ContrastLoss(loss=loss))
        sections = Sections(Stack.from_array(volume))
        assert [bool(search_in(sections, sensitivity=s)) for s in (0, 0.5, 1)] == flagged


def test_only_the_kinds_that_are_wanted(tissue):
    volume, _ = damaged(tissue, Line(10, bright=True, wander=6))
    assert not found_in(volume, kinds=("hole", "bright"))


def test_detect_damage_is_the_union(tissue):
    volume, mask = damaged(tissue, Hole(0.04))
    found = detect_damage(Stack.from_array(volume), MIDDLE)
    assert found.dtype == bool
    assert overlap(found, mask) > 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        {"sensitivity": 1.5},
        {"kinds": ("rain",)},
        {"kinds": ()},
        {"scales": {"rain": 2.0}},
        {"side": 10},
    ],
)
def test_wrong_options(wrong):
    with pytest.raises(InputError):
        DetectionOptions(**wrong)


def test_wrong_section(tissue):
    with pytest.raises(InputError, match="section 7 does not exist"):
        detect_damage(Stack.from_array(tissue), 7)


def test_estimate_raises_the_threshold_of_what_every_section_shows(tissue):
    volume = tissue.copy()
    for z in range(len(volume)):
        volume[z] = simulate(volume[z], Line(10, wander=6), seed=z).image
    options = estimate_parameters(Stack.from_array(volume))
    assert options.scales["fold"] > 1
    assert options.scales["blur"] < 1
    sections = Sections(Stack.from_array(volume))
    plain = sum("fold" in search_in(sections, z) for z in (1, 3, 5))
    fitted = sum("fold" in search_in(sections, z, scales=options.scales) for z in (1, 3, 5))
    assert fitted < plain


def test_estimate_ignores_a_few_damaged_sections(tissue):
    volume, _ = damaged(tissue, CASES["dark debris"][1])
    assert estimate_parameters(Stack.from_array(volume)).scales["dark"] <= 1


# ---- parts


def test_a_detector_can_be_added(tissue):
    class Always:
        kinds = ("hole",)

        def detect(self, view):
            mask = np.zeros(view.shape, bool)
            mask[:9, :9] = True
            return [Finding("hole", 3.0, mask)]

    view = Sections(Stack.from_array(tissue)).view(MIDDLE)
    (finding,) = search(view, (*default_detectors(), Always()))
    assert finding.score == 3.0


def test_every_kind_has_a_detector():
    assert {kind for d in default_detectors() for kind in d.kinds} == set(KINDS)


def test_large_sections_are_reduced(tissue):
    factor = working_factor((2048, 1500))
    assert factor == 4
    large = np.kron(tissue, np.ones((1, 4, 4), np.uint8))
    working = read_working(Stack.from_array(large), MIDDLE, 4).grey
    assert working.shape == SHAPE[1:]
    assert np.allclose(working, tissue[MIDDLE], atol=0.51)


def test_damage_of_large_sections_is_refined(tissue):
    large = np.kron(tissue[:, :192, :192], np.ones((1, 4, 4), np.uint8))
    volume, mask = damaged(large, Hole(0.04))
    sections = Sections(Stack.from_array(volume))
    assert sections.factor == 2
    found = search_in(sections)
    assert list(found) == ["hole"]
    assert overlap(found["hole"], mask) > 0.9


def test_a_level_of_the_pyramid_is_read_where_there_is_one(tissue):
    class Counted:
        def __init__(self, array):
            self.array, self.reads = array, 0
            self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

        def __getitem__(self, key):
            self.reads += 1
            return self.array[key]

    fine = Counted(np.kron(tissue, np.ones((1, 4, 4), np.uint8)))
    half, quarter = Counted(fine.array[:, ::2, ::2]), Counted(tissue)
    stack = Stack.from_array([fine, half, quarter])
    assert not detect_damage(stack, MIDDLE).any()
    assert fine.reads == 0
    assert half.reads > 0


def test_what_a_repair_has_written_is_no_damage(tissue, tmp_path):
    volume, _ = damaged(tissue, Blur(0.1, 5.0))
    assert found_in(volume)
    store = tmp_path / "s.zarr"
    save_ome_zarr(Stack.from_array(volume, voxel_size=(40, 4, 4)), store)
    stack = open_stack(store)
    (found,) = detect_section(Sections(stack), MIDDLE, DetectionOptions())
    repair = repair_section(
        stack,
        MIDDLE,
        found.mask,
        method="flow",
        options=RepairOptions(texture="smooth", gate="off"),
    )
    write_back(stack, repair)
    level = zarr.open_array(str(store / "0"), mode="r+")
    level[MIDDLE] = volume[MIDDLE]  # as if the repair were as smooth as the damage was
    again = open_stack(store)
    assert found_in(level[:])
    assert not detect_section(Sections(again), MIDDLE, DetectionOptions())


def test_registration_finds_a_shift(tissue):
    large = tissue[MIDDLE]
    a = make_features(0, large[20:220, 30:230].astype(np.float32))
    b = make_features(1, large[44:244, 22:222].astype(np.float32))
    found = register(a, b)
    # section(x) = neighbour(x + shift)
    assert np.allclose(found.shift, (-24, 8), atol=3)
    assert found.after > found.before + 0.2


def test_a_section_that_cannot_be_read_is_nobodys_neighbour(tissue):
    class Broken:
        shape, dtype, ndim = tissue.shape, tissue.dtype, 3

        def __getitem__(self, key):
            z = key[0] if isinstance(key, tuple) else key
            if MIDDLE in np.arange(len(tissue))[z].reshape(-1):  # one of them, or a block
                raise OSError("unreadable")
            return tissue[key]

    sections = Sections(Stack.from_array(Broken()))
    view = sections.view(MIDDLE - 1)
    assert [n.features.z for n in view.following] == [MIDDLE + 1, MIDDLE + 2]
    with pytest.raises(StoreError):
        sections.view(MIDDLE)


@pytest.mark.parametrize("shape", [(700, 3), (1, 900), (4000, 10), (17, 1200), (2, 2)])
def test_a_strip_is_searched(shape):
    volume = np.random.default_rng(0).integers(0, 255, (6, *shape), dtype=np.uint8)
    volume[3] = 0
    sections = Sections(Stack.from_array(volume))
    found = {z: detect_section(sections, z, DetectionOptions()) for z in range(6)}
    assert [damage.kind for damage in found[3]] == ["missing"]
