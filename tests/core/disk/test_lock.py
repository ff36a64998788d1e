"""The lock: one holds it, a dead process holds it no longer, a link is refused."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from napari_flowinpaint.core.disk.folder import Folder
from napari_flowinpaint.core.disk.lock import StoreBusy, locked
from napari_flowinpaint.core.disk.open_root import open_root
from napari_flowinpaint.core.errors import StoreError


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Folder]:
    with open_root(tmp_path) as folder:
        yield folder


def test_one_holds_it(root):
    with locked(root, "s.zarr"):
        started = time.monotonic()
        told = pytest.raises(StoreBusy, match=r"another process is writing to s\.zarr; wait")
        with told, locked(root, "s.zarr", timeout=0.2):
            raise AssertionError
        assert 0.2 <= time.monotonic() - started < 5
    with locked(root, "s.zarr", timeout=0):
        pass


def test_it_is_the_lock_that_earlier_versions_hold(root, tmp_path):
    with FileLock(tmp_path / "lock"), pytest.raises(StoreBusy), locked(root, "s", timeout=0):
        raise AssertionError
    with locked(root, "s"), pytest.raises(Timeout), FileLock(tmp_path / "lock", timeout=0):
        raise AssertionError


def test_a_dead_process_holds_nothing(root, tmp_path):
    code = (
        "import sys, time\n"
        "from napari_flowinpaint.core.disk.open_root import open_root\n"
        "from napari_flowinpaint.core.disk.lock import locked\n"
        "with locked(open_root(sys.argv[1]), 's'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy), locked(root, "s", timeout=0):
            raise AssertionError
        process.kill()
        process.wait()
    with locked(root, "s", timeout=2):
        pass


def test_a_link_is_refused_and_not_emptied(root, tmp_path):
    (tmp_path / "profile").write_text("export A=1\n")
    (tmp_path / "lock").symlink_to(tmp_path / "profile")
    with pytest.raises(StoreError, match="lock is a link"), locked(root, "s"):
        raise AssertionError
    assert (tmp_path / "profile").read_text() == "export A=1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="calls of POSIX")
def test_a_file_system_without_locks_is_reported_at_once(root, monkeypatch):
    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", none)
    started = time.monotonic()
    with pytest.raises(StoreError, match="does not support locks") as caught, locked(root, "s"):
        raise AssertionError
    assert not isinstance(caught.value, StoreBusy)
    assert time.monotonic() - started < 1
