"""Every format is read, lazily, with its axes and voxel size; what is no stack is refused."""

from __future__ import annotations

import functools
import gc
import http.server
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs
from make_stacks import volume, write_ngff
from PIL import Image
from repaired_stores import make_repair

from napari_flowinpaint.core.errors import ChoiceNeeded, InputError, StoreError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.polarity import contrast_polarity
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_mask, open_stack
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.core.writing.recovery import recover
from napari_flowinpaint.core.writing.writeback import revert, write_back

DTYPES = ("uint8", "uint16", "int16", "float32")


def assert_same(stack: Stack, pixels: np.ndarray) -> None:
    """Compare a stack with the truth: all sections, a box, one pixel, the array for viewers."""
    assert stack.shape == pixels.shape
    assert stack.dtype == pixels.dtype
    depth, height, width = pixels.shape
    box = Box(height // 3, width // 4, height // 3 + max(height // 2, 1), width // 4 + 1)
    for z in range(depth):
        section = stack.read(z)
        assert section.dtype == pixels.dtype
        assert section.dtype.isnative
        np.testing.assert_array_equal(section, pixels[z])
        np.testing.assert_array_equal(stack.read(z, box), pixels[z][box.slices])
    np.testing.assert_array_equal(np.asarray(stack.array[0]), pixels[0])
    np.testing.assert_array_equal(
        np.asarray(stack.array[-1, height // 2 :, : width // 2]),
        pixels[-1, height // 2 :, : width // 2],
    )


# --- zarr -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str, dtype: str) -> None:
    pixels = volume((3, 45, 71), dtype)
    path = write_ngff(
        tmp_path / "a.ome.zarr", pixels, version=version, scale=(40, 4, 4.5), levels=3
    )
    stack = open_stack(path)
    assert_same(stack, pixels)
    assert (stack.kind, stack.name, stack.ngff_version) == ("ome-zarr", "a", version)
    assert stack.zarr_format == (2 if version == "0.4" else 3)
    assert stack.voxel_size == (40.0, 4.0, 4.5)
    assert stack.writable
    assert stack.group_path == path
    assert [level.shape for level in stack.levels] == [(3, 45, 71), (3, 22, 35), (3, 11, 17)]
    assert [level.scale for level in stack.levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    assert [level.path for level in stack.levels] == ["0", "1", "2"]


def test_sharded(tmp_path: Path) -> None:
    pixels = volume((6, 64, 64), "uint16")
    path = write_ngff(tmp_path / "a.zarr", pixels, chunks=(1, 16, 16), shards=(4, 32, 32))
    assert_same(open_stack(path), pixels)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (1, 17, 3)])
def test_tiny_shapes(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    pixels = volume(shape)
    assert_same(open_stack(write_ngff(tmp_path / "a.zarr", pixels)), pixels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "tzyx"])
def test_chosen_channel_and_time(tmp_path: Path, axes: str, version: str) -> None:
    shape = tuple({"t": 2, "c": 3, "z": 4, "y": 20, "x": 33}[a] for a in axes)
    pixels = volume(shape, "uint16")
    path = write_ngff(
        tmp_path / "a.zarr",
        pixels,
        version=version,
        axes=axes,
        scale=(9,) * (len(axes) - 3) + (5, 2, 3),
    )
    choice = {"time": 1} if "t" in axes else {}
    choice |= {"channel": 2} if "c" in axes else {}
    stack = open_stack(path, **choice)
    assert_same(stack, pixels[tuple({"t": 1, "c": 2}[a] for a in axes[:-3])])
    assert stack.voxel_size == (5.0, 2.0, 3.0)
    for left_out in choice:
        rest = {k: v for k, v in choice.items() if k != left_out}
        with pytest.raises(ChoiceNeeded, match=f"for example with --{left_out} 0") as error:
            open_stack(path, **rest)
        assert error.value.option == left_out
    with pytest.raises(InputError, match="choose 0 to"):
        open_stack(path, **dict.fromkeys(choice, 7))


def test_singleton_axes_need_no_choice(tmp_path: Path) -> None:
    pixels = volume((1, 1, 3, 20, 30))
    stack = open_stack(write_ngff(tmp_path / "a.zarr", pixels, axes="tczyx", levels=2))
    assert_same(stack, pixels[0, 0])
    with pytest.raises(InputError, match="no channel 1"):
        open_stack(tmp_path / "a.zarr", channel=1)


def test_a_choice_where_there_is_none(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    with pytest.raises(InputError, match="no channel axis"):
        open_stack(path, channel=1)
    assert open_stack(path, channel=0).shape == (3, 20, 30)


@pytest.mark.parametrize("axes", ["xyz", "yxz", "cyzx"])
def test_spatial_axes_in_another_order(tmp_path: Path, axes: str) -> None:
    pixels = volume((2, 3, 12, 17))[: axes.count("c") + 1]  # c z y x
    stored = np.transpose(pixels[-1], ["zyx".index(a) for a in axes if a != "c"])
    stored = np.stack([~stored, stored]) if "c" in axes else stored
    sizes = {"c": 1.0, "z": 40.0, "y": 4.0, "x": 5.0}
    path = write_ngff(tmp_path / "a.zarr", stored, axes=axes, scale=tuple(sizes[a] for a in axes))
    stack = open_stack(path, channel=1 if "c" in axes else None)
    assert_same(stack, pixels[-1])
    assert stack.voxel_size == (40.0, 4.0, 5.0)
    new = volume((5, 6), seed=1)
    stack.levels[0].write(1, new, Box(2, 3, 7, 9))
    expected = pixels[-1].copy()
    expected[1, 2:7, 3:9] = new
    assert_same(open_stack(path, channel=1 if "c" in axes else None), expected)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_bare_arrays(tmp_path: Path, zarr_format: Any) -> None:
    pixels = volume((3, 30, 40), ">u2" if zarr_format == 2 else "uint16")
    zarr.save_array(str(tmp_path / "root.zarr"), pixels, zarr_format=zarr_format)
    group = zarr.open_group(str(tmp_path / "group.zarr"), mode="w", zarr_format=zarr_format)
    array = group.create_array("volumes/raw", shape=pixels.shape, dtype=pixels.dtype)
    array[...] = pixels
    array.attrs["resolution"] = [40, 4, 4]
    native = pixels.astype("uint16")
    root = open_stack(tmp_path / "root.zarr")
    assert_same(root, native)
    assert (root.kind, root.zarr_format, root.writable) == ("zarr", zarr_format, True)
    assert root.voxel_size is None
    for stack in (
        open_stack(tmp_path / "group.zarr" / "volumes" / "raw"),
        open_stack(tmp_path / "group.zarr", dataset="volumes/raw"),
        open_stack(tmp_path / "group.zarr"),  # the only one
    ):
        assert_same(stack, native)
        assert stack.voxel_size == (40.0, 4.0, 4.0)
    root.levels[0].write(1, native[0])
    np.testing.assert_array_equal(open_stack(tmp_path / "root.zarr").read(1), native[0])


def test_named_axes_of_a_bare_array(tmp_path: Path) -> None:
    pixels = volume((20, 30, 4))
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=pixels.shape, dtype="uint8", dimension_names=("y", "x", "z")
    )
    array[...] = pixels
    assert_same(open_stack(tmp_path / "a.zarr"), pixels.transpose(2, 0, 1))


def test_several_arrays_must_be_chosen_from(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for name in ("raw", "clahe"):
        group.create_array(name, shape=(3, 20, 30), dtype="uint8")
    with pytest.raises(ChoiceNeeded, match=r"clahe, raw") as error:
        open_stack(tmp_path / "a.zarr")
    assert error.value.choices == ("clahe", "raw")
    assert open_stack(tmp_path / "a.zarr", dataset="raw").shape == (3, 20, 30)


def test_the_full_level_of_a_pyramid_is_the_pyramid(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 64, 64)), levels=2)
    assert len(open_stack(path / "0").levels) == 2
    reduced = open_stack(path / "1")
    assert reduced.shape == (3, 32, 32)
    assert not reduced.writable  # the other levels would no longer agree
    assert str(path) in reduced.why_not_writable


def test_urls(tmp_path: Path) -> None:
    pixels = volume((3, 40, 40))
    path = write_ngff(tmp_path / "a.zarr", pixels, levels=2)
    local = open_stack(f"file://{path}")
    assert_same(local, pixels)
    assert (local.path, local.writable) == (path, True)
    pytest.importorskip("aiohttp")  # what fsspec needs for http
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        remote = open_stack(f"{address}/a.zarr")
        assert_same(remote, pixels)
        assert (remote.name, remote.kind, len(remote.levels)) == ("a", "ome-zarr", 2)
        assert not remote.writable
        assert "remote" in remote.why_not_writable
        with pytest.raises(InputError, match="cannot be opened as zarr"):
            open_stack(f"{address}/b.zarr")
        server.shutdown()


# --- voxel size -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "unit", "expected"),
    [
        ((0.04, 0.004, 0.004), "micrometer", (40.0, 4.0, 4.0)),
        ((0.04, 0.004, 0.004), "µm", (40.0, 4.0, 4.0)),
        ((40, 4, 4), "nanometer", (40.0, 4.0, 4.0)),
        ((400, 40, 40), "angstrom", (40.0, 4.0, 4.0)),
        ((4e-5, 4e-6, 4e-6), "millimeter", (40.0, 4.0, 4.0)),
        ((40, 4, 4), None, None),
        ((40, 4, 4), "parsec", None),
        ((1, 1, 1), None, None),
    ],
)
def test_ngff_units(tmp_path: Path, scale: Any, unit: str | None, expected: Any) -> None:
    stack = open_stack(write_ngff(tmp_path / "a.zarr", volume((2, 9, 9)), scale=scale, unit=unit))
    assert stack.voxel_size == expected
    told = any("voxel size is unknown" in message for message in stack.messages)
    assert told == (expected is None and scale != (1, 1, 1))


def test_scale_of_the_whole_pyramid_counts_too(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((2, 9, 9)), scale=(10, 1, 1))
    group = zarr.open_group(str(path))
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [4, 4, 4]}]
    group.attrs["ome"] = ome
    assert open_stack(path).voxel_size == (40.0, 4.0, 4.0)


