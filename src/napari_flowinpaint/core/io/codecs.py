"""Codecs that a zarr array may name, and one that it may not: what unpickles runs any code.

numcodecs has a codec for objects, and zarr takes whatever the metadata of version 2 name: reading
one chunk would do. The metadata are looked at before zarr sees them.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import StoreError
from ..names import printable

#: Bytes; the metadata of a large image are some thousand.
LARGEST_METADATA = 1 << 25
#: Names of the files in which zarr keeps metadata.
METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


def is_metadata(key: str) -> bool:
    """Return whether the object at a key of a store is metadata."""
    return key.rpartition("/")[2] in METADATA


def check_metadata(where: object, key: str, content: bytes) -> None:
    """Refuse metadata that are absurdly long, count in ``true``, or name the codec for objects.

    Does nothing where the object is of another kind.

    Parameters
    ----------
    where
        The store, for the message.
    key
        Of the object.
    content
        What was read.

    Raises
    ------
    StoreError
        If they must not be used.
    """
    if not is_metadata(key):
        return
    if len(content) > LARGEST_METADATA:
        raise StoreError(
            f"{printable(where)} has {len(content):,} bytes of metadata in {printable(key)}, "
            "which cannot be right; restore it from a copy."
        )
    if not any(part in content for part in (b"pickle", b"\\", b"true", b"false")):
        return
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return  # zarr will say so
    if _names_pickle(told):
        raise StoreError(
            f"{printable(where)} uses a codec (pickle) that would run code from the file, so it "
            "is not read; get a copy without it."
        )
    if _counts_in_booleans(told):
        raise StoreError(
            f"{printable(where)} has true or false among the numbers of its shape or chunks in "
            f"{printable(key)}; restore it from a copy."
        )


def _names_pickle(told: Any) -> bool:
    """Return whether a codec of an array is the one for objects."""
    codecs: list[Any] = []
    if isinstance(told, dict):
        for key in ("compressor", "filters", "codecs"):
            found = told.get(key)
            codecs += found if isinstance(found, list) else [found]
        metadata = told.get("metadata")  # of .zmetadata
        if isinstance(metadata, dict):
            return any(_names_pickle(part) for part in metadata.values())
    for codec in codecs:
        named = [codec.get("id"), codec.get("name")] if isinstance(codec, dict) else []
        if any(str(name).rpartition(".")[2] == "pickle" for name in named):
            return True
    return False


def _counts_in_booleans(told: Any) -> bool:
    """Return whether a shape has true or false in it, which Python takes for 1 and 0."""
    if not isinstance(told, dict):
        return False
    grid = told.get("chunk_grid")
    configuration = grid.get("configuration") if isinstance(grid, dict) else None
    sizes = configuration.get("chunk_shape") if isinstance(configuration, dict) else None
    found = (told.get("shape"), told.get("chunks"), sizes)
    return any(
        isinstance(n, bool) for numbers in found if isinstance(numbers, list) for n in numbers
    )
