"""Nothing is deleted or written that is not ours."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from attacks import damage, image, journal, program, snapshot, truth, write_home

from napari_flowinpaint import open_stack
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack


@pytest.mark.parametrize("resume", [["--no-resume"], []], ids=["no-resume", "resume"])
@pytest.mark.parametrize("plan", [b'{"chapters": 5}', b"not JSON"], ids=["JSON", "text"])
def test_a_folder_of_the_users_with_a_plan(scene, unchanged, plan, resume):
    (scene.home / "plan.json").write_bytes(plan)
    check = unchanged(scene.home)
    message = scene.refused(*scene.to_repair("--staging", scene.home, "--in-place", *resume))
    assert str(scene.home) in message
    assert "kept in" not in message
    check()


@pytest.mark.parametrize("names", [["scratch"], ["scratch", "README.txt"], ["README.txt", "lock"]])
def test_a_folder_of_the_users_with_names_like_ours(scene, unchanged, names):
    shutil.rmtree(scene.home)
    scene.home.mkdir()
    for name in names:
        if name == "scratch":
            (scene.home / "scratch").mkdir()
            (scene.home / "scratch" / "thesis.tex").write_text("years of work")
        else:
            (scene.home / name).write_text("mine")
    check = unchanged(scene.home)
    scene.refused(*scene.to_repair("--staging", scene.home))
    check()


def test_a_folder_of_the_users_with_names_of_ours_only(scene, unchanged):
    """Today one is removed as useless after the refusal: there is no repair in it."""
    for name in ("plan.json", "log.jsonl", "masks/field.tif", "scratch/notes.txt"):
        (scene.staging / name).parent.mkdir(parents=True, exist_ok=True)
        (scene.staging / name).write_text("{}")
    check = unchanged(scene.staging)
    scene.refused(*scene.to_repair("--in-place"))
    check()


@pytest.mark.parametrize("command", ["--plan", "--in-place"])
def test_a_folder_of_the_users_beside_the_stack(scene, unchanged, command):
    """The folder that is taken by default may be somebody's."""
    write_home(scene.staging)
    check = unchanged(scene.staging)
    scene.refused(*scene.to_repair(command))
    check()


def test_files_that_the_user_put_into_the_staging_folder(staged, unchanged):
    for name in ("thesis.tex", "scratch/notes.txt", "sections/figure.png", "raw/day1.dat"):
        (staged.staging / name).parent.mkdir(exist_ok=True)
        (staged.staging / name).write_text("years of work")
    staged.repair("--in-place", "--no-resume")
    for name in ("thesis.tex", "scratch/notes.txt", "sections/figure.png", "raw/day1.dat"):
        assert (staged.staging / name).read_text() == "years of work", name


def test_the_staging_folder_of_another_stack_is_not_claimed(staged, unchanged):
    other = shutil.copytree(staged.stack, staged.path / "other.zarr")
    zarr.open_array(str(other / "0"), mode="r+")[...] = truth()[::-1]
    check = unchanged(staged.staging)
    more = ("--staging", staged.staging, "--in-place")
    message = staged.refused(*staged.to_repair(*more, stack=other))
    assert "kept in" not in message
    check()


# ---- the demo


def test_the_demo_replaces_nothing(tmp_path):
    """Painted masks of the user's lie in the folder, under names that the demo uses."""
    zarr.create_array(str(tmp_path / "damage.zarr"), data=damage())
    (tmp_path / "scores.txt").write_text("mine")
    before = snapshot(tmp_path)
    arguments = ["demo", "--no-window", "--folder", str(tmp_path)]
    with program(*arguments, stderr=subprocess.PIPE) as process:
        while process.poll() is None and snapshot(tmp_path) == before:
            time.sleep(0.02)
        if snapshot(tmp_path) != before:
            process.kill()
        told = process.stderr.read().decode()
        code = process.wait()
    assert snapshot(tmp_path) == before
    assert code == 2
    assert told.count("\n") == 1
    assert "Traceback" not in told


# ---- replacing a store

