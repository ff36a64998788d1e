"""Folds: the section's own tissue is moved back, and what is written is a zone that is marked."""

from __future__ import annotations

import numpy as np
import pytest

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.filters import blur
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.repair_options import RepairOptions
from napari_flowinpaint.core.simulation.fold import Fold, fold_section


def tissue(seed: int = 0, size: int = 192) -> np.ndarray:
    """Return three sections that change slowly, (3, Y, X) uint8."""
    rng = np.random.default_rng(seed)
    fields = [blur(rng.standard_normal((size, size)).astype(np.float32), 3) for _ in range(2)]
    mixed = np.stack([fields[0] + 0.15 * k * fields[1] for k in (-1, 0, 1)])
    return np.clip(128 + 45 * mixed / mixed.std(), 0, 255).astype(np.uint8)


def folded(fold: Fold, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the true sections, those with a fold in the middle one, and the mask of its line."""
    truth = tissue()
    made = fold_section(truth[1], fold, seed=seed)
    damaged = truth.copy()
    damaged[1] = made.image
    return truth, damaged, made.line


def error(image: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image.astype(float) - truth) ** 2)))


@pytest.mark.parametrize(
    "fold", [Fold(8, 36, 0.15), Fold(8, 36, 0.15, bend=0.15), Fold(14, 2, 0.1)], ids=str
)
def test_displaced_tissue_is_moved_back(fold):
    truth, damaged, line = folded(fold)
    options = RepairOptions(kind="fold")
    repair = repair_section(Stack.from_array(damaged), 1, line, options=options)
    result = damaged[1].copy()
    for patch in repair.patches:
        result[patch.box.slices][patch.mask] = patch.result[patch.mask]
    assert repair.provenance.method == "unfold"
    assert error(result, truth[1]) < 0.5 * error(damaged[1], truth[1])


def test_outside_the_zone_nothing_changes_and_the_zone_holds_the_line():
    _, damaged, line = folded(Fold(8, 30, 0.5))
    (patch,) = repair_section(Stack.from_array(damaged), 1, line, method="unfold").patches
    moved = patch.displaced
    assert np.array_equal(patch.result[~patch.mask], damaged[1][patch.box.slices][~patch.mask])
    assert (patch.mask | ~line[patch.box.slices]).all()
    assert moved is not None
    assert (moved.mask <= patch.mask).all()
    assert not patch.mask.all()
    assert np.hypot(*moved.flow)[~patch.mask].max() <= 0.25


def test_moved_pixels_have_a_mark_of_their_own_and_their_flow_is_kept(tmp_path):
    from napari_flowinpaint.core.disk.open_root import open_root
    from napari_flowinpaint.core.writing.journal import Journal
    from napari_flowinpaint.core.writing.synthetic import read_labels
    from napari_flowinpaint.core.writing.writeback import revert, write_back

    _, damaged, line = folded(Fold(8, 30, 0.5))
    save_ome_zarr(Stack.from_array(damaged), tmp_path / "s.zarr")
    stack = open_stack(tmp_path / "s.zarr")
    repair = repair_section(stack, 1, line, method="unfold")
    (patch,) = repair.patches
    (number,) = write_back(stack, repair)
    with open_root(tmp_path / "s.zarr") as root:
        labels = read_labels(root, stack.levels)
        marks = labels.read(1, patch.box)
    assert ((marks != 0) == patch.mask).all()
    assert ((marks == number + 2**31) == patch.displaced.mask).all()
    journal = Journal.of(stack)
    journal.scan()
    (entry,) = journal.entries
    (piece,) = entry.pieces
    assert piece.moved is not None
    there = piece.changed_pixels[0].region.box.within(patch.box)
    kept = piece.moved.flow[:, piece.moved.mask]
    assert np.allclose(kept, patch.displaced.flow[:, *there][:, piece.moved.mask], atol=0.05)
    revert(stack)
    assert np.array_equal(open_stack(tmp_path / "s.zarr").read(1, patch.box), damaged[1])


def told(path):
    """Return what a label image says of its values."""
    import zarr

    label = dict(zarr.open_group(path, mode="r").attrs)["ome"]["image-label"]
    return {entry["label-value"]: entry for entry in label["properties"]}, label


def test_the_label_image_says_which_pixels_were_moved_also_in_a_copy(tmp_path):
    import zarr
    from yaozarrs import v05

    from napari_flowinpaint.core.writing.writeback import write_back

    truth, damaged, line = folded(Fold(8, 30, 0.5))
    sections = np.concatenate([truth, damaged])
    save_ome_zarr(Stack.from_array(sections), tmp_path / "s.zarr")
    zarr.consolidate_metadata(tmp_path / "s.zarr")
    stack = open_stack(tmp_path / "s.zarr")
    hole = np.zeros_like(line)
    hole[60:70, 60:70] = True
    (first,) = write_back(stack, repair_section(stack, 0, hole, method="flow"))
    old = zarr.open_group(tmp_path / "s.zarr" / "labels" / "synthetic", mode="r+")
    ome = dict(old.attrs)["ome"]  # as an earlier version has written it
    old.attrs["ome"] = {**ome, "image-label": {"source": {"image": "../../"}}}
    (number,) = write_back(stack, repair_section(stack, 4, line, method="unfold"))
    values, label = told(tmp_path / "s.zarr" / "labels" / "synthetic")
    v05.ImageLabel.model_validate(label)
    assert {v: entry["pixels"] for v, entry in values.items()} == {
        number: "synthetic",
        number + 2**31: "displaced",
    }
    assert first not in values
    assert "displaced" in label["flowinpaint"]
    assert label["source"] == {"image": "../../"}
    assert {entry["label-value"] for entry in label["colors"]} == set(values)
    consolidated = zarr.open_group(tmp_path / "s.zarr", mode="r", use_consolidated=True)
    found = dict(consolidated["labels/synthetic"].attrs)["ome"]["image-label"]
    assert found["properties"] == label["properties"]
    save_ome_zarr(stack, tmp_path / "copy.zarr")
    copied = told(tmp_path / "copy.zarr" / "labels" / "synthetic")[0]
    assert {v: copied[v] for v in values} == values
    assert copied[first]["method"] == "flow", "what the journal knows of it"


def test_reduced_marks_of_a_copy_tell_synthetic_pixels_before_displaced_ones(tmp_path):
    import zarr

    from napari_flowinpaint.core.writing.synthetic_attributes import largest_number
    from napari_flowinpaint.core.writing.writing_journal import WritingJournal, put_marks

    image = np.zeros((1, 600, 600), np.uint8)
    image[0, ::2] = 9
    save_ome_zarr(Stack.from_array(image), tmp_path / "s.zarr")
    stack = open_stack(tmp_path / "s.zarr")
    marks = np.zeros((600, 600), np.uint32)
    marks[:40, :41], marks[:40, 41:80] = 3, 3 + 2**31
    put_marks(stack, [(0, marks)])
    levels = zarr.open_group(tmp_path / "s.zarr" / "labels" / "synthetic", mode="r")
    assert np.array_equal(levels["0"][0], marks)
    assert set(levels["1"][0, :20, :21].ravel()) == {3}
    assert set(levels["1"][0, :20, 21:40].ravel()) == {3 + 2**31}
    journal = WritingJournal.of(stack)
    with journal.writing():
        assert largest_number(journal.target(journal.layout_of(stack)).labels) == 3


def test_tissue_stays_where_moving_it_does_not_make_it_agree_better():
    truth, damaged, line = folded(
        Fold(8, 8.01, 0.1)
    )  # a dark line over tissue that is in its place
    (patch,) = repair_section(Stack.from_array(damaged), 1, line, method="unfold").patches
    assert patch.displaced is None
    assert (patch.mask == line[patch.box.slices]).all()
    assert error(patch.result, truth[1][patch.box.slices]) < 8


@pytest.mark.parametrize(("missing", "torn"), [(12, False), (0, True)])
def test_a_crack_is_closed_only_where_tissue_is_torn_apart(missing, torn):
    _, damaged, line = folded(Fold(12, missing + 0.01, 0.1))
    stack = Stack.from_array(damaged)
    (patch,) = repair_section(stack, 1, line, options=RepairOptions(kind="crack")).patches
    assert (patch.displaced is not None) == torn
    if not torn:
        assert (patch.mask == line[patch.box.slices]).all()


def repaired(sections: np.ndarray, mask: np.ndarray) -> np.ndarray:
    repair = repair_section(Stack.from_array(sections), 1, mask, method="unfold")
    result = sections[1].copy()
    for patch in repair.patches:
        result[patch.box.slices][patch.mask] = patch.result[patch.mask]
    return result


def test_sixteen_bits_with_an_offset_are_unfolded_like_eight():
    _, damaged, line = folded(Fold(8, 30, 0.15))
    deep = damaged.astype(np.uint16) * 100 + 12000
    result = (repaired(deep, line).astype(float) - 12000) / 100
    # eight bits are clipped
    assert np.abs(np.clip(result, 0, 255) - repaired(damaged, line)).max() < 1.5


def test_two_folds_that_cross_are_both_unfolded():
    truth = tissue(size=256)
    damaged = truth.copy()
    first = fold_section(truth[1], Fold(6, 22, 0.15), seed=0)
    turned = fold_section(np.rot90(first.image), Fold(6, 26, 0.15), seed=0)
    damaged[1] = np.rot90(turned.image, -1)
    mask = first.line | np.rot90(turned.line, -1)
    assert error(repaired(damaged, mask), truth[1]) < 0.6 * error(damaged[1], truth[1])
