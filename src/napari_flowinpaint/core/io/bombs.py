"""Chunks that unpack to more than they can hold: a megabyte may stand for a gigabyte of zeros.

What a chunk unpacks to is known before it is unpacked: from the header of its format, or, where
that tells nothing, by unpacking it piece by piece and keeping nothing.

Not responsible for: chunks within shards, formats of other codecs.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

#: A filter may make pixels longer before they are compressed; never by more than this.
_FACTOR = 16
_SPARE = 1 << 16
#: No byte of deflate stands for more.
_DEFLATE = 1032
#: What may be unpacked without a look, bytes.
_HARMLESS = 1 << 28
_PIECE = 1 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"


def unpacks_to_more(codec: str, data: bytes, size: int) -> bool:
    """Return whether a chunk unpacks to much more than it can hold.

    Parameters
    ----------
    codec
        The last one of the array, by zarr's name; what is not known passes.
    data
        The chunk.
    size
        Bytes of its pixels.
    """
    most = _FACTOR * size + _SPARE
    if codec == "blosc":
        return int.from_bytes(data[4:8], "little") > most
    if codec == "lz4":
        return int.from_bytes(data[:4], "little") > most
    if codec == "zstd":
        return _zstd_size(data) > most
    if codec in ("gzip", "zlib"):
        if len(data) * _DEFLATE <= max(_HARMLESS, most):
            return False
        return _counts_more(lambda: zlib.decompressobj(47), data, most)
    if codec == "bz2":
        return _counts_more(bz2.BZ2Decompressor, data, most)
    if codec == "lzma":
        return _counts_more(lzma.LZMADecompressor, data, most)
    return False


def _zstd_size(data: bytes) -> int:
    """Return what the header of a zstd frame says of its content; 0 where it says nothing."""
    if data[:4] != _ZSTD or len(data) < 5:
        return 0
    told = data[4]
    width = (0, 2, 4, 8)[told >> 6]
    single = told >> 5 & 1
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[told & 3]
    if width == 0:
        return data[start] if single and len(data) > start else 0
    return int.from_bytes(data[start : start + width], "little") + (256 if width == 2 else 0)


def _counts_more(make: Callable[[], Any], data: bytes, most: int) -> bool:
    """Return whether there is more than ``most`` in ``data``, holding one piece at a time."""
    unpacker, found = make(), 0
    try:
        while found <= most:
            piece = unpacker.decompress(data, _PIECE)
            found += len(piece)
            data = getattr(unpacker, "unconsumed_tail", b"")
            if unpacker.eof or not (piece or data):
                return False
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        return False  # whoever unpacks it says so
    return True
