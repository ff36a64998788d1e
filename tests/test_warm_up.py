import gc
import sys
import weakref

import pytest

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
