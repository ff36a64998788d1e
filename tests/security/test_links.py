"""No link that came with the data is followed."""

from __future__ import annotations

import shutil
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from attacks import CHUNKS, Scene, damage, entry, image, journal, snapshot, truth
from make_stacks import write_ngff

from napari_flowinpaint import open_stack
from napari_flowinpaint.core.errors import FlowInpaintError


def put_link(path: Path, target: Path) -> None:
    """Put a link in place of whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target, target_is_directory=target.is_dir())


@pytest.fixture
def other(repaired) -> Path:
    """Another store of the user's, with the same repairs."""
    return Path(shutil.copytree(repaired.stack, repaired.path / "other.zarr"))


#: Where a link is put in a repaired store, and where it leads to in the scene.
INTO_HOME = {
    "scratch": ("0/.flowinpaint/scratch", "home"),
    "lock": ("0/.flowinpaint/lock", "home/.bashrc"),
    "readme": ("0/.flowinpaint/README.txt", "home/new.txt"),
    "journal": ("0/.flowinpaint", "home"),
    "labels": ("labels", "home"),
    "synthetic": ("labels/synthetic", "home/labels"),
}
INTO_OTHER = {
    "journal": ("0/.flowinpaint", "other.zarr/0/.flowinpaint"),
    "entries": ("0/.flowinpaint/entries", "other.zarr/0/.flowinpaint/entries"),
    "level": ("1", "other.zarr/1"),
    "full resolution": ("0", "other.zarr/0"),
    "chunks": ("0/c", "other.zarr/0/c"),
    "section": ("0/c/2", "other.zarr/0/c/2"),
    "chunk": ("0/c/2/0/0", "other.zarr/0/c/2/0/0"),
    "labels": ("labels", "other.zarr/labels"),
    "label chunks": ("labels/synthetic/0/c", "other.zarr/labels/synthetic/0/c"),
    "reduced labels": ("labels/synthetic/1", "other.zarr/labels/synthetic/1"),
    "list of labels": ("labels/zarr.json", "other.zarr/labels/zarr.json"),
    "metadata of a level": ("1/zarr.json", "other.zarr/1/zarr.json"),
    "metadata of labels": (
        "labels/synthetic/0/zarr.json",
        "other.zarr/labels/synthetic/0/zarr.json",
    ),
}
#: Links that nothing but reading follows; the others must be refused by what writes.
NOT_WRITTEN = {"readme"}


@pytest.mark.parametrize("where", INTO_HOME)
def test_opening_changes_nothing_outside(repaired, unchanged, where):
    """As by drag and drop in the viewer, and by commands that only look."""
    place, target = INTO_HOME[where]
    put_link(repaired.stack / place, repaired.path / target)
    check = unchanged(repaired.home)
    with suppress(FlowInpaintError):
        open_stack(repaired.stack)
    repaired.run("history", repaired.stack)
    repaired.repair("--plan")
    check()
    repaired.run(
        "detect", repaired.stack, "--output", repaired.path / "m.zarr", "--kinds", "missing"
    )
    check()


@pytest.mark.parametrize("where", INTO_HOME)
def test_writing_through_a_link_into_home_is_refused(repaired, unchanged, where):
    place, target = INTO_HOME[where]
    put_link(repaired.stack / place, repaired.path / target)
    check = unchanged(repaired.home)
    told = repaired.run("revert", repaired.stack)
    check()
    if where not in NOT_WRITTEN:
        assert told.code == 2, told
        assert str(repaired.stack / place) in told.err
        assert "is a link" in told.err


@pytest.mark.parametrize("where", INTO_OTHER)
def test_another_store_is_not_changed(repaired, other, unchanged, where):
    """Reverting one store does not take the originals of another away."""
    place, target = INTO_OTHER[where]
    put_link(repaired.stack / place, repaired.path / target)
    check = unchanged(other)
    told = repaired.run("revert", repaired.stack)
    check()
    assert told.code == 2, told
    assert str(repaired.stack / place) in told.err
    assert "is a link" in told.err


#: What nothing reads to do its work, or what zarr takes for absent where it is a link.
NAMED = ["zarr.json", "labels/zarr.json", "labels/synthetic/zarr.json", "labels/synthetic/0"]
NAMED += ["labels", "labels/synthetic", "labels/synthetic/0/c", "labels/synthetic/1", "1/c"]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        *((place, "dangling") for place in NAMED),
        ("labels/synthetic/zarr.json", "copy"),
        ("zarr.json", "loop"),
        ("labels", "copy"),
    ],
)
def test_a_link_is_told_by_name_before_anything_else(repaired, unchanged, place, kind):
    path = repaired.stack / place
    if kind == "copy":
        shutil.move(path, repaired.path / "moved")
    target = {"copy": repaired.path / "moved", "dangling": repaired.path / "no", "loop": path}
    put_link(path, target[kind])
    check = unchanged(repaired.path)
    for command in (
        ["history", repaired.stack],
        ["recover", repaired.stack],
        ["revert", repaired.stack],
        repaired.to_repair("--plan"),
        repaired.to_repair("--in-place"),
    ):
        assert f"{path} is a link" in repaired.refused(*command)
    check()


