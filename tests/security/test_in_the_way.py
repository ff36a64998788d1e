"""What is in place of our files and folders is told before anything is computed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr
from attacks import CHUNKS, HOLES, Scene, damage, image, journal, marks, truth
from make_stacks import write_ngff

from napari_flowinpaint import open_stack
from napari_flowinpaint.core.detection.store import DetectionStore
from napari_flowinpaint.core.writing import writeback

FILES = [".flowinpaint", ".flowinpaint/entries", ".flowinpaint/scratch"]


@pytest.fixture
def no_computing(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("repairs were computed")

    monkeypatch.setattr("napari_flowinpaint.core.batch.run_batch", fail)


def put_file(path):
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody else's\n")


@pytest.mark.parametrize("place", [*(f"0/{name}" for name in FILES), "labels", "labels/synthetic"])
def test_a_file_in_the_place_of_a_folder_of_the_journal(scene, unchanged, no_computing, place):
    put_file(scene.stack / place)
    check = unchanged(scene.path)
    for command in (scene.to_repair("--in-place"), ["history", scene.stack]):
        message = scene.refused(*command)
        assert f"{scene.stack / place} is a file" in message
        assert "move it away" in message
    check()


def test_a_folder_in_the_place_of_the_lock(repaired, unchanged, no_computing):
    lock = journal(repaired.stack) / "lock"
    lock.unlink()
    lock.mkdir()
    check = unchanged(repaired.path)
    for command in (repaired.to_repair("--in-place"), ["revert", repaired.stack]):
        assert f"{lock} is a folder" in repaired.refused(*command)
    check()


@pytest.mark.parametrize("place", ["sections/z000002.npz", "log.jsonl", "README.txt", "masks"])
def test_the_wrong_kind_of_file_in_a_staging_folder(staged, unchanged, no_computing, place):
    path = staged.staging / place
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.write_text("") if place == "masks" else path.mkdir()
    check = unchanged(staged.path)
    for more in ([], ["--in-place"]):
        message = staged.refused(*staged.to_repair("--staging", staged.staging, *more))
        assert f"{path} is not what a batch puts there" in message
    check()


def test_a_demo_into_a_link_that_leads_nowhere(scene):
    link = scene.path / "link"
    link.symlink_to(scene.path / "no")
    assert f"{link} is not a folder" in scene.refused("demo", "--folder", link, "--no-window")


@pytest.mark.parametrize("group", [True, False])
def test_a_proposed_command_names_channel_and_time(tmp_path, capsys, group):
    """And runs as pasted; also where the array has no group and its axes are guessed."""
    import shlex

    import tifffile

    scene = Scene(tmp_path / "a b", capsys)
    pixels = np.stack([np.stack([truth()] * 2)] * 3)
    stack = scene.stack
    if group:
        write_ngff(stack, pixels, axes="tczyx", scale=(1, 1, 40, 4, 4), chunks=(1, 1, *CHUNKS))
    else:
        stack.parent.mkdir()
        zarr.create_array(stack, data=pixels, chunks=(1, 1, *CHUNKS))
    tifffile.imwrite(scene.path / "mask.tif", damage(), photometric="minisblack")
    chosen = ["--channel", 1, "--time", 2]
    assert scene.repair("--in-place", *chosen).code == 0
    array = zarr.open_array(stack / "0" if group else stack, mode="r+")
    array[(2, 1, 2, *HOLES[2])] = 7
    message = scene.refused("revert", stack, *chosen)
    command = shlex.split(message.split("`")[1])
    assert command[:2] == ["flowinpaint", "revert"]
    assert scene.run(*command[1:]).code == 0
    assert np.array_equal(array[2, 1, 2], truth()[2])


def test_a_level_copied_out_of_its_pyramid(repaired, no_computing, unchanged):
    """It is neither reverted nor repaired in place; a copy of it keeps the marks."""
    lone = repaired.path / "lone"
    shutil.copytree(repaired.stack / "0", lone)
    check = unchanged(lone)
    for command in (["revert", lone], repaired.to_repair("--in-place", stack=lone)):
        message = repaired.refused(*command)
        assert "restore that pyramid, or save a copy" in message
    with pytest.raises(writeback.StoreError, match="another pyramid"):
        writeback.check_in_place(open_stack(lone))
    check()


def test_a_copy_of_a_lone_level_keeps_the_marks(repaired):
    lone = repaired.path / "lone"
    shutil.copytree(repaired.stack / "0", lone)
    mask = damage({4: (slice(5, 15), slice(5, 15))})
    import tifffile

    tifffile.imwrite(repaired.path / "more.tif", mask, photometric="minisblack")
    out = repaired.path / "out.zarr"
    assert repaired.repair("--output", out, stack=lone, mask="more.tif").code == 0
    assert ((marks(out) != 0) >= (damage() != 0)).all()
    assert np.array_equal(image(out)[2], image(repaired.stack)[2])


def test_the_loser_of_two_reverts_says_so(repaired, monkeypatch):
    real = writeback.revert

    def twice(stack, **options):
        real(open_stack(repaired.stack))
        return real(stack, **options)

    monkeypatch.setattr(writeback, "revert", twice)
    message = repaired.refused("revert", repaired.stack)
    assert "sections 2, 3 had nothing left to undo: another process has reverted them" in message


def test_the_loser_of_two_detections_leaves_nothing(scene, monkeypatch):
    command = ["detect", scene.stack, "--output", scene.path / "f.zarr", "--kinds", "missing"]
    real = DetectionStore.working
    calls = []

    def late(store, *arguments):
        if not calls:
            calls.append(store)
            assert scene.run(*command).code == 0
        return real(store, *arguments)

    monkeypatch.setattr(DetectionStore, "working", late)
    assert "exists" in scene.refused(*command)
    assert not (scene.path / ".f.zarr.detecting").exists()


@pytest.mark.parametrize("key", ["shape", "chunks"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_true_is_no_length(tmp_path, capsys, version, key):
    import json

    scene = Scene(tmp_path, capsys)
    write_ngff(scene.stack, truth()[:1], scale=(40, 4, 4), chunks=CHUNKS, version=version)
    path = scene.stack / "0" / ("zarr.json" if version == "0.5" else ".zarray")
    told = json.loads(path.read_text())
    if key == "chunks" and version == "0.5":
        told["chunk_grid"]["configuration"]["chunk_shape"][0] = True
    else:
        told[key][0] = True
    path.write_text(json.dumps(told))
    assert "true or false" in scene.refused("history", scene.stack)


def test_advice_of_a_revert_is_no_output(repaired, monkeypatch):
    """A revert has no other place to write to."""
    from napari_flowinpaint.core.disk.folder import Folder

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Folder, "reserve", full)
    assert "--output" not in repaired.refused("revert", repaired.stack)


@pytest.mark.parametrize("place", ["labels/zarr.json", "labels/synthetic/zarr.json"])
def test_a_folder_in_the_place_of_metadata_of_the_marks(scene, unchanged, no_computing, place):
    (scene.stack / place).mkdir(parents=True)
    check = unchanged(scene.path)
    assert place in scene.refused(*scene.to_repair("--in-place"))
    check()
