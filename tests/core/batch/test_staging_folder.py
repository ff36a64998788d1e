"""Whose a staging folder is, what is removed from it, and what shows that it was changed."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from batches import plan_of, staged_files, write_scene

from napari_flowinpaint.core.batch import commit, load_staged, run_batch
from napari_flowinpaint.core.batch import seal as seals
from napari_flowinpaint.core.batch.seal import SealKey
from napari_flowinpaint.core.batch.staging_folder import StagingFolder
from napari_flowinpaint.core.disk.lock import StoreBusy
from napari_flowinpaint.core.disk.ownership import MARK
from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.masks.stack_mask import StackMask
from napari_flowinpaint.core.open import open_stack


@pytest.fixture
def stack(tmp_path):
    return open_stack(write_scene(tmp_path))


@pytest.fixture
def staging(stack, tmp_path) -> Path:
    run_batch(plan_of(stack), tmp_path / "st")
    return tmp_path / "st"


def rewrite(path: Path, change) -> None:
    """Change the record of a staged file and pack it again, with all that is in it."""
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    content["record.json"] = change(content["record.json"])
    with zipfile.ZipFile(path, "w") as file:
        for name, told in content.items():
            file.writestr(name, told)


def without_seals(staging: Path) -> None:
    """Let a folder look as if an earlier version had made it."""
    (staging / MARK).unlink()
    for path in staging.glob("*/*.npz"):
        with zipfile.ZipFile(path) as file:
            content = {name: file.read(name) for name in file.namelist() if name != "seal"}
        record = json.loads(content["record.json"])
        del record["digests"]
        content["record.json"] = json.dumps(record).encode()
        with zipfile.ZipFile(path, "w") as file:
            for name, told in content.items():
                file.writestr(name, told)


def test_a_record_that_was_changed_is_not_used(stack, staging):
    before = staged_files(staging)
    path = staging / "sections" / "z000004.npz"
    rewrite(path, lambda told: told.replace(b'"mask_pixels": 400', b'"mask_pixels": 399'))
    assert 4 not in [section.z for section in load_staged(staging).sections]
    with pytest.raises(StoreError, match=r"z000004\.npz cannot be used \(it was changed by"):
        load_staged(staging).repair(4)
    assert run_batch(plan_of(stack), staging).computed == (4,), "it is made again"
    assert staged_files(staging) == before


def test_a_file_of_another_section_is_not_taken_for_this_one(staging):
    shutil.copy(staging / "sections" / "z000004.npz", staging / "sections" / "z000005.npz")
    with pytest.raises(StoreError, match="cannot be used"):
        load_staged(staging).repair(5)


def test_what_another_machine_has_sealed_is_bound_by_the_mask(stack, staging, monkeypatch):
    """There is no telling whether it was changed: no pixel outside of the mask is written."""
    monkeypatch.setattr(seals, "own_key", lambda: SealKey(b"x" * 32))
    staged = load_staged(staging)
    staged._stage.key = SealKey(b"x" * 32)
    staged.accept([4])
    elsewhere = np.zeros(stack.shape, np.uint8)
    with pytest.raises(StoreError, match="replaces 400 pixels outside the mask"):
        commit(stack, staged, within=StackMask(elsewhere, stack.shape))
    assert list(commit(stack, staged)) == [4]


def test_the_folder_of_an_earlier_version_is_gone_on_with(stack, staging):
    without_seals(staging)
    folder = StagingFolder(staging)
    assert folder.exists
    assert not folder.ours
    assert not folder.foreign
    assert run_batch(plan_of(stack), staging).computed == ()
    staged = load_staged(staging)
    staged.accept([2])
    assert list(commit(stack, staged)) == [2]
    with (
        folder.writing(),
        pytest.raises(StoreError, match="not a staging folder made by flowinpaint"),
    ):
        folder.clear()


def test_nothing_is_removed_from_a_copy(stack, staging, tmp_path):
    """It is gone on with; what no longer counts says so."""
    copy = Path(shutil.copytree(staging, tmp_path / "copy"))
    names = sorted(str(path.relative_to(copy)) for path in copy.rglob("*"))
    fewer = np.zeros(stack.shape, np.uint8)
    fewer[2, 10:30, 10:30] = 1
    # Section 2 is computed anew: section 4, intact now, is one of those that it may be made from
    assert run_batch(plan_of(stack, fewer), copy).computed == (2,)
    assert set(names) <= {str(path.relative_to(copy)) for path in copy.rglob("*")}
    found = {section.z: section.status for section in load_staged(copy).sections}
    assert (found[2], found[4]) == ("repaired", "refused")


def test_what_others_put_into_the_folder_stays(staging):
    for name in ("thesis.tex", "sections/figure.png", "scratch/notes.txt"):
        (staging / name).write_text("mine")
    folder = StagingFolder(staging)
    with folder.writing():
        left = folder.clear()
        folder.remove()
    assert left == ("thesis.tex", "sections/figure.png", "scratch/notes.txt")
    assert (staging / "scratch" / "notes.txt").read_text() == "mine"
    assert not list(staging.rglob("*.npz"))
    assert folder.ours
    for name in left:
        (staging / name).unlink()
    with folder.writing():
        folder.clear()
        folder.remove()
    assert not staging.exists()


def test_who_comes_second_is_reported_who_is_at_work(stack, staging):
    who = rf"another process \(process {os.getpid()} on "
    with StagingFolder(staging).writing(), pytest.raises(StoreBusy, match=who):
        run_batch(plan_of(stack), staging)
    assert run_batch(plan_of(stack), staging).computed == ()


def test_a_folder_that_is_removed_while_one_waits_for_it_is_made_anew(staging):
    folder, waited = StagingFolder(staging), threading.Event()

    def wait() -> None:
        with StagingFolder(staging).writing(timeout=10):
            waited.set()
            assert StagingFolder(staging).ours

    second = threading.Thread(target=wait)
    with folder.writing():
        second.start()
        assert not waited.wait(0.3)
        folder.clear()
        folder.remove()
    second.join(10)
    assert waited.is_set()
    assert not list(staging.rglob("*.npz"))


@pytest.mark.parametrize("name", ["log.jsonl", "sections", "masks", "scratch", "plan.json"])
def test_links_in_it_are_refused_by_name(stack, staging, tmp_path, name):
    home = tmp_path / "home"
    home.mkdir()
    target = home if (staging / name).is_dir() else home / "new.txt"
    shutil.move(staging / name, tmp_path / "aside")
    (staging / name).symlink_to(target)
    (staging / "sections" / "z000002.npz").unlink(missing_ok=True)
    with pytest.raises(StoreError, match=rf"{name} is a link, which is not followed"):
        run_batch(plan_of(stack), staging)
    assert list(home.iterdir()) == []