def test_given_voxel_size_wins(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((2, 9, 9)), scale=(40, 4, 4), unit=None)
    stack = open_stack(path, voxel_size=(50, 5, 5))
    assert stack.voxel_size == (50.0, 5.0, 5.0)
    assert stack.messages == ()
    for bad in [(50, 5), (50, 5, 0), (1, 1, float("nan")), "abc"]:
        with pytest.raises(InputError, match="give z, y, x in nm"):
            open_stack(path, voxel_size=bad)  # type: ignore[arg-type]


# --- TIFF -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*DTYPES, ">u2", ">f4"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "rowsperstrip": 7},
        {"compression": "lzw", "predictor": True},
        {"tile": (16, 32)},
        {"tile": (32, 16), "compression": "zstd"},
        {"tile": (64, 128), "compression": "zlib"},
    ],
    ids=["plain", "zlib strips", "lzw predictor", "tiles", "zstd tiles", "one tile"],
)
def test_tiff(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    pixels = volume((4, 45, 71), dtype)
    if dtype.endswith("f4") and "predictor" in options:
        options = options | {"predictor": 3}
    byteorder = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", byteorder=byteorder, **options
    )
    stack = open_stack(tmp_path / "a.tif")
    assert_same(stack, pixels.astype(pixels.dtype.newbyteorder("=")))
    assert (stack.kind, stack.name, stack.writable) == ("tiff", "a", False)
    assert "--output" in stack.why_not_writable
    assert stack.voxel_size is None  # plain resolution tags know no z


