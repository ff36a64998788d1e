"""The flagged sections, their mask and what is stored of them; no window, no threads."""

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel

from napari_flowinpaint.core.detection.flag_table import Flagged
from napari_flowinpaint.core.disk.ownership import MARK
from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.masks.layered_mask import LayeredMask
from napari_flowinpaint.core.masks.sparse_mask import TILE, SparseMask
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.viewer import camera
from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.viewer.state.search_settings import RANGE, SECTION, STACK, SearchSettings
from napari_flowinpaint.viewer.tasks import find_damage, loading
from napari_flowinpaint.viewer.tasks.find_damage import SearchResult
from napari_flowinpaint.viewer.tasks.flag_list import (
    DAMAGED,
    INTACT,
    SKIP,
    UNDECIDED,
    Filter,
    FlagList,
    intact_labels,
    key_of,
    labels_of,
)
from napari_flowinpaint.viewer.tasks.flag_store import FlagStore

SHAPE = (5, TILE + 20, 300)
DARK, HOLE = KINDS["dark"].label, KINDS["hole"].label


def row(z, kind="dark", score=2.0, decision=UNDECIDED):
    return Flagged(z, kind, score, 1.0, decision=decision)


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


def labelled(*sections, label=HOLE):
    volume = np.zeros(SHAPE, np.uint8)
    for z in sections:
        volume[z, 10:40, 250:280] = label
    return volume


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


# ---- what is stored


@pytest.fixture
def path(tmp_path):
    import zarr

    zarr.create_array(tmp_path / "stack.zarr", data=np.full(SHAPE, 100, np.uint8))
    return tmp_path / "stack.zarr"


@pytest.fixture
def open_session(path):
    """Return a function that opens a new viewer on the stack, with what is stored."""
    viewers = []

    def make():
        viewers.append(ViewerModel())
        session = session_of(viewers[-1])
        session.add_stack(loading.load(str(path), progress=lambda *_: None))
        session.flags.open(session.image, find_damage.open_flags(session.stack))
        return session

    return make


def save(session):
    unsaved = session.flags.unsaved_changes(session.image)
    areas = find_damage.save_flags(unsaved)
    session.flags.note_saved(session.image, unsaved)
    return areas


def found(sections, label=HOLE, searched=range(5)):
    kind = next(k.name for k in KINDS.values() if k.label == label)
    rows = tuple(row(z, kind) for z in sections)
    volume = labelled(*sections, label=label)
    return SearchResult(rows, frozenset(searched), tuple(KINDS), {}, volume)


def test_nothing_is_kept_before_something_is_flagged(open_session):
    session = open_session()
    assert session.flags.unsaved_changes(session.image) is None
    assert not session.require_flags().store.folder.exists()


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


def test_painting_and_decisions_come_back(open_session):
    session = open_session()
    flags = session.require_flags()
    flags.list.add(2, "dark")
    flags.list.decide([(2, "dark")], SKIP)
    layer = session.masks.new(session.image)
    layer.data[2, 100:110, 10:20] = DARK
    layer.data.commit()
    assert save(session)[2]["dark"] == pytest.approx(100 * 100 / SHAPE[1] / SHAPE[2], abs=1e-3)
    assert session.flags.unsaved_changes(session.image) is None
    layer.data[3, 5, 5] = 1
    layer.data.commit()
    assert set(session.flags.unsaved_changes(session.image).sections) == {3}
    save(session)
    again = open_session()
    assert [(r.section, r.decision) for r in again.require_flags().list.rows] == [(2, SKIP)]
    assert np.array_equal(again.mask[...], layer.data[...])
    assert again.flags.unsaved_changes(again.image) is None


def test_a_mask_that_was_begun_anew_replaces_the_one_that_was_kept(open_session):
    session = open_session()
    session.masks.new(session.image).data[2, 5, 5] = 1
    session.mask.commit()
    save(session)
    session.masks.new(session.image).data[3, 5, 5] = 1
    session.mask.commit()
    save(session)
    again = open_session()
    assert again.mask.painted_sections == (3,)


