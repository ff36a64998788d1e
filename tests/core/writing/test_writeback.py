"""Write-back, revert and history: what they do, what they refuse, and that nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from repaired_stores import (
    Expectation,
    Layout,
    journal_folder,
    journal_states,
    label_arrays,
    level_arrays,
    make_repair,
    random_pixels,
    write_store,
)

from napari_flowinpaint.core.errors import Cancelled, InputError, StoreError
from napari_flowinpaint.core.io import folder, lock, pyramid
from napari_flowinpaint.core.io.folder import Folder, open_root
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import SectionRepair
from napari_flowinpaint.core.writing.recovery import recover
from napari_flowinpaint.core.writing.target import open_array
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

SHAPE = (4, 40, 36)


class Scene:
    """A store, the stack opened from it, and what it should hold."""

    def __init__(self, folder: Path, layout: Layout | None = None, dtype: str = "uint8") -> None:
        self.layout = layout or Layout()
        pixels = random_pixels(np.random.default_rng(1), SHAPE, dtype)
        self.path = write_store(folder / "sample.zarr", pixels, self.layout)
        self.expected = Expectation(self.path, self.layout)
        self.stack = open_stack(self.path)

    def repair(self, z: int = 1, box: tuple[int, int, int, int] = (5, 6, 15, 18), **options: Any):
        return make_repair(self.stack, z, mask_of(*box), **options)

    def write(self, *repairs: SectionRepair) -> tuple[int, ...]:
        numbers = write_back(self.stack, repairs)
        for number, repair in zip(numbers, repairs, strict=True):
            self.expected.add(number, repair)
        self.expected.check(self.path)
        return numbers

    def gone(self, *numbers: int) -> None:
        for number in numbers:
            del self.expected.repairs[number]
        self.expected.check(self.path)


def mask_of(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros(SHAPE[1:], bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is killed here, so nothing need be synced."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def files(path: Path) -> dict[str, bytes]:
    """Every file of a store, but for the journal's lock."""
    found = (p for p in path.rglob("*") if p.is_file() and p.name != "lock")
    return {str(p.relative_to(path)): p.read_bytes() for p in found}


# What it does


class RecordingOs:
    """The ``os`` module; keeps what is on disk for good, and what was renamed in what order."""

    def __init__(self) -> None:
        self.synced: set[Path] = set()
        self.renamed: list[Path] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, handle: int) -> None:
        self.synced.add(Path(f"/proc/self/fd/{handle}").resolve())

    def replace(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        source, target = (
            Path(f"/proc/self/fd/{handle}").resolve() / name
            for handle, name in ((src_dir_fd, old), (dst_dir_fd, new))
        )
        files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
        if source.parent.name == "scratch":
            assert self.synced.issuperset(files), "renamed before it was on disk"
        source.replace(target)
        self.synced |= {target / path.relative_to(source) for path in files}
        self.synced.discard(target.parent)  # the new name is not on disk yet
        self.renamed.append(target)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="paths of handles are not known")
def test_what_was_written_is_on_disk_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, Layout(factors=((1, 2, 2),)))
    recording = RecordingOs()
    monkeypatch.setattr(folder, "os", recording)
    scene.write(scene.repair(1, (0, 0, 20, 20)))
    names = [path.relative_to(scene.path).as_posix() for path in recording.renamed]
    journal = "s0/.flowinpaint/entries/00000001-z1"
    begin, end = names.index(f"{journal}.prepared"), names.index(f"{journal}.committed")
    chunks = [n for n in names if n.split("/")[-4:-3] == ["c"]]
    marks = [f"labels/synthetic/{level}" for level in (0, 1)]
    assert [n.partition("/c/")[0] for n in chunks] == [*marks, *["s0"] * 4, "s1"]
    assert begin < min(map(names.index, chunks))
    assert max(map(names.index, chunks)) < end
    assert names[end + 1 :] == ["labels/synthetic/0/zarr.json"]  # the largest number
    assert {path.parent for path in recording.renamed} <= recording.synced


