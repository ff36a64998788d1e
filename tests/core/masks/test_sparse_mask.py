"""The sparse mask behaves as a dense array with a history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_flowinpaint.core.masks.sparse_mask import TILE, SparseMask
from napari_flowinpaint.core.types import Box

SHAPE = (3, TILE + 40, 2 * TILE + 7)


@st.composite
def boxes(draw):
    """A non-empty index of slices within SHAPE."""
    index = []
    for length in SHAPE:
        start = draw(st.integers(0, length - 1))
        index.append(slice(start, draw(st.integers(start + 1, length))))
    return tuple(index)


EDITS = st.lists(st.tuples(boxes(), st.sampled_from([0, 1])), min_size=1, max_size=6)


@settings(deadline=None, max_examples=40)
@given(EDITS, st.booleans())
def test_follows_a_dense_array_through_edits_undo_and_redo(edits, with_base):
    base = None
    dense = np.zeros(SHAPE, np.uint8)
    if with_base:
        dense[1, 30:300, 200:270] = 1
        base = dense.copy()
    mask = SparseMask(SHAPE, base)
    states = [dense.copy()]
    for index, value in edits:
        dense[index] = value
        mask[index] = value
        if mask.commit():
            states.append(dense.copy())
        assert np.array_equal(mask[...], dense)
    for state in reversed(states[:-1]):
        assert mask.undo() is not None
        assert np.array_equal(mask[...], state)
    assert mask.undo() is None
    for state in states[1:]:
        assert mask.redo() is not None
        assert np.array_equal(mask[...], state)
    assert mask.redo() is None
    if with_base:
        assert base[1, 30:300, 200:270].all(), "the base is never written to"
        assert base.sum() == (SHAPE[1] - 30) * 70


@pytest.mark.parametrize(
    "index",
    [
        1,
        (1, slice(None), slice(None)),
        (..., 5),
        (slice(None), 280, slice(500, 510)),
        (slice(None, None, 2), slice(290, 10, -7), slice(0, 500, 3)),
        (-1, -1, -1),
        (np.array([0, 1]), np.array([3, 290]), np.array([4, -1])),
        (slice(2, 2), slice(None), slice(None)),
    ],
)
def test_understands_the_indices_numpy_understands(index):
    rng = np.random.default_rng(0)
    dense = (rng.random(SHAPE) > 0.7).astype(np.uint8)
    mask = SparseMask(SHAPE)
    mask[...] = dense
    assert np.array_equal(mask[index], dense[index])
    mask[index] = 1
    dense[index] = 1
    assert np.array_equal(np.asarray(mask), dense)


def test_refuses_indices_out_of_bounds():
    mask = SparseMask(SHAPE)
    with pytest.raises(IndexError):
        mask[3]
    with pytest.raises(IndexError):
        mask[0, 0, 0, 0]


def test_a_step_back_tells_its_section_and_a_new_edit_forgets_what_was_undone():
    mask = SparseMask(SHAPE)
    mask[0, :5, :5] = 1
    mask.commit()
    mask[2, :5, :5] = 1
    assert mask.can_undo
    assert mask.undo() == 2
    assert mask.read(0).sum() == 25
    mask[1, 7, 7] = 1
    mask.commit()
    assert not mask.can_redo
    assert (mask.undo(), mask.undo(), mask.undo()) == (1, 0, None)
    assert not np.asarray(mask).any()


def test_painting_what_is_there_already_is_no_step():
    mask = SparseMask(SHAPE)
    mask[0, :5, :5] = 1
    assert mask.commit()
    mask[0, :5, :5] = 1
    mask[1, :5, :5] = 0
    assert not mask.commit()


def test_a_frozen_copy_is_left_alone_by_later_edits():
    mask = SparseMask(SHAPE)
    mask[0, :5, :5] = 1
    frozen = mask.frozen()
    mask[0] = 0
    assert frozen.read(0).sum() == 25
    assert not mask.read(0).any()


def test_edits_are_computed_aside_and_put_in_as_one_step():
    mask = SparseMask(SHAPE)
    mask[1, 100:110, 250:260] = 1
    mask.commit()
    version = mask.version(1)

    def grow(damage):
        out = damage.copy()
        out[:-1] |= damage[1:]
        out[1:] |= damage[:-1]
        return out

    tiles = mask.frozen().edit(1, grow, 1)
    assert mask.version(1) == version
    mask.set_section(1, tiles)
    assert mask.version(1) > version
    assert mask.read(1).sum() == 12 * 10
    assert mask.undo() == 1
    assert mask.read(1).sum() == 100
    mask.set_section(1, mask.frozen().edit(1, np.logical_not, -1))
    assert mask.read(1).sum() == SHAPE[1] * SHAPE[2] - 100
    assert mask.frozen().edit(0, grow, 1) == {}, "nothing to grow in an empty section"


def test_the_cost_follows_what_is_painted():
    mask = SparseMask((10_000, 50_000, 50_000))
    mask[5_000, 40_000:40_100, 300:400] = 1
    mask.commit()
    assert mask.read(5_000, Box(39_990, 290, 40_110, 410)).sum() == 10_000
    assert mask.damaged_box(5_000) == Box(39_936, 256, 40_192, 512)
    assert mask.damaged_box(4_999) is None
    assert mask[5_000, 40_050, 350] == 1


@pytest.mark.parametrize("with_base", [False, True])
def test_the_damage_of_a_section_is_spread_to_all_as_one_step(with_base):
    dense = np.zeros(SHAPE, np.uint8)
    if with_base:
        dense[2, :9, 250:270] = 1
    mask = SparseMask(SHAPE, dense.copy() if with_base else None)
    dense[1, 30:50, 250:260] = 1
    mask[1, 30:50, 250:260] = 1
    mask.commit()
    mask.set_sections(dict(mask.frozen().spread(1, range(SHAPE[0]))))
    assert np.array_equal(mask[...], np.maximum(dense, dense[1:2]))
    mask.undo()
    assert np.array_equal(mask[...], dense)
    assert not dict(SparseMask(SHAPE).spread(1, range(3)))
