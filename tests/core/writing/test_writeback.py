"""Write-back, revert and history: what they do."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from repaired_stores import (
    Expectation,
    Layout,
    label_arrays,
    level_arrays,
    make_repair,
    random_pixels,
)
from scenes import SHAPE, Scene, files, mask_of

from napari_flowinpaint.core.disk import folder
from napari_flowinpaint.core.disk.folder import Folder
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io import pyramid
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

pytestmark = pytest.mark.usefixtures("quick_disk")


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
    scene = Scene(tmp_path, Layout(chunks=(1, 16, 16), factors=((1, 2, 2),)))
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
    described = ["labels/synthetic/0/zarr.json", "labels/synthetic/zarr.json"]
    assert names[end + 1 :] == described  # the largest number, and what it stands for
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


def test_files_keep_their_permissions(scene: Scene) -> None:
    chunks = [p for p in (scene.path / "s0" / "c" / "1").rglob("*") if p.is_file()]
    before = {chunk: chunk.read_bytes() for chunk in chunks}
    for chunk in chunks:
        chunk.chmod(0o660)
    scene.write(scene.repair())
    assert any(chunk.read_bytes() != before[chunk] for chunk in chunks)
    assert {stat.S_IMODE(chunk.stat().st_mode) for chunk in chunks} == {0o660}


def test_rules_are_kept_once_they_were_found(tmp_path: Path) -> None:
    rule = pyramid.DownsamplingRule("nearest", offset=(0, 1, 0))
    scene = Scene(tmp_path, Layout(rule=rule, factors=((1, 2, 2), (2, 2, 2))))
    # The whole section is synthetic: nothing is left to see the rule by.
    scene.write(*(scene.repair(z, (0, 0, 40, 36), seed=z) for z in range(4)))
    scene.stack = open_stack(scene.path)
    scene.write(scene.repair(2, (0, 0, 40, 36), seed=9))
