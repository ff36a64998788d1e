"""A long search in processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_flowinpaint.core.detection import detect_stack, detection_workers
from napari_flowinpaint.core.errors import Cancelled, StoreError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack

DEPTH = 16  # two processes take runs of two sections


class Deadly:
    """Ends its process, as the system does where memory runs out."""

    kinds = ("hole",)

    def __repr__(self) -> str:
        return "Deadly()"

    def detect(self, view):
        os.kill(os.getpid(), signal.SIGKILL)


class Where:
    """Tells in which process it looks."""

    kinds = ("hole",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def detect(self, view):
        (self._folder / f"{view.section.z}-{os.getpid()}").touch()
        return []


@pytest.fixture(autouse=True)
def many(monkeypatch):
    monkeypatch.setattr(detect_stack, "_MANY", DEPTH)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    volume = np.random.default_rng(3).integers(60, 200, (DEPTH, 96, 120), dtype=np.uint8)
    volume[4, 20:60, 30:80] = 255
    volume[11] = 0
    folder = tmp_path_factory.mktemp("stack")
    return save_ome_zarr(Stack.from_array(volume, voxel_size=(40, 4, 4)), folder / "stack.zarr")


def files(folder: Path) -> dict[str, bytes]:
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: p.read_bytes().replace(b"many", b"one") for name, p in found.items()}


@pytest.fixture(scope="module")
def one(path, tmp_path_factory):
    """What this process finds by itself, and the folder with its masks."""
    masks = tmp_path_factory.mktemp("one") / "one.zarr"
    return detect_stack.detect_stack(open_stack(path), masks, workers=1), masks


def test_processes_give_the_same_to_the_byte(path, one, tmp_path):
    found, masks = one
    many = detect_stack.detect_stack(open_stack(path), tmp_path / "many.zarr", workers=2)
    assert {4, 11} <= {row.section for row in found.flagged}
    assert many.flagged == found.flagged
    assert files(tmp_path / "many.zarr") == files(masks)


def test_every_section_is_looked_at_once_by_other_processes(path, tmp_path):
    detect_stack.detect_stack(open_stack(path), None, workers=3, detectors=[Where(tmp_path)])
    looked = [tuple(map(int, p.name.split("-"))) for p in tmp_path.iterdir()]
    assert sorted(z for z, _ in looked) == list(range(DEPTH))
    processes = {process for _, process in looked}
    assert os.getpid() not in processes
    assert 1 < len(processes) <= 3


def test_what_lies_in_this_process_is_searched_here(path, tmp_path):
    here = Stack.from_array(np.stack([open_stack(path).read(z) for z in range(DEPTH)]))
    detect_stack.detect_stack(here, None, workers=2, detectors=[Where(tmp_path)])
    assert {p.name.split("-")[1] for p in tmp_path.iterdir()} == {str(os.getpid())}


def test_a_cancelled_search_goes_on(path, one, tmp_path):
    def stop(fraction, message):
        if fraction > 0.4:
            raise Cancelled("cancelled")

    stack, out = open_stack(path), tmp_path / "many.zarr"
    with pytest.raises(Cancelled):
        detect_stack.detect_stack(stack, out, workers=2, progress=stop)
    assert not out.exists()
    detect_stack.detect_stack(stack, out, workers=2)
    assert files(out) == files(one[1])


def test_a_search_is_cancelled_while_it_waits(path, monkeypatch):
    monkeypatch.setattr(detection_workers, "_INTERVAL", 0.01)
    told = []

    def stop(fraction, message):
        told.append(message)
        if len(told) == 5:  # no process has started yet
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        detect_stack.detect_stack(open_stack(path), None, workers=2, progress=stop)
    assert not any(message.startswith("searched") for message in told)


def test_sections_that_cannot_be_read_do_not_stop_the_others(path, tmp_path):
    import shutil

    broken = tmp_path / "stack.zarr"
    shutil.copytree(path, broken)
    for chunk in broken.glob("*/c/9/*/*"):
        chunk.write_bytes(b"no chunk")
    found = detect_stack.detect_stack(open_stack(broken), None, workers=2)
    assert list(found.failed) == [9]
    assert {4, 11} <= {row.section for row in found.flagged}


def test_threads_search_where_processes_cannot_be(path, tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("loky.ProcessPoolExecutor", refused)
    found = detect_stack.detect_stack(
        open_stack(path), None, workers=2, detectors=[Where(tmp_path)]
    )
    assert found.searched == tuple(range(DEPTH))
    assert {p.name.split("-")[1] for p in tmp_path.iterdir()} == {str(os.getpid())}


def test_threads_search_in_a_worker_of_a_cluster(path, tmp_path, monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    detect_stack.detect_stack(open_stack(path), None, workers=2, detectors=[Where(tmp_path)])
    assert {p.name.split("-")[1] for p in tmp_path.iterdir()} == {str(os.getpid())}


def test_processes_end_with_a_search_whose_error_is_kept(path):
    psutil = pytest.importorskip("psutil")
    before = set(psutil.Process().children(recursive=True))

    def stop(fraction, message):
        if message.startswith("searched"):
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled) as kept:
        detect_stack.detect_stack(open_stack(path), None, workers=2, progress=stop)
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [p for p in left if "popen_loky" in " ".join(p.cmdline())], kept


def test_what_processes_send_is_small():
    section = detection_workers.SearchedSection(3, np.full((2000, 2000), 7, np.uint8), [], "")
    packed = detection_workers._pack(section)
    assert len(pickle.dumps(packed)) < 2000 * 2000 / 100
    assert np.array_equal(detection_workers._unpack(packed).labels, section.labels)
    assert (
        detection_workers._unpack(
            detection_workers._pack(detection_workers.SearchedSection(4, failure="gone"))
        ).failure
        == "gone"
    )


def test_a_process_that_is_ended_is_reported(path, tmp_path):
    with pytest.raises(StoreError, match="fewer workers"):
        detect_stack.detect_stack(
            open_stack(path), tmp_path / "m.zarr", workers=2, detectors=[Deadly()]
        )


#: Searches a stack, and says so when processes are at it.
SEARCH = """
import sys
from napari_flowinpaint.core.detection import detect_stack
from napari_flowinpaint.core.open import open_stack
detect_stack._MANY = 2
def progress(fraction, message):
    if message.startswith("searched"):
        print(message, flush=True)
detect_stack.detect_stack(open_stack(sys.argv[1]), sys.argv[2], workers=2, progress=progress)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_processes_do_not_outlive_the_one_that_asked(path, tmp_path):
    psutil = pytest.importorskip("psutil")
    command = [sys.executable, "-c", SEARCH, str(path), str(tmp_path / "m.zarr")]
    asked = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert asked.stdout is not None
    assert asked.stdout.readline().startswith(b"searched")
    children = psutil.Process(asked.pid).children(recursive=True)
    asked.kill()
    asked.wait()
    assert children
    deadline = time.monotonic() + 30
    while any(c.is_running() and c.status() != psutil.STATUS_ZOMBIE for c in children):
        assert time.monotonic() < deadline, "a process was left over"
        time.sleep(0.1)