@pytest.mark.parametrize("place", [".zgroup", ".zattrs", "0/.zarray", "0/.zattrs"])
def test_a_link_in_the_metadata_of_zarr_2(tmp_path, capsys, place):
    scene = Scene(tmp_path, capsys)
    write_ngff(scene.stack, truth(), version="0.4", scale=(40, 4, 4), chunks=CHUNKS)
    put_link(scene.stack / place, tmp_path / "no")
    assert f"{scene.stack / place} is a link" in scene.refused("history", scene.stack)


def test_a_link_that_only_reading_chunks_meets_is_told_once(repaired):
    place = repaired.stack / "labels" / "synthetic" / "0" / "c" / "2" / "0"
    put_link(place, repaired.path / "no")
    message = repaired.refused(*repaired.to_repair("--plan"))
    assert f"{place} is a link" in message


def test_an_entry_that_is_a_link(repaired, other, unchanged):
    place = entry(repaired.stack)
    put_link(place, other / place.relative_to(repaired.stack))
    check = unchanged(other)
    message = repaired.refused("revert", repaired.stack)
    check()
    assert place.name in message
    assert "is a link" in message


@pytest.mark.parametrize("name", ["pixels.npz", "entry.json"])
def test_a_file_of_an_entry_that_is_a_link(repaired, other, unchanged, name):
    place = entry(repaired.stack) / name
    put_link(place, other / place.relative_to(repaired.stack))
    check = unchanged(other)
    message = repaired.refused("revert", repaired.stack)
    check()
    assert "is a link" in message


STAGED = {
    "log": ("log.jsonl", "home/.bashrc"),
    "sections": ("sections", "home/raw"),
    "masks": ("masks", "home/masks"),
    "scratch": ("scratch", "home"),
    "edits": ("edits", "home/raw"),
    "decisions": ("decisions.json", "home/new.json"),
    "lock": ("scratch/lock", "home/.bashrc"),
    "plan": ("plan.json", "home/new.json"),
}


@pytest.mark.parametrize(
    ("where", "command"),
    [*((where, "--resume") for where in STAGED), ("sections", "--no-resume")],
)
def test_a_staging_folder_with_a_link(staged, unchanged, where, command):
    """Repairs go on with it, or are refused: nothing of the user's is touched."""
    place, target = STAGED[where]
    (staged.staging / "sections" / "z000003.npz").unlink()  # there is something left to do
    put_link(staged.staging / place, staged.path / target)
    check = unchanged(staged.home)
    staged.repair("--staging", staged.staging, "--in-place", command)
    check()


def test_a_staging_folder_that_is_a_link_itself_is_the_users(staged):
    """A link on the command line is his own: he keeps it on another disk."""
    shutil.move(staged.staging, staged.path / "disk")
    staged.staging.symlink_to(staged.path / "disk", target_is_directory=True)
    told = staged.repair("--staging", staged.staging)
    assert told.code == 0, told
    assert staged.staging.is_symlink()


def test_a_link_to_a_store_is_the_users(repaired):
    link = repaired.path / "link.zarr"
    link.symlink_to(repaired.stack, target_is_directory=True)
    assert repaired.run("history", link).code == 0
    assert repaired.run("revert", link).code == 0
    assert np.array_equal(image(repaired.stack), truth())
    assert repaired.repair("--in-place", stack=link).code == 0
    assert link.is_symlink()


def test_a_store_that_came_in_an_archive(repaired, unchanged):
    """Unpacked as it is, opened once: what it links to stays."""
    place = journal(repaired.stack) / "scratch"
    put_link(place, repaired.home)
    archive = repaired.path / "sent.tar"
    with tarfile.open(archive, "w") as file:
        file.add(repaired.stack, "sent.zarr")
    with tarfile.open(archive) as file:
        file.extractall(repaired.path / "downloads", filter="fully_trusted")
    check = unchanged(repaired.home)
    with suppress(FlowInpaintError):
        open_stack(repaired.path / "downloads" / "sent.zarr")
    repaired.run("history", repaired.path / "downloads" / "sent.zarr")
    check()


def test_a_link_that_leads_nowhere_makes_nothing(repaired):
    put_link(journal(repaired.stack) / "README.txt", repaired.path / "elsewhere" / "made.txt")
    (repaired.path / "elsewhere").mkdir()
    repaired.run("revert", repaired.stack)
    assert not any((repaired.path / "elsewhere").iterdir())


def test_levels_whose_names_lead_out(scene, unchanged):
    """The metadata name a level of another store as their own."""
    import json

    other = Path(shutil.copytree(scene.stack, scene.path / "other.zarr"))
    path = scene.stack / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["ome"]["multiscales"][0]["datasets"][1]["path"] = "../other.zarr/1"
    path.write_text(json.dumps(content))
    check = unchanged(other)
    scene.refused(*scene.to_repair("--in-place"))
    check()


def test_a_report_that_is_a_link_is_the_users(scene):
    """It is named on the command line, so its end is written, as by any other program."""
    link = scene.path / "report.json"
    link.symlink_to(scene.path / "real.json")
    assert scene.repair("--plan", "--report", link).code == 0
    assert snapshot(scene.path)["report.json"][2] == str(scene.path / "real.json")
    assert damage().any()