def test_a_folder_that_may_not_be_written_to_is_left_alone(path, monkeypatch, tmp_path):
    import os

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, m: m == os.R_OK and real(p, m))
    store = FlagStore.of(open_stack(path))
    assert path.parent not in (store.folder.parent, store.staging.parent)
    assert "stack.zarr" in str(store.folder)


def test_a_stack_without_a_file_is_kept_for_now_only():
    store = FlagStore.of(Stack.from_array(np.zeros((2, 8, 8), np.uint8)))
    assert not store.lasting
    store.save_rows([row(1)])
    assert store.load((2, 8, 8)).rows == (row(1),)


def paint(session, z=2):
    session.masks.new(session.image).data[z, 5, 5] = 1
    session.mask.commit()


def test_a_mask_that_cannot_be_saved_is_lost_until_it_is(open_session, path):
    in_the_way = path.with_name(path.name + ".flagged")
    in_the_way.write_text("of somebody else")
    session = open_session()
    assert session.flags.save_now() is None
    paint(session)
    assert isinstance(session.flags.save_now(), StoreError)
    assert session.flags.lost_count == 1
    assert session.unsaved() == ["1 mask or list of flagged sections"]
    in_the_way.unlink()
    assert session.flags.save_now() is None
    assert session.flags.lost_count == 0
    assert open_session().mask.painted_sections == (2,)


def test_a_list_that_cannot_be_saved_is_lost_as_well(open_session, path):
    path.with_name(path.name + ".flagged").write_text("of somebody else")
    session = open_session()
    session.require_flags().list.add(2, "dark")
    session.flags.save_now()
    assert session.flags.lost_count == 1


def test_what_is_painted_where_nothing_could_be_opened_is_lost(path):
    viewer = ViewerModel()
    session = session_of(viewer)
    session.add_stack(loading.load(str(path), progress=lambda *_: None))
    session.flags.give_up(session.image)
    assert session.flags.lost_count == 0
    paint(session)
    assert session.flags.lost_count == 1


def test_a_stack_that_cannot_be_saved_does_not_keep_others_from_it(open_session, path, tmp_path):
    import zarr

    path.with_name(path.name + ".flagged").write_text("of somebody else")
    session = open_session()
    paint(session)
    zarr.create_array(tmp_path / "other.zarr", data=np.full(SHAPE, 100, np.uint8))
    session.add_stack(loading.load(str(tmp_path / "other.zarr"), progress=lambda *_: None))
    other = session.viewer.layers["other"]
    session.flags.open(other, find_damage.open_flags(open_stack(tmp_path / "other.zarr")))
    session.masks.new(other).data[3, 5, 5] = 1
    session.masks.mask(other).commit()
    session.flags.save_now()
    assert session.flags.lost_count == 1
    assert session.flags.unsaved_changes(other) is None


def test_showing_a_row_sets_the_brush_to_its_kind(open_session):
    session = open_session()
    session.flags.add_search(session.image, found([4]))
    session.flags.show(session.image, row(4, "hole"))
    assert camera.section_of(session.viewer, session.image) == 4
    assert session.mask_layer.selected_label == HOLE


# ---- whose folder it is


def tiles(label=DARK):
    tile = np.zeros((TILE, TILE), np.uint8)
    tile[3:9, 4:7] = label
    return {(0, 1): tile}


