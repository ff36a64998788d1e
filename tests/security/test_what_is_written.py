"""What is written is what was repaired, whatever lies in the staging folder or the journal."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import HOLES, damage, entry, image, program, truth


def change_archive(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change the record and the arrays of a staged file, as somebody with NumPy would."""
    with zipfile.ZipFile(path) as archive:
        record = json.loads(archive.read("record.json"))
        arrays = {
            name: np.load(io.BytesIO(archive.read(name)))
            for name in archive.namelist()
            if name.endswith(".npy")
        }
    change(record, arrays)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("record.json", json.dumps(record))
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(name, buffer.getvalue())


def everywhere(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["components-0.npy"][...] = 1
    arrays["result-0.npy"][...] = 255


def other_pixels(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["result-0.npy"][arrays["components-0.npy"] > 0] = 255


def elsewhere(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    box = record["repair"]["patches"][0]["box"]
    box[0], box[2] = box[0] + 2, box[2] + 2


def other_section(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["z"] = 4


def other_provenance(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["repair"]["provenance"]["mask_pixels"] = 1
    record["repair"]["provenance"]["method"] = "microscope"


CHANGES = (everywhere, other_pixels, elsewhere, other_section, other_provenance)


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_staged_section_that_was_changed_is_not_written(staged, change):
    """The same bytes that were staged are written, or none; never a pixel outside the mask."""
    change_archive(staged.staging / "sections" / "z000002.npz", change)
    told = staged.repair("--staging", staged.staging, "--resume", "--in-place")
    outside = damage() == 0
    assert np.array_equal(image(staged.stack)[outside], truth()[outside])
    assert (image(staged.stack)[2] == 255).sum() == 0
    if told.code == 0:  # it was repaired again
        assert "288 pixels" in told.out
        assert not np.array_equal(image(staged.stack)[2], truth()[2])
    else:
        assert str(staged.staging) in told.err


def test_a_staged_mask_that_was_changed_is_not_the_mask(staged):
    """Pixels outside of --mask are not written, whatever the staging folder takes for damaged."""
    path = staged.staging / "masks" / "z000002.npz"

    def more(record: dict[str, Any], arrays: dict[str, Any]) -> None:
        record["box"] = [0, 0, 48, 56]
        arrays["mask.npy"] = np.packbits(np.ones((48, 56), bool))

    change_archive(path, more)
    (staged.staging / "edits").mkdir()
    (staged.staging / "edits" / "z000002.npz").write_bytes(path.read_bytes())
    staged.repair("--staging", staged.staging, "--resume", "--in-place")
    outside = damage() == 0
    assert np.array_equal(image(staged.stack)[outside], truth()[outside])


def change_pixels(path: Path, key: str, value: int) -> None:
    with np.load(path / "pixels.npz") as content:
        arrays = {name: content[name] for name in content.files}
    arrays[key] = np.full_like(arrays[key], value)
    np.savez(path / "pixels.npz", **arrays)


@pytest.mark.parametrize("key", ["original-0-0", "original-0-1", "new-0", "mask-0-0"])
def test_a_journal_that_was_changed_is_not_reverted_from(repaired, unchanged, key):
    change_pixels(entry(repaired.stack), key, 0 if key.startswith("mask") else 255)  # is full
    check = unchanged(repaired.stack / "0" / "c")
    message = repaired.refused("revert", repaired.stack, "--sections", "2")
    check()
    assert "00000001" in message or "section 2" in message
    outside = damage() == 0
    assert np.array_equal(image(repaired.stack)[outside], truth()[outside])


def test_an_entry_that_was_moved_is_not_reverted_from(repaired, unchanged):
    path = entry(repaired.stack) / "entry.json"
    record = json.loads(path.read_text())
    for place in record["pieces"][0]:
        place["box"][1] += 1
        place["box"][3] += 1
    path.write_text(json.dumps(record))
    check = unchanged(repaired.stack / "0" / "c")
    repaired.refused("revert", repaired.stack, "--sections", "2")
    check()


# ---- two at once


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_who_does_not_hold_the_lock_removes_nothing(scene):
    """One is in the middle of its batch; the second says who is at work; the first finishes."""
    arguments = scene.to_repair("--in-place")
    with program(*arguments, stderr=subprocess.PIPE) as first:
        while not (scene.staging / "plan.json").exists():
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.001)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            message = scene.refused(*arguments)
            there = scene.staging.is_dir()
        finally:
            os.kill(first.pid, signal.SIGCONT)
        told = first.stderr.read().decode()
        assert first.wait() == 0, told
    assert there
    assert "another" in message
    assert told == ""
    assert sorted(HOLES) == [z for z in range(6) if (image(scene.stack)[z] != truth()[z]).any()]