def test_history_tells_what_was_done(scene: Scene) -> None:
    repair = scene.repair()
    (number,) = scene.write(repair)
    (entry,) = history(open_stack(scene.path))
    assert (entry.id, entry.z, entry.state) == (number, 1, "committed")
    assert entry.mask_pixels == 120
    assert entry.provenance == repair.provenance
    assert [box.shape for box in entry.boxes] == [(10, 12)]
    assert entry.time.endswith("+00:00")
    revert(scene.stack, repair_id=number)
    scene.gone(number)
    (entry,) = history(scene.stack)
    assert entry.state == "reverted"
    assert scene.write(scene.repair()) == (2,)
    assert [entry.state for entry in history(scene.stack)] == ["reverted", "committed"]


def test_components_are_accepted_one_after_another(scene: Scene) -> None:
    """The window of each holds pixels of the one accepted before."""
    mask = mask_of(2, 3, 30, 20)
    repair = make_repair(scene.stack, 2, mask, halo=6, split=True)
    assert len(repair.component_ids) == 4
    for number in (2, 1, 4):
        scene.write(repair.select({number}))
    revert(scene.stack, repair_id=2)
    scene.gone(2)
    scene.write(repair.select({1}))
    scene.write(repair.select({3}))


def test_a_repair_over_a_repair(scene: Scene) -> None:
    (first,) = scene.write(scene.repair(box=(5, 5, 20, 20), seed=1))
    (second,) = scene.write(scene.repair(box=(10, 10, 25, 30), seed=2))
    (third,) = scene.write(scene.repair(box=(0, 12, 40, 14), seed=3))
    for number in (first, third, second):
        assert revert(scene.stack, repair_id=number) == (number,)
        scene.gone(number)


def test_revert_chooses_sections(scene: Scene) -> None:
    scene.write(*(scene.repair(z) for z in range(4)))
    assert revert(scene.stack, z=[0, 3]) == (1, 4)
    scene.gone(1, 4)
    assert revert(scene.stack, z=0) == ()
    assert revert(scene.stack) == (2, 3)
    scene.gone(2, 3)
    assert all((label == 0).all() for label in label_arrays(scene.path))


def test_revert_works_where_the_store_was_moved_to(scene: Scene, tmp_path: Path) -> None:
    scene.write(scene.repair())
    moved = tmp_path / "elsewhere" / "renamed.zarr"
    moved.parent.mkdir()
    scene.path.rename(moved)
    assert revert(open_stack(moved)) == (1,)
    scene.expected.repairs.clear()
    scene.expected.check(moved)


def test_only_touched_chunks_are_written(scene: Scene) -> None:
    before = files(scene.path)
    inodes = {name: (scene.path / name).stat().st_ino for name in before}
    scene.write(scene.repair(box=(0, 0, 3, 3), z=1))
    changed = {name for name, content in files(scene.path).items() if before.get(name) != content}
    pixels = {name for name in changed if name.startswith("s") and "flowinpaint" not in name}
    assert pixels == {"s0/c/1/0/0", "s1/c/1/0/0", "s2/c/1/0/0"}
    # Replaced by a new file, not overwritten: a reader sees one or the other.
    assert all((scene.path / name).stat().st_ino != inodes[name] for name in pixels)


