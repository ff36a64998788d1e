"""A stack, whatever holds it: arrays, read-only stores, interrupted writes, threads."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs
from make_stacks import assert_same, volume, write_ngff
from repaired_stores import make_repair

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_mask, open_stack
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.core.writing.recovery import recover
from napari_flowinpaint.core.writing.writeback import revert, write_back


@pytest.mark.parametrize("make", ["numpy", "dask", "zarr", "hdf5"])
def test_from_array(tmp_path: Path, make: str) -> None:
    import dask.array as da

    pixels = volume((3, 30, 40), "int16")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = {
            "numpy": lambda: pixels,
            "dask": lambda: da.from_array(pixels, chunks=(1, 16, 16)),
            "zarr": lambda: zarr.array(pixels, chunks=(1, 16, 16)),
            "hdf5": lambda: file.create_dataset("a", data=pixels),
        }[make]()
        stack = Stack.from_array(array, voxel_size=(40, 4, 4), name="layer")
        assert_same(stack, pixels)
        assert (stack.kind, stack.name, stack.writable) == ("array", "layer", False)
        assert stack.voxel_size == (40.0, 4.0, 4.0)


def test_leading_axes_of_length_one() -> None:
    pixels = volume((1, 1, 3, 20, 30))
    assert_same(Stack.from_array(pixels), pixels[0, 0])


def test_from_pyramid() -> None:
    full = volume((3, 41, 64))
    stack = Stack.from_array([full, full[:, ::2, ::2], full[:, ::4, ::4]])
    assert_same(stack, full)
    assert [level.scale for level in stack.levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((20, 30), "uint8"), "a single image"),
        (np.zeros((3, 20, 30, 3), "uint8"), "colour"),
        (np.zeros((3, 5, 6, 2, 20, 30), "uint8"), "6 axes"),
        (np.zeros((3, 20, 30)), "float64, which is not supported; convert it to float32"),
        (np.zeros((3, 20, 30), "uint32"), "uint32, .* convert it to uint16"),
        (np.zeros((3, 20, 30), "complex64"), "complex64, which is not supported"),
        (np.zeros((0, 20, 30), "uint8"), "empty"),
        ([], "not an array"),
        (None, "not an array but NoneType"),
    ],
)
def test_arrays_that_are_no_stack(array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Stack.from_array(array)


def test_section_and_box_out_of_range(tmp_path: Path) -> None:
    stack = open_stack(write_ngff(tmp_path / "a.zarr", volume((3, 20, 30))))
    for z in (-1, 3):
        with pytest.raises(InputError, match=f"section {z} does not exist.* 0 to 2"):
            stack.read(z)
    with pytest.raises(InputError, match="leaves the section"):
        stack.read(0, Box(0, 0, 21, 30))


def forbid_writing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the system say that nothing within ``folder`` may be written (root always may)."""
    real = os.access

    def access(path: Any, mode: int, **options: Any) -> bool:
        inside = Path(path) == folder or folder in Path(path).parents
        return not (inside and mode & os.W_OK) and real(path, mode, **options)

    monkeypatch.setattr(os, "access", access)


def test_a_store_that_may_not_be_written_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = volume((3, 20, 30))
    path = write_ngff(tmp_path / "a.zarr", pixels)
    forbid_writing(monkeypatch, path)
    stack = open_stack(path)
    assert_same(stack, pixels)
    assert not stack.writable
    assert "may not write" in stack.why_not_writable
    assert "--output" in stack.why_not_writable
    with pytest.raises((ValueError, OSError)):
        stack.levels[0].write(0, pixels[1])
    assert_same(open_stack(path), pixels)


