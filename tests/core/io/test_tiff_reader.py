"""TIFF stacks: plain, ImageJ, OME; files that were cut short."""

from __future__ import annotations

import gc
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from make_stacks import DTYPES, assert_same, volume

from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import Box


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
    told = "ends within page 3" if silent else "claims 4 pages but has 2"
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


_ZIPPED = {"compression": "zlib"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planes", [3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        _ZIPPED,
        {"tile": (16, 16)},
        {"metadata": None},
        {"metadata": {"axes": "ZYX"}, **_ZIPPED},
        {"ome": True, "photometric": "rgb"},
        {"ome": True},
        {"imagej": True},
    ],
    ids=["plain", "zipped", "tiled", "bare", "named", "OME colours", "OME", "ImageJ"],
)
def test_sections_that_were_stored_as_colours(tmp_path, monkeypatch, dtype, planes, options):
    """tifffile does so with an array of three or four sections; its advice is followed here."""
    monkeypatch.chdir(tmp_path)
    pixels = volume((planes, 60, 50), dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tifffile.imwrite("a stack.tif", pixels, **options)
    except ValueError:
        pytest.skip("ImageJ has no such type")
    with pytest.raises(InputError) as told:
        open_stack("a stack.tif")
    assert re.search(f"{planes} (planes as the colours|channels)", str(told.value))
    (advice,) = re.findall(r"tifffile\.imwrite\(.*\)(?=[;.])", str(told.value))
    exec(advice, {"tifffile": tifffile})
    np.testing.assert_array_equal(np.asarray(open_stack("a stack grey.tif").array), pixels)


def test_sections_that_the_file_calls_sections(tmp_path):
    pixels = volume((3, 60, 50))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(np.asarray(open_stack(tmp_path / "a.tif").array), pixels)