@pytest.mark.parametrize("shards", [None, (4, 32, 32)])
def test_a_chunk_with_many_sections_is_written_once(
    tmp_path: Path, shards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = (4, 40, 36) if shards is None else (1, 16, 16)
    scene = Scene(tmp_path, Layout(3, chunks, shards, ((1, 2, 2),)))
    written: list[str] = []
    put = Folder.write

    def spy(here: Folder, name: str, *args: Any, **options: Any) -> None:
        written.append((here.path / name).relative_to(tmp_path).as_posix())
        put(here, name, *args, **options)

    monkeypatch.setattr(Folder, "write", spy)
    scene.write(*(scene.repair(z, seed=z) for z in (3, 0, 1, 2)))
    assert written.count("sample.zarr/s0/c/0/0/0") == 1
    assert written.count("sample.zarr/s1/c/0/0/0") == 1
    written.clear()
    revert(scene.stack)
    assert written.count("sample.zarr/s0/c/0/0/0") == 1


def test_a_pyramid_made_by_an_unknown_rule(tmp_path: Path) -> None:
    """Untouched pixels stay, touched ones are means, and the originals come back."""
    scene = Scene(tmp_path, Layout(factors=((1, 2, 2),)))
    group = zarr.open_group(str(scene.path), mode="r+")
    foreign = random_pixels(np.random.default_rng(5), group["s1"].shape, "uint8")
    group["s1"][...] = foreign
    scene.expected = Expectation(scene.path, scene.layout)
    said: list[str] = []
    repair = scene.repair()
    scene.expected.add(
        *write_back(scene.stack, repair, progress=lambda _, message: said.append(message)), repair
    )
    scene.expected.check(scene.path)
    assert "unknown rule" in said[-1]
    revert(scene.stack)
    scene.gone(1)
    assert np.array_equal(level_arrays(scene.path)[1], foreign)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_label_image_is_valid_ngff(tmp_path: Path, zarr_format: int) -> None:
    from yaozarrs import validate_ome_uri

    scene = Scene(tmp_path, Layout(zarr_format, (1, 20, 20)))
    group = zarr.open_group(str(scene.path), mode="r+")
    group.create_group("labels/nuclei")
    listed = {"labels": ["nuclei"]}
    group["labels"].attrs.update(
        listed if zarr_format == 2 else {"ome": {"version": "0.5", **listed}}
    )
    scene.write(scene.repair())
    attributes = dict(group["labels"].attrs)
    assert attributes.get("ome", attributes)["labels"] == ["nuclei", "synthetic"]
    validate_ome_uri(str(scene.path / "labels" / "synthetic"))
    label = zarr.open_group(str(scene.path / "labels" / "synthetic"), mode="r")
    found = dict(label.attrs)
    found = found.get("ome", found)
    assert found["image-label"]["source"] == {"image": "../../"}
    source = dict(group.attrs)
    source = source.get("ome", source)["multiscales"][0]
    described = found["multiscales"][0]
    assert described["axes"] == source["axes"]
    for own, images in zip(described["datasets"], source["datasets"], strict=True):
        assert own["coordinateTransformations"] == images["coordinateTransformations"]
    stored = [p for p in (scene.path / "labels" / "synthetic" / "0").rglob("*") if p.is_file()]
    assert len([p for p in stored if p.suffix != ".json" and not p.name.startswith(".")]) == 1


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_show_the_label_image(tmp_path: Path, zarr_format: int) -> None:
    scene = Scene(tmp_path, Layout(zarr_format, (1, 20, 20)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(scene.path))
    scene.write(scene.repair())
    group = zarr.open_group(str(scene.path), mode="r")
    assert group.metadata.consolidated_metadata is not None
    assert (group["labels/synthetic/0"][1] == 1).sum() == 120


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_labels_show_the_label_image(tmp_path: Path, zarr_format: Any) -> None:
    """A list that names a label which cannot be opened would stop other readers."""
    scene = Scene(tmp_path, Layout(zarr_format, (1, 20, 20)))
    labels = scene.path / "labels"
    group = zarr.open_group(str(labels), mode="w", zarr_format=zarr_format)
    ome = {"version": "0.5", "labels": ["mine"]}
    group.attrs.update({"labels": ["mine"]} if zarr_format == 2 else {"ome": ome})
    group.create_array("mine/0", shape=(2, 2), dtype="uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(labels))
    scene.write(scene.repair())
    group = zarr.open_group(str(labels), mode="r", use_consolidated=True)
    attributes: Any = dict(group.attrs)
    assert attributes.get("ome", attributes)["labels"] == ["mine", "synthetic"]
    assert {"mine/0", "synthetic/0"} <= {name for name, _ in group.members(max_depth=None)}


def test_readers_that_list_the_store_are_not_disturbed(scene: Scene) -> None:
    scene.write(scene.repair())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(str(scene.path), mode="r")
        names = {name for name, _ in group.members(max_depth=None)}
    assert names == {"s0", "s1", "s2", "labels", "labels/synthetic"} | {
        f"labels/synthetic/{n}" for n in range(3)
    }


def test_marks_come_back_where_they_were_removed(scene: Scene) -> None:
    scene.write(scene.repair(1), scene.repair(2, seed=2))
    shutil.rmtree(scene.path / "labels")
    scene.write(scene.repair(3, seed=3))  # which checks all of them


@pytest.mark.parametrize("axes", ["czyx", "tczyx"])
def test_each_channel_has_its_own_repairs(tmp_path: Path, axes: str) -> None:
    leading = (2,) if axes == "czyx" else (1, 2)
    pixels = random_pixels(np.random.default_rng(0), (*leading, *SHAPE), "uint16")
    path = tmp_path / "channels.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    chunks = (*leading, 2, 20, 20)  # both channels in one chunk
    group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=chunks)[...] = pixels
    kinds = {"t": "time", "c": "channel"}
    described = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": described, "datasets": datasets}],
    }
    stacks = [open_stack(path, channel=c) for c in (0, 1)]
    mask = mask_of(5, 5, 9, 9)
    for channel, stack in enumerate(stacks):
        assert write_back(stack, make_repair(stack, 1, mask, seed=channel)) == (channel + 1,)
    label = label_arrays(path)[0].reshape(2, *SHAPE)
    assert [np.unique(label[c][1][mask]).tolist() for c in (0, 1)] == [[1], [2]]
    assert (label[:, [0, 2, 3]] == 0).all()
    assert [[e.id for e in history(stack)] for stack in stacks] == [[1], [2]]
    with pytest.raises(InputError, match="no repair 1"):
        revert(stacks[1], repair_id=1)
    assert revert(stacks[0]) == (1,)
    now = group["0"][...].reshape(2, *SHAPE)
    assert np.array_equal(now[0], pixels.reshape(2, *SHAPE)[0])
    assert (now[1] != pixels.reshape(2, *SHAPE)[1]).any()


def test_axes_and_bytes_in_another_order(tmp_path: Path) -> None:
    """A zarr v2 array, x first, big-endian, columns first."""
    pixels = random_pixels(np.random.default_rng(0), SHAPE, "int16")
    array = zarr.create_array(
        str(tmp_path / "raw.zarr"),
        shape=SHAPE[::-1],
        dtype=">i2",
        chunks=(9, 10, 2),
        zarr_format=2,
        order="F",
        attributes={"_ARRAY_DIMENSIONS": ["x", "y", "z"], "resolution": [40.0, 4.0, 5.0]},
    )
    array[...] = pixels.T
    stack = open_stack(tmp_path / "raw.zarr")
    repair = make_repair(stack, 3, mask_of(0, 30, 40, 36))
    write_back(stack, repair)
    expected = pixels.copy()
    expected[3][mask_of(0, 30, 40, 36)] = repair.result[repair.mask]
    assert np.array_equal(array[...].T, expected)
    label = zarr.open_group(str(tmp_path / "raw.zarr/.flowinpaint/labels/synthetic"), mode="r")
    assert np.array_equal(label["0"][...].T[3] == 1, mask_of(0, 30, 40, 36))
    scale = dict(label.attrs)["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert scale == [{"type": "scale", "scale": [5.0, 4.0, 40.0]}]
    revert(stack)
    assert np.array_equal(array[...].T, pixels)


def test_nan_that_is_not_quite_the_fill_value_is_kept(tmp_path: Path) -> None:
    """A chunk of nothing else equals an empty chunk, without being the same bits."""
    pixels = np.full(SHAPE, 0x7FC00001, np.uint32).view(np.float32)
    array = zarr.create_array(
        str(tmp_path / "raw.zarr"),
        shape=SHAPE,
        dtype="float32",
        chunks=(2, 20, 20),
        fill_value=np.nan,
        config={"write_empty_chunks": True},
    )
    array[...] = pixels
    stack = open_stack(tmp_path / "raw.zarr")
    repair = make_repair(stack, 1, mask_of(3, 3, 9, 9))
    write_back(stack, repair)
    assert (array[1, 3:9, 3:9] == repair.result[repair.mask].reshape(6, 6)).all()
    revert(stack)
    assert array[...].tobytes() == pixels.tobytes()


# What it refuses


def refused(scene: Scene, repair: Any, error: type[Exception], match: str) -> None:
    """Fail unless writing is refused in one line and nothing changes."""
    before = files(scene.path)
    with pytest.raises(error, match=match) as caught:
        write_back(scene.stack, repair)
    assert "\n" not in str(caught.value)
    after = {k: v for k, v in files(scene.path).items() if "README" not in k}
    assert {k: v for k, v in after.items() if "labels" not in k} == {
        k: v for k, v in before.items() if "README" not in k and "labels" not in k
    }
    scene.expected.check(scene.path)


def test_a_section_that_changed_since_it_was_read(scene: Scene) -> None:
    repair = scene.repair(1, (5, 6, 15, 18))
    array = zarr.open_group(str(scene.path), mode="r+")["s0"]
    array[1, 30, 30] ^= 1  # far from the window
    array[2, 10, 10] ^= 1  # another section
    scene.expected = Expectation(scene.path, scene.layout)
    array[1, 4, 6] ^= 1  # in the halo
    scene.expected = Expectation(scene.path, scene.layout)
    refused(scene, repair, StoreError, "changed since it was read")
    array[1, 4, 6] ^= 1
    scene.expected = Expectation(scene.path, scene.layout)
    scene.write(repair)


def test_a_repair_made_from_pixels_that_were_reverted(scene: Scene) -> None:
    scene.write(scene.repair(box=(5, 5, 10, 10)))
    beside = scene.repair(box=(5, 11, 10, 15))
    revert(scene.stack)
    scene.gone(1)
    refused(scene, beside, StoreError, "changed since it was read")


def test_repairs_that_do_not_fit(scene: Scene) -> None:
    good = scene.repair()
    nowhere = replace(good, z=4)
    refused(scene, nowhere, InputError, "sections 0 to 3")
    refused(scene, replace(good, shape=(40, 37)), InputError, "repair it again")
    refused(scene, replace(good, dtype=np.dtype("uint16")), InputError, "uint16")
    refused(scene, good.select({7}), InputError, "replaces no pixel")
    refused(scene, [], InputError, "no repair")
    patch = good.patches[0]
    refused(
        scene, replace(good, patches=(replace(patch, source_digest=None),)), InputError, "digest"
    )
    far = replace(patch.box, x1=patch.box.x1 + 1)
    refused(scene, replace(good, patches=(replace(patch, box=far),)), InputError, "does not fit")
    wide = replace(patch, result=patch.result.astype("float32"))
    refused(scene, replace(good, patches=(wide,)), InputError, "float32")
    # One that does not fit among many: none is written.
    refused(scene, [scene.repair(0), nowhere], InputError, "sections 0 to 3")


def test_nan_is_not_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path, dtype="float32")
    repair = scene.repair()
    repair.patches[0].result[repair.patches[0].mask] = np.nan
    refused(scene, repair, InputError, "NaN")


def test_a_stack_that_is_not_a_local_zarr(scene: Scene) -> None:
    stack = Stack.from_array(level_arrays(scene.path)[0])
    repair = make_repair(stack, 1, mask_of(3, 3, 9, 9))
    with pytest.raises(StoreError, match="--output"):
        write_back(stack, repair)
    with pytest.raises(StoreError, match="cannot be written in place") as refusal:
        revert(stack)
    assert "--output" not in str(refusal.value)
    assert history(stack) == ()


def test_a_read_only_store(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    repair = scene.repair()
    before = files(scene.path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    stack = open_stack(scene.path)
    with pytest.raises(StoreError, match="--output"):
        write_back(stack, repair)
    with pytest.raises(StoreError, match="cannot be written in place") as refusal:
        revert(stack)
    assert "--output" not in str(refusal.value)
    assert files(scene.path) == before
    # Permission as far as anyone can see, but the file system is mounted read-only.
    monkeypatch.setattr(folder, "os", FailingOs(1, errno.EROFS, forever=True))
    refused(scene, repair, StoreError, "may not be written")
    assert files(scene.path) == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="paths of handles are not known")
def test_a_protected_file_in_a_folder_that_is_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file can be replaced where its folder may be written to, but that is not what it says."""
    repair = scene.repair()
    protected = scene.path / "s1" / "c" / "1" / "0" / "0"
    allowed = os.access

    def access(name: str, mode: int, *, dir_fd: int) -> bool:
        path = Path(f"/proc/self/fd/{dir_fd}").resolve() / name
        return path != protected and allowed(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "access", access)
    refused(scene, repair, StoreError, "may not be written to .no permission for .*s1/c/1/0/0")
    scene.expected.check(scene.path)


def test_files_keep_their_permissions(scene: Scene) -> None:
    chunks = [p for p in (scene.path / "s0" / "c" / "1").rglob("*") if p.is_file()]
    before = {chunk: chunk.read_bytes() for chunk in chunks}
    for chunk in chunks:
        chunk.chmod(0o660)
    scene.write(scene.repair())
    assert any(chunk.read_bytes() != before[chunk] for chunk in chunks)
    assert {stat.S_IMODE(chunk.stat().st_mode) for chunk in chunks} == {0o660}


def test_chunks_that_are_not_lossless(tmp_path: Path) -> None:
    import numcodecs

    path = tmp_path / "lossy.zarr"
    array = zarr.create_array(
        str(path),
        shape=SHAPE,
        dtype="float32",
        chunks=(1, 20, 20),
        zarr_format=2,
        filters=[numcodecs.Quantize(digits=1, dtype="f4")],
    )
    array[...] = random_pixels(np.random.default_rng(0), SHAPE, "float32")
    stack = open_stack(path)
    before = array[...].tobytes()
    with pytest.raises(StoreError, match=r"quantize.*--output"):
        write_back(stack, make_repair(stack, 1, mask_of(3, 3, 9, 9)))
    assert array[...].tobytes() == before


def test_labels_of_somebody_else(scene: Scene) -> None:
    group = zarr.open_group(str(scene.path), mode="r+")
    group.create_group("labels/synthetic").create_array("0", shape=(3, 3), dtype="uint8")
    with pytest.raises(StoreError, match=r"labels.synthetic"):
        write_back(scene.stack, scene.repair())
    assert np.array_equal(level_arrays(scene.path)[0], scene.expected.originals[0])


def test_synthetic_pixels_that_somebody_else_changed(scene: Scene) -> None:
    scene.write(scene.repair(1), scene.repair(2, seed=2))
    array = zarr.open_group(str(scene.path), mode="r+")["s0"]
    array[1, 8, 8] ^= 1
    before = array[...]
    with pytest.raises(StoreError, match="section 1 were changed by another program"):
        revert(scene.stack)
    with pytest.raises(StoreError, match="section 1 were changed by another program"):
        write_back(scene.stack, scene.repair(1, (0, 0, 9, 9)))
    assert np.array_equal(array[...], before)
    # What they changed stays when other pixels of the same chunk are written and reverted.
    beside = np.zeros(SHAPE[1:], bool)
    beside[[0, 15], [0, 15]] = True
    (third,) = write_back(scene.stack, make_repair(scene.stack, 1, beside))
    assert array[1, 8, 8] == before[1, 8, 8]
    revert(scene.stack, repair_id=third)
    assert np.array_equal(array[...], before)
    assert revert(scene.stack, z=2) == (2,)
    assert np.array_equal(array[2], scene.expected.originals[0][2])


def test_reverts_that_make_no_sense(scene: Scene) -> None:
    assert revert(scene.stack) == ()
    assert not journal_folder(scene.path).exists()
    with pytest.raises(InputError, match="no repair 1"):
        revert(scene.stack, repair_id=1)
    scene.write(scene.repair())
    with pytest.raises(InputError, match="section 4 does not exist"):
        revert(scene.stack, z=4)
    with pytest.raises(InputError, match="no repair 2"):
        revert(scene.stack, repair_id=2)
    with pytest.raises(InputError, match="no repair 1"):
        revert(scene.stack, z=2, repair_id=1)
    revert(scene.stack)
    with pytest.raises(InputError, match="reverted already"):
        revert(scene.stack, repair_id=1)


# Two writers


def test_two_processes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.2)
    scene.write(scene.repair())
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from filelock import FileLock\n"
            f"with FileLock({str(journal_folder(scene.path) / 'lock')!r}):\n"
            "    print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    refused(scene, scene.repair(2), StoreError, "another process is writing to")
    with pytest.raises(StoreError, match="another process is writing to"):
        revert(scene.stack)
    # A lock whose holder is dead does not bind.
    holder.kill()
    holder.wait()
    scene.write(scene.repair(2))


def test_two_threads(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits for the first, or is refused; they never interleave."""
    entered, leave = threading.Event(), threading.Event()

    def slow(fraction: float, message: str) -> None:
        entered.set()
        leave.wait(10)

    first, second = scene.repair(1), scene.repair(2, seed=2)
    thread = threading.Thread(target=lambda: write_back(scene.stack, first, progress=slow))
    thread.start()
    assert entered.wait(10)
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.2)
    with pytest.raises(StoreError, match="another process is writing to"):
        write_back(scene.stack, second)
    # Opening meanwhile leaves the unfinished entry to the one who writes it.
    assert "Another process is writing" in open_stack(scene.path).messages[0]
    assert list(journal_states(scene.path).values()) == ["prepared"]
    leave.set()
    thread.join(20)
    scene.expected.add(1, first)
    scene.expected.check(scene.path)
    scene.write(second)


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    """Four threads, four sections of one chunk."""
    scene = Scene(tmp_path, Layout(2, (4, 40, 36), None, ()))
    repairs = [scene.repair(z, seed=z) for z in range(4)]
    done: dict[int, SectionRepair] = {}

    def work(repair: SectionRepair) -> None:
        (number,) = write_back(open_stack(scene.path), repair)
        done[number] = repair

    threads = [threading.Thread(target=work, args=(repair,)) for repair in repairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [1, 2, 3, 4]
    for number, repair in done.items():
        scene.expected.add(number, repair)
    scene.expected.check(scene.path)


# What goes wrong on the way


class FailingOs:
    """The ``os`` module, but for the n-th call that changes the disk, and maybe all after it.

    ``space`` names the calls that need room; a rename or a sync may fail too, but not for long.
    """

    SPACE = ("open", "mkdir", "posix_fallocate")
    ALL = (*SPACE, "replace", "fsync")

    def __init__(
        self, fail_at: int, number: int = errno.ENOSPC, *, names: Any = ALL, forever: bool = False
    ) -> None:
        self.steps = 0
        self._fail_at, self._number = fail_at, number
        self._names, self._forever = names, forever

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in self._names:
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return found(*args, **kwargs)
            self.steps += 1
            due = self.steps >= self._fail_at if self._forever else self.steps == self._fail_at
            if due:
                raise OSError(self._number, os.strerror(self._number))
            return found(*args, **kwargs)

        return counted


@pytest.mark.parametrize("kind", ["once", "no space left", "broken disk"])
@pytest.mark.parametrize("verb", ["write", "revert"])
def test_a_full_disk_at_any_moment(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, kind: str
) -> None:
    """Undone at once if that is possible, else put right when the stack is opened again."""
    scene.write(scene.repair(0, seed=4))
    repairs = [scene.repair(z, seed=z) for z in (1, 2)]
    every = Expectation.__new__(Expectation)
    every.repairs = dict(scene.expected.repairs)
    for number, repair in enumerate(repairs, start=2):
        every.add(number, repair)
    if verb == "revert":
        scene.write(*repairs)
    old, store = dict(scene.expected.repairs), tmp_path / "copy.zarr"
    options: dict[str, Any] = {
        "once": {},
        "no space left": {"names": FailingOs.SPACE, "forever": True},
        "broken disk": {"forever": True},
    }[kind]
    failed, step, whole = 0, 0, False
    while not whole:
        step += 6 if kind == "no space left" else 16
        shutil.copytree(scene.path, store)
        failing, report = FailingOs(step, **options), ""
        stack = open_stack(store)
        with monkeypatch.context() as patch:
            patch.setattr(folder, "os", failing)
            try:
                if verb == "write":
                    write_back(stack, repairs)
                else:
                    revert(stack, z=[1, 2])
            except StoreError as error:
                report = str(error)
                failed += 1
                assert "\n" not in report
                assert "full" in report
        whole = failing.steps < step
        assert not (whole and report)
        scene.expected.repairs = old
        if "nothing was changed" in report:
            scene.expected.check(store)
        assert kind != "once" or not report or "nothing was changed" in report
        recover(store)
        live = {entry.id for entry in history(open_stack(store)) if entry.state == "committed"}
        if kind != "broken disk" and report:
            assert live == set(old)
        scene.expected.repairs = {n: r for n, r in every.repairs.items() if n in live}
        scene.expected.check(store)
        assert not any((journal_folder(store) / "scratch").iterdir())
        shutil.rmtree(store)
    assert failed >= 3


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounting needs root"
)
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)], capture_output=True
    )
    if made.returncode:
        pytest.skip("this environment does not let us mount a small disk")
    try:
        scene = Scene(mount, Layout(3, (4, 20, 20), None, ((1, 2, 2),)))
        repairs = [scene.repair(z, seed=z) for z in range(4)]
        filler = mount / "filler"
        usage = shutil.disk_usage(mount)
        reports = set()
        for left in range(0, 2 * 1024 * 1024, 96 * 1024):
            filler.write_bytes(bytes(usage.free - left))
            try:
                write_back(scene.stack, repairs)
            except StoreError as error:
                reports.add(str(error))
                scene.expected.check(scene.path)
            else:
                break
            filler.unlink()
        assert reports
        assert all("full" in report for report in reports)
        for number, repair in enumerate(repairs, start=1):
            scene.expected.add(number, repair)
        scene.expected.check(scene.path)
        revert(scene.stack)
        scene.gone(1, 2, 3, 4)
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)  # the stack is open


