"""What is saved of flagged sections and masks, where, and what would be lost; no window."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from flagging import DARK, SHAPE, row

pytest.importorskip("napari")
from napari.components import ViewerModel

from napari_flowinpaint.core.batch import StagedSection
from napari_flowinpaint.core.batch.records import ACCEPTED, REJECTED, UNDECIDED
from napari_flowinpaint.core.disk.ownership import MARK
from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.masks.sparse_mask import TILE
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.viewer.tasks import find_damage, loading
from napari_flowinpaint.viewer.tasks.flag_list import SKIP
from napari_flowinpaint.viewer.tasks.flag_store import FlagStore

# ---- what is stored


def save(session):
    unsaved = session.flags.unsaved_changes(session.image)
    saved = find_damage.save_flags(unsaved)
    session.flags.note_saved(session.image, unsaved, saved)
    return saved.areas


def test_nothing_is_kept_before_something_is_flagged(open_session):
    session = open_session()
    assert session.flags.unsaved_changes(session.image) is None
    assert not session.require_flags().store.folder.exists()


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


# ---- what would be lost


@pytest.fixture
def array_session():
    """Return a session over a layer that no file is behind."""
    viewer = ViewerModel()
    session = session_of(viewer)
    image = viewer.add_image(np.zeros(SHAPE, np.uint8))
    session.set_stack(image, Stack.from_array(image.data))
    session.flags.open(image, find_damage.open_flags(session.stack))
    yield session
    viewer.layers.clear()  # a session does not keep its viewer alive


def staged(z, decision):
    return StagedSection(
        z, "repaired", "", decision, None, "flow", (z - 1, z + 1), 9, {}, (), None, None, f"key {z}"
    )


def paint(session, z=2):
    session.masks.new(session.image).data[z, 5, 5] = 1
    session.mask.commit()


def test_a_stack_without_a_file_is_kept_for_now_only():
    store = FlagStore.of(Stack.from_array(np.zeros((2, 8, 8), np.uint8)))
    assert not store.lasting
    store.save_rows([row(1)])
    assert store.load((2, 8, 8)).rows == (row(1),)


def test_a_list_of_a_stack_without_a_file_is_lost_unless_a_copy_has_it(array_session):
    session, image = array_session, array_session.image
    flags = session.require_flags()
    assert session.unsaved() == []
    flags.list.add(2, "dark")
    assert session.flags.save_now() is None, "into a folder that nobody finds again"
    assert session.unsaved() == ["1 mask or list of flagged sections"]
    session.flags.note_copied(image, session.flags.for_copy(image))
    assert session.unsaved() == []
    paint(session)
    assert session.unsaved() == ["1 mask or list of flagged sections"]
    session.flags.note_copied(image, session.flags.for_copy(image))
    assert session.unsaved() == []
    session.mask[3, 5, 5] = 1
    session.mask.commit()
    assert session.flags.lost_count == 1


def test_a_batch_of_a_stack_without_a_file_is_lost_unless_a_copy_has_it(array_session):
    session, batch = array_session, array_session.batch.of(array_session.image)
    accepted, waiting, rejected = (
        staged(z, decision) for z, decision in enumerate((ACCEPTED, UNDECIDED, REJECTED))
    )
    session.batch.set_staged(session.image, (accepted, waiting, rejected))
    assert session.unsaved() == ["1 accepted repair", "1 repair waiting for review"]
    batch.note_copied([accepted])
    assert session.unsaved() == ["1 repair waiting for review"]
    session.batch.update(session.image, [replace(waiting, decision=ACCEPTED)])
    assert session.unsaved() == ["1 accepted repair"]
    session.batch.update(session.image, [replace(accepted, key="made again")])
    assert session.unsaved() == ["2 accepted repairs"]


def test_a_batch_of_a_stack_with_a_file_is_not_lost(open_session):
    session = open_session()
    session.batch.set_staged(session.image, (staged(1, UNDECIDED), staged(2, ACCEPTED)))
    assert session.unsaved() == []


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
