"""After a power failure no pixel that was made by a repair is without its mark."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from attacks import image, marks, truth


def order_of_writes(scene, monkeypatch) -> list[tuple[str, str]]:
    """Repair in place; return what was renamed into the store and synced, one after the other."""
    steps: list[tuple[str, str]] = []
    replace, fsync, rename = os.replace, os.fsync, os.rename

    def where(path: object, handle: int | None) -> str:
        name = os.fsdecode(path)
        if handle is not None:
            name = str(Path(f"/proc/self/fd/{handle}").resolve() / name)
        return os.path.relpath(os.path.realpath(name), os.path.realpath(scene.stack))

    def told(call):
        def renamed(source, target, *, src_dir_fd=None, dst_dir_fd=None):
            call(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            steps.append(("named", where(target, dst_dir_fd)))

        return renamed

    def synced(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").resolve()
        steps.append(("synced", os.path.relpath(path, os.path.realpath(scene.stack))))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", told(replace))
        patch.setattr(os, "rename", told(rename))
        patch.setattr(os, "fsync", synced)
        assert scene.repair("--in-place").code == 0
    assert fsync is not None
    return steps


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="paths of handles are not known"
)


@needs_proc
def test_marks_are_durable_before_pixels(scene, monkeypatch):
    """Or recovery makes them again: see below; one of both must hold, the order is better."""
    steps = order_of_writes(scene, monkeypatch)
    for z in ("2", "3"):
        pixels = [
            i for i, (what, p) in enumerate(steps) if what == "named" and p.startswith(f"0/c/{z}/")
        ]
        labels = [
            i
            for i, (what, p) in enumerate(steps)
            if what == "named" and p.startswith(f"labels/synthetic/0/c/{z}/")
        ]
        assert pixels
        assert labels
        synced = steps.index(("synced", f"labels/synthetic/0/c/{z}/0"), max(labels))
        assert synced < min(pixels)


@needs_proc
def test_every_name_is_durable(scene, monkeypatch):
    """After each rename the folder of the name is synced, and every folder that was made for it."""
    steps = order_of_writes(scene, monkeypatch)
    for number, (what, path) in enumerate(steps):
        if what == "named" and "scratch" not in path:
            later = [p for w, p in steps[number:] if w == "synced"]
            assert str(Path(path).parent) in later, path


@pytest.mark.parametrize("lost", ["one chunk", "all chunks", "the label image"])
@pytest.mark.parametrize("command", ["recover", "repair", "revert"])
def test_marks_that_were_lost_are_made_again(repaired, lost, command):
    """The newest chunks of the labels were not on disk when the power failed; pixels were."""
    folder = repaired.stack / "labels" / "synthetic"
    chunks = folder / "0" / "c"
    before = marks(repaired.stack)
    shutil.rmtree({"one chunk": chunks / "2", "all chunks": chunks}.get(lost, folder))
    arguments = {
        "recover": ["recover", repaired.stack],
        "repair": repaired.to_repair("--in-place", "--sections", "3"),
        "revert": ["revert", repaired.stack, "--sections", "3"],
    }[command]
    assert repaired.run(*arguments).code == 0
    synthetic = image(repaired.stack) != truth()
    assert synthetic[2].any()
    assert marks(repaired.stack)[synthetic].all()
    assert np.array_equal(marks(repaired.stack)[2], before[2])
