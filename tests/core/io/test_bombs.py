"""Chunks and strips that unpack to more than they can hold."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import zlib

import numcodecs
import numpy as np
import pytest
import tifffile
import zarr

from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.io.bombs import unpacks_to_more
from napari_flowinpaint.core.open import open_stack

ZEROS = bytes(64 << 20)
PACKED = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zlib": lambda data: zlib.compress(data, 1),
    "zstd": numcodecs.Zstd(1).encode,
    "lz4": numcodecs.LZ4().encode,
    "blosc": numcodecs.Blosc("zstd", 1).encode,
    "bz2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, preset=0),
}


@pytest.fixture(autouse=True)
def _all_is_harmful(monkeypatch):
    monkeypatch.setattr("napari_flowinpaint.core.io.bombs._HARMLESS", 1 << 20)


@pytest.mark.parametrize("codec", PACKED)
def test_what_a_chunk_unpacks_to_is_known_before(codec):
    small = codec in ("bz2", "lzma")
    bomb = PACKED[codec](ZEROS[: 2 << 20] if small else ZEROS)
    assert unpacks_to_more(codec, bomb, 4096)
    assert not unpacks_to_more(codec, bomb, len(ZEROS))
    for size in (0, 1, 200, 300, 70_000):
        assert not unpacks_to_more(codec, PACKED[codec](bytes(size)), size)
    assert not unpacks_to_more(codec, bomb[:9], len(ZEROS))


@pytest.mark.parametrize("name", ["gzip", "zstd", "blosc"])
def test_a_chunk_that_is_a_bomb_is_not_unpacked(tmp_path, name):
    codec = {
        "gzip": zarr.codecs.GzipCodec(),
        "zstd": zarr.codecs.ZstdCodec(),
        "blosc": zarr.codecs.BloscCodec(),
    }[name]
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32), np.uint8)
    chunks = (1, 32, 32)
    zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=chunks, compressors=codec)
    (tmp_path / "a.zarr" / "c" / "1" / "0" / "0").write_bytes(PACKED[name](ZEROS))
    stack = open_stack(tmp_path / "a.zarr")
    assert np.array_equal(stack.read(0), pixels[0])
    with pytest.raises(StoreError, match="unpacks to much more"):
        stack.read(1)


def test_a_strip_that_is_a_bomb(tmp_path):
    """The decoders of TIFF are told how much there may be."""
    path = tmp_path / "a.tif"
    pixels = np.zeros((3, 512, 512), np.uint8)
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=512, photometric="minisblack")
    bomb = zlib.compress(ZEROS)
    with tifffile.TiffFile(path) as file:
        tags = file.pages[1].tags
        where = [(tags[name].valueoffset, tags[name].dtype) for name in (273, 279)]
        sizes = {3: 2, 4: 4, 16: 8}
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.write(bomb)
        for (offset, kind), value in zip(where, (end, len(bomb)), strict=True):
            if value < 256 ** sizes[int(kind)]:
                file.seek(offset)
                file.write(value.to_bytes(sizes[int(kind)], "little"))
            else:
                pytest.skip("the tag is too short")
    import tracemalloc

    tracemalloc.start()
    with contextlib.suppress(StoreError):
        open_stack(path).read(1)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
