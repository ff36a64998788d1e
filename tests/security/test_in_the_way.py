"""What is in place of our files and folders is told before anything is computed."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest
import tifffile
import zarr
from attacks import CHUNKS, HOLES, SHAPE, Scene, damage, image, journal, marks, truth
from make_stacks import write_ngff
from repaired_stores import make_repair

from napari_flowinpaint import open_stack
from napari_flowinpaint.core.detection.store import DetectionStore
from napari_flowinpaint.core.errors import StoreError
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


# ---- what lies at labels/synthetic and is not ours


def _text(labels):
    (labels / "synthetic" / "0").mkdir(parents=True)
    (labels / "synthetic" / "0" / "cells.txt").write_text("mine")


def _empty(labels):
    (labels / "synthetic").mkdir(parents=True)


def _array(labels):
    zarr.create_array(str(labels / "synthetic"), data=damage(), chunks=(1, 24, 28))


def _group(labels, *, shape=SHAPE, dtype="uint32", levels=2, named="synthetic", **label):
    group = zarr.create_group(str(labels / "synthetic"))
    for number in range(levels):
        size = (shape[0], *(n >> number for n in shape[1:]))
        chunks = (1, *size[1:]) if named == "synthetic" else (1, 8, 8)
        group.create_array(str(number), shape=size, dtype=dtype, chunks=chunks)
    datasets = [{"path": str(number)} for number in range(levels)]
    image = {"name": named, "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image], "image-label": label}


def _labels_that_are_an_array(labels):
    zarr.create_array(str(labels), data=damage(), chunks=(1, 24, 28))


def _damaged_labels(labels):
    labels.mkdir()
    (labels / "zarr.json").write_text("{")


def _odd_list(labels):
    zarr.create_group(str(labels)).attrs["ome"] = {"version": "0.5", "labels": {"mine": 1}}


_FOREIGN = {
    "text": _text,
    "an empty folder": _empty,
    "an array": _array,
    "another shape": partial(_group, shape=(6, 40, 56)),
    "another type": partial(_group, dtype="uint8"),
    "one level": partial(_group, levels=1),
    "another name": partial(_group, named="cells"),
    "with colours": partial(_group, colors=[{"label-value": 1, "rgba": [255, 0, 0, 255]}]),
    "labels is an array": _labels_that_are_an_array,
    "labels is damaged": _damaged_labels,
    "an odd list of labels": _odd_list,
}


@pytest.mark.parametrize("kind", _FOREIGN)
def test_labels_of_somebody_else(scene, unchanged, no_computing, kind):
    """Told before anything is computed, and as the first write would tell it."""
    labels = scene.stack / "labels"
    _FOREIGN[kind](labels)
    check = unchanged(scene.path)
    for more in ([], ["--plan"], ["--sections", 2]):
        message = scene.refused(*scene.to_repair("--in-place", *more))
        assert str(labels) in message
        assert "move it away" in message or "restore" in message
    check()
    stack = open_stack(scene.stack)
    with pytest.raises(StoreError) as told:
        writeback.write_back(stack, make_repair(stack, 2, damage()[2] != 0))
    assert str(told.value) in message


@pytest.mark.parametrize("kind", _FOREIGN)
def test_a_copy_of_a_stack_with_labels_of_somebody_else(scene, kind):
    """As is advised."""
    _FOREIGN[kind](scene.stack / "labels")
    out = scene.path / "out.zarr"
    told = scene.repair("--output", out)
    if "damaged" not in kind:
        assert told.code == 0
        assert ((marks(out) != 0) == (damage() != 0)).all()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_our_own_labels_are_known_again(tmp_path, capsys, version):
    scene = Scene(tmp_path, capsys)
    write_ngff(scene.stack, truth(), scale=(40, 4, 4), levels=2, chunks=CHUNKS, version=version)
    tifffile.imwrite(scene.path / "mask.tif", damage(), photometric="minisblack")
    assert scene.repair("--in-place", "--sections", 2).code == 0
    shutil.rmtree(journal(scene.stack))
    assert scene.repair("--in-place", "--sections", 3).code == 0
    assert ((marks(scene.stack) != 0) == (damage() != 0)).all()


def test_a_stack_that_would_be_refused_at_the_first_write(
    tmp_path, capsys, no_computing, unchanged
):
    import numcodecs

    scene = Scene(tmp_path, capsys)
    tifffile.imwrite(scene.path / "mask.tif", damage(), photometric="minisblack")
    lossy = zarr.create_array(
        str(scene.path / "lossy.zarr"),
        shape=SHAPE,
        dtype="float32",
        chunks=CHUNKS,
        zarr_format=2,
        filters=[numcodecs.Quantize(digits=1, dtype="f4")],
    )
    lossy[...] = truth()
    write_ngff(scene.stack, truth(), scale=(40, 4, 4), levels=2, chunks=CHUNKS)
    shutil.rmtree(scene.stack / "1")
    zarr.create_array(str(scene.stack / "1"), data=truth()[:, :30, :30], chunks=(1, 30, 30))
    check = unchanged(scene.path)
    for name, words in {"lossy.zarr": "may not be lossless", "stack.zarr": "whole-number"}.items():
        assert words in scene.refused(*scene.to_repair("--in-place", stack=scene.path / name))
    check()


@pytest.mark.parametrize("what", ["labels", "journal", "beside"])
def test_the_window_tells_before_it_repairs(scene, monkeypatch, unchanged, what):
    from napari_flowinpaint.core.masks.sparse_mask import SparseMask
    from napari_flowinpaint.core.repair_options import RepairOptions, RepairRequest
    from napari_flowinpaint.viewer.tasks import many_sections, one_section

    def fail(*arguments, **options):
        raise AssertionError("repairs were computed")

    monkeypatch.setattr("napari_flowinpaint.core.repair.repair_section.repair_section", fail)
    monkeypatch.setattr(many_sections, "plan_batch", fail)
    path = scene.stack
    if what == "labels":
        _array(path / "labels")
    elif what == "journal":
        put_file(path / "0" / ".flowinpaint")
    else:
        path = scene.path / "stack.tif"
        tifffile.imwrite(path, truth(), photometric="minisblack")
        (scene.path / "stack.tif.repairs").mkdir()
        (scene.path / "stack.tif.repairs" / "mine.txt").write_text("mine")
    check = unchanged(scene.path)
    stack = open_stack(path)
    mask = SparseMask(stack.shape)
    mask[2] = damage()[2]
    mask.commit()
    options = RepairOptions()
    job = one_section.SectionJob(1, RepairRequest(2, "flow", "cpu", options), stack, mask.frozen())
    batch = many_sections.BatchRequest(stack, mask.frozen(), {}, (2,), "flow", "cpu", options)
    for task, request in ((one_section.repair, job), (many_sections.plan, batch)):
        with pytest.raises(StoreError, match="move it away"):
            task(request, progress=lambda fraction, message: None)
    check()
