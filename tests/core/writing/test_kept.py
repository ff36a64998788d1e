"""Repairs of files that cannot be written to: kept beside them, shown over them, undone."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from killing import Killer, repairs_of
from make_stacks import volume
from repaired_stores import make_repair

from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.beside import kept_beside
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.core.writing import kept
from napari_flowinpaint.core.writing.kept import can_keep, keep_beside
from napari_flowinpaint.core.writing.marks import marks_of
from napari_flowinpaint.core.writing.recovery import recover
from napari_flowinpaint.core.writing.writeback import history, revert, write_back


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(kept, "CHUNK", 32)


@pytest.fixture
def file(tmp_path):
    """Return a TIFF, and its pixels."""
    pixels = volume((4, 70, 90))
    tifffile.imwrite(tmp_path / "sections.tif", pixels, photometric="minisblack")
    return tmp_path / "sections.tif", pixels


def square(top, bottom, left, right, shape=(70, 90)):
    """Return a mask with a rectangle."""
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def _with(pixels, repair):
    """Return pixels with a repair in them."""
    expected = pixels.copy()
    for patch in repair.patches:
        expected[repair.z][patch.box.slices][patch.mask] = patch.result[patch.mask]
    return expected


def test_a_repair_is_shown_over_the_file_and_undone(file):
    path, pixels = file
    before = path.read_bytes()
    stack = open_stack(path)
    assert not stack.writable
    assert can_keep(stack)
    over = keep_beside(stack)
    assert over.writable
    repair = make_repair(stack, 2, square(20, 50, 30, 60))
    write_back(over, repair)
    expected = _with(pixels, repair)
    assert (expected != pixels).any()
    for shown in (over, open_stack(path), pickle.loads(pickle.dumps(over))):
        assert np.array_equal(np.asarray(shown.array), expected)
    again = open_stack(path)
    view = again.array
    for index in (np.s_[2, 25], np.s_[1:4, ::3, 40], np.s_[::2, 10:60:7, 5:], np.s_[2, 40, 40]):
        assert np.array_equal(view[index], expected[index])
    assert [entry.z for entry in history(again)] == [2]
    assert any("1 repair" in message for message in again.messages)
    marks = marks_of(again)(2, Box.whole((70, 90)))
    assert np.array_equal(marks, square(20, 50, 30, 60))
    assert np.array_equal(open_stack(path, kept=False).read(2), pixels[2])
    assert path.read_bytes() == before
    chunks = sorted(p.name for p in path.parent.glob("*.repairs/repairs.zarr/0/c/*"))
    assert chunks == ["2"], "the cost is that of the damage"
    revert(again)
    assert np.array_equal(np.asarray(open_stack(path).array), pixels)


def test_a_copy_has_the_repairs_and_their_journal(file, tmp_path):
    path, pixels = file
    over = keep_beside(open_stack(path))
    write_back(over, make_repair(over, 1, square(0, 20, 0, 20)))
    copy = open_stack(save_ome_zarr(over, tmp_path / "copy.zarr"))
    assert np.array_equal(np.asarray(copy.array), np.asarray(over.array))
    revert(copy)
    assert np.array_equal(np.asarray(copy.array), pixels)


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_section(tmp_path):
    pixels = volume((2, 70, 90))
    states = set()
    with Killer() as killer:
        steps = 0
        for number, part in enumerate((0, 0.15, 0.4, 0.6, 0.97)):
            path = tmp_path / f"{number}.tif"
            tifffile.imwrite(path, pixels, photometric="minisblack")
            (repair,) = repairs_of(open_stack(path), [1], 5)
            kill_at = round(part * steps) or None
            ended = killer.run("write", path, kill_at=kill_at, sections=[1], seed=5)
            steps = steps or ended.steps
            shown = np.asarray(open_stack(path).array)
            after = _with(pixels, repair)
            assert any(np.array_equal(shown, known) for known in (pixels, after)), part
            states.add(np.array_equal(shown, after) and ended.killed)
            recover(open_stack(path))
            assert np.array_equal(np.asarray(open_stack(path).array), shown), part
            assert np.array_equal(tifffile.imread(path), pixels)
    assert states == {False, True}


def test_a_file_that_has_changed_is_not_shown_with_repairs_of_another(file):
    path, pixels = file
    over = keep_beside(open_stack(path))
    write_back(over, make_repair(over, 2, square(20, 50, 30, 60)))
    repaired = np.asarray(over.array)
    os.utime(path, (1, 1))  # a copy of the file
    assert np.array_equal(np.asarray(open_stack(path).array), repaired)
    tifffile.imwrite(path, pixels ^ 255, photometric="minisblack")
    stack = open_stack(path)
    assert np.array_equal(np.asarray(stack.array), pixels ^ 255)
    assert any("has changed" in message for message in stack.messages)
    with pytest.raises(StoreError, match="has changed"):
        keep_beside(stack)


@pytest.mark.parametrize("undone", [False, True])
def test_what_was_copied_of_a_file_does_not_hide_what_it_has_become(file, undone):
    path, pixels = file
    over = keep_beside(open_stack(path))
    write_back(over, make_repair(over, 2, square(20, 50, 30, 60)))
    if undone:
        revert(over)
    other = pixels.copy()
    other[2, 18, 28] ^= 255  # beside the repair, in a chunk that was copied with it
    tifffile.imwrite(path, other, photometric="minisblack")
    stack = open_stack(path)
    assert np.array_equal(np.asarray(stack.array), other)
    assert any("has changed" in message for message in stack.messages)


def test_a_file_may_change_where_nothing_was_repaired(file):
    path, pixels = file
    over = keep_beside(open_stack(path))
    repair = make_repair(over, 2, square(20, 50, 30, 60))
    write_back(over, repair)
    write_back(over, make_repair(over, 2, square(40, 60, 50, 80)))
    repaired = np.asarray(over.array)[2]
    other = pixels.copy()
    other[0] ^= 255
    tifffile.imwrite(path, other, photometric="minisblack")
    shown = np.asarray(open_stack(path).array)
    assert np.array_equal(shown[2], repaired)
    assert np.array_equal(shown[:2], other[:2])


def test_two_may_begin_to_keep_repairs_at_once(file):
    path, _ = file
    stacks = [open_stack(path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert all(over.writable for over in pool.map(keep_beside, stacks))


def test_the_store_is_no_stack_by_itself(file):
    path, _ = file
    over = keep_beside(open_stack(path))
    for place in (over.group_path, over.group_path / "0"):
        with pytest.raises(InputError, match=r"open sections\.tif"):
            open_stack(place)


def test_images_of_one_file_are_told_apart(tmp_path):
    import h5py

    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["raw"] = volume((3, 40, 40), seed=1)
        file["other/raw"] = volume((3, 40, 40), seed=2)
    first = keep_beside(open_stack(f"{tmp_path}/two.h5:/raw"))
    write_back(first, make_repair(first, 1, square(0, 20, 0, 20, shape=(40, 40))))
    second = open_stack(tmp_path / "two.h5", dataset="/other/raw")
    assert history(second) == ()
    assert kept_beside(second, "flagged") == tmp_path / "two.h5.other-raw.flagged"
    assert [e.z for e in history(open_stack(tmp_path / "two.h5", dataset="raw"))] == [1]


def test_arrays_have_no_place_for_repairs():
    stack = Stack.from_array(volume((3, 20, 20)))
    assert not can_keep(stack)
    with pytest.raises(InputError, match="save a copy"):
        keep_beside(stack)


def test_a_store_that_is_not_ours_is_passed_over(file):
    import zarr

    path, pixels = file
    over = keep_beside(open_stack(path))
    write_back(over, make_repair(over, 1, square(0, 20, 0, 20)))
    group = zarr.open_group(over.group_path, mode="r+")
    attributes = dict(group.attrs)
    del group["0"]
    group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(2, 32, 32))
    group.attrs.put(attributes)
    stack = open_stack(path)
    assert np.array_equal(np.asarray(stack.array), pixels)
    assert not stack.writable
    assert any("not as flowinpaint makes them" in message for message in stack.messages)


@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_in_the_place_of_the_folder_is_named(file, is_file):
    path, pixels = file
    place = path.with_name("sections.tif.repairs")
    if is_file:
        place.write_text("a list of repairs")
    else:
        (place / "notes").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"sections\.tif\.repairs is .*; move it away") as refusal:
        keep_beside(open_stack(path))
    assert "Errno" not in str(refusal.value)
    assert place.is_file() is is_file
    opened = open_stack(path)
    assert (opened.read(1) == pixels[1]).all()
    assert str(refusal.value) in opened.messages, "said before anything is repaired"