def test_imagej_tiff(tmp_path: Path) -> None:
    pixels = volume((4, 45, 71), "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        imagej=True,
        resolution=(1 / 0.005, 1 / 0.004),  # x, y; pixels per unit
        metadata={"axes": "ZYX", "spacing": 0.05, "unit": "um"},
    )
    stack = open_stack(tmp_path / "a.tif")
    assert_same(stack, pixels)
    assert stack.voxel_size == (50.0, 4.0, 5.0)


def test_imagej_hyperstack_and_time(tmp_path: Path) -> None:
    pixels = volume((2, 5, 3, 20, 30))
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "TZCYX"})
    assert_same(open_stack(tmp_path / "a.tif", channel=2, time=1), pixels[1, :, 2])
    tifffile.imwrite(tmp_path / "b.tif", pixels[:, 0, 0], imagej=True, metadata={"axes": "TYX"})
    stack = open_stack(tmp_path / "b.tif")
    assert_same(stack, pixels[:, 0, 0])
    assert "read as z" in stack.messages[0]


def test_sections_that_a_file_calls_channels(tmp_path: Path) -> None:
    """What tifffile makes of a stack for ImageJ when nobody tells it the axes."""
    pixels = volume((8, 20, 30))
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True)
    stack = open_stack(tmp_path / "a.tif")
    assert_same(stack, pixels)
    assert stack.messages == ("The file calls its sections channels (CYX); they are read as z.",)
    tifffile.imwrite(tmp_path / "b.tif", pixels[:3], imagej=True)
    for path, chosen in (("b.tif", None), ("a.tif", 1)):
        with pytest.raises(InputError, match="no z"):
            open_stack(tmp_path / path, channel=chosen)


