"""Many sections: the staging folder, one failing, pause, cancel, going on after a kill."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr
from batches import (
    DAMAGED,
    SHAPE,
    Quick,
    image_files,
    masks,
    options,
    plan_of,
    staged_files,
    start,
    write_scene,
)
from make_stacks import write_ngff

from napari_flowinpaint.core.batch import (
    Control,
    StackMask,
    load_staged,
    run_batch,
)
from napari_flowinpaint.core.batch.staging_folder import StagingFolder
from napari_flowinpaint.core.disk.folder import Folder
from napari_flowinpaint.core.errors import Cancelled, InputError, StoreError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.repair.repair_section import repair_section

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
    damage = StackMask(masks(), SHAPE)
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
    assert run_batch(plan_of(stack, wider), staging).computed == (2, 4), "4 lies beyond 3"
    assert run_batch(plan, staging).computed == (2, 4)
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
    assert StagingFolder(staging).sections == StagingFolder(staging).masks() == (2, 4, 8)
    run_batch(plan_of(stack, sections=[8]), staging)
    assert StagingFolder(staging).sections == (2, 4, 8), "others were not asked about"


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
    write, targets = Folder.write, Counter()

    def counted(folder: Folder, name: str, *content: Any, **how: Any) -> None:
        targets[folder.path / name] += 1
        write(folder, name, *content, **how)

    monkeypatch.setattr(Folder, "write", counted)
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
        if len(StagingFolder(staging).sections) >= 2:
            if how == "control":
                control.cancel()
            else:
                raise Cancelled("enough")

    plan = plan_of(stack, method=Quick(0.1))
    with pytest.raises(Cancelled, match="staged"):
        run_batch(plan, staging, workers=1, control=control, progress=progress)
    done = StagingFolder(staging).sections
    assert 2 <= len(done) < len(DAMAGED)
    assert not [path for path in (staging / "scratch").iterdir() if path.name != "lock"]
    report = run_batch(plan_of(stack), staging)
    assert set(report.computed) == set(DAMAGED) - set(done)


def test_a_full_disk_ends_the_batch(stack, tmp_path, monkeypatch):
    plan = plan_of(stack, method=Quick(0.05))
    write = Folder.write

    def full(folder: Folder, name: str, *content: Any, **how: Any) -> None:
        if folder.path.name == "sections":
            raise OSError(28, "No space left on device")
        write(folder, name, *content, **how)

    monkeypatch.setattr(Folder, "write", full)
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
    with StagingFolder(staging).writing(), pytest.raises(StoreError, match="another process"):
        run_batch(plan_of(stack), staging)
    with pytest.raises(InputError, match="not a staging folder"):
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
    from napari_flowinpaint.core.batch import batch_workers

    monkeypatch.setattr(batch_workers, "_TIMEOUT", 0.2)
    with pytest.raises(InputError, match="no dask scheduler answers at tcp"):
        run_batch(plan_of(stack), tmp_path / "st", scheduler="tcp://127.0.0.1:1")
    assert not (tmp_path / "st").exists()


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
    for step in (80, 70):
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
    from napari_flowinpaint.core.batch import batch_workers

    monkeypatch.setattr(batch_workers, "cores", lambda: 7)
    assert batch_workers.ThreadWorkers(None, ["flow"], "auto").count == 7
    assert batch_workers.ThreadWorkers(3, ["flow"], "auto").count == 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert batch_workers.devices_for(["flow"], "auto") == ["cpu"]
    assert batch_workers.devices_for(["flow", "flowinpaint"], "auto") == ["cuda:0", "cuda:1"]
    assert batch_workers.devices_for(["flowinpaint"], "cuda:1") == ["cuda:1"]
    assert batch_workers.ThreadWorkers(None, ["flowinpaint"], "cuda").count == 2
    assert batch_workers.ThreadWorkers(None, ["flowinpaint"], "cpu").count == 7
    with pytest.raises(InputError, match="at least 1"):
        batch_workers.ThreadWorkers(0, ["flow"], "cpu")


def test_every_task_is_reported_its_device(stack, tmp_path, monkeypatch):
    from napari_flowinpaint.core.batch import batch_workers

    used: list[str] = []
    repair = Quick.repair

    def noted(self: Quick, window: Any, options: Any, device: str, progress: Any) -> Any:
        used.append(device)
        return repair(self, window, options, device, progress)

    monkeypatch.setattr(Quick, "repair", noted)
    monkeypatch.setattr(batch_workers, "devices_for", lambda methods, device: ["cuda:0", "cuda:1"])
    run_batch(plan_of(stack, method=Quick(0.1)), tmp_path / "st")
    assert sorted(used) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
