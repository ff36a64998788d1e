"""What goes wrong while something is written or reverted loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zarr
from repaired_stores import (
    Expectation,
    Layout,
    journal_folder,
    journal_states,
)
from scenes import FailingOs, Scene

from napari_flowinpaint.core.disk import folder
from napari_flowinpaint.core.disk.folder import Folder
from napari_flowinpaint.core.disk.open_root import open_root
from napari_flowinpaint.core.errors import Cancelled, StoreError
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.recovery import recover
from napari_flowinpaint.core.writing.target import open_array
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.mark.parametrize("kind", ["once", "no space left", "broken disk"])
@pytest.mark.parametrize("verb", ["write", "revert"])
def test_a_full_disk_at_any_moment(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, kind: str
) -> None:
    """Undone at once if that is possible, else put right when the stack is opened again."""
    scene.write(scene.repair(0, seed=4))
    repairs = [scene.repair(z, seed=z) for z in (1, 2)]
    every = Expectation.__new__(Expectation)
    every.repairs = dict(scene.expected.repairs)
    for number, repair in enumerate(repairs, start=2):
        every.add(number, repair)
    if verb == "revert":
        scene.write(*repairs)
    old, store = dict(scene.expected.repairs), tmp_path / "copy.zarr"
    options: dict[str, Any] = {
        "once": {},
        "no space left": {"names": FailingOs.SPACE, "forever": True},
        "broken disk": {"forever": True},
    }[kind]
    failed, step, whole = 0, 0, False
    while not whole:
        step += 6 if kind == "no space left" else 16
        shutil.copytree(scene.path, store)
        failing, report = FailingOs(step, **options), ""
        stack = open_stack(store)
        with monkeypatch.context() as patch:
            patch.setattr(folder, "os", failing)
            try:
                if verb == "write":
                    write_back(stack, repairs)
                else:
                    revert(stack, z=[1, 2])
            except StoreError as error:
                report = str(error)
                failed += 1
                assert "\n" not in report
                assert "full" in report
        whole = failing.steps < step
        assert not (whole and report)
        scene.expected.repairs = old
        if "nothing was changed" in report:
            scene.expected.check(store)
        assert kind != "once" or not report or "nothing was changed" in report
        recover(store)
        live = {entry.id for entry in history(open_stack(store)) if entry.state == "committed"}
        if kind != "broken disk" and report:
            assert live == set(old)
        scene.expected.repairs = {n: r for n, r in every.repairs.items() if n in live}
        scene.expected.check(store)
        assert not any((journal_folder(store) / "scratch").iterdir())
        shutil.rmtree(store)
    assert failed >= 3


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounting needs root"
)
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)], capture_output=True
    )
    if made.returncode:
        pytest.skip("this environment does not let us mount a small disk")
    try:
        scene = Scene(mount, Layout(3, (4, 20, 20), None, ((1, 2, 2),)))
        repairs = [scene.repair(z, seed=z) for z in range(4)]
        filler = mount / "filler"
        usage = shutil.disk_usage(mount)
        reports = set()
        for left in range(0, 2 * 1024 * 1024, 96 * 1024):
            filler.write_bytes(bytes(usage.free - left))
            try:
                write_back(scene.stack, repairs)
            except StoreError as error:
                reports.add(str(error))
                scene.expected.check(scene.path)
            else:
                break
            filler.unlink()
        assert reports
        assert all("full" in report for report in reports)
        for number, repair in enumerate(repairs, start=1):
            scene.expected.add(number, repair)
        scene.expected.check(scene.path)
        revert(scene.stack)
        scene.gone(1, 2, 3, 4)
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)  # the stack is open


def test_a_job_that_is_stopped_changes_nothing(scene: Scene) -> None:
    """At any moment, for any reason: each moment has one of three."""
    scene.write(scene.repair(0, seed=4))
    repairs = [scene.repair(z, seed=z) for z in (1, 2)]
    for job in (
        lambda progress: write_back(scene.stack, repairs, progress=progress),
        lambda progress: revert(scene.stack, progress=progress),
    ):
        stopped = 0
        for last in range(1, 100):
            exception = (Cancelled, KeyboardInterrupt, ZeroDivisionError)[last % 3]
            expected = (Cancelled, KeyboardInterrupt, StoreError)[last % 3]
            calls = 0

            def progress(
                fraction: float, message: str, last: int = last, exception: type = exception
            ) -> None:
                nonlocal calls
                calls += 1
                if calls == last and fraction < 1:
                    raise exception("stop")

            try:
                job(progress)
            except expected:
                stopped += 1
                scene.expected.check(scene.path)
            else:
                break
        assert stopped >= 9
        assert not any((journal_folder(scene.path) / "scratch").iterdir())
        live = {entry.id for entry in history(scene.stack) if entry.state == "committed"}
        scene.expected.repairs = {1: scene.expected.repairs[1]} if 1 in live else {}
        for number, repair in enumerate(repairs, start=2):
            if number in live:
                scene.expected.add(number, repair)
        scene.expected.check(scene.path)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_an_interrupt_while_a_chunk_is_being_written(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write goes on in zarr's own thread; it must not undo the undoing."""
    put, interrupted = Folder.write, threading.Event()

    def slow(here: Folder, name: str, *args: Any, **options: Any) -> None:
        if name == "0" and not interrupted.is_set():
            interrupted.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.5)
        put(here, name, *args, **options)

    repair = scene.repair()
    monkeypatch.setattr(Folder, "write", slow)
    with pytest.raises(KeyboardInterrupt):
        write_back(scene.stack, repair)
    time.sleep(0.6)
    assert interrupted.is_set()
    scene.expected.check(scene.path)
    assert journal_states(scene.path) == {}


def test_a_store_that_was_ended_takes_no_more_writes(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(4,), dtype="uint8", fill_value=7)
    (tmp_path / "scratch").mkdir()
    array = open_array(open_root(tmp_path / "a.zarr"), open_root(tmp_path / "scratch"))
    array[:2] = 1
    array.store.end()
    with pytest.raises(OSError, match="interrupted"):
        array[:] = 2
    assert array[...].tolist() == [1, 1, 7, 7]


def test_it_is_too_late_to_cancel_what_is_done(scene: Scene) -> None:
    def progress(fraction: float, message: str) -> None:
        if fraction == 1:
            raise Cancelled("too late")

    repair = scene.repair()
    scene.expected.add(*write_back(scene.stack, repair, progress=progress), repair)
    scene.expected.check(scene.path)
    assert revert(scene.stack, progress=progress) == (1,)
    scene.gone(1)