@pytest.mark.filterwarnings("error")
def test_tiff_files_are_closed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume((3, 20, 30)), photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", volume((2, 2, 20, 30)), metadata={"axes": "CZYX"})
    stack = open_stack(tmp_path / "a.tif")
    file = stack.levels[0].source._series.parent.filehandle
    stack.read(1)
    assert not file.closed
    del stack
    gc.collect()
    assert file.closed
    with pytest.raises(InputError, match="channel"):
        open_stack(tmp_path / "b.tif")
    gc.collect()  # an open file would warn now


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_tiff(tmp_path: Path, compression: str | None) -> None:
    pixels = volume((2, 5, 20, 30))
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        pixels,
        ome=True,
        compression=compression,
        metadata={
            "axes": "CZYX",
            "PhysicalSizeX": 4.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.005,
            "PhysicalSizeZ": 0.04,  # µm is the default unit
        },
    )
    stack = open_stack(tmp_path / "a.ome.tif", channel=1)
    assert_same(stack, pixels[1])
    assert stack.voxel_size == (40.0, 5.0, 4.0)


def test_imagej_file_with_a_single_page_entry(tmp_path: Path) -> None:
    # ImageJ writes stacks beyond 4 GB with one page; the others follow without an entry.
    pixels = volume((4, 20, 30))
    description = "ImageJ=1.53\nimages=4\nslices=4\n"
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], description=description, metadata=None)
    with (tmp_path / "a.tif").open("ab") as file:
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            end = tiff.pages[0].dataoffsets[0] + pixels[0].nbytes
        file.truncate(end)
        file.write(pixels[1:].tobytes())
    assert_same(open_stack(tmp_path / "a.tif"), pixels)


def test_a_damaged_page_names_the_section(tmp_path: Path) -> None:
    pixels, path = volume((4, 64, 64)), tmp_path / "zlib.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[3].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[last : last + 200] = bytes(200)
    path.write_bytes(data)
    stack = open_stack(path)
    np.testing.assert_array_equal(stack.read(0), pixels[0])
    with pytest.raises(StoreError, match=r"section 3 of .*zlib\.tif cannot be read"):
        stack.read(3)


@pytest.mark.parametrize("kind", ["shaped", "imagej", "ome", "bigtiff", "plain"])
def test_a_truncated_tiff_is_refused(tmp_path: Path, kind: str) -> None:
    """It is not a shorter stack; where the metadata tell, the message says how much is missing."""
    path = tmp_path / "a.tif"
    kinds = {kind: True} if kind in ("imagej", "ome", "bigtiff") else {}
    metadata = {"axes": "ZYX"} if kind in ("imagej", "ome") else None if kind == "plain" else {}
    compression = None if kind == "imagej" else "zlib"
    with tifffile.TiffWriter(path, **kinds) as writer:
        for part in volume((4, 64, 64)) if kind == "plain" else [volume((4, 64, 64))]:
            writer.write(part, photometric="minisblack", compression=compression, metadata=metadata)
    assert open_stack(path).shape == (4, 64, 64)
    with tifffile.TiffFile(path) as tiff:
        third = tiff.pages[2].offset
    path.write_bytes(path.read_bytes()[: third + 20])
    silent = kind in ("plain", "ome")  # the text of an OME-TIFF is at its end
    told = "ends within page 3" if silent else "announces 4 pages and has 2"
    with pytest.raises(InputError, match=told):
        open_stack(path)


def test_a_strange_end_of_the_pages_is_not_minded(tmp_path: Path) -> None:
    """All announced pages are there; what comes after them is not asked for."""
    path, pixels = tmp_path / "a.tif", volume((3, 30, 40))
    tifffile.imwrite(path, pixels, photometric="minisblack", compression="zlib")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[2].offset
    at = last + 2 + 12 * int.from_bytes(data[last : last + 2], "little")
    data[at : at + 4] = (10**9).to_bytes(4, "little")
    path.write_bytes(data)
    assert_same(open_stack(path), pixels)


# --- folders and HDF5 -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tif", ".PNG"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_folder_in_natural_order(tmp_path: Path, suffix: str, dtype: str) -> None:
    pixels = volume((12, 20, 30), dtype)
    for z, section in enumerate(pixels):
        path = tmp_path / f"section {z}{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, section, compression="zlib")
        else:
            Image.fromarray(section).save(path)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._section 3.tif").write_bytes(b"left behind by a Mac")
    stack = open_stack(tmp_path)
    assert_same(stack, pixels)  # section 10 comes after section 9
    assert (stack.kind, stack.writable) == ("images", False)


