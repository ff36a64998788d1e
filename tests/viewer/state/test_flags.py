"""The flagged sections and their mask; no window, no threads."""

import numpy as np
import pytest
from flagging import DARK, HOLE, SHAPE, found, labelled, row

pytest.importorskip("napari")

from napari_flowinpaint.core.detection.flag_table import Flagged
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.masks.layered_mask import LayeredMask
from napari_flowinpaint.core.masks.sparse_mask import SparseMask
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.viewer import camera
from napari_flowinpaint.viewer.state.search_settings import RANGE, SECTION, STACK, SearchSettings
from napari_flowinpaint.viewer.tasks import find_damage
from napari_flowinpaint.viewer.tasks.flag_list import (
    DAMAGED,
    INTACT,
    UNDECIDED,
    Filter,
    FlagList,
    intact_labels,
    key_of,
    labels_of,
)

# ---- the list


def test_a_new_search_keeps_decisions_and_drops_what_is_gone():
    flags = FlagList([row(1), row(2), row(3, decision=DAMAGED), row(4, "hole"), row(9)])
    flags.merge([row(1, score=3), row(3), row(5)], searched=range(6), kinds=("dark",))
    assert [(r.section, r.kind, r.score, r.decision) for r in flags.rows] == [
        (1, "dark", 3, UNDECIDED),
        (3, "dark", 2, DAMAGED),
        (4, "hole", 2, UNDECIDED),  # holes were not looked for
        (5, "dark", 2, UNDECIDED),
        (9, "dark", 2, UNDECIDED),  # nobody looked there
    ]
    flags.merge([], searched=range(6), kinds=("dark",))
    assert [r.section for r in flags.rows] == [3, 4, 9], "what was decided stays"


def test_rows_are_decided_counted_and_filtered():
    flags = FlagList([row(2), row(1), row(1, "hole")])
    calls = []
    flags.changed.connect(lambda: calls.append(1))
    flags.decide([(1, "dark"), (7, "dark")], INTACT)
    assert len(calls) == 1
    assert [r.section for r in flags.shown(Filter(decision=INTACT))] == [1]
    assert [r.section for r in flags.shown(Filter("dark", UNDECIDED))] == [2]
    assert flags.count()[UNDECIDED] == 2
    assert flags.sections([UNDECIDED]) == (1, 2)
    assert flags.add(3, "blur").decision == DAMAGED
    assert flags.add(2, "dark").score == 2
    flags.remove([(3, "blur")])
    flags.set_areas({1: {"hole": 7.5}})
    assert [r.area_percent for r in flags.rows] == [7.5, 0.0, 1.0]
    with pytest.raises(ValueError, match="maybe"):
        flags.decide([(1, "dark")], "maybe")


def test_a_list_of_another_stack_is_refused():
    flags = FlagList([row(1)])
    with pytest.raises(InputError, match="section 5"):
        flags.take([row(0), row(5)], depth=5)
    assert [key_of(r) for r in flags.rows] == [(1, "dark")]


def test_what_is_no_damage_and_what_kind_a_section_has():
    rows = [row(1, decision=INTACT), row(1, "hole", 1.0), row(2, "hole", 1), row(2, "dark", 5)]
    assert intact_labels(rows) == {1: (DARK,)}
    assert labels_of(rows) == {1: HOLE, 2: DARK}


def test_where_to_search():
    settings = SearchSettings(first=2, last=9)
    assert settings.sections(3, 5) == (0, 1, 2, 3, 4)
    settings.where = RANGE
    assert settings.sections(None, 5) == (2, 3, 4)
    settings.first = 7
    with pytest.raises(InputError, match="from 7 to 9"):
        settings.sections(None, 5)
    settings.where = SECTION
    assert settings.sections(3, 5) == (3,)
    with pytest.raises(InputError, match="no section is shown"):
        settings.sections(None, 5)
    assert STACK != SECTION


# ---- masks


