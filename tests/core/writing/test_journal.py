"""The journal on disk: its format, and what happens when somebody else has written it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repaired_stores import (
    Layout,
    journal_folder,
    journal_states,
    label_arrays,
    level_arrays,
    make_repair,
    random_pixels,
    write_store,
)
from scenes import Scene

from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.recovery import needs_recovery, recover
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

LAYOUT = Layout(3, (2, 16, 16), None, ((1, 2, 2),))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one repair in it."""
    pixels = random_pixels(np.random.default_rng(1), (3, 30, 30), "uint8")
    path = write_store(tmp_path / "sample.zarr", pixels, LAYOUT)
    stack = open_stack(path)
    mask = np.zeros((30, 30), bool)
    mask[3:9, 4:12] = True
    write_back(stack, make_repair(stack, 1, mask))
    return path


def entry_of(store: Path) -> Path:
    (entry,) = (journal_folder(store) / "entries").iterdir()
    return entry


def interrupt(store: Path) -> Path:
    """Make the only repair look as if its writer had died; returns its folder."""
    entry = entry_of(store)
    unfinished = entry.with_name(entry.name.replace("committed", "prepared"))
    entry.rename(unfinished)
    return unfinished


def test_the_layout_that_is_documented(store: Path) -> None:
    journal = store / "s0" / ".flowinpaint"
    names = {str(p.relative_to(journal)) for p in journal.rglob("*")}
    entry = "entries/00000001-z1.committed"
    assert names - {"lock"} == {
        "README.txt",
        "entries",
        entry,
        f"{entry}/entry.json",
        f"{entry}/pixels.npz",
        "scratch",
    }
    record = json.loads((journal / entry / "entry.json").read_text())
    assert record["format"] == 1
    assert record["pieces"] == [
        [{"z": 1, "box": [3, 4, 9, 12]}, {"z": 1, "box": [1, 2, 5, 6]}],
    ]
    assert [level["path"] for level in record["levels"]] == ["s0", "s1"]
    assert record["levels"][1]["rule"] == "mean half-even"
    with np.load(journal / entry / "pixels.npz") as arrays:
        assert set(arrays) == {f"{k}-0-{n}" for k in ("mask", "original") for n in (0, 1)} | {
            "new-0"
        }
        assert np.array_equal(arrays["new-0"], level_arrays(store)[0][1, 3:9, 4:12])


def test_an_interrupted_write_is_finished_and_told(store: Path) -> None:
    shown = level_arrays(store)
    interrupt(store)
    assert needs_recovery(store)
    (message,) = open_stack(store).messages
    assert f"run `flowinpaint recover {store}`" in message
    assert recover(store) == ("The interrupted write of repair 1 (section 1) was finished.",)
    assert journal_states(store) == {1: "committed"}
    assert all(map(np.array_equal, level_arrays(store), shown))
    assert open_stack(store).messages == ()


def test_other_interruptions_are_reported(store: Path) -> None:
    entry = entry_of(store)
    entry.rename(entry.with_name(entry.name.replace("committed", "reverting")))
    assert recover(store) == ("The interrupted revert of repair 1 (section 1) was finished.",)
    stack = open_stack(store)
    mask = np.zeros((30, 30), bool)
    mask[3, 3] = True
    write_back(stack, make_repair(stack, 2, mask))
    entry = next((journal_folder(store) / "entries").glob("*2-z2*"))
    entry.rename(entry.with_name(entry.name.replace("committed", "aborting")))
    (message,) = recover(store)
    assert message == "The interrupted cancelled write of repair 2 (section 2) was undone."
    assert journal_states(store) == {1: "reverted"}


def test_a_revert_keeps_the_record_and_frees_the_space(store: Path) -> None:
    revert(open_stack(store))
    assert [p.name for p in entry_of(store).iterdir()] == ["entry.json"]


def test_nothing_is_written_where_nothing_was_interrupted(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in [store, *store.rglob("*")]}

    before = times()
    assert not needs_recovery(store)
    history(open_stack(store))
    assert times() == before
    assert recover(store) == ()
    assert {p: t for p, t in times().items() if p.is_file()} == {
        p: t for p, t in before.items() if p.is_file()
    }
    # Nor is it where something was, by a look at it; but it is told.
    interrupt(store)
    before = times()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    (message,) = open_stack(store).messages
    assert "flowinpaint recover" in message
    assert times() == before