@pytest.mark.parametrize("exception", [Cancelled, KeyboardInterrupt, ZeroDivisionError])
def test_a_job_that_is_stopped_changes_nothing(scene: Scene, exception: type[Exception]) -> None:
    scene.write(scene.repair(0, seed=4))
    repairs = [scene.repair(z, seed=z) for z in (1, 2)]
    expected = StoreError if exception is ZeroDivisionError else exception
    for job in (
        lambda progress: write_back(scene.stack, repairs, progress=progress),
        lambda progress: revert(scene.stack, progress=progress),
    ):
        stopped = 0
        for last in range(1, 100, 2):
            calls = 0

            def progress(fraction: float, message: str, last: int = last) -> None:
                nonlocal calls
                calls += 1
                if calls == last and fraction < 1:
                    raise exception("stop")

            try:
                job(progress)
            except expected:
                stopped += 1
                scene.expected.check(scene.path)
            else:
                break
        assert stopped >= 3
        assert not any((journal_folder(scene.path) / "scratch").iterdir())
        live = {entry.id for entry in history(scene.stack) if entry.state == "committed"}
        scene.expected.repairs = {1: scene.expected.repairs[1]} if 1 in live else {}
        for number, repair in enumerate(repairs, start=2):
            if number in live:
                scene.expected.add(number, repair)
        scene.expected.check(scene.path)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_an_interrupt_while_a_chunk_is_being_written(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write goes on in zarr's own thread; it must not undo the undoing."""
    put, interrupted = Folder.write, threading.Event()

    def slow(here: Folder, name: str, *args: Any, **options: Any) -> None:
        if name == "0" and not interrupted.is_set():
            interrupted.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.5)
        put(here, name, *args, **options)

    repair = scene.repair()
    monkeypatch.setattr(Folder, "write", slow)
    with pytest.raises(KeyboardInterrupt):
        write_back(scene.stack, repair)
    time.sleep(0.6)
    assert interrupted.is_set()
    scene.expected.check(scene.path)
    assert journal_states(scene.path) == {}


