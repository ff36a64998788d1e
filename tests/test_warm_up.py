import gc
import weakref
from contextlib import nullcontext

import pytest

from napari_flowinpaint.warm_up import counted_as_old


class Node:
    pass


def full_collections(block):
    """Return how often Python looked through everything once many objects had been made."""
    gc.collect()
    many = len(gc.get_objects())
    before = gc.get_stats()[2]["collections"]
    with block:
        kept = [[] for _ in range(many)]
    for _ in range(200):
        [[] for _ in range(1000)]
    assert len(kept) == many
    return gc.get_stats()[2]["collections"] - before


def test_what_stays_does_not_call_the_garbage_collector():
    if not full_collections(nullcontext()):
        pytest.skip("this Python collects garbage in small steps")
    assert full_collections(counted_as_old()) == 0
    assert gc.isenabled()


def test_garbage_is_found_as_before():
    with counted_as_old():
        node = Node()
        node.itself = node
        gone = weakref.ref(node)
        del node
    gc.collect()
    assert gone() is None


def test_a_collector_that_is_switched_off_stays_off():
    gc.disable()
    try:
        with counted_as_old():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
