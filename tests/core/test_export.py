"""A saved stack is the stack, marked where it is synthetic, complete or absent."""

from __future__ import annotations

import errno
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from make_stacks import volume, write_ngff
from repaired_stores import label_arrays, level_arrays, make_repair

from napari_flowinpaint.core.errors import Cancelled, InputError, StoreError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.pyramid import DownsamplingRule, detect_rules, downsample
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.section_repair import SectionRepair
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

HALVES = (1, 2, 2)


def assert_saved(path: Path, pixels: np.ndarray) -> None:
    """The store holds ``pixels``, bit by bit, and a pyramid of them."""
    arrays = level_arrays(path)
    found = [a.reshape(a.shape[-3:]) for a in arrays]  # the chosen channel is an axis of one
    assert found[0].dtype == pixels.dtype
    assert found[0].tobytes() == pixels.tobytes()
    for fine, coarse in pairwise(found):
        np.testing.assert_array_equal(coarse, downsample(fine, HALVES))
    assert max(found[-1].shape[1:]) <= 512
    assert all(max(level.shape[1:]) > 512 for level in found[:-1])


def disc(shape: tuple[int, int], y: int, x: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def left_behind(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("shape", [(2, 513, 1100), (3, 31, 17), (1, 1, 1)])
def test_saved_as_it_is(tmp_path: Path, shape: tuple[int, int, int], dtype: str) -> None:
    pixels = volume(shape, dtype)
    stack = Stack.from_array(pixels, voxel_size=(40, 4, 4.5))
    path = save_ome_zarr(stack, tmp_path / "out.ome.zarr")
    assert path == tmp_path / "out.ome.zarr"
    assert_saved(path, pixels)
    assert left_behind(tmp_path) == ["out.ome.zarr"]
    saved = open_stack(path)
    assert (saved.name, saved.kind, saved.ngff_version) == ("out", "ome-zarr", "0.5")
    assert saved.voxel_size == (40.0, 4.0, 4.5)
    assert saved.writable
    assert [level.scale for level in saved.levels] == [
        (1, 2**n, 2**n) for n in range(len(saved.levels))
    ]
    assert all(rule == DownsamplingRule() for rule in detect_rules(saved.levels))
    yaozarrs.validate_zarr_store(str(path))


def test_bits_of_floats_survive(tmp_path: Path) -> None:
    pixels = np.zeros((2, 8, 8), "float32")
    pixels[0] = -0.0
    pixels.view("uint32")[1, 2, 3] = 0x7FC12345  # NaN with a payload
    save_ome_zarr(Stack.from_array(pixels), tmp_path / "out.zarr")
    assert open_stack(tmp_path / "out.zarr").read(0).tobytes() == pixels[0].tobytes()
    assert open_stack(tmp_path / "out.zarr").read(1).tobytes() == pixels[1].tobytes()


def test_metadata(tmp_path: Path) -> None:
    stack = Stack.from_array(volume((2, 600, 520)), voxel_size=(50, 4, 4))
    group = zarr.open_group(str(save_ome_zarr(stack, tmp_path / "a.zarr")), mode="r")
    ome = group.attrs["ome"]
    image = ome["multiscales"][0]
    assert ome["version"] == "0.5"
    assert [axis["unit"] for axis in image["axes"]] == ["nanometer"] * 3
    assert image["type"] == "mean"
    scale, translation = image["datasets"][1]["coordinateTransformations"]
    assert scale["scale"] == [50, 8, 8]
    assert translation["translation"] == [0, 2, 2]  # between the first two pixels of 4 nm
    assert group["0"].metadata.dimension_names == ("z", "y", "x")
    assert group["0"].chunks == (1, 600, 520)


def test_unknown_voxel_size_stays_unknown(tmp_path: Path) -> None:
    save_ome_zarr(Stack.from_array(volume((2, 9, 9))), tmp_path / "a.zarr")
    saved = open_stack(tmp_path / "a.zarr")
    assert saved.voxel_size is None
    assert saved.messages == ()


def test_every_format_can_be_saved(tmp_path: Path) -> None:
    pixels = volume((3, 40, 50), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    write_ngff(tmp_path / "b.zarr", np.stack([~pixels, pixels]), axes="czyx", version="0.4")
    for number, stack in enumerate(
        (open_stack(tmp_path / "a.tif"), open_stack(tmp_path / "b.zarr", channel=1))
    ):
        assert_saved(save_ome_zarr(stack, tmp_path / f"out{number}.zarr"), pixels)


# --- repairs --------------------------------------------------------------------------------


def test_repairs_are_pasted_marked_and_can_be_reverted(tmp_path: Path) -> None:
    pixels = volume((4, 600, 300))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", compression="zlib")
    before = (tmp_path / "a.tif").read_bytes()
    stack = open_stack(tmp_path / "a.tif")
    masks = {z: disc((600, 300), 100 * z, 150, 30) for z in (1, 3)}
    repairs = [make_repair(stack, z, mask, seed=z) for z, mask in masks.items()]
    path = save_ome_zarr(stack, tmp_path / "out.zarr", repairs=repairs)
    expected = pixels.copy()
    for z, mask in masks.items():
        patch = repairs[z == 3].patches[0]
        expected[z][mask] = patch.result[patch.mask]
        assert (expected[z] != pixels[z]).any()
    assert_saved(path, expected)
    labels = label_arrays(path)[0]
    np.testing.assert_array_equal(labels[1], np.where(masks[1], 1, 0))
    np.testing.assert_array_equal(labels[3], np.where(masks[3], 2, 0))
    assert not labels[[0, 2]].any()
    saved = open_stack(path)
    assert [(e.id, e.z, e.state) for e in history(saved)] == [
        (1, 1, "committed"),
        (2, 3, "committed"),
    ]
    assert history(saved)[0].provenance == repairs[0].provenance
    assert (tmp_path / "a.tif").read_bytes() == before
    revert(saved)
    assert_saved(path, pixels)
    assert left_behind(tmp_path) == ["a.tif", "out.zarr"]


def test_repairs_are_asked_for_one_by_one(tmp_path: Path) -> None:
    stack = Stack.from_array(volume((5, 40, 40)))
    written: list[int] = []

    def repairs() -> Iterator[SectionRepair]:
        for z in range(5):
            assert len(written) == z  # the one before is in the copy already
            yield make_repair(stack, z, disc((40, 40), 20, 20, 5))

    def progress(fraction: float, message: str) -> None:
        if message.startswith("wrote"):
            written.append(round(fraction * 100))

    save_ome_zarr(stack, tmp_path / "out.zarr", repairs=repairs(), progress=progress)
    assert written == sorted(written)
    assert len(history(open_stack(tmp_path / "out.zarr"))) == 5


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_earlier_repairs_come_along(tmp_path: Path, version: str) -> None:
    pixels = volume((4, 600, 300))
    source = write_ngff(tmp_path / "a.zarr", pixels, version=version, levels=2, chunks=(2, 64, 64))
    stack = open_stack(source)
    first = make_repair(stack, 1, disc((600, 300), 200, 150, 30), seed=1, split=True)
    write_back(stack, first)
    over = make_repair(stack, 1, disc((600, 300), 220, 160, 20), seed=2)
    write_back(stack, over)
    gone = make_repair(stack, 2, disc((600, 300), 300, 100, 9), seed=3)
    (number,) = write_back(stack, gone)
    revert(stack, repair_id=number)
    new = make_repair(stack, 3, disc((600, 300), 90, 90, 9), seed=4)
    repaired = np.stack([stack.read(z) for z in range(4)])
    bits = [level.tobytes() for level in level_arrays(source)]

    path = save_ome_zarr(stack, tmp_path / "out.zarr", repairs=[new])
    assert [level.tobytes() for level in level_arrays(source)] == bits
    repaired[3][new.box.slices][new.mask] = new.result[new.mask]
    assert_saved(path, repaired)
    saved = open_stack(path)
    assert [(e.id, e.z) for e in history(saved)] == [(1, 1), (2, 1), (3, 3)]
    assert history(saved)[0].provenance == first.provenance
    labels = label_arrays(path)[0]
    np.testing.assert_array_equal(labels[:3], label_arrays(source)[0][:3])
    np.testing.assert_array_equal(labels[3], np.where(disc((600, 300), 90, 90, 9), 3, 0))
    revert(saved)
    assert_saved(path, pixels)


def test_pixels_another_program_changed_are_copied_as_they_are(tmp_path: Path) -> None:
    source = write_ngff(tmp_path / "a.zarr", volume((2, 60, 60)))
    stack = open_stack(source)
    mask = disc((60, 60), 30, 30, 9)
    write_back(stack, make_repair(stack, 1, mask))
    array = zarr.open_array(str(source / "0"), mode="r+")
    array[1, 30, 25:35] = 7
    array[1, 2, 2] = 8
    path = save_ome_zarr(stack, tmp_path / "out.zarr")
    assert_saved(path, array[...])
    np.testing.assert_array_equal(label_arrays(path)[0][1] > 0, mask)


@pytest.mark.parametrize("job", ["first", "write", "revert"])
def test_a_stack_that_is_repaired_while_it_is_copied(tmp_path: Path, job: str) -> None:
    """The copy would show pixels that it does not mark."""
    stack = open_stack(write_ngff(tmp_path / "a.zarr", volume((3, 60, 60))))
    if job != "first":
        write_back(stack, make_repair(stack, 2, disc((60, 60), 30, 30, 9)))

    def progress(fraction: float, message: str) -> None:
        if message.startswith("copied section 1"):
            another = open_stack(tmp_path / "a.zarr")
            if job == "revert":
                revert(another)
            else:
                write_back(another, make_repair(another, 1, disc((60, 60), 20, 20, 9)))

    with pytest.raises(StoreError, match="another process"):
        save_ome_zarr(stack, tmp_path / "out.zarr", progress=progress)
    assert left_behind(tmp_path) == ["a.zarr"]
    save_ome_zarr(stack, tmp_path / "out.zarr")


# --- complete or absent ---------------------------------------------------------------------


def test_an_existing_store_is_kept_unless_asked(tmp_path: Path) -> None:
    first, second = volume((2, 20, 30)), volume((3, 25, 35), seed=1)
    path = save_ome_zarr(Stack.from_array(first), tmp_path / "out.zarr")
    with pytest.raises(InputError, match="exists; choose another name"):
        save_ome_zarr(Stack.from_array(second), path)
    assert_saved(path, first)
    (path / "mine.txt").write_text("notes")
    with pytest.raises(
        InputError, match=r"mine\.txt in it is not part of the store; move that away"
    ):
        save_ome_zarr(Stack.from_array(second), path, overwrite=True)
    assert_saved(path, first)
    (path / "mine.txt").unlink()
    save_ome_zarr(Stack.from_array(second), path, overwrite=True)
    assert_saved(path, second)
    assert left_behind(tmp_path) == ["out.zarr"]


def test_a_store_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    stack = Stack.from_array(volume((2, 8, 8)))

    def progress(fraction: float, message: str) -> None:
        if message.startswith("copied section 1"):
            save_ome_zarr(Stack.from_array(volume((3, 8, 8))), tmp_path / "out.zarr")

    with pytest.raises(InputError, match="was created in the meantime"):
        save_ome_zarr(stack, tmp_path / "out.zarr", progress=progress)
    assert open_stack(tmp_path / "out.zarr").shape == (3, 8, 8)
    assert left_behind(tmp_path) == ["out.zarr"]


def test_an_existing_store_outlives_a_failed_overwrite(tmp_path: Path) -> None:
    first = volume((2, 20, 30))
    path = save_ome_zarr(Stack.from_array(first), tmp_path / "out.zarr")
    with pytest.raises(Cancelled):
        save_ome_zarr(
            Stack.from_array(~first), path, overwrite=True, progress=cancel_at("copied section 2")
        )
    assert_saved(path, first)
    assert left_behind(tmp_path) == ["out.zarr"]


def test_targets_that_would_destroy_something(tmp_path: Path) -> None:
    pixels = volume((2, 20, 30))
    source = write_ngff(tmp_path / "folder" / "a.zarr", pixels)
    stack = open_stack(source)
    for target in (source, source / "out.zarr", source.parent):
        with pytest.raises(InputError, match="the stack itself or a part of it"):
            save_ome_zarr(stack, target, overwrite=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "file.zarr").write_text("text")
    for target in (tmp_path / "precious", tmp_path / "file.zarr"):
        with pytest.raises(InputError, match="not a zarr store and is not replaced"):
            save_ome_zarr(stack, target, overwrite=True)
    with pytest.raises(InputError, match="does not exist; create it first"):
        save_ome_zarr(stack, tmp_path / "nowhere" / "out.zarr")
    assert left_behind(tmp_path) == ["file.zarr", "folder", "precious"]
    np.testing.assert_array_equal(open_stack(source).read(1), pixels[1])


def cancel_at(start: str) -> Any:
    def progress(fraction: float, message: str) -> None:
        assert 0 <= fraction <= 1
        if message.startswith(start):
            raise Cancelled("cancelled")

    return progress


@pytest.mark.parametrize(
    "at", ["copying", "copied section 1", "copied section 3", "wrote", "saving"]
)
def test_cancelling_leaves_nothing(tmp_path: Path, at: str) -> None:
    stack = Stack.from_array(volume((3, 40, 40)))
    repairs = [make_repair(stack, 1, disc((40, 40), 20, 20, 5))]
    with pytest.raises(Cancelled):
        save_ome_zarr(stack, tmp_path / "out.zarr", repairs=repairs, progress=cancel_at(at))
    assert left_behind(tmp_path) == []


def test_a_repair_that_fails_leaves_nothing(tmp_path: Path) -> None:
    stack = Stack.from_array(volume((3, 40, 40)))

    def repairs() -> Iterator[SectionRepair]:
        yield make_repair(stack, 1, disc((40, 40), 20, 20, 5))
        raise RuntimeError("out of memory on the device")

    with pytest.raises(RuntimeError, match="out of memory"):
        save_ome_zarr(stack, tmp_path / "out.zarr", repairs=repairs())
    assert left_behind(tmp_path) == []


def test_a_damaged_section_leaves_nothing(tmp_path: Path) -> None:
    source = write_ngff(tmp_path / "a.zarr", volume((3, 64, 64)), chunks=(1, 64, 64))
    chunk = source / "0" / "c" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(StoreError, match="section 2 of"):
        save_ome_zarr(open_stack(source), tmp_path / "out.zarr")
    assert left_behind(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("writes", [0, 1, 5, 9])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    from napari_flowinpaint.core.io.folder_store import FolderStore

    left = [writes]
    real = FolderStore.set

    async def set_until_full(self: Any, key: str, value: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        await real(self, key, value)

    monkeypatch.setattr(FolderStore, "set", set_until_full)
    with pytest.raises(StoreError, match=r"no space left to write .*out\.zarr"):
        save_ome_zarr(Stack.from_array(volume((9, 600, 40))), tmp_path / "out.zarr")
    assert left_behind(tmp_path) == []


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The real thing: the operating system refuses to write."""
    pytest.importorskip("resource")  # not on Windows
    code = f"""
import resource, numpy as np
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.errors import StoreError
pixels = np.random.default_rng(0).integers(0, 255, (2, 900, 900), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    save_ome_zarr(Stack.from_array(pixels), {str(tmp_path / "out.zarr")!r})
except StoreError as error:
    print("refused:", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("refused: there is no space left to write")
    assert left_behind(tmp_path) == []


# --- memory ---------------------------------------------------------------------------------


def peak(depth: int, folder: Path) -> int:
    """Peak memory, in bytes, of saving a stack that is made section by section."""
    import dask.array as da

    section = volume((1, 512, 512))
    lazy = da.concatenate([da.from_array(section, chunks=section.shape)] * depth)
    stack = Stack.from_array(lazy)
    repairs = (
        make_repair(stack, z, disc((512, 512), 200, 200, 9), seed=z) for z in range(0, depth, 9)
    )
    tracemalloc.start()
    save_ome_zarr(stack, folder / f"{depth}.zarr", repairs=repairs)
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return highest


def test_memory_does_not_grow_with_depth(tmp_path: Path) -> None:
    peak(3, tmp_path)  # imports
    shallow, deep = peak(10, tmp_path), peak(60, tmp_path)
    assert deep - shallow < 8 * 512 * 512  # of 50 more sections


def test_a_window_is_not_a_section(tmp_path: Path) -> None:
    """Reading a window of a large section costs what the window costs."""
    peaks = []
    for edge in (1024, 4096):
        array = zarr.create_array(
            str(tmp_path / f"{edge}.zarr"), shape=(2, edge, edge), chunks=(1, 256, 256), dtype="u1"
        )
        array[0, 300:900, 300:900] = volume((600, 600))
        stack = open_stack(tmp_path / f"{edge}.zarr")
        box = Box(400, 400, 700, 700)
        stack.read(0, box)
        tracemalloc.start()
        stack.read(0, box)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 2_000_000  # a large section has 16 MB, the four touched chunks 0.25 MB