def test_folders_that_are_no_stack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without images"):
        open_stack(tmp_path)
    tifffile.imwrite(tmp_path / "a.tif", volume((20, 30)))
    tifffile.imwrite(tmp_path / "b.tif", volume((20, 31)))
    with pytest.raises(InputError, match=r"b\.tif is \(20, 31\)"):
        open_stack(tmp_path)
    tifffile.imwrite(tmp_path / "b.tif", volume((20, 30), "uint16"))
    with pytest.raises(InputError, match="one shape and type"):
        open_stack(tmp_path)
    (tmp_path / "b.tif").write_bytes(b"II*\0 no TIFF")
    with pytest.raises(InputError, match="not an image that can be read"):
        open_stack(tmp_path)
    (tmp_path / "b.tif").unlink()
    Image.fromarray(volume((20, 30))).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="PNG and TIFF"):
        open_stack(tmp_path)
    (tmp_path / "a.tif").unlink()
    Image.fromarray(volume((20, 30, 3))).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="colour"):
        open_stack(tmp_path)


@pytest.mark.parametrize("dtype", DTYPES)
def test_hdf5(tmp_path: Path, dtype: str) -> None:
    pixels = volume((4, 30, 40), dtype)
    path = tmp_path / "cremi.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("volumes/raw", data=pixels, chunks=(1, 16, 16), compression="gzip")
        file["volumes/raw"].attrs["resolution"] = (40.0, 4.0, 4.0)
        file["annotations"] = np.zeros((5, 3))
    for stack in (
        open_stack(f"{path}:/volumes/raw"),
        open_stack(f"{path}:volumes/raw"),
        open_stack(path, dataset="volumes/raw"),
        open_stack(path),  # the only one with three axes
    ):
        assert_same(stack, pixels)
        assert stack.voxel_size == (40.0, 4.0, 4.0)
        assert (stack.kind, stack.writable) == ("hdf5", False)
        assert "--output" in stack.why_not_writable
    path.rename(tmp_path / "cremi.nwb")
    assert_same(open_stack(tmp_path / "cremi.nwb"), pixels)


