"""What a batch is going to do: neighbours, refusals, time, and masks of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from batches import (
    DAMAGED,
    SHAPE,
    masks,
    plan_of,
)
from make_stacks import write_ngff

from napari_flowinpaint.core.batch import (
    Rate,
    StackMask,
)
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.folder_store import FolderStore
from napari_flowinpaint.core.masks.sparse_mask import SparseMask
from napari_flowinpaint.core.open import open_mask, open_stack
from napari_flowinpaint.core.repair.repair_section import WindowPlan
from napari_flowinpaint.core.types import Box


def test_consecutive_sections_are_guided_by_the_nearest_intact_ones(stack):
    mask = np.zeros(SHAPE, bool)
    mask[2:5, 10:20, 10:20] = True
    plan = plan_of(stack, mask)
    assert [section.z for section in plan.planned] == [2, 3, 4]
    assert all(section.windows[0].neighbours == (1, 5) for section in plan.sections)
    assert [section.windows[0].alpha for section in plan.sections] == [0.25, 0.5, 0.75]
    assert plan.pixels == 300
    assert "guided by 1 and 5 (alpha 0.25)" in str(plan)
    told = json.loads(json.dumps(plan.to_dict()))
    assert told["sections"][0]["windows"][0]["previous"] == 1
    assert plan.seconds == sum(section.seconds for section in plan.sections) > 0


def test_more_time_is_planned_for_windows_that_a_network_looks_at_several_times():
    box = Box(0, 0, 1000, 1000)
    half, tenth = (
        WindowPlan(box, pixels, (0, 2), 0.5, "flowinpaint") for pixels in (500_000, 100_000)
    )
    flow = replace(half, method="flow")
    rate = Rate(window=0.0, megapixel=2.0)
    assert rate.seconds([tenth]) == rate.seconds([flow]) == 2.0
    assert rate.seconds([half, tenth]) == 10.0


def test_a_gap_longer_than_the_limit_is_refused(stack):
    mask = np.zeros(SHAPE, bool)
    mask[1:8, 10:20, 10:20] = True
    mask[9, 40:50, 40:50] = True
    plan = plan_of(stack, mask, max_gap=2)
    assert [section.z for section in plan.planned] == [1, 2, 6, 7, 9]
    assert [section.z for section in plan.unplanned] == [3, 4, 5]
    for section in plan.unplanned:
        assert section.status == "refused"
        assert "no usable neighbour within 2" in section.reason
    assert "3 not repaired" in plan.summary()


def test_what_cannot_be_planned(stack, store):
    for mask, sections, words in (
        (np.zeros(SHAPE, bool), None, "empty"),
        (masks(), [3], "section 3 is empty"),
        (masks(), [10], "does not exist"),
        (masks(), [], "list of sections is empty"),
        (masks()[:, :60], None, "shape"),
    ):
        with pytest.raises(InputError, match=words):
            plan_of(stack, mask, sections=sections)
    for chunk in (store / "0" / "c" / "3").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:20])
    plan = plan_of(stack)
    assert [section.z for section in plan.planned] == [8]
    assert {section.status for section in plan.unplanned} == {"failed"}
    assert "section 3 of" in plan.unplanned[0].reason


def written(folder: Path, kind: str) -> Any:
    """The mask of the scene in one of the forms a mask may have."""
    mask = masks()
    if kind == "array":
        return mask
    if kind == "sections":
        return {z: mask[z] for z in DAMAGED}
    if kind.startswith("painted"):
        base = None
        if kind == "painted over zarr":
            base = open_mask(written_zarr(folder / "base.zarr", masks() * (masks() == 2))).array
        painted = SparseMask(SHAPE, base)
        painted[:8] = mask[:8]
        if base is None:
            painted[8] = mask[8]
        return painted
    if kind == "tiff":
        tifffile.imwrite(folder / "kind.tif", mask, photometric="minisblack")
        return open_mask(folder / "kind.tif")
    if kind == "hdf5":
        with h5py.File(folder / "kind.h5", "w") as file:
            data = file.create_dataset("m", SHAPE, "u1", chunks=(2, 16, 16))
            for z in DAMAGED:
                data[z] = mask[z]
        return open_mask(f"{folder / 'kind.h5'}:/m")
    if kind == "labels":
        path = write_ngff(folder / "labels.zarr", mask[None], axes="czyx", chunks=(1, 4, 32, 32))
        return open_mask(path)
    return open_mask(written_zarr(folder / "kind.zarr", mask, kind))


def written_zarr(path: Path, mask: np.ndarray, kind: str = "zarr") -> Path:
    form = {"zarr_format": 2} if kind == "zarr v2" else {}
    if kind == "shards":
        form["shards"] = (4, 32, 32)
    chunks = (2, 16, 16) if kind == "shards" else (3, 20, 20)
    array = zarr.create_array(str(path), shape=SHAPE, dtype="u1", chunks=chunks, **form)
    array[...] = mask
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *("array", "sections", "painted", "painted over zarr", "tiff"),
        *("hdf5", "labels", "zarr", "zarr v2", "shards"),
    ],
)
def test_masks_of_every_kind_tell_the_same(tmp_path, kind):
    damage = StackMask(written(tmp_path, kind), SHAPE)
    boxes = damage.find()
    assert tuple(boxes) == DAMAGED
    for z, box in boxes.items():
        assert np.array_equal(damage.section(z, box), masks()[z] > 0), z
    assert tuple(damage.find([1, 5])) == (5,)


def test_only_stored_chunks_are_looked_at(tmp_path, monkeypatch):
    """A deep stack of which a few chunks exist: all others are never asked for."""
    depth, side = 400, 512
    mask = zarr.create_array(
        str(tmp_path / "mask.zarr"), shape=(depth, side, side), chunks=(1, 128, 128), dtype="u1"
    )
    data = zarr.create_array(
        str(tmp_path / "stack.zarr"), shape=(depth, side, side), chunks=(1, 128, 128), dtype="u1"
    )
    rng = np.random.default_rng(0)
    for z in (50, 51, 300):
        mask[z, 200:220, 200:230] = 1
    for z in (49, 50, 51, 52, 299, 300, 301):
        data[z, 128:256, 128:256] = rng.integers(0, 255, (128, 128))
    asked: list[str] = []
    get = FolderStore.get_sync

    def counted(self: Any, key: str, **kwargs: Any) -> Any:
        asked.append(f"{self.folder.path.name}/{key}")
        return get(self, key, **kwargs)

    stack, damage = open_stack(tmp_path / "stack.zarr"), open_mask(tmp_path / "mask.zarr")
    monkeypatch.setattr(FolderStore, "get_sync", counted)
    plan = plan_of(stack, damage)
    assert [s.windows[0].neighbours for s in plan.sections] == [(49, 52), (49, 52), (299, 301)]
    of_mask = [key for key in asked if key.startswith("mask.zarr/c/")]
    of_stack = [key for key in asked if key.startswith("stack.zarr/c/")]
    assert {int(key.split("/")[2]) for key in of_mask} <= set(range(46, 56)) | set(range(296, 305))
    looked_at = {49, 50, 51, 52, 299, 300, 301}
    assert {int(key.split("/")[2]) for key in of_stack} <= looked_at
    assert len(of_stack) <= 16
