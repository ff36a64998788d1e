"""Many sections: the plan, the staging folder, going on after a kill, deciding, writing."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
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
    Quick,
    image_files,
    masks,
    options,
    staged_files,
    start,
    write_scene,
)
from make_stacks import write_ngff

from napari_flowinpaint.core import durable
from napari_flowinpaint.core.batch import (
    Control,
    Damage,
    Rate,
    commit,
    load_staged,
    plan_batch,
    run_batch,
)
from napari_flowinpaint.core.batch.stage import Stage
from napari_flowinpaint.core.errors import Cancelled, InputError, RepairRefused, StoreError
from napari_flowinpaint.core.repair import WindowPlan, repair_section
from napari_flowinpaint.core.sparse_mask import SparseMask
from napari_flowinpaint.core.stack import Stack, open_mask, open_stack
from napari_flowinpaint.core.types import Box, RepairOptions
from napari_flowinpaint.core.writeback import history, revert


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is killed here but processes of their own, so nothing need be synced."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_scene(tmp_path)


@pytest.fixture
def stack(store: Path) -> Stack:
    return open_stack(store)


def plan_of(stack: Stack, mask: Any = None, **more: Any):
    more = {"method": Quick(), "options": options()} | more
    return plan_batch(stack, masks() if mask is None else mask, **more)


# ---- the plan


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
        (masks(), [], "no section"),
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
    damage = Damage(written(tmp_path, kind), SHAPE)
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
    get = zarr.storage.LocalStore.get

    async def counted(self: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(f"{self.root.name}/{key}")
        return await get(self, key, *args, **kwargs)

    stack, damage = open_stack(tmp_path / "stack.zarr"), open_mask(tmp_path / "mask.zarr")
    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    plan = plan_of(stack, damage)
    assert [s.windows[0].neighbours for s in plan.sections] == [(49, 52), (49, 52), (299, 301)]
    of_mask = [key for key in asked if key.startswith("mask.zarr/c/")]
    of_stack = [key for key in asked if key.startswith("stack.zarr/c/")]
    assert {int(key.split("/")[2]) for key in of_mask} <= set(range(46, 56)) | set(range(296, 305))
    assert {int(key.split("/")[2]) for key in of_stack} <= {49, 52, 299, 301}
    assert len(of_stack) <= 16


# ---- the run


def test_a_staged_repair_is_that_of_the_section_alone(stack, tmp_path):
    progress: list[tuple[float, str]] = []
    plan = plan_of(stack)
    report = run_batch(
        plan, tmp_path / "st", workers=2, progress=lambda f, m: progress.append((f, m))
    )
    assert report.repaired == report.computed == DAMAGED
    assert report.complete
    fractions = [fraction for fraction, _ in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert "4 of 4 sections" in progress[-1][1]
    staged = load_staged(tmp_path / "st")
    damage = Damage(masks(), SHAPE)
    for section in staged.sections:
        z = section.z
        alone = repair_section(
            stack, z, damage.read(z), masks=damage.read, method=Quick(), options=options()
        )
        kept = staged.repair(z)
        assert replace(kept.provenance, time="") == replace(alone.provenance, time="")
        for name in ("result", "initial_reference", "refined_reference", "confidence", "mask"):
            assert np.array_equal(getattr(kept, name), getattr(alone, name)), name
        assert kept.patches[0].source_digest == alone.patches[0].source_digest
        assert (section.pixels, section.method) == (int((masks()[z] > 0).sum()), "quick")
    qualities = [section.quality for section in staged.worst_first()]
    assert qualities == sorted(qualities)
    assert len(set(qualities)) == len(DAMAGED)
    assert json.loads((tmp_path / "st" / "log.jsonl").read_text().splitlines()[0])["seconds"] > 0


def test_what_is_done_is_not_done_again(stack, store, tmp_path):
    staging, plan = tmp_path / "st", plan_of(stack)
    run_batch(plan, staging, workers=1)
    before = staged_files(staging)
    assert run_batch(plan_of(open_stack(store)), staging).computed == ()
    assert staged_files(staging) == before

    wider = masks()
    wider[4, 30:52] = 1
    assert run_batch(plan_of(stack, wider), staging).computed == (4,), "4 guides nothing"
    assert run_batch(plan, staging).computed == (4,)
    assert staged_files(staging) == before

    more = replace(options(), max_gap=4)
    assert run_batch(plan_of(stack, options=more), staging).computed == DAMAGED
    assert run_batch(plan, staging).computed == DAMAGED

    array = zarr.open_array(str(store / "0"), mode="r+")
    array[9, 10, 50] ^= 255  # guides section 8
    assert run_batch(plan_of(open_stack(store)), staging).computed == (8,)
    array[9, 40, 10] ^= 255  # guides nothing
    assert run_batch(plan_of(open_stack(store)), staging).computed == ()


def test_a_repair_with_a_predicted_quality_serves_those_who_ask_for_none(stack, tmp_path):
    staging = tmp_path / "staging"
    asked = plan_of(stack, options=replace(options(), quality=True))
    assert run_batch(plan_of(stack), staging).computed == DAMAGED
    assert run_batch(asked, staging).computed == DAMAGED
    assert run_batch(plan_of(stack), staging).computed == ()
    assert run_batch(asked, staging).computed == ()


def test_damaged_files_of_the_staging_are_made_again(stack, tmp_path):
    staging, plan = tmp_path / "st", plan_of(stack)
    run_batch(plan, staging)
    before = staged_files(staging)
    (staging / "sections" / "z000005.npz").write_bytes(b"PK torn")
    (staging / "sections" / "z000002.npz").unlink()
    assert run_batch(plan, staging).computed == (2, 5)
    assert staged_files(staging) == before


def test_a_section_that_is_no_longer_damaged_is_no_longer_staged(stack, tmp_path):
    staging = tmp_path / "st"
    run_batch(plan_of(stack), staging)
    fewer = masks()
    fewer[5] = 0
    run_batch(plan_of(stack, fewer), staging)
    assert Stage(staging).sections == Stage(staging).masks() == (2, 4, 8)
    run_batch(plan_of(stack, sections=[8]), staging)
    assert Stage(staging).sections == (2, 4, 8), "others were not asked about"


def test_one_failing_section_does_not_stop_the_others(stack, tmp_path):
    staging = tmp_path / "st"
    heard = []
    plan = plan_of(stack, method=Quick(refuses=(4,), fails=(2,)))
    report = run_batch(plan, staging, on_section=heard.append)
    assert report.repaired == (5, 8)
    assert not report.complete
    status = {outcome.z: outcome.status for outcome in report.sections}
    assert status == {2: "failed", 4: "refused", 5: "repaired", 8: "repaired"}
    messages = {outcome.z: outcome.message for outcome in report.unrepaired}
    assert messages[2] == "section 2 failed: ValueError: no luck with 2"
    assert "made up" in messages[4]
    assert {outcome.z for outcome in heard} == set(DAMAGED)
    assert json.dumps(report.to_dict())
    again = run_batch(plan_of(stack), staging)
    assert again.computed == (2,), "what failed is tried again, what was refused is not"
    with pytest.raises(InputError, match="section 4 was not repaired"):
        load_staged(staging).accept([4])


def test_refused_by_the_plan_is_reported_and_nothing_is_made(stack, tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 10:20, 10:20] = True
    report = run_batch(plan_of(stack, mask, sections=[2], max_gap=1), tmp_path / "st")
    assert [outcome.status for outcome in report.sections] == ["refused"]
    assert not (tmp_path / "st").exists()


def test_workers_never_write_the_same_file(stack, tmp_path, monkeypatch):
    put, targets = durable.put_file, Counter()

    def counted(path: Path, content: Any, scratch: Path) -> None:
        targets[path] += 1
        put(path, content, scratch)

    monkeypatch.setattr(durable, "put_file", counted)
    run_batch(plan_of(stack, method=Quick(0.05)), tmp_path / "st", workers=4)
    of_sections = [path for path in targets if path.parent.name == "sections"]
    assert len(of_sections) == len(DAMAGED)
    assert set(targets.values()) == {1}


def test_the_number_of_workers_does_not_show(stack, tmp_path):
    run_batch(plan_of(stack), tmp_path / "one", workers=1)
    run_batch(plan_of(stack), tmp_path / "four", workers=4)
    assert staged_files(tmp_path / "one") == staged_files(tmp_path / "four")


def test_pause_and_resume(stack, tmp_path):
    control, staging = Control(), tmp_path / "st"
    seen: list[str] = []
    once = threading.Event()

    def on_section(outcome: Any) -> None:
        if not once.is_set():
            once.set()
            control.pause()
            threading.Timer(0.5, control.resume).start()

    report = run_batch(
        plan_of(stack, method=Quick(0.05)),
        staging,
        workers=1,
        control=control,
        progress=lambda fraction, message: seen.append(message),
        on_section=on_section,
    )
    assert any("paused" in message for message in seen)
    assert report.repaired == DAMAGED
    assert report.seconds > 0.5


@pytest.mark.parametrize("how", ["control", "progress"])
def test_cancel_keeps_what_is_staged(stack, tmp_path, how):
    control, staging = Control(), tmp_path / "st"

    def progress(fraction: float, message: str) -> None:
        if len(Stage(staging).sections) >= 2:
            if how == "control":
                control.cancel()
            else:
                raise Cancelled("enough")

    plan = plan_of(stack, method=Quick(0.1))
    with pytest.raises(Cancelled, match="staged"):
        run_batch(plan, staging, workers=1, control=control, progress=progress)
    done = Stage(staging).sections
    assert 2 <= len(done) < len(DAMAGED)
    assert not [path for path in (staging / "scratch").iterdir() if path.name != "lock"]
    report = run_batch(plan_of(stack), staging)
    assert set(report.computed) == set(DAMAGED) - set(done)


def test_a_full_disk_ends_the_batch(stack, tmp_path, monkeypatch):
    plan = plan_of(stack, method=Quick(0.05))
    put = durable.put_file

    def full(path: Path, content: Any, scratch: Path) -> None:
        if path.parent.name == "sections":
            raise OSError(28, "No space left on device")
        put(path, content, scratch)

    monkeypatch.setattr(durable, "put_file", full)
    with pytest.raises(StoreError, match="there is no space left"):
        run_batch(plan, tmp_path / "st", workers=1)


def test_a_staging_folder_belongs_to_one_stack_and_one_batch(stack, tmp_path):
    staging = tmp_path / "st"
    run_batch(plan_of(stack), staging)
    other = write_ngff(tmp_path / "other.zarr", np.zeros((3, 64, 72), np.uint8) + 7)
    mask = np.zeros((3, 64, 72), bool)
    mask[1, 5:9, 5:9] = True
    with pytest.raises(InputError, match="another stack"):
        run_batch(plan_of(open_stack(other), mask), staging)
    with Stage(staging).writing(), pytest.raises(StoreError, match="another process"):
        run_batch(plan_of(stack), staging)
    with pytest.raises(InputError, match="no staging folder"):
        load_staged(tmp_path)


def test_a_stack_in_memory(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, SHAPE, dtype=np.uint8)
    plan = plan_of(Stack.from_array(pixels))
    assert run_batch(plan, tmp_path / "st").repaired == DAMAGED
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="an array of this process"):
        run_batch(plan, tmp_path / "st", scheduler="tcp://127.0.0.1:1")


def test_a_scheduler_that_does_not_answer(stack, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    from napari_flowinpaint.core.batch import workers

    monkeypatch.setattr(workers, "_TIMEOUT", 0.2)
    with pytest.raises(InputError, match="no dask scheduler answers at tcp"):
        run_batch(plan_of(stack), tmp_path / "st", scheduler="tcp://127.0.0.1:1")
    assert not (tmp_path / "st").exists()


# ---- review


def test_decisions_commit_and_revert(stack, store, tmp_path):
    staging, before = tmp_path / "st", image_files(store)
    run_batch(plan_of(stack), staging)
    staged = load_staged(staging)
    assert commit(stack, staged) == {}, "nothing is accepted"
    quality = {section.z: section.quality for section in staged.sections}
    worst = sorted(DAMAGED, key=lambda z: quality[z])
    assert staged.accept_above(quality[worst[2]]) == tuple(sorted(worst[2:]))
    staged.undecide(worst)
    staged.accept([5, 8])
    staged.reject([2])
    staged = load_staged(staging)
    decisions = {section.z: section.decision for section in staged.sections}
    assert decisions == {2: "rejected", 4: "undecided", 5: "accepted", 8: "accepted"}
    assert [section.z for section in staged.worst_first()] == worst
    assert image_files(store) == before, "nothing is written before it is accepted"
    assert commit(stack, staged, [8]) == {8: 1}
    assert commit(stack, staged) == {5: 2}
    assert commit(stack, staged) == {}
    level = zarr.open_array(str(store / "0"), mode="r")
    for z in (5, 8):
        repair = staged.repair(z)
        here = level[z][repair.box.slices]
        assert np.array_equal(here[repair.mask], repair.result[repair.mask])
    assert [entry.z for entry in history(stack)] == [8, 5]
    assert run_batch(plan_of(open_stack(store)), staging).computed == (), (
        "our own writing counts not"
    )
    revert(stack, repair_id=2)
    revert(stack)
    after = image_files(store)
    assert {name: after[name] for name in before} == before
    staged.accept([5])
    assert commit(stack, staged) == {5: 3}, "it was reverted, so it is written again"


def test_a_commit_that_was_killed_writes_nothing_twice(stack, store, tmp_path):
    run_batch(plan_of(stack), tmp_path / "st")
    staged = load_staged(tmp_path / "st")
    staged.accept(DAMAGED)
    assert commit(stack, staged) == {2: 1, 4: 2, 5: 3, 8: 4}
    staged.accept([4, 8])  # as if it had been killed before it was noted
    assert commit(open_stack(store), staged) == {4: 2, 8: 4}
    assert len(history(stack)) == 4


def test_redo_with_another_mask_or_method(stack, tmp_path):
    staging = tmp_path / "st"
    plan = plan_of(stack, method="flow")
    run_batch(plan, staging)
    staged = load_staged(staging)
    staged.accept(DAMAGED)
    smaller = masks()[8] > 0
    smaller[:, 50:] = False
    section = staged.redo(stack, 8, mask=smaller)
    assert (section.decision, section.pixels) == ("undecided", 70)
    key = section.key
    section = staged.redo(stack, 2, options=replace(options(), seed=3))
    assert section.decision == "undecided"
    again = run_batch(plan, staging)
    assert again.computed == (), "running the batch again does not undo what was chosen"
    found = {section.z: section for section in load_staged(staging).sections}
    assert (found[8].key, found[8].pixels) == (key, 70)
    assert [found[z].decision for z in DAMAGED] == [
        *("undecided", "accepted", "accepted", "undecided"),
    ]
    with pytest.raises(InputError, match="no mask"):
        staged.redo(stack, 7)
    with pytest.raises(InputError, match="empty"):
        staged.redo(stack, 8, mask=np.zeros(SHAPE[1:], bool))
    with pytest.raises(RepairRefused, match="usable neighbour"):
        staged.redo(stack, 9, mask=np.ones(SHAPE[1:], bool), options=RepairOptions(max_gap=1))


# ---- killed


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL of POSIX")
def test_a_killed_batch_goes_on_to_the_same_bytes(tmp_path):
    """Killed before a step that changes the disk, twice in one batch, then let through."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_scene(tmp_path / name)

    def job(name: str, **more: Any) -> tuple[int, str]:
        folder = tmp_path / name
        process = start(
            stack=folder / "stack.zarr",
            mask=folder / "mask.tif",
            staging=folder / "st",
            commit=True,
            **more,
        )
        told, _ = process.communicate(timeout=120)
        return process.returncode, told

    assert job("whole")[0] == 0
    for step in (50, 40):
        code, _ = job("killed", kill_at=step, workers=2)
        assert code == -9, "the batch has fewer steps than that"
    code, told = job("killed", workers=2)
    assert code == 0
    (computed,) = [line for line in told.splitlines() if line.startswith("computed")]
    assert len(computed.split()) - 1 < len(DAMAGED)
    assert staged_files(tmp_path / "killed" / "st") == staged_files(tmp_path / "whole" / "st")
    whole, killed = (image_files(tmp_path / name / "stack.zarr") for name in ("whole", "killed"))
    assert whole == killed


