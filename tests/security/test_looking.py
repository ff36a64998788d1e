"""Looking does not write: it shows what will be, and says that recovery is due."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from attacks import entry, image, marks

from napari_flowinpaint import history, open_stack

COMMANDS = {
    "history": lambda s: ["history", s.stack],
    "detect": lambda s: ["detect", s.stack, "--output", s.path / "m.zarr", "--kinds", "missing"],
    "plan": lambda s: s.to_repair("--plan"),
    "output": lambda s: s.to_repair("--sections", "3", "--output", s.path / "out.zarr"),
}


@pytest.fixture
def repaired_pixels(repaired_once: Path) -> np.ndarray:
    return image(repaired_once / "stack.zarr")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_looks_changes_nothing(interrupted, unchanged, command):
    check = unchanged(interrupted.stack)
    told = interrupted.run(*COMMANDS[command](interrupted))
    check()
    assert told.code == 0, told
    assert "flowinpaint recover" in told.out + told.err


def test_opening_changes_nothing_and_shows_what_will_be(interrupted, unchanged, repaired_pixels):
    check = unchanged(interrupted.stack)
    stack = open_stack(interrupted.stack)
    shown = np.stack([stack.read(z) for z in range(stack.shape[0])])
    assert np.array_equal(shown, repaired_pixels)
    assert np.array_equal(np.asarray(stack.array[2]), repaired_pixels[2])
    assert [e.z for e in history(stack)] == [2, 3]
    check()


def test_what_is_copied_is_what_will_be(interrupted, repaired_pixels):
    output = interrupted.path / "out.zarr"
    told = interrupted.repair("--sections", "3", "--output", output)
    assert told.code == 0, told
    assert np.array_equal(image(output)[2], repaired_pixels[2])
    assert marks(output)[2].any()


def test_recovery_is_asked_for(interrupted, repaired_pixels):
    told = interrupted.run("recover", interrupted.stack)
    assert told.code == 0, told
    assert "section 2" in told.out
    assert np.array_equal(image(interrupted.stack), repaired_pixels)
    assert entry(interrupted.stack).name.endswith("committed")
    again = interrupted.run("recover", interrupted.stack)
    assert again.code == 0
    assert "recover" not in interrupted.run("history", interrupted.stack).out


def test_what_writes_recovers_first(interrupted):
    assert interrupted.run("revert", interrupted.stack).code == 0
    assert entry(interrupted.stack).name.endswith("reverted")
    assert not marks(interrupted.stack).any()


@pytest.fixture
def protected(interrupted, monkeypatch):
    """The files of the stack may not be written to, although its folders would allow it."""
    root = os.path.realpath(interrupted.stack)
    access = os.access

    def denied(path, mode, *, dir_fd=None, **more):
        where = os.fsdecode(path)
        if dir_fd is not None:
            where = str(Path(f"/proc/self/fd/{dir_fd}").resolve() / where)
        inside = os.path.realpath(where).startswith(root)
        if inside and mode & os.W_OK and Path(where).is_file():
            return False
        return access(path, mode, dir_fd=dir_fd, **more)

    monkeypatch.setattr(os, "access", denied)
    return interrupted


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="paths of handles are not known")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_protected_stack_stays_readable(protected, unchanged, command):
    check = unchanged(protected.stack)
    told = protected.run(*COMMANDS[command](protected))
    assert told.code == 0, told
    check()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="paths of handles are not known")
def test_the_advice_for_a_protected_stack_works(protected):
    message = protected.refused(*protected.to_repair("--sections", "3", "--in-place"))
    assert "--output" in message
    output = protected.path / "out.zarr"
    assert protected.repair("--sections", "3", "--output", output).code == 0


def test_a_reading_that_is_left_over_is_no_reason_to_write(repaired, unchanged):
    """Files of a killed writer in the scratch folder are removed by what writes, not by a look."""
    scratch = repaired.stack / "0" / ".flowinpaint" / "scratch"
    scratch.mkdir(exist_ok=True)
    (scratch / "left").write_bytes(b"x")
    check = unchanged(repaired.stack)
    open_stack(repaired.stack)
    assert repaired.run("history", repaired.stack).code == 0
    check()
