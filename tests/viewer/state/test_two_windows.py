"""Two windows on one stack, and other programs: nothing of the list and the mask is lost."""

import shutil

import numpy as np
import pytest
from flagging import SHAPE

pytest.importorskip("napari")

from napari_flowinpaint.viewer.tasks import find_damage
from napari_flowinpaint.viewer.tasks.flag_list import DAMAGED, SKIP


def save(session):
    unsaved = session.flags.unsaved_changes(session.image)
    session.flags.note_saved(session.image, unsaved, find_damage.save_flags(unsaved))


def paint_at(session, z, place):
    layer = session.mask_layer or session.masks.new(session.image)
    layer.data[(z, *place)] = 1
    layer.data.commit()


HERE, THERE = (slice(5, 9), slice(5, 9)), (slice(50, 60), slice(250, 260))


def test_what_two_windows_paint_is_kept_together(open_session):
    first, second = open_session(), open_session()
    paint_at(first, 2, HERE)
    paint_at(first, 3, HERE)
    save(first)
    paint_at(second, 3, THERE)
    paint_at(second, 4, THERE)
    save(second)
    expected = np.zeros(SHAPE, bool)
    for z, place in ((2, HERE), (3, HERE), (3, THERE), (4, THERE)):
        expected[(z, *place)] = True
    again = open_session()
    assert np.array_equal(again.mask[...] > 0, expected)
    assert np.array_equal(second.mask[3] > 0, expected[3]), "what was saved with it is shown"
    paint_at(first, 2, THERE)
    save(first)
    expected[(2, *THERE)] = True
    assert np.array_equal(open_session().mask[...] > 0, expected)


def test_of_two_windows_each_keeps_its_decisions(open_session):
    first, second = open_session(), open_session()
    for z in (1, 2):
        first.require_flags().list.add(z, "dark")
    save(first)
    third = open_session()
    second.require_flags().list.add(3, "hole")
    save(second)
    assert [r.section for r in second.require_flags().list.rows] == [1, 2, 3]
    first.require_flags().list.decide([(1, "dark")], SKIP)
    save(first)
    third.require_flags().list.remove([(2, "dark")])
    save(third)
    rows = open_session().require_flags().list.rows
    assert [(r.section, r.decision) for r in rows] == [(1, SKIP), (3, DAMAGED)]


def test_a_mask_begun_in_one_window_leaves_what_another_has_painted_since(open_session):
    first = open_session()
    paint_at(first, 1, HERE)
    save(first)
    second = open_session()
    paint_at(second, 2, HERE)
    save(second)
    first.masks.new(first.image)
    paint_at(first, 3, HERE)
    save(first)
    assert open_session().mask.painted_sections == (2, 3)


def test_what_is_painted_is_saved_again_where_its_folder_was_removed(open_session):
    session = open_session()
    paint_at(session, 2, HERE)
    session.require_flags().list.add(2, "dark")
    save(session)
    shutil.rmtree(session.require_flags().store.folder)
    assert session.flags.unsaved_changes(session.image) is None, "who removes it may want to"
    paint_at(session, 3, HERE)
    save(session)
    again = open_session()
    assert np.array_equal(again.mask[...], session.mask[...])
    assert [r.section for r in again.require_flags().list.rows] == [2]
