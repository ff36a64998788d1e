import gc
import sys
import time
import weakref
from threading import Thread
from types import SimpleNamespace

import pytest

from napari_flowinpaint import warm_up as module
from napari_flowinpaint.warm_up import (
    bring_back,
    hold_collector,
    know_units,
    release_collector,
    set_aside,
    warm_up,
)


class Node:
    pass


@pytest.fixture(autouse=True)
def _nothing_stays_aside():
    while not gc.isenabled():  # held by the steps of a window that was closed
        release_collector()
    gc.unfreeze()
    yield
    gc.unfreeze()


def garbage():
    node = Node()
    node.itself = node
    return weakref.ref(node)


def test_warming_up_imports_and_spares_the_collector():
    warm_up()
    assert {"pandas", "dask.threaded"} <= set(sys.modules)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_two_warm_ups_at_once_do_it_once(monkeypatch):
    running, most, drawn = [], [], []

    def slow(name):
        running.append(name)
        time.sleep(0.01)
        most.append(len(running))
        running.pop()
        return SimpleNamespace(DashAtlas=lambda: drawn.append(name))

    module._draw_dashes.cache_clear()
    monkeypatch.setattr(module, "import_module", slow)
    threads = [Thread(target=warm_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(drawn) == 1


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
    know_units()
    assert "nanometer" in pint.get_application_registry()


def test_no_collection_begins_until_the_last_has_released_it():
    hold_collector()
    hold_collector()
    release_collector()
    assert not gc.isenabled()
    release_collector()
    assert gc.isenabled()