@pytest.fixture
def interrupted(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A store with a repair that was journalled and half written, the old and the new section."""
    path = write_ngff(tmp_path / "a.zarr", volume((3, 40, 40)), levels=2, chunks=(1, 16, 16))
    stack = open_stack(path)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    old = stack.read(1)
    write_back(stack, make_repair(stack, 1, mask))
    new = stack.read(1)
    stack.levels[0].write(1, old[:20], Box(0, 0, 20, 40))
    (entry,) = (path / "0" / ".flowinpaint" / "entries").iterdir()
    entry.rename(entry.with_name(entry.name.replace("committed", "prepared")))
    return path, old, new


def test_opening_shows_an_interrupted_write_finished(interrupted: Any) -> None:
    path, old, new = interrupted
    mixed = np.concatenate([old[:20], new[20:]])
    plain = open_stack(path, recover=False)
    assert plain.messages == ()
    np.testing.assert_array_equal(plain.read(1), mixed)
    stack = open_stack(path)
    assert f"flowinpaint recover {path}" in stack.messages[0]
    np.testing.assert_array_equal(stack.read(1), new)
    np.testing.assert_array_equal(plain.read(1), mixed)
    # However it is indexed, also by what has seen it since it was finished.
    np.testing.assert_array_equal(stack.array[1], new)
    np.testing.assert_array_equal(stack.array[0:2, 15:25, ::3][-1], new[15:25, ::3])
    np.testing.assert_array_equal(stack.array[1, 22], new[22])
    assert stack.array[1, 19, 7] == new[19, 7]
    recover(path)
    revert(stack)
    np.testing.assert_array_equal(stack.read(1), old)
    assert open_stack(path).messages == ()


def test_an_interrupted_write_that_cannot_be_finished_is_reported(
    interrupted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, new = interrupted
    forbid_writing(monkeypatch, path)
    stack = open_stack(path)
    assert "interrupted" in stack.messages[0]
    assert "you may not write to" in stack.messages[0]
    np.testing.assert_array_equal(stack.read(1), new)
    # A copy has the section as a whole all the same: the journal knows it.
    copy = open_stack(save_ome_zarr(stack, path.with_name("copy.zarr")))
    np.testing.assert_array_equal(copy.read(1), new)


@pytest.mark.parametrize("kind", ["zarr", "tiff", "hdf5", "images"])
def test_threads_and_pickle(tmp_path: Path, kind: str) -> None:
    pixels = volume((8, 40, 50), "uint16")
    path: Any = tmp_path / kind
    if kind == "zarr":
        write_ngff(path, np.stack([~pixels, pixels]), axes="czyx")
    elif kind == "tiff":
        tifffile.imwrite(path, pixels, compression="zlib", photometric="minisblack")
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["raw"] = pixels
    else:
        path.mkdir()
        for z, section in enumerate(pixels):
            tifffile.imwrite(path / f"{z}.tif", section)
    stack = open_stack(path, channel=1 if kind == "zarr" else None, voxel_size=(9, 8, 7))
    with ThreadPoolExecutor(8) as pool:
        sections = list(pool.map(stack.read, list(range(8)) * 6))
    np.testing.assert_array_equal(np.stack(sections), np.tile(pixels, (6, 1, 1)))
    again = pickle.loads(pickle.dumps(stack))
    assert_same(again, pixels)
    assert again.voxel_size == (9.0, 8.0, 7.0)
    assert again.path == stack.path


def test_pickle_of_an_array() -> None:
    pixels = volume((3, 20, 30))
    stack = pickle.loads(pickle.dumps(Stack.from_array(pixels, path="somewhere.tif")))
    assert_same(stack, pixels)
    assert stack.path == Path("somewhere.tif")


def test_view_for_viewers(tmp_path: Path) -> None:
    pixels = volume((2, 5, 20, 30))
    path = write_ngff(tmp_path / "a.zarr", pixels, axes="czyx")
    stack = open_stack(path, channel=1)
    view = stack.array
    assert (view.shape, view.ndim, view.dtype, len(view)) == ((5, 20, 30), 3, np.uint8, 5)
    np.testing.assert_array_equal(np.asarray(view), pixels[1])
    np.testing.assert_array_equal(view[..., 3], pixels[1][..., 3])
    np.testing.assert_array_equal(view[2, ..., ::2], pixels[1][2, ..., ::2])
    np.testing.assert_array_equal(view[1:4, 3], pixels[1][1:4, 3])
    with pytest.raises(IndexError):
        view[0, 0, 0, 0]
    # Nothing is kept: a write shows.
    stack.levels[0].write(0, np.zeros((20, 30), "uint8"))
    assert not view[0].any()
    # An array that is zyx as it is goes to the viewer as it is.
    plain = open_stack(write_ngff(tmp_path / "b.zarr", pixels[0]))
    assert isinstance(plain.array, zarr.Array)


def test_masks_may_have_other_dtypes(tmp_path: Path) -> None:
    for dtype in ("bool", "uint8", "int32", "uint64", "float64"):
        pixels = volume((3, 20, 30), dtype)
        zarr.save_array(str(tmp_path / f"{dtype}.zarr"), pixels)
        assert_same(open_mask(tmp_path / f"{dtype}.zarr"), pixels)
    assert open_stack(tmp_path / "uint8.zarr").dtype == np.uint8
    with pytest.raises(InputError, match="bool, which is not supported"):
        open_stack(tmp_path / "bool.zarr")
    zarr.save_array(str(tmp_path / "complex.zarr"), np.zeros((3, 20, 30), "complex64"))
    with pytest.raises(InputError, match="complex64"):
        open_mask(tmp_path / "complex.zarr")


def test_value_range() -> None:
    def of(dtype: str) -> tuple[float, float]:
        return Stack.from_array(np.zeros((1, 2, 2), dtype)).value_range

    assert of("uint8") == (0, 255)
    assert of("int16") == (-32768, 32767)
    assert of("float32") == (-np.inf, np.inf)


def test_real_stack(real_stack: Path) -> None:
    stack = open_stack(real_stack)
    assert_same(stack, tifffile.imread(real_stack))
