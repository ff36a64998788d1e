"""Many sections: masks as a label image, the table, interruption, threads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from napari_flowinpaint.core.detection.detect_section import DetectionOptions
from napari_flowinpaint.core.detection.detect_stack import detect_stack
from napari_flowinpaint.core.detection.detectors import Finding
from napari_flowinpaint.core.detection.flag_table import Flagged, read_table, write_table
from napari_flowinpaint.core.detection.store import read_detection, tiles_of
from napari_flowinpaint.core.errors import Cancelled, InputError, StoreError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.methods.choice import Situation, choose_method
from napari_flowinpaint.core.open import open_mask, open_stack

SHAPE = (10, 96, 120)
HOLES = {2: "hole", 3: "dark", 7: "hole"}


class Marked:
    """Finds what the stack says: sections whose first pixel is a label are damaged below it."""

    kinds = ("hole", "dark")

    def __repr__(self) -> str:
        return "Marked()"

    def detect(self, view):
        kind = HOLES.get(view.section.z)
        if kind is None:
            return []
        mask = np.zeros(view.shape, bool)
        zoom = view.section.zoom
        mask[10 * zoom : 30 * zoom, 20 * zoom : 60 * zoom] = True
        return [Finding(kind, 2.0 + view.section.z, mask)]


@pytest.fixture
def stack() -> Stack:
    rng = np.random.default_rng(0)
    return Stack.from_array(rng.integers(60, 200, SHAPE, dtype=np.uint8), voxel_size=(40, 4, 4))


def search(stack, output, **kwargs):
    return detect_stack(stack, output, detectors=[Marked()], **{"workers": 1, **kwargs})


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_masks_and_rows(stack, tmp_path):
    out = tmp_path / "masks.zarr"
    found = search(stack, out)
    assert [(r.section, r.kind, r.score) for r in found.flagged] == [
        (2, "hole", 4.0),
        (3, "dark", 5.0),
        (7, "hole", 9.0),
    ]
    assert found.flagged[0].area_percent == pytest.approx(100 * 800 / (96 * 120), abs=1e-3)
    # the damage of sections 2 and 3 is in the same place: neither guides the other
    assert [r.neighbours for r in found.flagged] == ["1 4", "1 4", "6 8"]
    masks = open_mask(out)
    assert masks.shape == SHAPE
    for z in range(SHAPE[0]):
        label = KINDS[HOLES[z]].label if z in HOLES else 0
        assert set(np.unique(masks.read(z))) == {0, label}
    assert (masks.read(2)[10:30, 20:60] == KINDS["hole"].label).all()
    assert found.masks == out
    assert list(tmp_path.iterdir()) == [out]


def test_only_damage_is_stored(stack, tmp_path):
    search(stack, tmp_path / "masks.zarr")
    chunks = [p for p in (tmp_path / "masks.zarr" / "0" / "c").rglob("*") if p.is_file()]
    assert sorted(int(p.parts[-3]) for p in chunks) == sorted(HOLES)


def test_metadata_names_the_kinds(stack, tmp_path):
    path = save_ome_zarr(stack, tmp_path / "stack.zarr")
    search(open_stack(path), tmp_path / "masks.zarr")
    ome = dict(zarr.open_group(str(tmp_path / "masks.zarr"), mode="r").attrs)["ome"]
    label = ome["image-label"]
    assert {p["label-value"]: p["kind"] for p in label["properties"]} == {
        k.label: k.name for k in KINDS.values()
    }
    assert {c["label-value"] for c in label["colors"]} == {k.label for k in KINDS.values()}
    assert (tmp_path / "masks.zarr" / label["source"]["image"]).resolve() == path
    assert open_mask(tmp_path / "masks.zarr").voxel_size == (40, 4, 4)


def test_reduced_levels_keep_thin_damage(tmp_path):
    class Line:
        kinds = ("crack",)

        def detect(self, view):
            mask = np.zeros(view.shape, bool)
            mask[view.shape[0] // 2] = view.section.z == 1
            return [Finding("crack", 2.0, mask)] if mask.any() else []

    stack = Stack.from_array(np.random.default_rng(0).integers(0, 255, (3, 601, 1201), np.uint8))
    detect_stack(stack, tmp_path / "m.zarr", detectors=[Line()], workers=1)
    levels = open_mask(tmp_path / "m.zarr").levels
    assert len(levels) == 3
    for level in levels:
        assert (level.read(1).max(axis=0) == KINDS["crack"].label).all()


def test_some_sections_only(stack, tmp_path):
    found = search(stack, tmp_path / "m.zarr", sections=[7, 2, 5, 2])
    assert found.searched == (2, 5, 7)
    assert [r.section for r in found.flagged] == [2, 7]


def test_without_output_nothing_is_written(stack, tmp_path):
    found = search(stack, None, report=tmp_path / "t.csv")
    assert len(found.flagged) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_threads_give_the_same(stack, tmp_path):
    search(stack, tmp_path / "one.zarr")
    search(stack, tmp_path / "four.zarr", workers=4)
    one, four = files(tmp_path / "one.zarr"), files(tmp_path / "four.zarr")
    assert {**one, "zarr.json": b""} == {**four, "zarr.json": b""}
    assert read_detection(tmp_path / "one.zarr") == read_detection(tmp_path / "four.zarr")


def test_real_detectors_in_threads_give_the_same(tmp_path):
    rng = np.random.default_rng(1)
    volume = rng.integers(0, 255, (12, 80, 80), dtype=np.uint8)
    volume[4] = 0
    stack = Stack.from_array(volume)
    one, four = (detect_stack(stack, None, workers=n).flagged for n in (1, 4))
    assert one == four
    assert (4, "missing") in {(r.section, r.kind) for r in one}


# ---- interruption


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("after", [1, 4, 9])
def test_an_interrupted_search_goes_on(stack, tmp_path, after, workers):
    search(stack, tmp_path / "whole.zarr")
    expected = files(tmp_path / "whole.zarr")

    def stop(fraction, message):
        if message.startswith("searched") and fraction >= 0.99 * after / SHAPE[0]:
            raise Cancelled("cancelled")

    out = tmp_path / "masks.zarr"
    with pytest.raises(Cancelled):
        search(stack, out, progress=stop, workers=workers)
    assert not out.exists()
    seen = []

    class Counting(Marked):
        def detect(self, view):
            seen.append(view.section.z)
            return super().detect(view)

    detect_stack(stack, out, detectors=[Counting()], workers=1)
    assert len(seen) <= SHAPE[0] - after
    found = files(out)
    name = b"masks", b"whole"
    assert {k: v.replace(*name) for k, v in found.items()} == expected
    assert not list(tmp_path.glob(".*"))


#: Searches a stack in a process that kills itself, the hard way, when this share is done.
KILLED = """
import os, signal, sys
from napari_flowinpaint.core.detection.detect_stack import DetectionStore, detect_stack
from napari_flowinpaint.core.open import open_stack
stack, out, when = sys.argv[1:]
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def progress(fraction, message):
    if when != "at the end" and fraction >= float(when):
        kill()
