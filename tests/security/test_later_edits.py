"""What others wrote later is not overwritten silently; no synthetic pixel loses its mark."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from attacks import HOLES, damage, entry, image, journal, marks, truth


def edit(store: Path, z: int = 2, level: str = "0", value: int = 255) -> tuple[slice, slice]:
    """Change some pixels within the hole, as another program would."""
    y, x = HOLES[z]
    where = (slice(y.start + 2, y.start + 6), slice(x.start + 2, x.start + 9))
    zarr.open_array(str(store / level), mode="r+")[(z, *where)] = value
    return where


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("revert", "prepared"),
        ("repair", "aborting"),
        ("recover", "prepared"),
        ("recover", "reverting"),
        ("recover", "aborting"),
    ],
)
def test_edits_after_a_crash_stay(interrupted, command, state):
    found = entry(interrupted.stack)
    found.rename(found.with_name(found.name.replace("prepared", state)))
    where = edit(interrupted.stack)
    arguments = {
        "revert": ["revert", interrupted.stack, "--sections", "3"],
        "recover": ["recover", interrupted.stack],
        "repair": interrupted.to_repair("--in-place", "--sections", "3"),
    }[command]
    message = interrupted.refused(*arguments)
    assert (image(interrupted.stack)[(2, *where)] == 255).all()
    assert "section 2" in message
    assert "--force" in message


def test_edits_after_a_crash_go_if_asked(interrupted):
    where = edit(interrupted.stack)
    assert "(pixels: 28)" in interrupted.refused("recover", interrupted.stack)
    assert interrupted.run("recover", interrupted.stack, "--force").code == 0
    assert not (image(interrupted.stack)[(2, *where)] == 255).any()
    assert interrupted.run("revert", interrupted.stack).code == 0
    assert np.array_equal(image(interrupted.stack), truth())


def test_edits_after_a_crash_are_shown_and_copied(interrupted):
    where = edit(interrupted.stack)
    output = interrupted.path / "out.zarr"
    assert interrupted.repair("--sections", "3", "--output", output).code == 0
    assert (image(output)[(2, *where)] == 255).all()
    assert marks(output)[2][where].all()


def test_edits_before_a_revert_stay(repaired):
    where = edit(repaired.stack)
    message = repaired.refused("revert", repaired.stack, "--sections", "2")
    assert (image(repaired.stack)[(2, *where)] == 255).all()
    assert "section 2" in message
    assert "--force" in message
    assert repaired.run("revert", repaired.stack, "--sections", "2", "--force").code == 0
    assert np.array_equal(image(repaired.stack)[2], truth()[2])


def test_labels_that_were_painted_stay(repaired):
    path = repaired.stack / "labels" / "synthetic"
    where = edit(path, value=77)
    repaired.run("revert", repaired.stack, "--sections", "2")
    assert (marks(repaired.stack)[(2, *where)] == 77).all()


def test_edits_of_a_reduced_level_do_not_spoil_the_pyramid(repaired):
    """The pyramid is exact again after a revert beside somebody's edit of the full resolution."""
    beside = (2, slice(26, 28), slice(14, 22))  # two rows below the hole
    zarr.open_array(str(repaired.stack / "0"), mode="r+")[beside] = 1
    reduced = image(repaired.stack, "1")
    assert repaired.run("revert", repaired.stack, "--sections", "2").code == 0
    full = image(repaired.stack).astype(float)
    mean = full.reshape(6, 24, 2, 28, 2).mean(axis=(2, 4))
    touched = image(repaired.stack, "1") != reduced
    assert touched.any()
    assert np.array_equal(image(repaired.stack, "1")[touched], np.rint(mean)[touched])


# ---- copies and merges


def works(scene, *arguments: object) -> bool:
    return scene.run(*arguments).code == 0


def test_two_states_of_one_entry(repaired):
    """Two copies were merged: one was reverted since."""
    found = entry(repaired.stack)
    shutil.copytree(found, found.with_name(found.name.replace("committed", "reverted")))
    synthetic = image(repaired.stack)[2] != truth()[2]
    assert works(repaired, "history", repaired.stack)
    assert marks(repaired.stack)[2][synthetic].all()
    assert works(repaired, "revert", repaired.stack, "--sections", "3")
    assert marks(repaired.stack)[2][synthetic].all()
    assert works(repaired, *repaired.to_repair("--in-place", "--sections", "3"))
    assert marks(repaired.stack)[2][synthetic].all()


