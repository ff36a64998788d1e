"""Promises 1 to 3 over dtypes, shapes, zarr versions, chunkings and pyramids, in random order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repaired_stores import Expectation, Layout, make_repair, random_pixels, write_store

from napari_flowinpaint.core.io import pyramid
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

pytestmark = pytest.mark.usefixtures("quick_disk")

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 37), st.integers(1, 37))
RULES = st.sampled_from(
    [
        pyramid.DownsamplingRule("mean"),
        pyramid.DownsamplingRule("mean", "floor"),
        pyramid.DownsamplingRule("median"),
        pyramid.DownsamplingRule("nearest"),
        pyramid.DownsamplingRule("nearest", offset=(0, 1, 1)),
    ]
)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    chunks = draw(st.tuples(st.integers(1, 4), st.integers(3, 20), st.integers(3, 20)))
    zarr_format = draw(st.sampled_from([2, 3]))
    shards = None
    if zarr_format == 3 and draw(st.booleans()):
        shards = tuple(n * draw(st.integers(1, 3)) for n in chunks)
    rule = draw(RULES)
    steps = [(1, 2, 2)] if rule.offset[1] else [(1, 2, 2), (2, 2, 2), (1, 3, 3)]
    factors = tuple(draw(st.lists(st.sampled_from(steps), max_size=2)))
    bare = draw(st.booleans()) and not factors
    floor, compressed = draw(st.booleans()), draw(st.booleans())
    return Layout(zarr_format, chunks, shards, factors, rule, bare, floor, compressed)


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """Rectangles (one pixel, at a border, everything), or scattered pixels."""
    mask = np.zeros(shape, bool)
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        mask |= rng.random(shape) < 0.2
    for _ in range(draw(st.integers(0, 2))):
        y = sorted(draw(st.tuples(st.integers(0, shape[0]), st.integers(0, shape[0]))))
        x = sorted(draw(st.tuples(st.integers(0, shape[1]), st.integers(0, shape[1]))))
        mask[slice(*y), slice(*x)] = True
    if not mask.any():
        mask[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = True
    return mask


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_of_repairs_and_reverts(data: st.DataObject) -> None:
    shape = data.draw(SHAPES, "shape")
    layout = data.draw(layouts(), "layout")
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "int16", "float32"]), "dtype")
    pixels = random_pixels(np.random.default_rng(data.draw(st.integers(0, 9))), shape, dtype)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "a.zarr", pixels, layout)
        expected = Expectation(store, layout)
        for step in range(data.draw(st.integers(1, 5), "steps")):
            stack = open_stack(store)
            assert stack.shape == shape
            assert stack.dtype == dtype
            action = data.draw(st.sampled_from(["write", "write", "one", "section", "all"]))
            if action == "write":
                repairs = [
                    make_repair(
                        stack,
                        data.draw(st.integers(0, shape[0] - 1)),
                        data.draw(masks(shape[1:])),
                        seed=step,
                        split=data.draw(st.booleans()),
                    )
                    for _ in range(data.draw(st.integers(1, 3)))
                ]
                numbers = write_back(stack, repairs)
                # Within a call the sections are written in order, a section's repairs as given.
                for number, repair in zip(numbers, repairs, strict=True):
                    expected.add(number, repair)
            elif action == "one" and expected.repairs:
                number = data.draw(st.sampled_from(sorted(expected.repairs)))
                assert revert(stack, repair_id=number) == (number,)
                del expected.repairs[number]
            elif action in ("section", "all"):
                z = data.draw(st.integers(0, shape[0] - 1)) if action == "section" else None
                gone = {n for n, (section, *_) in expected.repairs.items() if z in (None, section)}
                assert set(revert(stack, z=z)) == gone
                for number in gone:
                    del expected.repairs[number]
            expected.check(store)
            live = {e.id for e in history(stack) if e.state == "committed"}
            assert live == set(expected.repairs)
        revert(open_stack(store))
        expected.repairs.clear()
        expected.check(store)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bits_outside_the_mask_are_kept(data: st.DataObject) -> None:
    """Also NaN with a payload, negative zero, infinities and denormal numbers."""
    shape = data.draw(SHAPES)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    bits = rng.integers(0, 2**32, shape, dtype=np.uint32)
    special = np.array([0x80000000, 0, 0x7FC00001, 0xFFF00001, 0x7F800000, 1], np.uint32)
    chosen = rng.random(shape) < data.draw(st.sampled_from([0.2, 1.0]))
    bits[chosen] = rng.choice(special, int(chosen.sum()))
    pixels = bits.view(np.float32)
    layout = data.draw(layouts())
    layout = Layout(layout.zarr_format, layout.chunks, layout.shards, (), bare=layout.bare)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "a.zarr", pixels, layout)
        expected = Expectation(store, layout)
        assert expected.originals[0].tobytes() == pixels.tobytes()
        stack = open_stack(store)
        repair = make_repair(
            stack, data.draw(st.integers(0, shape[0] - 1)), data.draw(masks(shape[1:]))
        )
        expected.add(*write_back(stack, repair), repair)
        expected.check(store)
        revert(stack)
        expected.repairs.clear()
        expected.check(store)
