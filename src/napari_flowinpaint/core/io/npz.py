"""Archives of arrays (``.npz``) and JSON that were kept by us, read as if a stranger had made them.

Nothing is unpacked before its size is known and makes sense, nothing is unpickled, and whatever is
wrong is a ``ValueError`` of one line: the caller knows which file it is and what is to be done.
"""

from __future__ import annotations

import json
import math
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import first_line
from ..names import printable
from ..types import AnyImage

#: Most bytes of JSON that make sense.
LARGEST_JSON = 1 << 26
#: An archive that holds more than this many members is none of ours.
_MOST_MEMBERS = 1 << 16
#: Bytes that are unpacked at once.
_BLOCK = 1 << 20
#: What the libraries raise for archives that are damaged or were made to do harm.
_DAMAGED = (
    tokenize.TokenError,  # NumPy reads old headers as Python tells tokens
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # compression that is not known
    RuntimeError,  # encryption; also recursion
    EOFError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    SyntaxError,  # the header of an array
    MemoryError,
)


#: NumPy parses headers with Python's own parser, which up to 3.11 counts the depth of all threads
#: together and fails where two parse at once (SystemError, "recursion depth mismatch"). So headers
#: are read here only.
_ONE_AT_A_TIME = threading.Lock()


def read_npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and dtype of an array in NumPy's format; nothing is unpickled.

    Parameters
    ----------
    file
        Binary, at the beginning of the array; afterwards at its first value.

    Raises
    ------
    ValueError
        If the format is unknown; NumPy's parser raises others for damaged headers.
    """
    version = np.lib.format.read_magic(file)
    with _ONE_AT_A_TIME:
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(file)
    raise ValueError("an array has an unknown format")


def map_npy(path: Path) -> AnyImage:
    """Return the array of a ``.npy`` file, read when it is looked at; it cannot be written to.

    As ``np.load`` with ``mmap_mode="r"``, which must not be called where threads may be at work.

    Parameters
    ----------
    path
        Of the file.

    Raises
    ------
    ValueError
        If it is no such array, or one of Python objects; NumPy raises others for damaged files.
    """
    with path.open("rb") as file:
        shape, fortran, dtype = read_npy_header(file)
        start = file.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def parse_json(content: bytes) -> Any:
    """Return what JSON says.

    Raises
    ------
    ValueError
        If it is not JSON, is nested too deeply, or is not UTF-8.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {first_line(error)}") from None


class Npz:
    """An archive of arrays, open for reading.

    Parameters
    ----------
    file
        Seekable.

    Raises
    ------
    ValueError
        If it is no such archive.
    """

    def __init__(self, file: BinaryIO) -> None:
        with _told():
            self._archive = zipfile.ZipFile(file)
            members = self._archive.infolist()
            if len(members) > _MOST_MEMBERS or len({m.filename for m in members}) < len(members):
                raise ValueError("its list of members is damaged")
            self._members = {member.filename: member for member in members}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members; those of arrays end in ``.npy``."""
        return tuple(self._members)

    def read(self, member: str, limit: int = LARGEST_JSON) -> bytes:
        """Return the bytes of a member that has at most ``limit`` of them."""
        with _told():
            found = self._find(member)
            if found.file_size > limit:
                raise ValueError(f"{member} is larger than makes sense")
            with self._archive.open(found) as file:
                return file.read()

    def array(self, name: str, shape: tuple[int | None, ...], dtype: Any) -> AnyImage:
        """Return an array that must be of this shape and type.

        Parameters
        ----------
        name
            Without the ending.
        shape
            None where any length will do that the archive can hold.
        dtype
            Its type; in the byte order of this machine.
        """
        with _told():
            found = self._find(f"{name}.npy")
            with self._archive.open(found) as file:
                told, fortran, kind = read_npy_header(file)
                fits = len(told) == len(shape) and all(
                    n >= 0 and wanted in (None, n) for n, wanted in zip(told, shape, strict=True)
                )
                if not fits or kind != np.dtype(dtype) or kind.hasobject:
                    raise ValueError(f"{name} is {kind} of shape {told}")
                size = math.prod(told) * kind.itemsize
                header = found.file_size - size
                if not 0 < header <= 1 << 16 or size > _BLOCK + found.compress_size * 1100:
                    raise ValueError(f"{name} does not have the size it claims")
                out = np.empty(told, kind, order="F" if fortran else "C")
                _fill((out.T if fortran else out).data.cast("B") if size else None, file)
        return np.ascontiguousarray(out)

    def _find(self, member: str) -> zipfile.ZipInfo:
        if member not in self._members:
            raise ValueError(f"it has no {member}")
        return self._members[member]


def _fill(view: memoryview | None, file: Any) -> None:
    """Read as many bytes as there is room for; the checksum is looked at, too."""
    start, length = 0, 0 if view is None else len(view)
    while start < length:
        block = file.read(min(_BLOCK, length - start))
        if not block:
            raise ValueError("it was cut short")
        assert view is not None
        view[start : start + len(block)] = block
        start += len(block)
    if file.read(1):
        raise ValueError("it is longer than it claims")


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line what is wrong with an archive."""
    try:
        yield
    except _DAMAGED as error:
        raise ValueError(printable(first_line(error))) from None
