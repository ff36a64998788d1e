"""What ``auto`` takes for a gap, and how a batch goes through one."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
import torch
import zarr
from make_stacks import write_ngff
from scipy import ndimage as ndi

from napari_flowinpaint.core.batch import load_staged, plan_batch, run_batch
from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.io.recent import RecentStack
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.networks import released
from napari_flowinpaint.core.networks.gap.gap_network import GapConfig, GapNetwork
from napari_flowinpaint.core.networks.released import GAP
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.gap_windows import sections_around
from napari_flowinpaint.core.repair.repair_section import plan_windows, repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.types import Box

OPTIONS = RepairOptions(max_gap=8, texture="smooth")
SHAPE = (40, 64, 72)


@pytest.fixture(autouse=True)
def weights(tmp_path_factory, monkeypatch):
    """Released weights of a network that leaves the interpolation as it is."""
    net = GapNetwork(GapConfig(channels=(4,)))
    with torch.no_grad():
        for parameter in net.net.last.parameters():
            parameter.zero_()
    path = tmp_path_factory.mktemp("weights") / GAP
    save_network(path, net)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".md").write_text(f"sha256: {digest}\n")
    found = released.released

    def at(name=released.JOINT):
        return (path if path.is_file() else None) if name == GAP else found(name)

    monkeypatch.setattr("napari_flowinpaint.core.methods.learned.released", at)
    return path


def volume() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = ndi.gaussian_filter(rng.standard_normal(SHAPE), 4.0)
    return np.clip(128 + 40 * smooth / smooth.std(), 1, 254).astype(np.uint8)


def chosen(mask, z, voxel_size=(10, 10, 10), stack=None, options=OPTIONS):
    stack = Stack.from_array(volume() if stack is None else stack, voxel_size=voxel_size)
    windows, _ = plan_windows(
        stack, z, mask[z], masks=lambda n, box: mask[n][box.slices], options=options
    )
    return {window.method for window in windows}


def masked(*places) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


ALL = slice(None)


@pytest.mark.parametrize(
    ("mask", "z"),
    [
        (masked(slice(10, 13)), 11),
        (masked(20), 20),
        (masked((ALL, ALL, slice(30, 36))), 5),
        (masked((ALL, slice(30, 36))), 0),
        (masked((ALL, slice(30, 36)), (ALL, ALL, slice(20, 24))), 39),
        (masked((ALL, ALL, slice(30, 34)), slice(10, 12)), 10),
    ],
)
def test_gaps_of_isotropic_volumes_are_filled_as_such(mask, z):
    assert chosen(mask, z) == {"gap_patches"}
    assert "gap_patches" not in chosen(masked((slice(19, 21), slice(9, 12), slice(5, 9))), 20)


@pytest.mark.parametrize("voxel_size", [(40, 4, 4), None])
def test_other_stacks_are_repaired_from_their_neighbours(voxel_size):
    assert chosen(masked(slice(10, 12)), 11, voxel_size) <= {"flowinpaint", "flow"}


STRIPE = (ALL, ALL, slice(30, 36))


@pytest.mark.parametrize(
    "hole",
    [
        (20, slice(20, 50), slice(40, 70)),
        (20, slice(20, 50), slice(32, 62)),  # runs into the stripe
    ],
)
@pytest.mark.parametrize("method", ["auto", "gap_patches"])
def test_a_hole_beside_a_stripe_is_repaired_by_itself(hole, method):
    mask = masked(STRIPE, hole)
    stack = Stack.from_array(np.where(mask, 0, volume()).astype(np.uint8), voxel_size=(10, 10, 10))
    masks = lambda n, box: mask[n][box.slices]  # noqa: E731
    windows, refused = plan_windows(
        stack, 20, mask[20], masks=masks, method=method, options=OPTIONS
    )
    assert not refused
    stripe, beside = windows
    assert (stripe.method, stripe.pixels) == ("gap_patches", 64 * 6)
    assert stripe.pixels + beside.pixels == mask[20].sum()
    assert beside.neighbours == (19, 21)
    assert beside.method in (("gap_patches",) if method != "auto" else ("flowinpaint", "flow"))
    found = repair_section(
        stack, 20, mask[20], masks=masks, method=method, options=OPTIONS, device="cpu"
    )
    off = found.result[found.mask].astype(float) - volume()[20][mask[20]]
    assert len(found.patches) == 2
    assert np.abs(off).mean() < 6


def test_where_a_stripe_cannot_be_filled_a_hole_beside_it_is():
    mask = masked(STRIPE, (20, slice(20, 50), slice(40, 70)))
    stack = Stack.from_array(volume(), voxel_size=(40, 4, 4))
    windows, refused = plan_windows(
        stack, 20, mask[20], masks=lambda n, box: mask[n][box.slices], options=OPTIONS
    )
    assert [window.neighbours for window in windows] == [(19, 21)]
    assert "not isotropic" in refused[0].reason


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((ALL, ALL, slice(20, 40)), "20 pixels wide: method 'gap_patches' fills gaps of up to 14"),
        ((ALL, ALL, slice(0, 6)), "only one side of it is known .* crop the stack"),
    ],
)
@pytest.mark.parametrize("voxel_size", [(10, 10, 10), None])
def test_a_stripe_that_cannot_be_filled_says_why(place, words, voxel_size):
    with pytest.raises(RepairRefused, match=words):
        chosen(masked(place), 5, voxel_size)


@pytest.mark.parametrize(
    ("place", "voxel_size", "options", "why"),
    [
        (slice(10, 13), (10, 10, 10), OPTIONS, "missing from an isotropic volume"),
        (slice(10, 13), None, OPTIONS, "two usable neighbours; .* voxel size is not known"),
        (slice(10, 13), (40, 4, 4), OPTIONS, "two usable neighbours(, no weights installed)?"),
        (slice(10, 26), (10, 10, 10), RepairOptions(max_gap=20), "two .*; wider than the 14"),
        (slice(10, 16), (10, 10, 10), RepairOptions(max_gap=3), "one .*; its other side is more"),
        (slice(0, 2), (10, 10, 10), OPTIONS, "one usable neighbour(, no weights installed)?"),
        (slice(0, 2), None, OPTIONS, "one usable neighbour(, no weights installed)?"),
        (slice(10, 26), None, RepairOptions(max_gap=20), "two .*; wider than the 14"),
    ],
)
def test_what_is_taken_for_missing_sections_is_told(place, voxel_size, options, why):
    mask = masked(place)
    stack = Stack.from_array(volume(), voxel_size=voxel_size)
    (window,), _ = plan_windows(
        stack,
        place.start,
        mask[place.start],
        masks=lambda n, box: mask[n][box.slices],
        options=options,
    )
    assert re.fullmatch(why + ".*" * ("(" not in why), window.why)


@pytest.mark.parametrize(
    ("voxel_size", "words"),
    [((40, 4, 4), "gap in every section, but voxels of 40 x 4 x 4"), (None, "--voxel-size")],
)
def test_a_plane_through_other_stacks_is_refused_as_such(voxel_size, words):
    with pytest.raises(RepairRefused, match=words):
        chosen(masked((ALL, ALL, slice(30, 36))), 5, voxel_size)
    with pytest.raises(RepairRefused) as refused:  # no gap, and no words about one
        chosen(masked((ALL, slice(9, 39), slice(30, 66))), 5, voxel_size)
    assert "gap in every section" not in str(refused.value)


@pytest.mark.parametrize("reach", [40, 12])
def test_a_refused_stripe_gets_no_advice_that_cannot_help(reach):
    """A larger gap helps only where sections farther away show what is damaged."""
    mask = masked((slice(reach), ALL, slice(30, 36)))
    options = RepairOptions(max_gap=3)
    with pytest.raises(RepairRefused, match="so it cannot be filled as one") as refused:
        chosen(mask, 5, (40, 4, 4), options=options)
    assert ("permit a larger gap" in str(refused.value)) == (reach == 12)


def test_a_missing_section_is_no_stripe_of_which_one_side_is_known():
    with pytest.raises(RepairRefused, match="permit a larger gap") as refused:
        chosen(masked(slice(10, 26)), 18, None, options=RepairOptions(max_gap=3))
    assert "crop the stack" not in str(refused.value)


def test_a_hole_between_neighbours_is_no_gap():
    hole = masked((20, slice(20, 40), slice(20, 40)), (20, ALL, slice(60, 64)))
    assert chosen(hole, 20) <= {"flowinpaint", "flow"}
    # most of the section is missing, but some of it tells what the rest looked like
    assert chosen(masked((20, slice(0, 50))), 20) <= {"flowinpaint", "flow"}


def test_a_section_missing_beside_padding_is_a_gap():
    padded = volume()
    padded[:, :, :20] = 0
    padded[18:20] = 0
    mask = masked((slice(18, 20), ALL, slice(20, None)))
    assert chosen(mask, 18, stack=padded) == {"gap_patches"}


def test_without_weights_nothing_changes(weights):
    weights.unlink()
    assert chosen(masked(slice(10, 13)), 11) <= {"flowinpaint", "flow"}
    with pytest.raises(RepairRefused, match="its weights are not installed"):
        chosen(masked(STRIPE), 5)


@pytest.mark.parametrize(
    "method", ["gap_patches", "one_neighbour", "single_section", "flowinpaint-paper"]
)
def test_a_plan_says_that_weights_are_missing(method, monkeypatch, tmp_path):
    monkeypatch.setattr("napari_flowinpaint.core.methods.learned.released", lambda _name=None: None)
    mask = masked((20, slice(20, 40), slice(20, 40)))
    stack = Stack.from_array(volume(), voxel_size=(10, 10, 10))
    with pytest.raises(InputError, match=f"method '{method}' needs the weights .* not installed"):
        plan_batch(stack, mask, method=method)
    given = RepairOptions(weights=str(tmp_path / "own.safetensors"))
    assert plan_batch(stack, mask, method=method, options=given).planned


def test_a_batch_fills_a_stripe_and_goes_on_where_it_was(tmp_path, monkeypatch):
    truth, mask = volume(), masked((ALL, ALL, slice(30, 34)))
    write_ngff(tmp_path / "stack.zarr", np.where(mask, 0, truth).astype(np.uint8))
    stack = open_stack(tmp_path / "stack.zarr", voxel_size=(10, 10, 10))
    plan = plan_batch(stack, mask, [3, 4, 5], options=OPTIONS)
    assert {name for section in plan.planned for name in section.methods} == {"gap_patches"}
    assert "what is around it" in str(plan)
    report = run_batch(plan, tmp_path / "st", workers=2)
    assert report.repaired == (3, 4, 5)
    assert report.complete
    found = load_staged(tmp_path / "st").repair(4)
    off = found.result[found.mask].astype(float) - truth[4][mask[4]]
    assert np.abs(off).mean() < 6
    again = run_batch(plan, tmp_path / "st", workers=2)
    assert again.computed == ()
    # another section that it was filled from has changed
    zarr.open(tmp_path / "stack.zarr/0")[20, 10:20, 10:20] = 200
    changed = plan_batch(
        open_stack(tmp_path / "stack.zarr", voxel_size=(10, 10, 10)), mask, [4], options=OPTIONS
    )
    assert run_batch(changed, tmp_path / "st", workers=1).computed == (4,)


def test_sections_that_are_looked_at():
    assert sections_around(100, (98, 104), 500) == range(84, 119)
    assert sections_around(10, (None, None), 500) == range(74)


def test_parts_that_were_read_are_kept_up_to_a_limit():
    array = volume()
    reads = []

    class Counting:
        shape, dtype = array.shape, array.dtype

        def __getitem__(self, key):
            reads.append(key)
            return array[key]

    stack = RecentStack(Stack.from_array(Counting()), most=2 * 64 * 72)
    box = Box(0, 0, 64, 72)
    for z in (0, 1, 0, 1, 0):
        np.testing.assert_array_equal(stack.read(z, box), array[z])
    assert len(reads) == 2
    for z in (2, 3, 0):
        stack.read(z, box)
    assert len(reads) == 5
