"""Whether a TIFF file has all of its pages: one that was cut short looks like a shorter stack."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class PageLook:
    """What the tags of one page say of its pixels.

    Parameters
    ----------
    shape
        (Y, X), pixels.
    sample
        Bits of a sample, its TIFF format (1 unsigned, 2 signed, 3 float) and how many samples a
        pixel has.
    inverted
        Whether 0 is white.
    reduced
        Whether the page is a reduced copy of another one: a thumbnail, a level of a pyramid.
    coding
        Everything that a decoder needs besides: compression, strips, tiles.
    """

    shape: tuple[int, int]
    sample: tuple[Any, Any, Any]
    inverted: bool
    reduced: bool
    coding: tuple[Any, ...]

    @property
    def pixels(self) -> tuple[Any, ...]:
        """What pages of one stack have in common."""
        return self.shape, self.sample, self.inverted

    def __str__(self) -> str:
        bits, kind, samples = self.sample
        name = {2: "int", 3: "float"}.get(kind, "uint")
        what = f"{name}{bits}" if samples == 1 else "colour"
        white = " with white as zero" if self.inverted else ""
        return f"{self.shape[0]} x {self.shape[1]} {what}{white}"


#: Tags, and what they are where they are absent: of the size, a sample, and the coding.
_SIZE = {257: 0, 256: 0}
_SAMPLE = {258: 1, 339: 1, 277: 1}
_CODING = {259: 1, 317: 1, 266: 1, 284: 1, 278: -1, 322: 0, 323: 0}
#: Bytes of the tags of one page.
_LARGEST_TABLE = 1 << 20
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def look_at_pages(file: Any) -> tuple[list[PageLook], bool]:
    """Follow the pages of a file from one to the next, as tifffile does silently.

    tifffile looks at only some of the pages before it takes all to be alike.

    Parameters
    ----------
    file
        A ``tifffile.TiffFile``.

    Returns
    -------
    tuple of list of PageLook and bool
        The pages that are described to the end, and whether the file ends where it says that there
        is one more.
    """
    kind, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    looks: list[PageLook] = []
    handle.seek(4 if kind.version == 42 else 8)
    while True:
        try:
            offset = _number(handle, kind.offsetformat)
            if offset == 0:
                return looks, False
            if offset in seen or offset >= handle.size:
                return looks, True
            seen.add(offset)
            handle.seek(offset)
            size = _number(handle, kind.tagnoformat) * kind.tagsize
            if size > _LARGEST_TABLE or handle.tell() + size + kind.offsetsize > handle.size:
                return looks, True
            looks.append(_look(handle.read(size), kind))
            handle.seek(offset + kind.tagnosize + size)
        except (struct.error, OSError, ValueError):
            return looks, True


def _look(tags: bytes, kind: Any) -> PageLook:
    """Return what a table of tags says."""
    wanted = {254: 0, 262: 1, **_SIZE, **_SAMPLE, **_CODING}
    found: dict[int, Any] = dict(wanted)
    head = struct.Struct(f"{kind.byteorder}HH{'I' if kind.offsetsize == 4 else 'Q'}")
    for start in range(0, len(tags), kind.tagsize):
        code, form, count = head.unpack_from(tags, start)
        if code not in wanted:
            continue
        if count == 1 and form in _INTEGERS:
            letter = kind.byteorder + _INTEGERS[form]
            found[code] = struct.unpack_from(letter, tags, start + head.size)[0]
        else:
            found[code] = f"{count} x {form}"
    height = found[257] if isinstance(found[257], int) else 0
    width = found[256] if isinstance(found[256], int) else 0
    reduced = isinstance(found[254], int) and bool(found[254] & 1)
    bits, form, samples = (found[code] for code in _SAMPLE)
    coding = tuple(found[code] for code in _CODING)
    return PageLook((height, width), (bits, form, samples), found[262] == 0, reduced, coding)


def _number(handle: Any, form: str) -> int:
    """Read a number."""
    return int(struct.unpack(form, handle.read(struct.calcsize(form)))[0])


def check_complete(path: Path, file: Any, series: Any, whole: int, ended: bool) -> None:
    """Refuse a file that has fewer pages than it claims.

    Parameters
    ----------
    path
        Of the file.
    file, series
        The ``tifffile.TiffFile`` and the stack in it; None where it found none.
    whole, ended
        How many pages are described to the end, and whether there should be one more: see
        :func:`look_at_pages`.

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
            f"{path} claims {promised} pages but has {found}: it was cut short; restore it from "
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