#: Called around every rename: is the target gone, has it come, from where?
_WATCH = """
import os, pathlib, signal
target, synced = {target!r}, set()
first, known = os.stat(target).st_ino, set(os.listdir(os.path.dirname(target)))
fsync = os.fsync
def told_fsync(handle):
    found = os.fstat(handle)
    synced.add((found.st_dev, found.st_ino))
    fsync(handle)
os.fsync = told_fsync
def around(call):
    def told(*args, **kwargs):
        there = os.path.lexists(target)
        found = call(*args, **kwargs)
        {then}
        return found
    return told
os.rename, os.replace = around(os.rename), around(os.replace)
"""
_KILL = "if there and not os.path.lexists(target): os.kill(os.getpid(), signal.SIGKILL)"
_TELL = """if there and not os.path.lexists(target) or os.stat(target).st_ino != first:
            beside = [p for p in pathlib.Path(target).parent.iterdir() if p.name not in known]
            new = [p for p in beside if p.is_dir() and p.stat().st_ino != first]
            new += [pathlib.Path(target)] * (os.path.lexists(target))
            files = [f for p in new for f in p.rglob('*') if f.is_file() and f.name != 'lock']
            files = [f for f in files if first not in [q.stat().st_ino for q in f.parents]]
            lost = [f for f in files if (f.stat().st_dev, f.stat().st_ino) not in synced]
            print('replaced', len(files), 'not synced', len(lost), flush=True)
            os._exit(0)
"""


@pytest.fixture
def output(scene) -> Path:
    """A store of the user's, the only copy of its pixels."""
    path = scene.path / "out.zarr"
    save_ome_zarr(Stack.from_array(truth()[::-1].copy()), path)
    return path


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_replacement_that_was_killed_is_put_right(scene, output):
    """At the next call of any kind the old store or the new one is there, and nothing else."""
    arguments = scene.to_repair("--output", output, "--overwrite")
    watch = _WATCH.format(target=str(output), then=_KILL)
    with program(*arguments, before=watch, stderr=subprocess.DEVNULL) as process:
        assert process.wait() in (0, -signal.SIGKILL)
    told = scene.run("history", output)
    assert told.code == 0, told
    found = image(output)
    old, new = np.array_equal(found, truth()[::-1]), (found == truth())[damage() == 0].all()
    assert old or new
    assert scene.run(*arguments).code == 0
    assert [p.name for p in scene.path.iterdir() if p.name.startswith(".")] == []


def test_the_new_store_is_on_disk_before_the_old_one_goes(scene, output):
    arguments = scene.to_repair("--output", output, "--overwrite")
    watch = _WATCH.format(target=str(output), then=_TELL.strip())
    with program(*arguments, before=watch, stdout=subprocess.PIPE) as process:
        told = process.stdout.read().decode()
        assert process.wait() == 0
    lines = [line for line in told.splitlines() if line.startswith("replaced")]
    assert len(lines) == 1, "the old store was not replaced"
    assert lines[0].endswith("not synced 0")
    assert not lines[0].startswith("replaced 0")


def test_what_is_no_store_is_never_replaced(scene, unchanged):
    check = unchanged(scene.home)
    for command in (
        scene.to_repair("--output", scene.home, "--overwrite"),
        scene.to_repair("--output", scene.home / "raw", "--overwrite"),
        ["detect", scene.stack, "--output", scene.home, "--overwrite"],
    ):
        scene.refused(*command)
    check()


def test_a_store_with_files_of_the_users_is_not_replaced(scene, output, unchanged):
    """He keeps notes in it: it is more than a store."""
    write_home(output)
    check = unchanged(output)
    scene.refused(*scene.to_repair("--output", output, "--overwrite"))
    check()


def test_a_store_with_files_of_the_users_in_its_journal_is_not_replaced(scene, unchanged):
    """Also an entry that was moved away there, as is advised where one is damaged."""
    output = scene.path / "output.zarr"
    assert scene.repair("--output", output).code == 0
    for where in ("thesis.tex", "entries/notes", "entries/00000001-z2.old/pixels.npz", "scratch/a"):
        mine = journal(output) / where
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("years of work")
        check = unchanged(output)
        told = where.removesuffix("/pixels.npz")
        assert told in scene.refused(*scene.to_repair("--output", output, "--overwrite"))
        check()
        mine.unlink()
        if mine.parent.suffix == ".old":
            mine.parent.rmdir()


def test_reading_a_stack_leaves_no_file_beside_it(scene, unchanged):
    check = unchanged(scene.path)
    open_stack(scene.stack)
    scene.run("history", scene.stack)
    scene.repair("--plan")
    check()


def test_a_name_that_is_too_long_is_told_before_anything_is_computed(scene, unchanged):
    """The hidden folder in which the store is made has a longer one."""
    check = unchanged(scene.path)
    message = scene.refused(*scene.to_repair("--output", scene.path / f"{'a' * 238}.zarr"))
    assert "at most" in message
    check()