def test_leftovers_of_a_dead_writer_are_removed(store: Path) -> None:
    scratch = journal_folder(store) / "scratch"
    (scratch / "entry-2").mkdir()
    (scratch / "entry-2" / "pixels.npz").write_bytes(b"half")
    (scratch / "reserve").write_bytes(bytes(100))
    (scratch / "thesis").write_bytes(b"not ours")
    assert recover(store) == ()
    assert [path.name for path in scratch.iterdir()] == ["thesis"]
    stack = open_stack(store)
    mask = np.zeros((30, 30), bool)
    mask[0, 0] = True
    assert write_back(stack, make_repair(stack, 0, mask)) == (2,)


def test_foreign_files_in_the_journal_are_left_alone(store: Path) -> None:
    entries = journal_folder(store) / "entries"
    for name in ("notes.txt", "00000000-z1.committed", "00000002-z1.exploded", "1-z1.committed"):
        (entries / name).mkdir()
    assert [entry.id for entry in history(open_stack(store))] == [1]
    revert(open_stack(store))
    assert (entries / "notes.txt").is_dir()


# Damaged and hostile journals


def edit(entry: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = entry / "entry.json"
    record = json.loads(path.read_text())
    changed = change(record)
    path.write_text(json.dumps(record if changed is None else changed))


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def repack(entry: Path, **replaced: Any) -> None:
    """Rewrite ``pixels.npz`` with some arrays replaced."""
    with np.load(entry / "pixels.npz") as arrays:
        content = {**dict(arrays), **{k.replace("_", "-"): v for k, v in replaced.items()}}
    np.savez(entry / "pixels.npz", **content)


def pickled(entry: Path) -> None:
    array = np.empty(1, object)
    array[0] = Bomb(entry / "executed")
    repack(entry, new_0=array)
    with np.load(entry / "pixels.npz", allow_pickle=True) as arrays:
        arrays["new-0"]  # it would be executed
    (entry / "executed").unlink()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "no json": lambda e: (e / "entry.json").write_text("{"),
    "not an object": lambda e: (e / "entry.json").write_text("[1, 2]"),
    "deep": lambda e: (e / "entry.json").write_text("[" * 100_000),
    "no entry.json": lambda e: (e / "entry.json").unlink(),
    "no pixels": lambda e: (e / "pixels.npz").unlink(),
    "truncated": lambda e: (e / "pixels.npz").write_bytes((e / "pixels.npz").read_bytes()[:300]),
    "empty": lambda e: (e / "pixels.npz").write_bytes(b""),
    "pickled": pickled,
    "wrong shape": lambda e: repack(e, new_0=np.zeros((6, 9), np.uint8)),
    "wrong dtype": lambda e: repack(e, original_0_0=np.zeros((6, 8), np.float64)),
    "too large": lambda e: repack(e, new_0=np.zeros((600, 800), np.uint8)),
    "missing array": lambda e: edit(e, lambda r: r["pieces"].append(r["pieces"][0])),
    "another number": lambda e: edit(e, lambda r: r.update(id=2)),
    "another section": lambda e: edit(e, lambda r: r.update(z=0)),
    "a box outside": lambda e: edit(e, lambda r: r["pieces"][0][0].update(box=[3, 4, 9, 31])),
    "a negative box": lambda e: edit(e, lambda r: r["pieces"][0][0].update(box=[-3, 4, 9, 12])),
    "a fraction": lambda e: edit(e, lambda r: r["pieces"][0][0].update(z=0.5)),
    "no pieces": lambda e: edit(e, lambda r: r.update(pieces=[])),
    "unknown format": lambda e: edit(e, lambda r: r.update(format=0)),
    "unknown rule": lambda e: edit(e, lambda r: r["levels"][1].update(rule="exec x")),
    "unknown dtype": lambda e: edit(e, lambda r: r.update(dtype="object")),
    "absolute path": lambda e: edit(e, lambda r: r["levels"][1].update(path="/etc")),
    "path outside": lambda e: edit(e, lambda r: r["levels"][1].update(path="../../x")),
    "axes": lambda e: edit(e, lambda r: r["axes"].update(zyx=[0, 0, 1])),
    "scale": lambda e: edit(e, lambda r: r["levels"][1].update(scale=[1, 0, 1])),
    "provenance": lambda e: edit(e, lambda r: r.update(provenance=5)),
}
#: What only shows when the pixels are needed, which the history does not.
PIXELS = {
    *("no pixels", "truncated", "empty", "pickled", "missing array"),
    *("wrong shape", "wrong dtype", "too large"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_entry_is_refused(store: Path, name: str) -> None:
    """In one line that names it, and nothing is changed or executed."""
    entry = entry_of(store)
    DAMAGES[name](entry)
    shown = level_arrays(store)
    for job in (revert,) if name in PIXELS else (revert, history):
        with pytest.raises(StoreError, match="damaged") as caught:
            job(open_stack(store))
        assert "\n" not in str(caught.value)
        assert entry.name in str(caught.value)
    interrupt(store)
    with pytest.raises(StoreError, match="damaged"):
        recover(store)
    assert open_stack(store).shape == (3, 30, 30)
    assert all(map(np.array_equal, level_arrays(store), shown))
    assert not list(store.rglob("executed"))


def test_an_entry_of_a_newer_version(store: Path) -> None:
    edit(entry_of(store), lambda r: r.update(format=2))
    with pytest.raises(StoreError, match="newer version"):
        history(open_stack(store))


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
@pytest.mark.parametrize("name", ["s:", "s\\", "section é 0 ", "..s", "C:s"])
def test_levels_of_any_name_can_be_reverted(tmp_path: Path, name: str) -> None:
    pixels = random_pixels(np.random.default_rng(1), (3, 30, 30), "uint8")
    store = write_store(tmp_path / "a.zarr", pixels, LAYOUT)
    before = level_arrays(store)
    text = (store / "zarr.json").read_text()
    for number in "01":
        (store / f"s{number}").rename(store / f"{name}{number}")
        text = text.replace(f'"path": "s{number}"', f'"path": {json.dumps(name + number)}')
    (store / "zarr.json").write_text(text)
    stack = open_stack(store)
    write_back(stack, make_repair(stack, 1, np.eye(30, dtype=bool)))
    assert [entry.id for entry in history(open_stack(store))] == [1]
    assert revert(open_stack(store)) == (1,)
    assert all(map(np.array_equal, level_arrays(store), before))


@pytest.mark.parametrize("path", ["s2", "../s1", "s0/../../other.zarr/s1"])
def test_only_levels_of_the_stack_are_written_to(store: Path, tmp_path: Path, path: str) -> None:
    """A journal that names another array, even one of the right shape, does not reach it."""
    other = tmp_path / "other.zarr"
    shutil.copytree(store, other)
    shutil.copytree(store / "s1", store / "s2")
    before = level_arrays(other)
    edit(interrupt(store), lambda r: r["levels"][1].update(path=path))
    with pytest.raises(StoreError):
        recover(store)
    assert all(map(np.array_equal, level_arrays(other), before))


def test_a_stack_whose_pyramid_was_changed(store: Path) -> None:
    """The journal knows nothing of the new levels: it does not guess."""
    group = json.loads((store / "zarr.json").read_text())
    group["attributes"]["ome"]["multiscales"][0]["datasets"].pop()
    (store / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(StoreError, match="pyramid"):
        revert(open_stack(store))
    mask = np.zeros((30, 30), bool)
    mask[20, 20] = True
    stack = open_stack(store)
    with pytest.raises(StoreError, match="pyramid"):
        write_back(stack, make_repair(stack, 1, mask))


def test_an_array_that_was_replaced(store: Path) -> None:
    """By one of another shape, of the same name."""
    interrupt(store)
    import zarr

    group = zarr.open_group(str(store), mode="r+")
    kept = store.parent / "journal"
    shutil.move(journal_folder(store), kept)
    group.create_array("s0", shape=(3, 28, 30), dtype="uint8", overwrite=True)[...] = 7
    shutil.move(kept, journal_folder(store))
    with pytest.raises(StoreError, match="not the array"):
        recover(store)
    assert (group["s0"][...] == 7).all()


def test_history_while_a_writer_renames(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that changes its name between listing and reading is looked for again."""
    from napari_flowinpaint.core.writing.journal import Journal

    scan, calls = Journal.scan, []

    def renaming(self: Journal) -> None:
        scan(self)
        if not calls:
            interrupt(store)
        calls.append(1)

    stack = open_stack(store)
    monkeypatch.setattr(Journal, "scan", renaming)
    (entry,) = history(stack)
    assert entry.state == "unfinished"
    assert len(calls) == 2


# Merged copies


def test_a_folder_of_the_same_repair_is_put_aside(store: Path) -> None:
    """It does not count, and is not lost; what it would have been in the way of works."""
    entry, before = entry_of(store), level_arrays(store)[0]
    shutil.copytree(entry, entry.with_name(entry.name.replace("committed", "reverted")))
    assert [(e.id, e.state) for e in history(open_stack(store))] == [(1, "committed")]
    assert revert(open_stack(store)) == (1,)
    names = sorted(path.name for path in entry.parent.iterdir())
    assert names == ["00000001-z1.reverted", "00000001-z1.reverted.1"]
    assert not np.array_equal(level_arrays(store)[0], before)
    assert history(open_stack(store))[0].state == "reverted"


def test_two_sections_with_one_number(tmp_path: Path) -> None:
    """They are reverted one by one, by their sections."""
    pixels = random_pixels(np.random.default_rng(0), (3, 30, 30), "uint8")
    layout = Layout(3, (1, 16, 16), None, ((1, 2, 2),))
    stores = [write_store(tmp_path / name, pixels, layout) for name in ("a.zarr", "b.zarr")]
    before = level_arrays(stores[0])
    for z, path in enumerate(stores):
        stack = open_stack(path)
        assert write_back(stack, make_repair(stack, z, np.eye(30, dtype=bool))) == (1,)
    merged, other = stores
    for folder in ("s0/c/1", "s1/c/1", "s0/.flowinpaint/entries/00000001-z1.committed"):
        shutil.copytree(other / folder, merged / folder, dirs_exist_ok=True)
    stack = open_stack(merged)
    assert [(e.id, e.z) for e in history(stack)] == [(1, 0), (1, 1)]
    with pytest.raises(InputError, match="choose by section"):
        revert(stack, repair_id=1)
    recover(merged)  # the marks of the second one were not copied
    assert (label_arrays(merged)[0][1] == np.eye(30)).all()
    assert revert(stack, z=1) == (1,)
    assert write_back(stack, make_repair(stack, 2, np.eye(30, dtype=bool))) == (2,)
    assert revert(stack) == (1, 2)
    assert all(map(np.array_equal, level_arrays(merged), before))
    assert not label_arrays(merged)[0].any()


def test_pixels_that_were_changed_do_not_come_back(store: Path) -> None:
    """The digest of the file is compared before anything is written."""
    path, shown = entry_of(store) / "pixels.npz", level_arrays(store)
    with np.load(path) as content:
        arrays = dict(content)
    arrays["original-0-0"][0, 0] ^= 1
    np.savez(path, **arrays)
    for force in (False, True):
        with pytest.raises(StoreError, match=r"damaged \(pixels.npz was changed"):
            revert(open_stack(store), force=force)
    assert all(map(np.array_equal, level_arrays(store), shown))


def test_provenance_is_plain_json(scene: Scene) -> None:
    repair = scene.repair()
    odd = replace(
        repair.provenance,
        neighbours=(np.int64(0), np.int64(2)),
        scores={"psnr": np.float32(20.5)},
        options={"path": Path("x")},
    )
    write_back(scene.stack, replace(repair, provenance=odd))
    (entry,) = (journal_folder(scene.path) / "entries").glob("*/entry.json")
    record = json.loads(entry.read_text())
    assert record["provenance"]["neighbours"] == [0, 2]
    assert record["provenance"]["scores"] == {"psnr": 20.5}
    assert history(scene.stack)[0].provenance.neighbours == (0, 2)


def test_what_the_journal_could_not_read_back_is_not_written(scene: Scene) -> None:
    repair = scene.repair()
    odd = replace(repair, provenance=replace(repair.provenance, mask_pixels=-1))
    with pytest.raises(StoreError, match="-1 is not a number"):
        write_back(scene.stack, odd)
    scene.expected.check(scene.path)
    assert history(open_stack(scene.path)) == ()