# ---- devices


def test_one_worker_per_gpu_where_the_method_uses_one(monkeypatch):
    torch = pytest.importorskip("torch")
    from napari_flowinpaint.core.batch import workers

    monkeypatch.setattr(workers, "cores", lambda: 7)
    assert workers.Threads(None, ["flow"], "auto").count == 7
    assert workers.Threads(3, ["flow"], "auto").count == 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert workers.devices_for(["flow"], "auto") == ["cpu"]
    assert workers.devices_for(["flow", "flowinpaint"], "auto") == ["cuda:0", "cuda:1"]
    assert workers.devices_for(["flowinpaint"], "cuda:1") == ["cuda:1"]
    assert workers.Threads(None, ["flowinpaint"], "cuda").count == 2
    assert workers.Threads(None, ["flowinpaint"], "cpu").count == 7
    with pytest.raises(InputError, match="at least 1"):
        workers.Threads(0, ["flow"], "cpu")


def test_every_task_is_told_its_device(stack, tmp_path, monkeypatch):
    from napari_flowinpaint.core.batch import workers

    used: list[str] = []
    repair = Quick.repair

    def noted(self: Quick, window: Any, options: Any, device: str, progress: Any) -> Any:
        used.append(device)
        return repair(self, window, options, device, progress)

    monkeypatch.setattr(Quick, "repair", noted)
    monkeypatch.setattr(workers, "devices_for", lambda methods, device: ["cuda:0", "cuda:1"])
    run_batch(plan_of(stack, method=Quick(0.1)), tmp_path / "st")
    assert sorted(used) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
