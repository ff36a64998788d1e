"""Codecs that a zarr array may name, and one that it may not: what unpickles runs any code.

numcodecs has a codec for objects, and zarr takes whatever the metadata of version 2 name: reading
one chunk would do. The metadata are looked at before zarr sees them.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import StoreError
from .names import printable

#: Bytes; the metadata of a large image are some thousand.
LARGEST_METADATA = 1 << 25
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


def is_metadata(key: str) -> bool:
    """Return whether the object at a key of a store is metadata."""
    return key.rpartition("/")[2] in _METADATA


def check_metadata(where: object, key: str, content: bytes) -> None:
    """Refuse metadata that are absurdly long, or that name the codec for objects.

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
            f"{printable(where)} has {len(content):,} bytes of metadata in {printable(key)}, which "
            "makes no sense; restore it from a copy."
        )
    if b"pickle" not in content and b"\\" not in content:
        return
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return  # zarr will say so
    if _names_pickle(told):
        raise StoreError(
            f"{printable(where)} has a codec that would run code of whoever made it (pickle); it "
            "is not read."
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