def test_hdf5_choices_and_units(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    pixels = volume((1, 4, 30, 40, 1))
    with h5py.File(path, "w") as file:
        file["exported"] = pixels  # ilastik: t z y x c
        file["exported"].attrs["element_size_um"] = (0.04, 0.004, 0.004)
        file["colour"] = np.zeros((4, 30, 40, 3), "uint8")
        file["funlib"] = pixels[0, ..., 0]
        file["funlib"].attrs["voxel_size"] = (0.04, 0.004, 0.004)
        file["funlib"].attrs["units"] = ["um", "um", "um"]
    with pytest.raises(ChoiceNeeded, match="/colour, /exported, /funlib"):
        open_stack(path)
    with pytest.raises(InputError, match=r"no dataset '/raw'; it holds /colour"):
        open_stack(f"{path}:/raw")
    with pytest.raises(InputError, match="looks like colour"):
        open_stack(f"{path}:/colour")
    for name in ("exported", "funlib"):
        stack = open_stack(path, dataset=name)
        assert_same(stack, pixels[0, ..., 0])
        assert stack.voxel_size == (40.0, 4.0, 4.0)


# --- arrays ---------------------------------------------------------------------------------


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


# --- refusals -------------------------------------------------------------------------------


def write_colour_tiff(path: Path) -> None:
    tifffile.imwrite(path, volume((4, 20, 30, 3)), photometric="rgb")


def write_ngff_of(axes: str, **options: Any) -> Any:
    shape = {"t": 2, "c": 2, "z": 3, "y": 20, "x": 30}

    def write(path: Path) -> None:
        write_ngff(path, volume(tuple(shape[a] for a in axes)), axes=axes, **options)

    return write


def break_metadata(**changes: Any) -> Any:
    def write(path: Path) -> None:
        write_ngff(path, volume((3, 20, 30)))
        group = zarr.open_group(str(path))
        ome = dict(group.attrs["ome"])
        ome["multiscales"][0].update(changes)
        group.attrs["ome"] = ome

    return write


REFUSED: dict[str, tuple[Any, str]] = {
    "missing.zarr": (lambda path: None, r"missing\.zarr does not exist"),
    "text.txt": (lambda path: path.write_text("hello"), "is a text file, which is not read"),
    "empty.tif": (lambda path: path.touch(), "is empty"),
    "single.tif": (lambda path: tifffile.imwrite(path, volume((20, 30))), "a single image"),
    "colour.tif": (write_colour_tiff, "colour"),
    "double.tif": (
        lambda path: tifffile.imwrite(path, np.zeros((5, 20, 30)), photometric="minisblack"),
        "float64, .* convert it to float32",
    ),
    "text.h5": (
        lambda path: path.write_text("hello"),
        "is not an HDF5 file, whatever its name",
    ),
    "nothing.h5": (lambda path: h5py.File(path, "w").close(), "no dataset with three axes"),
    "yx.zarr": (write_ngff_of("yx"), "no z"),
    "cyx.zarr": (write_ngff_of("cyx"), "no z"),
    "old.zarr": (write_ngff_of("zyx", version="0.3"), "OME-Zarr 0.3"),
    "axes.zarr": (break_metadata(axes=[{"name": "z"}]), "not valid 0.5"),
    "levels.zarr": (
        break_metadata(
            datasets=[
                {
                    "path": "gone",
                    "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}],
                }
            ]
        ),
        "gone cannot be opened as zarr",
    ),
    "scale.zarr": (write_ngff_of("zyx", scale=(0, 1, 1)), "the scale"),
    "group.zarr": (lambda path: zarr.open_group(str(path), mode="w"), "without an image"),
    "flat.zarr": (lambda path: zarr.save_array(str(path), volume((20, 30))), "a single image"),
    "labels.zarr": (
        lambda path: zarr.save_array(str(path), volume((3, 20, 30), "uint32")),
        "uint32, which is not supported",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tmp_path: Path, name: str) -> None:
    write, message = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=message) as error:
        open_stack(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "pipe.tif", "pipe.h5"):
        if name != "pipe":
            (tmp_path / name).symlink_to(tmp_path / "pipe")
        with pytest.raises(InputError, match="neither a file nor a folder"):
            open_stack(tmp_path / name)


def test_damaged_group_metadata(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    (path / "zarr.json").write_text('{"zarr_format": 3, "node')
    with pytest.raises(InputError, match="cannot be opened as zarr"):
        open_stack(path)


def test_missing_array_says_how_far_the_path_leads(tmp_path: Path) -> None:
    write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    with pytest.raises(InputError, match=r"a\.zarr exists"):
        open_stack(tmp_path / "a.zarr" / "raw")
    tifffile.imwrite(tmp_path / "a.tif", volume((3, 20, 30)))
    with pytest.raises(InputError, match="leave the dataset out"):
        open_stack(tmp_path / "a.tif", dataset="raw")


def test_section_and_box_out_of_range(tmp_path: Path) -> None:
    stack = open_stack(write_ngff(tmp_path / "a.zarr", volume((3, 20, 30))))
    for z in (-1, 3):
        with pytest.raises(InputError, match=f"section {z} does not exist.* 0 to 2"):
            stack.read(z)
    with pytest.raises(InputError, match="leaves the section"):
        stack.read(0, Box(0, 0, 21, 30))


COMPRESSORS: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "zstd": (numcodecs.Zstd(), zarr.codecs.ZstdCodec()),
    "blosc": (numcodecs.Blosc(), zarr.codecs.BloscCodec()),
    "blosc and checksum": (
        numcodecs.Blosc("zstd"),
        (zarr.codecs.BloscCodec(), zarr.codecs.Crc32cCodec()),
    ),
    "gzip": (numcodecs.GZip(), zarr.codecs.GzipCodec()),
}


@pytest.mark.parametrize("kept", [0, 5, 0.5, -1])
@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_cut_short_names_the_section(
    tmp_path: Path, zarr_format: Any, compressor: str, kept: float
) -> None:
    pixels = volume((3, 64, 64))
    array = zarr.create_array(
        str(tmp_path / "a.zarr"),
        shape=pixels.shape,
        chunks=(1, 64, 64),
        dtype="uint8",
        zarr_format=zarr_format,
        compressors=COMPRESSORS[compressor][zarr_format - 2],
    )
    array[...] = pixels
    chunk = tmp_path / "a.zarr" / ("1.0.0" if zarr_format == 2 else "c/1/0/0")
    data = chunk.read_bytes()
    stack = open_stack(tmp_path / "a.zarr")
    np.testing.assert_array_equal(stack.read(1), pixels[1])  # blosc would find these in memory
    chunk.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    np.testing.assert_array_equal(stack.read(0), pixels[0])
    with pytest.raises(StoreError, match=r"section 1 of .*a\.zarr cannot be read") as error:
        stack.read(1, Box(10, 10, 20, 20))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 5, 0.5, -1])
