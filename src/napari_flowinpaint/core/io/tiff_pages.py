"""Whether a TIFF file has all of its pages: one that was cut short looks like a shorter stack."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from ..errors import InputError


def count_pages(file: Any) -> tuple[int, bool]:
    """Count the pages of a file by following one to the next, as tifffile does without a word.

    Parameters
    ----------
    file
        A ``tifffile.TiffFile``.

    Returns
    -------
    tuple of int and bool
        How many pages are described to the end, and whether the file ends where it says that there
        is one more.
    """
    kind, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    number = 0
    handle.seek(4 if kind.version == 42 else 8)
    while True:
        try:
            offset = _number(handle, kind.offsetformat)
            if offset == 0:
                return number, False
            if offset in seen or offset >= handle.size:
                return number, True
            seen.add(offset)
            handle.seek(offset)
            tags = _number(handle, kind.tagnoformat)
            handle.seek(offset + kind.tagnosize + tags * kind.tagsize)
            if handle.tell() + kind.offsetsize > handle.size:
                return number, True
        except (struct.error, OSError, ValueError):
            return number, True
        number += 1


def _number(handle: Any, form: str) -> int:
    """Read a number."""
    return int(struct.unpack(form, handle.read(struct.calcsize(form)))[0])


def check_complete(path: Path, file: Any, series: Any, whole: int, ended: bool) -> None:
    """Refuse a file that has fewer pages than it announces.

    Parameters
    ----------
    path
        Of the file.
    file, series
        The ``tifffile.TiffFile`` and the stack in it; None where it found none.
    whole, ended
        From :func:`count_pages`.

    Raises
    ------
    InputError
        Saying how many pages there should be, and are.
    """
    if file.is_lsm or file.is_ndpi:  # they number what lies beyond 4 GB in ways of their own
        return
    promised = _promised(file, series)
    if promised is None:
        if ended:
            raise InputError(
                f"{path} ends within page {whole + 1}: it was cut short; restore it from a copy."
            )
        return
    found = whole
    if whole == 1 and not ended and not file.is_ome:  # all planes can lie behind one entry
        found = promised if series is None else math.prod(series.shape[:-2])
    elif series is not None and file.is_ome:
        found = min(whole, sum(page is not None for page in series.pages))
    if found < promised:
        raise InputError(
            f"{path} announces {promised} pages and has {found}: it was cut short; restore it from "
            "a copy."
        )


def _promised(file: Any, series: Any) -> int | None:
    """Return how many pages the metadata of a file announce; None where they do not."""
    if file.is_ome:
        if series is None or series.kind != "ome" or series.is_multifile:
            return None  # a file that is missing is told when its sections are read
        return int(math.prod(series.shape[:-2]))
    if file.is_imagej:
        images = (file.imagej_metadata or {}).get("images", 1)
        return images if isinstance(images, int) else None
    if file.is_shaped:
        first = file.pages.first
        told = _json(first.shaped_description)
        shape = told.get("shape") if isinstance(told, dict) else None
        if isinstance(shape, list) and all(isinstance(n, int) for n in shape):
            return math.prod(shape) // max(first.size, 1)
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # tifffile before 2016 wrote something else
