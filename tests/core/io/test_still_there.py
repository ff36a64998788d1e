"""A stack whose files were removed, moved or replaced is not taken for black sections."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from make_stacks import volume, write_ngff
from repaired_stores import make_repair
from scenes import files

from napari_flowinpaint.core.detection.detect_stack import detect_stack
from napari_flowinpaint.core.errors import StackGone
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.still_there import check_there
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.writing.writeback import history, revert, write_back
from napari_flowinpaint.viewer.tasks.find_no_data import outline

SHAPE = (5, 40, 36)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_ngff(tmp_path / "stack.zarr", volume(SHAPE), chunks=(1, 20, 20))


def remove(path: Path) -> None:
    shutil.rmtree(path)


def move(path: Path) -> None:
    path.rename(path.with_name("moved.zarr"))


def replace(path: Path) -> None:
    shutil.rmtree(path)
    write_ngff(path, volume(SHAPE, seed=1), chunks=(1, 20, 20))


@pytest.mark.parametrize(
    ("change", "why"),
    [(remove, "moved or removed"), (move, "moved or removed"), (replace, "has taken its place")],
)
def test_nothing_is_made_of_a_stack_that_is_not_there(path, tmp_path, change, why):
    stack = open_stack(path)
    mask = np.zeros(SHAPE[1:], bool)
    mask[10:14, 10:14] = True
    repair = make_repair(stack, 2, mask)
    written = make_repair(stack, 1, mask)
    (number,) = write_back(stack, written)
    check_there(stack)
    change(path)
    before = files(path) if path.exists() else None
    for attempt in (
        lambda: repair_section(stack, 2, mask, method="flow"),
        lambda: write_back(stack, repair),
        lambda: revert(stack, repair_id=number),
        lambda: history(stack),
        lambda: save_ome_zarr(stack, tmp_path / "copy.zarr"),
        lambda: detect_stack(stack, tmp_path / "copy.zarr", workers=1),
        lambda: outline(stack, 2),
    ):
        with pytest.raises(StackGone, match=why) as caught:
            attempt()
        assert "open it again" in str(caught.value)
    assert not (tmp_path / "copy.zarr").exists()
    assert (files(path) if path.exists() else None) == before


def test_what_was_removed_is_not_read_as_the_fill_value(path, tmp_path):
    stack = open_stack(path)
    remove(path)
    with pytest.raises(StackGone, match=r"0 was removed since it was opened; open the stack again"):
        stack.read(2)


def test_a_stack_that_was_moved_can_be_read_and_is_opened_anew(path):
    stack = open_stack(path)
    pixels = stack.read(2)
    move(path)
    assert np.array_equal(stack.read(2), pixels)
    check_there(open_stack(path.with_name("moved.zarr")))