def test_a_shard_cut_short_names_the_section(tmp_path: Path, kept: float) -> None:
    path = write_ngff(
        tmp_path / "a.zarr", volume((4, 64, 64)), chunks=(1, 32, 32), shards=(2, 64, 64)
    )
    shard = path / "0" / "c" / "1" / "0" / "0"
    data = shard.read_bytes()
    shard.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    stack = open_stack(path)
    stack.read(1)
    for box in (None, Box(0, 0, 5, 5)):
        with pytest.raises(StoreError, match="section 2 of"):
            stack.read(2, box)


def test_a_reduced_chunk_cut_short_is_not_written_over(tmp_path: Path) -> None:
    """Changing a part of a chunk reads the rest of it, which blosc would find in memory."""
    pixels = volume((2, 64, 64))
    path = write_ngff(
        tmp_path / "a.zarr",
        pixels,
        levels=2,
        chunks=(1, 64, 64),
        compressors=numcodecs.Blosc(),
        version="0.4",
    )
    stack = open_stack(path)
    mask = np.zeros((64, 64), bool)
    mask[2:9, 2:9] = True
    write_back(stack, make_repair(stack, 0, mask))  # finds out how the pyramid was made
    chunk = path / "1" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-4])
    before = chunk.read_bytes()
    with pytest.raises(StoreError):
        write_back(stack, make_repair(stack, 1, mask))
    assert chunk.read_bytes() == before
    np.testing.assert_array_equal(open_stack(path, recover=False).read(1), pixels[1])


def test_garbage_in_a_chunk(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 64, 64)), chunks=(1, 64, 64))
    (path / "0" / "c" / "1" / "0" / "0").write_bytes(bytes(4096))
    with pytest.raises(StoreError, match="section 1 of"):
        open_stack(path).read(1)


# --- read-only, laziness, threads, processes ------------------------------------------------


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


def chunk_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which keys of local stores are read."""
    from napari_flowinpaint.core.io.folder_store import FolderStore

    keys: list[str] = []
    real = FolderStore.get_sync

    def get(self: Any, key: str, **kwargs: Any) -> Any:
        if not key.endswith(("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")):
            keys.append(key)
        return real(self, key, **kwargs)

    monkeypatch.setattr(FolderStore, "get_sync", get)
    return keys


@pytest.mark.parametrize("edge", [256, 1024])
def test_only_touched_chunks_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: int
) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, edge, edge)), chunks=(1, 64, 64), levels=2)
    keys = chunk_reads(monkeypatch)
    stack = open_stack(path)
    assert keys == []  # opening reads no pixel
    stack.read(1, Box(60, 70, 80, 120))
    # Rows 60 to 79 lie in two rows of chunks, columns 70 to 119 in one column.
    assert sorted(keys) == ["c/1/0/1", "c/1/1/1"]


def test_a_missing_chunk_is_background(tmp_path: Path) -> None:
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(2, 8, 8), chunks=(1, 8, 8), dtype="uint8", fill_value=7
    )
    array[1] = 3
    assert np.all(open_stack(tmp_path / "a.zarr").read(0) == 7)


def test_only_touched_strips_and_tiles_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = volume((3, 256, 256))
    reads: list[int] = []
    read_block, read_segments = np.fromfile, tifffile.FileHandle.read_segments

    def block(file: str, dtype: Any, count: int, **options: Any) -> Any:
        reads.append(count)
        return read_block(file, dtype, count, **options)

    def segments(
        self: Any, offsets: list[int], sizes: list[int], *args: Any, **options: Any
    ) -> Any:
        reads.extend(sizes)
        return read_segments(self, offsets, sizes, *args, **options)

    for name, options, count, largest in (
        ("plain", {}, 1, 20 * 256),
        ("strips", {"compression": "zlib", "rowsperstrip": 16}, 2, 17 * 256),
        ("tiles", {"compression": "zlib", "tile": (64, 64)}, 2, 65 * 64),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="minisblack", **options)
        monkeypatch.setattr(np, "fromfile", block)
        monkeypatch.setattr(tifffile.FileHandle, "read_segments", segments)
        stack = open_stack(tmp_path / f"{name}.tif")
        assert reads == []  # opening reads no pixel
        box = Box(60, 70, 80, 120)
        found = stack.read(1, box)
        monkeypatch.undo()
        np.testing.assert_array_equal(found, pixels[1][box.slices])
        assert len(reads) == count, name
        assert max(reads) <= largest, name
        reads.clear()


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


# --- polarity -------------------------------------------------------------------------------


def cells(depth: int = 3, edge: int = 200) -> np.ndarray:
    """Dark membranes around cells of random brightness."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(4)
    tree = cKDTree(rng.uniform(0, edge, (40, 2)))
    distance, owner = tree.query(np.indices((edge, edge)).reshape(2, -1).T, k=2)
    membrane = np.diff(distance, axis=1)[:, 0].reshape(edge, edge) < 4
    grey = rng.uniform(90, 220, 40)[owner[:, 0]].reshape(edge, edge)
    grey[membrane] = 60
    return np.stack([grey + rng.normal(0, 15, grey.shape) for _ in range(depth)])


