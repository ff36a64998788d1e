"""The arrays that a write changes, opened through folders that are held open.

Nothing here changes a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..disk.folder import Folder
from ..errors import StoreError, first_line
from ..io import pyramid
from ..io.levels import Level, write_grid
from ..io.pyramid import DownsamplingRule
from ..names import printable
from ..types import Box
from .pieces import Layout, LevelRecord

#: Codecs that give back the bits they were given. With any other one, writing a chunk could
#: change pixels that nobody asked to change.
LOSSLESS = {
    *("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "shuffle", "pcodec"),
    *("bytes", "transpose", "sharding_indexed"),
    *("crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The arrays that a write changes, opened for durable writing.

    Parameters
    ----------
    levels
        The pyramid.
    labels
        The label image's pyramid, of the same shapes.
    rules
        How each level but the first is made of the next finer one.
    largest_number
        The largest number that a repair ever had, before.
    """

    levels: tuple[Level, ...]
    labels: tuple[Level, ...]
    rules: tuple[DownsamplingRule, ...]
    largest_number: int = 0

    def end(self) -> None:
        """Let no write that is still under way reach the disk after this."""
        for level in self.levels + self.labels:
            level.source.store.end()

    @property
    def largest_chunk(self) -> int:
        """Uncompressed size of the largest chunk (shard) that may be written, in bytes."""
        return max(
            math.prod(write_grid(level.source)) * level.dtype.itemsize
            for level in self.levels + self.labels
        )


def open_level(root: Folder, record: LevelRecord, layout: Layout, scratch: Folder) -> Level:
    """Open one array of the image for durable writing.

    Raises
    ------
    StoreError
        If it is not the array that is expected, lies behind a link or on another disk than
        ``scratch``, or is compressed in a way that may not be lossless.
    """
    folder = enter(root, record.path)
    level = Level(open_array(folder, scratch), layout.axes, record.scale, record.path)
    if (
        level.source.ndim != 3 + len(layout.axes.fixed)
        or level.shape != record.shape
        or level.dtype != np.dtype(layout.dtype)
        or any(index >= level.source.shape[position] for position, index in layout.axes.fixed)
    ):
        raise StoreError(
            f"{printable(folder.path)} is {level.source.dtype} of shape {level.source.shape}, not "
            "the array that the repair was made for; restore it, or repair again from the stack as "
            "it is now."
        )
    check_lossless(level, folder.path)
    return level


def check_lossless(level: Level, shown: Path) -> None:
    """Refuse an array that is compressed in a way that may not be lossless.

    Parameters
    ----------
    level
        A zarr array.
    shown
        Its path, for the message.
    """
    unknown = sorted(_codecs(level.source.metadata.to_dict()) - LOSSLESS)
    if unknown:
        raise StoreError(
            f"{printable(shown)} is compressed with {printable(', '.join(unknown))}, which "
            "may not be lossless: writing would change pixels outside the mask; work on a copy "
            "that is compressed without loss (repair with --output, or Save as OME-Zarr)."
        )


def enter(root: Folder, path: str) -> Folder:
    """Open the folder of an array, from its path within a group ("" for the group itself).

    Raises
    ------
    StoreError
        If it is not there, or lies behind a link.
    """
    try:
        return root.folder(*parts_of(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{printable(error.filename)} does not exist ({error.strerror}); restore it from a "
            "copy."
        ) from error


def parts_of(path: str) -> tuple[str, ...]:
    """Return the names of the folders on a path within a group."""
    return tuple(part for part in path.split("/") if part not in ("", "."))


def open_array(folder: Folder, scratch: Folder | None, *, keep_empty: bool = True) -> Any:
    """Open the zarr array in ``folder`` for durable writing.

    Parameters
    ----------
    folder
        Of the array; it stays open.
    scratch
        Folder on the same file system, for unfinished files; None where it is only looked at.
    keep_empty
        Whether a chunk that holds nothing but the fill value is stored: a float chunk of NaN with
        a payload equals the fill value without being the same bits.
    """
    import zarr

    from ..io.folder_store import FolderStore, watch

    shown = printable(folder.path)
    if scratch is not None and folder.identity()[0] != scratch.identity()[0]:
        raise StoreError(
            f"{shown} lies on another disk than the full resolution, so it cannot be written "
            "safely; work on a copy on one disk."
        )
    try:
        store = FolderStore(folder, scratch=scratch, read_only=scratch is None)
        with zarr.config.set({"array.write_empty_chunks": keep_empty}):
            array = zarr.open_array(store=store, mode="r" if scratch is None else "r+")
        watch(array)  # a chunk is read before a part of it is changed
        return array
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{shown} cannot be opened for writing ({printable(first_line(error))}); restore it "
            "from a copy."
        ) from error


def check_links(target: Target, z: int, box: Box) -> None:
    """Refuse a link in the region of a file that a change of ``box`` in section ``z`` would write.

    Parameters
    ----------
    target
        The arrays.
    z, box
        In pixels of the full resolution.

    Raises
    ------
    StoreError
        If there is one; nothing was changed.
    """
    region = (slice(z, z + 1), *box.slices)
    for index, level in enumerate(target.levels):
        if index:
            fine = target.levels[index - 1]
            factors = pyramid.factors_between(fine, level)
            region = pyramid.touched(region, factors, level.shape)
        for array in (level.source, target.labels[index].source):
            for key in _keys(array, level.axes.index(*region)):
                array.store.check(key)


def _keys(array: Any, region: Sequence[Any]) -> Iterator[str]:
    """Yield the keys of the chunks (shards) of an array that ``region`` touches."""
    numbers = []
    for part, edge in zip(region, write_grid(array), strict=True):
        first, last = (part, part + 1) if isinstance(part, int) else (part.start, part.stop)
        numbers.append(range(first // edge, -(-last // edge)))
    for region in product(*numbers):
        yield array.metadata.encode_chunk_key(region)


def _codecs(metadata: dict[str, Any]) -> set[str]:
    """Return the names of all codecs in the metadata of an array, v2 or v3, also within shards."""
    found = [c for c in (metadata.get("compressor"), *(metadata.get("filters") or ())) if c]
    names = {str(c["id"] if isinstance(c, dict) else c.codec_id) for c in found}
    pending = list(metadata.get("codecs") or ())
    while pending:
        codec = pending.pop()
        names.add(str(codec["name"]).removeprefix("numcodecs."))
        pending += (codec.get("configuration") or {}).get("codecs") or ()
    return names