def test_two_repairs_of_one_number(repaired):
    """Two copies were repaired apart and merged: two sections have the number 2."""
    import json

    found = entry(repaired.stack, 2)
    twin = found.with_name("00000002-z4.committed")
    shutil.copytree(found, twin)
    record = json.loads((twin / "entry.json").read_text())
    record["z"] = 4
    for place in record["pieces"][0]:
        place["z"] = 4
    (twin / "entry.json").write_text(json.dumps(record))
    assert works(repaired, "history", repaired.stack)
    repaired.run("revert", repaired.stack, "--sections", "3")
    tifffile.imwrite(repaired.path / "more.tif", damage({1: HOLES[3]}), photometric="minisblack")
    assert works(repaired, *repaired.to_repair("--in-place", mask="more.tif"))
    synthetic = image(repaired.stack)[2] != truth()[2]
    assert marks(repaired.stack)[2][synthetic].all()


def test_a_journal_that_was_deleted(repaired):
    """Numbers do not begin anew: the marks of the first repairs are theirs."""
    shutil.rmtree(journal(repaired.stack))
    before = marks(repaired.stack)
    tifffile.imwrite(repaired.path / "more.tif", damage({1: HOLES[3]}), photometric="minisblack")
    assert repaired.repair("--in-place", mask="more.tif").code == 0
    number = set(np.unique(marks(repaired.stack)[1])) - {0}
    assert not number & set(np.unique(before))
    assert repaired.run("revert", repaired.stack).code == 0
    assert np.array_equal(marks(repaired.stack), before)


def test_a_journal_that_was_deleted_and_the_same_pixels_again(repaired):
    """The marks under a new repair come back with what it replaced."""
    shutil.rmtree(journal(repaired.stack))
    before = marks(repaired.stack)
    pixels = image(repaired.stack)
    assert repaired.repair("--in-place").code == 0
    assert repaired.run("revert", repaired.stack).code == 0
    assert np.array_equal(image(repaired.stack), pixels)
    assert np.array_equal(marks(repaired.stack) != 0, before != 0)


@pytest.mark.parametrize("lost", ["journal", "labels"])
def test_a_copy_has_the_marks(repaired, lost):
    synthetic = marks(repaired.stack)[2] != 0
    shutil.rmtree(journal(repaired.stack) if lost == "journal" else repaired.stack / "labels")
    output = repaired.path / "out.zarr"
    tifffile.imwrite(repaired.path / "more.tif", damage({1: HOLES[3]}), photometric="minisblack")
    assert repaired.repair("--output", output, mask="more.tif").code == 0
    pixels = image(output)[2]
    assert np.array_equal(pixels[synthetic], image(repaired.stack)[2][synthetic])
    assert marks(output)[2][synthetic].all()


def test_wholly_synthetic_sections_guide_nobody(scene):
    """Also where the label image is gone, but the journal knows."""
    whole = {2: (slice(0, 48), slice(0, 56))}
    tifffile.imwrite(scene.path / "whole.tif", damage(whole), photometric="minisblack")
    assert scene.repair("--in-place", mask="whole.tif").code == 0
    shutil.rmtree(scene.stack / "labels")
    tifffile.imwrite(scene.path / "more.tif", damage({3: HOLES[3]}), photometric="minisblack")
    told = scene.repair("--plan", mask="more.tif")
    assert told.code == 0, told
    assert "guided by 1 and 4" in told.out


def test_reverted_elsewhere(repaired):
    """The folders of another copy, which was reverted, were copied over this one's journal."""
    for number in (1, 2):
        found = entry(repaired.stack, number)
        found.rename(found.with_name(found.name.replace("committed", "reverted")))
    synthetic = image(repaired.stack) != truth()
    assert works(repaired, "history", repaired.stack)
    repaired.run("revert", repaired.stack)
    still = image(repaired.stack) != truth()
    assert marks(repaired.stack)[still].all()
    tifffile.imwrite(repaired.path / "more.tif", damage({1: HOLES[3]}), photometric="minisblack")
    assert works(repaired, *repaired.to_repair("--in-place", mask="more.tif"))
    assert marks(repaired.stack)[still].all()
    assert synthetic.any()


def test_masked_pixels_that_changed_since_they_were_staged(staged):
    """What is advised works: to resume would be refused for ever."""
    edit(staged.stack)
    message = staged.refused(*staged.to_repair("--in-place", "--staging", staged.staging))
    assert message.endswith("add --no-resume.\n")
    fresh = staged.path / "fresh"  # what was copied here is not removed
    assert staged.repair("--in-place", "--no-resume", "--staging", fresh).code == 0


def test_a_section_of_very_many_digits(scene):
    scene.refused("revert", scene.stack, "--sections", "1" * 5000)