def test_every_section_shows_the_last_search_of_it():
    under = labelled(0, 1, 2) * 60
    layered = LayeredMask(SHAPE, under).with_layer(labelled(1, 2), {1, 2})
    layered = layered.with_layer(labelled(label=DARK), {2})
    values = [int(layered[z : z + 1, 20:21, 260:261][0, 0, 0]) for z in range(4)]
    assert values == [1, HOLE, 0, 0]
    assert np.array_equal(layered[0:3, 5:15, 245:255], layered[:, :, :][0:3, 5:15, 245:255])


def test_a_mask_keeps_kinds_through_painting_and_editing():
    mask = SparseMask(SHAPE, labelled(1), labels=True)
    assert mask[1, 20, 260] == HOLE
    mask[1, 5:8, 5:8] = DARK
    mask.commit()
    assert (mask[1, 6, 6], mask[1, 20, 260]) == (DARK, HOLE)
    grown = mask.frozen().edit(1, lambda damage: np.ones_like(damage), -1)
    mask.set_section(1, grown)
    assert (mask[1, 6, 6], mask[1, 100, 100]) == (DARK, HOLE), "new damage is of the common kind"
    mask.undo()
    assert mask.read(1).sum() == 900 + 9
    mask.lay_on(labelled(3, label=DARK), labels=True)
    assert mask[3, 20, 260] == DARK
    assert mask[1, 6, 6] == DARK, "what is painted stays"


def test_what_is_no_damage_is_left_out():
    mask = SparseMask(SHAPE, labelled(1, 2), labels=True)
    mask[1, 5:8, 5:8] = DARK
    mask.commit()
    decided = find_damage.decided_mask(mask.frozen(), {1: (HOLE,)})
    assert decided.read(1).sum() == 9
    assert decided.read(2).sum() == 900
    assert mask.read(1).sum() == 909, "the mask itself is left alone"
    assert find_damage.areas(mask, 1) == pytest.approx(
        {"dark": 900 / SHAPE[1] / SHAPE[2], "hole": 90000 / SHAPE[1] / SHAPE[2]}, abs=1e-4
    )


def test_thumbnails_show_the_guides_and_the_damage():
    stack = Stack.from_array(np.full((5, 600, 400), 100, np.uint8))
    mask = SparseMask((5, 600, 400))
    mask[2, 300:500, 100:200] = 1
    flagged = Flagged(2, "dark", 1.0, 1.0, neighbours="- 4")
    found = find_damage.thumbnails(stack, mask, flagged, (0, 200), progress=lambda *_: None)
    assert [picture and picture[0] for picture in found.pictures] == [1, 2, 4]
    middle = found.pictures[1][1]
    assert max(middle.shape) == find_damage.THUMBNAIL
    coloured = (middle != middle[0, 0]).any(axis=2)
    assert Box.of_mask(coloured).y0 == pytest.approx(72, abs=1)
    assert coloured.mean() == pytest.approx(1 / 12, rel=0.15)


def test_a_search_goes_into_list_and_mask_and_spares_what_was_painted(open_session):
    session = open_session()
    layer = session.masks.new(session.image)
    layer.data[1, 100:110, 10:20] = DARK
    layer.data.commit()
    session.flags.add_search(session.image, found([1, 2]))
    mask = session.mask
    assert mask[1, 105, 15] == DARK
    assert mask[2, 20, 260] == HOLE
    assert mask[1, 20, 260] == HOLE, "beside the painted tile"
    assert mask.painted_sections == (1,)
    session.flags.add_search(session.image, found([3], DARK, searched=[2, 3]))
    assert (mask[2, 20, 260], mask[3, 20, 260], mask[1, 20, 260]) == (0, DARK, HOLE)


def test_showing_a_row_sets_the_brush_to_its_kind(open_session):
    session = open_session()
    session.flags.add_search(session.image, found([4]))
    session.flags.show(session.image, row(4, "hole"))
    assert camera.section_of(session.viewer, session.image) == 4
    assert session.mask_layer.selected_label == HOLE
