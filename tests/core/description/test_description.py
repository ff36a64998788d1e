"""What was repaired in a stack, in words and as a figure."""

import shutil

import numpy as np
import pytest
import zarr
from make_stacks import volume
from repaired_stores import make_repair

from napari_flowinpaint.core.description import as_latex, as_markdown, describe_stack
from napari_flowinpaint.core.description.repair_figure import draw_repairs
from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.export import save_ome_zarr, save_originals
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.writeback import history, revert, write_back


@pytest.fixture
def stack(tmp_path):
    """Return a stack with repairs in two of its sections, of which two overlap."""
    pixels = volume((5, 60, 80))
    made = Stack.from_array(pixels, voxel_size=(40, 4, 4), name="a_stack")
    stack = open_stack(save_ome_zarr(made, tmp_path / "a_stack.zarr"))
    masks = np.zeros((3, 60, 80), bool)
    masks[0, 10:30, 10:30] = masks[1, 20:40, 10:30] = masks[2, 40:50, 50:60] = True
    for mask, z in zip(masks, (1, 1, 3), strict=True):
        write_back(stack, make_repair(stack, z, mask, seed=z))
    return stack, pixels


def test_pixels_count_once_and_reverted_repairs_do_not(stack):
    stack, _ = stack
    description = describe_stack(stack)
    assert [(s.z, s.synthetic, len(s.repairs)) for s in description.sections] == [
        (1, 600, 2),
        (3, 100, 1),
    ]
    assert description.synthetic == 700
    assert description.methods == {"random": 2}
    revert(stack, z=1)
    left = describe_stack(stack)
    assert [s.z for s in left.sections] == [3]
    assert "1 (20.0%) was damaged" in (text := as_markdown(left))
    assert "100 pixels were replaced: 0.417% of the stack, and 2.08% of that section." in text


def test_the_text_says_what_was_done(stack):
    stack, _ = stack
    text = as_markdown(describe_stack(stack))
    assert "Of 5 sections of 60 × 80 pixels, voxels of 40 × 4 × 4 nm (z, y, x), 2 (40.0%)" in text
    assert "700 pixels were replaced: 2.917% of the stack" in text
    assert "| 1 | random | 600 | 12.50% | – | 0, 2 | – | – |" in text
    latex = as_latex(describe_stack(stack))
    assert r"Repaired sections of a\_stack" in latex
    assert r"1 & random & 600 & 12.50\% & -- & 0, 2 & -- & -- \\" in latex
    none = as_markdown(describe_stack(Stack.from_array(volume((3, 20, 20)))))
    assert "No section of this stack" in none


def test_marks_without_a_journal_are_told_of(stack):
    stack, _ = stack
    shutil.rmtree(stack.group_path / "0" / ".flowinpaint")
    description = describe_stack(open_stack(stack.group_path))
    assert description.unknown == (1, 3)
    text = as_markdown(description)
    assert "Sections 1, 3 have further pixels that are marked as synthetic" in text
    assert "No section" not in text


def test_methods_are_cited(stack, monkeypatch):
    from napari_flowinpaint.core.description import text

    stack, _ = stack
    monkeypatch.setitem(text._METHODS, "random", text._METHODS["flow"])
    written = as_markdown(describe_stack(stack))
    assert "random (2 sections): the section was interpolated" in written
    assert "[1, 2]" in written
    assert "1. Cheng Y" in written


def test_the_figure_shows_before_and_after(stack):
    stack, pixels = stack
    figure = np.asarray(draw_repairs(stack, describe_stack(stack)))
    assert figure.shape == (2 * (60 + 22) + 22, 3 * (80 + 6) - 6, 3)
    first = figure[22 : 22 + 60]
    before, after, marked = (first[:, 86 * n : 86 * n + 80] for n in range(3))
    changed = (before != after).any(axis=2)
    assert changed[10:30, 10:30].mean() > 0.9
    assert not changed[45:].any()
    blue = marked[..., 2].astype(int) - marked[..., 0] > 50
    assert blue[12:38, 12:28].all()
    assert not blue[45:].any()
    plain = Stack.from_array(pixels)
    nothing = describe_stack(plain)
    with pytest.raises(InputError, match="nothing of"):
        draw_repairs(plain, nothing)


def test_the_untouched_data_come_back_as_a_store(stack, tmp_path):
    stack, pixels = stack
    raw = open_stack(save_originals(stack, tmp_path / "raw.zarr"))
    assert np.array_equal(np.asarray(raw.array), pixels)
    assert raw.voxel_size == (40, 4, 4)
    assert history(raw) == ()
    assert not (tmp_path / "raw.zarr" / "labels").exists()
    assert not np.array_equal(np.asarray(stack.array), pixels), "which stays as it is"


def test_synthetic_pixels_without_originals_are_not_given_out(stack, tmp_path):
    import shutil

    stack, _ = stack
    shutil.rmtree(stack.group_path / "0" / ".flowinpaint")
    with pytest.raises(StoreError, match="sections 1, 3 of a_stack have synthetic pixels"):
        save_originals(stack, tmp_path / "raw.zarr")
    assert not (tmp_path / "raw.zarr").exists()


def test_any_reader_of_the_label_image_sees_what_a_value_stands_for(stack):
    stack, _ = stack
    path = stack.group_path / "labels" / "synthetic"
    label = dict(zarr.open_group(path, mode="r").attrs)["ome"]["image-label"]
    told = {entry["label-value"]: entry for entry in label["properties"]}
    assert told[3]["section"] == 3
    assert told[3]["method"] == "random"
    assert told[3]["guided_by"] == [2, 4]
    assert told[3]["pixels_replaced"] == 100
    assert [entry["label-value"] for entry in label["colors"]] == [1, 2, 3]
    revert(stack, z=1)
    label = dict(zarr.open_group(path, mode="r").attrs)["ome"]["image-label"]
    assert [entry["label-value"] for entry in label["properties"]] == [3]


def test_every_method_is_described():
    from napari_flowinpaint.core.description import text
    from napari_flowinpaint.core.methods import available_methods

    assert set(text._METHODS) == set(available_methods())