def test_polarity() -> None:
    grey = cells().clip(0, 255)
    assert contrast_polarity(Stack.from_array(grey.astype("uint8"))) == "dark membranes"
    assert contrast_polarity(Stack.from_array((255 - grey).astype("uint8"))) == "bright membranes"
    signed = ((128 - grey) * 100).astype("int16")
    assert contrast_polarity(Stack.from_array(signed)) == "bright membranes"
    holed = grey.astype("float32") * 1e-3
    holed[:, :50] = np.nan
    assert contrast_polarity(Stack.from_array(holed)) == "dark membranes"
    assert contrast_polarity(Stack.from_array(np.zeros((2, 9, 9), "uint8"))) == "dark membranes"


def test_polarity_of_real_stacks(real_stack: Path) -> None:
    for path in sorted(real_stack.parent.glob("*.tif")):
        stack = open_stack(path)
        assert contrast_polarity(stack) == "dark membranes", path.name
        sample = np.stack([stack.read(z) for z in range(0, stack.shape[0], 6)])
        inverted = Stack.from_array(255 - sample)
        assert contrast_polarity(inverted) == "bright membranes", path.name


def test_real_stack(real_stack: Path) -> None:
    stack = open_stack(real_stack)
    assert_same(stack, tifffile.imread(real_stack))


# ---- stores with more than one image


def test_a_label_image_is_not_a_second_stack(tmp_path: Path) -> None:
    pixels = volume((3, 8, 8))
    write_ngff(tmp_path / "outer.zarr" / "em", pixels)
    zarr.open_group(str(tmp_path / "outer.zarr"), mode="a", zarr_format=3)
    marks = write_ngff(tmp_path / "outer.zarr" / "em" / "labels" / "synthetic", pixels, levels=2)
    zarr.open_group(str(marks.parent), mode="a", zarr_format=3)
    group = zarr.open_group(str(marks), mode="a")
    group.attrs["ome"] = {**dict(group.attrs["ome"]), "image-label": {}}  # type: ignore[arg-type]
    assert open_stack(tmp_path / "outer.zarr").group_path == tmp_path / "outer.zarr" / "em"
    assert open_stack(marks.parent).group_path == marks, "nothing else is there"


@pytest.mark.parametrize("prefix", ["s", "a/s", "a/b/c/s"])
def test_the_full_level_is_the_pyramid_however_deep_it_lies(tmp_path: Path, prefix: str) -> None:
    store = write_ngff(tmp_path / "a.zarr", volume((3, 8, 8)), levels=2)
    text = (store / "zarr.json").read_text()
    (store / prefix).parent.mkdir(parents=True, exist_ok=True)
    for number in "01":
        (store / number).rename(store / f"{prefix}{number}")
        text = text.replace(f'"path": "{number}"', f'"path": "{prefix}{number}"')
    (store / "zarr.json").write_text(text)
    assert len(open_stack(store / f"{prefix}0").levels) == 2
    reduced = open_stack(store / f"{prefix}1")
    assert len(reduced.levels) == 1
    assert "reduced level" in reduced.why_not_writable


def test_only_the_first_image_of_a_group_is_written(tmp_path: Path) -> None:
    store = write_ngff(tmp_path / "two.zarr", volume((3, 8, 8)), levels=2)
    group = zarr.open_group(str(store), mode="a")
    ome: Any = dict(group.attrs["ome"])  # type: ignore[arg-type]
    first = ome["multiscales"][0]

    def images(*paths: list[str]) -> None:
        others = [
            {
                **first,
                "datasets": [dict(d, path=p) for d, p in zip(first["datasets"], q, strict=True)],
            }
            for q in paths
        ]
        group.attrs["ome"] = {**ome, "multiscales": [first, *others]}

    for number in "01":
        array = group[number]
        group.create_array(f"b{number}", data=np.asarray(array[...]))  # type: ignore[index]
    images(["b0", "b1"])
    assert open_stack(store).writable
    assert "image 2" in open_stack(store / "b0").why_not_writable
    images(["0", "1"])
    assert open_stack(store).writable, "the same levels twice are kept in step"
    images(["0", "b1"])
    assert "kept in step" in open_stack(store).why_not_writable