@pytest.fixture
def store(path):
    """A store of flagged sections, with what was painted in section 2."""
    store = FlagStore.of(open_stack(path))
    store.save_rows([row(2)])
    store.save_tiles({2: tiles()})
    return store


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_a_folder_of_the_users_is_not_taken_for_one_of_ours(path):
    store = FlagStore.of(open_stack(path))
    (store.folder / "painted").mkdir(parents=True)
    (store.folder / "painted" / "z000001.npz").write_bytes(b"mine")
    (store.folder / "flagged.csv").write_text("mine")
    before = contents(store.folder)
    kept = store.load(SHAPE)
    assert (kept.rows, kept.base, dict(kept.tiles)) == ((), None, {})
    for save_something in (
        lambda: store.save_rows([row(1)]),
        lambda: store.save_tiles({1: tiles()}),
        lambda: store.start_mask(alone=True),
        store.next_search,
    ):
        with pytest.raises(StoreError, match="not a flagged folder made by flowinpaint"):
            save_something()
    assert contents(store.folder) == before


def test_a_mask_begun_anew_leaves_files_of_the_users(store):
    (store.folder / "painted" / "notes.txt").write_text("mine")
    store.start_mask(alone=True)
    assert not store.load(SHAPE).tiles
    assert (store.folder / "painted" / "notes.txt").read_text() == "mine"
    assert not (store.folder / "painted" / "z000002.npz").exists()


def test_the_folder_of_an_earlier_version_is_kept_up(store):
    """Nothing is removed from it: a mask that is begun anew is emptied instead."""
    (store.folder / MARK).unlink()
    kept = store.load(SHAPE)
    assert kept.rows == (row(2),)
    assert np.array_equal(kept.tiles[2][0, 1], tiles()[0, 1])
    store.save_rows([row(3)])
    store.start_mask(alone=False)
    assert (store.folder / "painted" / "z000002.npz").exists()
    assert not store.load(SHAPE).tiles
    store.save_tiles({2: tiles()})
    assert store.load(SHAPE).tiles.keys() == {2}


@pytest.mark.parametrize("name", ["painted", "flagged.csv", "scratch", ""])
def test_links_are_refused(store, tmp_path, name):
    home = tmp_path / "home"
    place = store.folder / name
    shutil.move(place, tmp_path / "aside")
    home.mkdir()
    target = home if (tmp_path / "aside").is_dir() else home / "new.csv"
    place.symlink_to(target)
    table = name == "flagged.csv"
    save_one, what = (store.save_rows, [row(1)]) if table else (store.save_tiles, {1: tiles()})
    with pytest.raises(StoreError, match="is a link, which is not followed"):
        save_one(what)
    assert not any(home.iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("flagged.csv", b"\xff\xfe\x00"),
        ("flagged.csv", b"section,kind,score\n1,dark,nan\n"),
        ("flagged.csv", b"section,kind\n-1,dark\n"),
        ("flagged.csv", b'section,kind\n"' + b"a" * 200_000),
        ("painted/z000002.npz", b"PK torn"),
        ("painted/z000002.npz", None),
        ("painted/begun", b"many"),
    ],
)
def test_what_is_damaged_is_named_in_one_line(store, name, content):
    place = store.folder / name
    if content is None:  # tiles of a larger stack
        store.save_tiles({2: {(9, 9): np.ones((TILE, TILE), np.uint8)}})
    else:
        place.write_bytes(content)
    with pytest.raises(InputError, match="cannot be used") as caught:
        store.load(SHAPE)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_channels_of_one_file_are_kept_apart_by_everybody(tmp_path):
    """The command line and the viewer look for repairs in the same folder."""
    from make_stacks import write_ngff

    from napari_flowinpaint.cli._request import RepairCommand
    from napari_flowinpaint.cli._staging import default_staging

    write_ngff(tmp_path / "two.zarr", np.zeros((2, 4, 30, 30), np.uint8), axes="czyx")
    found = set()
    for channel in (0, 1):
        stack = open_stack(tmp_path / "two.zarr", channel=channel)
        command = RepairCommand(str(tmp_path / "two.zarr"), "mask", in_place=True)
        place = FlagStore.of(stack).staging
        assert place == default_staging(command, stack)
        found.add(place.name)
    assert found == {"two.zarr.staging", "two.zarr.1.staging"}