if when == "at the end":
    DetectionStore.discard = lambda self: kill()
detect_stack(open_stack(stack), out, report=out + ".csv", workers=2, progress=progress)
"""


def test_a_search_that_was_killed_goes_on(tmp_path):
    volume = np.random.default_rng(3).integers(60, 200, SHAPE, dtype=np.uint8)
    volume[4, 20:60, 30:80] = 255
    path = save_ome_zarr(Stack.from_array(volume), tmp_path / "stack.zarr")
    stack, whole, out = open_stack(path), tmp_path / "whole.zarr", tmp_path / "masks.zarr"
    table, report = tmp_path / "whole.csv", tmp_path / "masks.zarr.csv"
    rows = detect_stack(stack, whole, report=table, workers=1).flagged
    assert 4 in {row.section for row in rows}
    for when in ("0.7", "at the end"):
        command = [sys.executable, "-c", KILLED, str(path), str(out), when]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert out.exists() == (when == "at the end")
        # as if a chunk had been on its way to disk
        for scratch in tmp_path.glob(".masks.zarr.detecting/scratch"):
            (scratch / ".0123456789abcdef.part").write_bytes(b"")
    assert detect_stack(stack, out, report=report).flagged == rows
    renamed = {k: v.replace(b"masks", b"whole") for k, v in files(out).items()}
    assert renamed == files(whole)
    assert report.read_bytes() == table.read_bytes()
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(InputError, match="exists"):
        detect_stack(stack, out)


def test_what_is_there_is_not_taken_for_another_search(stack, tmp_path):
    out = tmp_path / "masks.zarr"
    search(stack, out)
    (tmp_path / ".masks.zarr.detecting").mkdir()
    with pytest.raises(InputError, match="exists"):
        search(stack, out, sections=[1])
    assert search(stack, out).flagged == search(stack, None).flagged


def test_a_line_that_was_cut_short_is_searched_again(stack, tmp_path):
    def stop(fraction, message):
        if fraction > 0.5:
            raise Cancelled("cancelled")

    out = tmp_path / "masks.zarr"
    with pytest.raises(Cancelled):
        search(stack, out, progress=stop)
    lines = tmp_path / ".masks.zarr.detecting" / "sections.jsonl"
    lines.write_bytes(lines.read_bytes()[:-5])
    assert [r.section for r in search(stack, out).flagged] == [2, 3, 7]


def test_another_request_starts_anew(stack, tmp_path):
    def stop(fraction, message):
        if fraction > 0.5:
            raise Cancelled("cancelled")

    out = tmp_path / "masks.zarr"
    with pytest.raises(Cancelled):
        search(stack, out, progress=stop)
    found = search(stack, out, sections=[5, 6])
    assert found.flagged == ()
    assert not open_mask(out).read(2).any()


def test_two_at_once_are_kept_apart(stack, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_flowinpaint.core.detection.store._LOCK_SECONDS", 0.1)
    out, inside, go_on = tmp_path / "m.zarr", threading.Event(), threading.Event()

    def wait(fraction, message):
        inside.set()
        go_on.wait(10)

    first = threading.Thread(target=lambda: search(stack, out, progress=wait))
    first.start()
    try:
        assert inside.wait(10)
        with pytest.raises(StoreError, match="another process"):
            search(stack, out)
    finally:
        go_on.set()
        first.join()
    assert out.exists()


def test_cancel_at_the_last_moment(stack, tmp_path):
    def stop(fraction, message):
        if fraction >= 1:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        search(stack, tmp_path / "m.zarr", progress=stop)
    assert not (tmp_path / "m.zarr").exists()


# ---- what goes wrong


def test_existing_output(stack, tmp_path):
    search(stack, tmp_path / "m.zarr")
    with pytest.raises(InputError, match="exists"):
        search(stack, tmp_path / "m.zarr")
    search(stack, tmp_path / "m.zarr", overwrite=True, sections=[5])
    assert not open_mask(tmp_path / "m.zarr").read(2).any()


def test_sections_that_cannot_be_read_do_not_stop_the_others(tmp_path):
    volume = np.random.default_rng(0).integers(60, 200, SHAPE, dtype=np.uint8)

    class Broken:
        shape, dtype, ndim = volume.shape, volume.dtype, 3

        def __getitem__(self, key):
            if 5 in np.arange(len(volume))[key[0]].reshape(-1):  # one of them, or a block
                raise OSError("unreadable")
            return volume[key]

    found = search(Stack.from_array(Broken()), tmp_path / "m.zarr")
    assert list(found.failed) == [5]
    assert "unreadable" in found.failed[5]
    assert [r.section for r in found.flagged] == [2, 3, 7]
    assert list(read_detection(tmp_path / "m.zarr")["failed"]) == ["5"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"sections": [10]}, "section 10 does not exist"), ({"workers": 0}, "use at least 1")],
)
def test_wrong_requests(stack, wrong, message):
    with pytest.raises(InputError, match=message):
        search(stack, None, **wrong)


def test_not_a_detection(tmp_path):
    with pytest.raises(InputError, match="holds no masks"):
        read_detection(tmp_path)


# ---- the table


ROWS = [
    Flagged(3, "hole", 2.5, 1.25, "2 4", "flow", ""),
    Flagged(3, "dark", 1.5, 0.25, "- 4", "", "damaged"),
]


@pytest.mark.parametrize("name", ["t.csv", "t.json", "table.txt"])
def test_tables_come_back(tmp_path, name):
    write_table(ROWS, tmp_path / name)
    assert read_table(tmp_path / name) == ROWS
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_columns(tmp_path):
    write_table(ROWS, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == (
        "section,kind,score,area_percent,neighbours,suggested_method,decision"
    )
    write_table(ROWS, tmp_path / "t.json")
    record = json.loads((tmp_path / "t.json").read_text())["flagged"][0]
    assert list(record)[:3] == ["section", "kind", "score"]


def test_a_table_made_by_hand(tmp_path):
    (tmp_path / "t.csv").write_text("kind,section,remark\nhole,5,mine\n")
    assert read_table(tmp_path / "t.csv") == [Flagged(5, "hole", 1.0, 0.0)]


@pytest.mark.parametrize(
    "text",
    [
        "section,kind\nfive,hole\n",
        "section\n5\n",
        "section,kind\n5,rain\n",
        "section,kind\n-1,hole\n",
    ],
)
def test_tables_that_are_none(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match="row 1"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(InputError, match="not a table"):
        read_table(tmp_path / "absent.csv")


@pytest.mark.parametrize("kind", KINDS)
def test_the_suggested_method_is_that_of_auto(stack, monkeypatch, kind):
    """With two usable neighbours (7), with one (0, 3, 5), and with none (4)."""
    monkeypatch.setattr(Marked, "kinds", (kind,))
    monkeypatch.setitem(globals(), "HOLES", dict.fromkeys((0, 3, 4, 5, 7), kind))
    rows = search(stack, None, max_gap=1).flagged
    usable = {row.section: sum(n != "-" for n in row.neighbours.split()) for row in rows}
    assert usable == {0: 1, 3: 1, 4: 0, 5: 1, 7: 2}
    for row in rows:
        situation = Situation(usable[row.section], row.kind)
        taken = choose_method("auto", situation)
        if taken is None:
            assert row.suggested_method == ""
            continue
        suggested = choose_method(row.suggested_method, situation)
        assert suggested is not None
        assert suggested.method.name == taken.method.name


def test_tiles():
    mask = np.zeros((320, 640), bool)
    assert int(tiles_of(mask), 16) == 0
    mask[0, 0] = mask[-1, -1] = True
    bits = bin(int(tiles_of(mask), 16))[2:]
    assert (len(bits), bits.count("1"), bits[0], bits[-1]) == (1024, 2, "1", "1")
    assert bin(int(tiles_of(np.ones((5, 7), bool)), 16)).count("1") > 0


def test_options_are_kept(stack, tmp_path):
    search(stack, tmp_path / "m.zarr", options=DetectionOptions(sensitivity=0.7))
    assert read_detection(tmp_path / "m.zarr")["options"]["sensitivity"] == 0.7


def test_sections_that_never_fit_in_memory_are_refused_first():
    class Huge:
        name, shape, dtype = "huge", (3, 10**8, 10**8), np.dtype("uint8")
        no_data = None
        levels = (SimpleNamespace(shape=(3, 10**8, 10**8)),)

    with pytest.raises(StoreError, match="a section of huge needs"):
        detect_stack(Huge())