def test_a_store_that_was_ended_takes_no_more_writes(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(4,), dtype="uint8", fill_value=7)
    (tmp_path / "scratch").mkdir()
    array = open_array(open_root(tmp_path / "a.zarr"), open_root(tmp_path / "scratch"))
    array[:2] = 1
    array.store.end()
    with pytest.raises(OSError, match="interrupted"):
        array[:] = 2
    assert array[...].tolist() == [1, 1, 7, 7]


def test_it_is_too_late_to_cancel_what_is_done(scene: Scene) -> None:
    def progress(fraction: float, message: str) -> None:
        if fraction == 1:
            raise Cancelled("too late")

    repair = scene.repair()
    scene.expected.add(*write_back(scene.stack, repair, progress=progress), repair)
    scene.expected.check(scene.path)
    assert revert(scene.stack, progress=progress) == (1,)
    scene.gone(1)


def test_a_truncated_chunk_is_not_written_over(scene: Scene) -> None:
    """What can still be read of it is for its owner to rescue."""
    repair = scene.repair(box=(5, 6, 15, 18))
    chunk = scene.path / "s1" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    before = files(scene.path)
    with pytest.raises(StoreError):
        write_back(scene.stack, repair)
    after = files(scene.path)
    assert {k: v for k, v in after.items() if k in before} == before
    assert journal_states(scene.path) == {}


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


def test_rules_are_kept_once_they_were_found(tmp_path: Path) -> None:
    rule = pyramid.DownsamplingRule("nearest", offset=(0, 1, 0))
    scene = Scene(tmp_path, Layout(rule=rule, factors=((1, 2, 2), (2, 2, 2))))
    # The whole section is synthetic: nothing is left to see the rule by.
    scene.write(*(scene.repair(z, (0, 0, 40, 36), seed=z) for z in range(4)))
    scene.stack = open_stack(scene.path)
    scene.write(scene.repair(2, (0, 0, 40, 36), seed=9))
