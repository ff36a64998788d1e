"""Two writers, of two processes or threads, never interleave."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from repaired_stores import (
    Layout,
    journal_folder,
    journal_states,
)
from scenes import Scene, refused

from napari_flowinpaint.core.disk import lock
from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.section_repair import SectionRepair
from napari_flowinpaint.core.writing.writeback import revert, write_back

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_two_processes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.2)
    scene.write(scene.repair())
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from filelock import FileLock\n"
            f"with FileLock({str(journal_folder(scene.path) / 'lock')!r}):\n"
            "    print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    refused(scene, scene.repair(2), StoreError, "another process is writing to")
    with pytest.raises(StoreError, match="another process is writing to"):
        revert(scene.stack)
    # A lock whose holder is dead does not bind.
    holder.kill()
    holder.wait()
    scene.write(scene.repair(2))


def test_two_threads(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits for the first, or is refused; they never interleave."""
    entered, leave = threading.Event(), threading.Event()

    def slow(fraction: float, message: str) -> None:
        entered.set()
        leave.wait(10)

    first, second = scene.repair(1), scene.repair(2, seed=2)
    thread = threading.Thread(target=lambda: write_back(scene.stack, first, progress=slow))
    thread.start()
    assert entered.wait(10)
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.2)
    with pytest.raises(StoreError, match="another process is writing to"):
        write_back(scene.stack, second)
    # Opening meanwhile leaves the unfinished entry to the one who writes it.
    assert "Another process is writing" in open_stack(scene.path).messages[0]
    assert list(journal_states(scene.path).values()) == ["prepared"]
    leave.set()
    thread.join(20)
    scene.expected.add(1, first)
    scene.expected.check(scene.path)
    scene.write(second)


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    """Four threads, four sections of one chunk."""
    scene = Scene(tmp_path, Layout(2, (4, 40, 36), None, ()))
    repairs = [scene.repair(z, seed=z) for z in range(4)]
    done: dict[int, SectionRepair] = {}

    def work(repair: SectionRepair) -> None:
        (number,) = write_back(open_stack(scene.path), repair)
        done[number] = repair

    threads = [threading.Thread(target=work, args=(repair,)) for repair in repairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [1, 2, 3, 4]
    for number, repair in done.items():
        scene.expected.add(number, repair)
    scene.expected.check(scene.path)
