"""A store of an earlier version, whose journal has no digests and whose labels no numbers.

It is a stack of three sections; repairs 1 and 2 overlap in section 1, and repair 2 was interrupted;
repair 3 (section 2) was reverted.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from repaired_stores import label_arrays, make_repair

from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.recovery import needs_recovery, recover
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

KEPT = Path(__file__).parents[2] / "data" / "journal_without_digests.zarr"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT, tmp_path / "old.zarr"))


def originals() -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) for n in (3, 24, 28)), indexing="ij")
    return ((z * 31 + y * 7 + x * 5) % 251).astype(np.uint8)


def levels(store: Path) -> list[np.ndarray]:
    import zarr

    return [zarr.open_array(str(store / name), mode="r")[...] for name in "01"]


def test_it_is_read_and_reverted(store: Path) -> None:
    assert [(e.id, e.state) for e in history(open_stack(store))] == [
        (1, "committed"),
        (2, "unfinished"),
        (3, "reverted"),
    ]
    assert needs_recovery(store)
    assert recover(store) == ("The interrupted write of repair 2 (section 1) was finished.",)
    repaired = levels(store)[0][1]
    assert (repaired[7:14, 10:20] == 90).all()
    assert (repaired[3:7, 4:13] == 200).all()
    assert revert(open_stack(store)) == (1, 2)
    full, reduced = levels(store)
    assert np.array_equal(full, originals())
    means = originals().reshape(3, 12, 2, 14, 2).mean(axis=(2, 4))
    assert np.array_equal(reduced, np.rint(means).astype(np.uint8))
    assert not any(label.any() for label in label_arrays(store))


def test_it_is_written_to(store: Path) -> None:
    stack = open_stack(store)
    mask = np.zeros((24, 28), bool)
    mask[5:9, 6:12] = True
    repair = make_repair(stack, 1, mask)
    assert write_back(stack, repair) == (4,)
    states = ["committed", "committed", "reverted", "committed"]
    assert [entry.state for entry in history(stack)] == states
    assert revert(open_stack(store)) == (1, 2, 4)
    assert np.array_equal(levels(store)[0], originals())


def test_numbers_of_a_journal_that_was_removed(store: Path) -> None:
    """The largest number is that of the labels, where no attribute tells."""
    shutil.rmtree(store / "0" / ".flowinpaint")
    before = label_arrays(store)[0]
    stack = open_stack(store)
    mask = np.zeros((24, 28), bool)
    mask[5:9, 6:12] = True
    assert write_back(stack, make_repair(stack, 1, mask)) == (3,)
    assert (label_arrays(store)[0][1][mask] == 3).all()
    revert(open_stack(store))
    assert np.array_equal(label_arrays(store)[0], before)
