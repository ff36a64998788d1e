"""Chunks that were cut short, or hold garbage, name the section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
import zarr.codecs
from make_stacks import volume, write_ngff
from repaired_stores import make_repair

from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.core.writing.writeback import write_back

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
