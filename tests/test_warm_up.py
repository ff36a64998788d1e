import gc
import subprocess
import sys
import time
import weakref
from importlib import import_module
from threading import Thread
from types import SimpleNamespace

import pytest

from napari_flowinpaint import warm_up as module
from napari_flowinpaint.warm_up import (
    beat,
    bring_back,
    busy,
    hold_collector,
    know_images,
    release_collector,
    set_aside,
    stop_beating,
    warm_up,
)


class Node:
    pass


@pytest.fixture(autouse=True)
def _nothing_stays_aside():
    for _ in range(100):  # held by the steps of windows that were closed
        release_collector()
    gc.unfreeze()
    yield
    gc.unfreeze()


def garbage():
    node = Node()
    node.itself = node
    return weakref.ref(node)


def collections():
    """Make many objects; return how often garbage was collected meanwhile."""
    begun = []

    def note(phase, info):
        begun.append(phase)

    gc.callbacks.append(note)
    try:
        kept = [[] for _ in range(5000)]
    finally:
        gc.callbacks.remove(note)
    assert kept
    return begun.count("start")


def test_warming_up_imports_and_spares_the_collector():
    warm_up()
    assert {"pandas", "dask.threaded"} <= set(sys.modules)
    assert collections() > 0
    assert gc.get_freeze_count() > 10_000


def test_two_warm_ups_take_turns_and_leave_no_trace(monkeypatch):
    running, most = [], []

    def slow(name):
        running.append(name)
        time.sleep(0.01)
        most.append(len(running))
        running.pop()
        return SimpleNamespace(DashAtlas=dict)

    before = list(sys.meta_path), sys.getswitchinterval()
    monkeypatch.setattr(module, "import_module", slow)
    threads = [Thread(target=warm_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert (list(sys.meta_path), sys.getswitchinterval()) == before


def test_a_busy_viewer_goes_first(monkeypatch):
    monkeypatch.setattr(module, "_last_beat", time.monotonic() - 1)
    polite = module._Polite()
    thread = Thread(target=polite.wait)
    thread.start()
    time.sleep(0.03)
    assert thread.is_alive(), "it waits"
    beat()
    thread.join(0.05)
    assert not thread.is_alive(), "until the event loop turns again"


def test_a_busy_viewer_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    monkeypatch.setattr(module, "_last_beat", time.monotonic())
    busy()
    polite = module._Polite()
    started = time.monotonic()
    polite.wait()
    first = time.monotonic()
    polite.wait()
    assert 0.04 < first - started < 1
    assert time.monotonic() - first < 0.03


def test_who_does_not_tell_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(module, "_last_beat", time.monotonic())
    busy()
    stop_beating()
    busy()
    started = time.monotonic()
    module._Polite().wait()
    assert time.monotonic() - started < 0.03


def test_modules_are_found_where_python_finds_them_and_only_for_one_thread():
    import numpy.linalg

    name = "numpy.linalg._umath_linalg"
    polite, found = module._Polite(), []
    spec = polite.find_spec(name, numpy.linalg.__path__)
    assert spec.origin == sys.modules[name].__spec__.origin
    assert polite.find_spec("numpy") is None
    other = Thread(target=lambda: found.append(polite.find_spec(name, numpy.linalg.__path__)))
    other.start()
    other.join()
    assert found == [None]


def test_only_new_objects_are_looked_through_until_all_are_brought_back():
    old = garbage()
    set_aside()
    new = garbage()
    gc.collect()
    assert new() is None
    assert old() is not None
    bring_back()
    gc.collect()
    assert old() is None


def test_pint_has_read_its_definitions():
    pint = pytest.importorskip("pint")
    know_images()
    assert "nanometer" in pint.get_application_registry()


def test_an_image_finds_what_it_wants_in_memory():
    """What napari imports for its first image is there when a stack is loaded."""
    code = (
        "import napari, numpy, sys\n"
        "from napari_flowinpaint.warm_up import know_images\n"
        "assert 'napari.components.histogram' not in sys.modules\n"
        "know_images()\n"
        "before = set(sys.modules)\n"
        "napari.layers.Image(numpy.zeros((4, 4))).histogram\n"
        "print(*(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "histogram" not in done.stdout
    assert "xarray" not in done.stdout


def test_who_warms_up_does_not_let_the_viewer_wait_for_a_module(monkeypatch, tmp_path):
    """The viewer wants a module that is just being imported by a thread that lets it go first."""
    (tmp_path / "wanted_by_both.py").write_text("import colorsys_not_there_1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "_last_beat", time.monotonic() - 1)  # busy all the time
    polite = []

    def warm() -> None:
        polite.append(module._Polite())
        sys.meta_path.insert(0, polite[0])
        with pytest.raises(ImportError):
            import_module("wanted_by_both")

    thread = Thread(target=warm)
    try:
        thread.start()
        while not polite or polite[0]._patience == module._PATIENCE:
            time.sleep(0.001)
        started = time.monotonic()
        with pytest.raises(ImportError):
            import_module("wanted_by_both")
        assert time.monotonic() - started < 0.5 * module._PATIENCE
    finally:
        thread.join()
        sys.meta_path.remove(polite[0])


def test_no_collection_begins_until_the_last_has_released_it():
    hold_collector()
    hold_collector()
    release_collector()
    assert collections() == 0
    assert gc.isenabled(), "or what dask slices would disable it for good"
    release_collector()
    assert collections() > 0
    release_collector()
    assert collections() > 0
