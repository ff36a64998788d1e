"""Options that are written as lists."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..core.errors import InputError

_RANGE = re.compile(r"^(\d{1,18})(?:-(\d{1,18}))?$")


def parse_sections(text: str, depth: int | None = None) -> tuple[int, ...]:
    """Return the section numbers in ``3,7-9``, ascending, each once.

    Parameters
    ----------
    text
        Numbers and ranges (both ends included), separated by commas.
    depth
        Number of sections of the stack; None where it does not matter.

    Raises
    ------
    InputError
        If the text is no such list, or a section does not exist.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.match(part.strip())
        if match is None:
            raise InputError(f"'{text}' is not a list of sections; write for example 3,7-9.")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise InputError(f"'{part.strip()}' runs backwards; write {last}-{first}.")
        if depth is not None and last >= depth:
            raise InputError(
                f"section {last} does not exist; the stack has sections 0 to {depth - 1}."
            )
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def parse_numbers(text: str, what: str) -> tuple[float, ...]:
    """Return the numbers in ``0.1,0.3``.

    Raises
    ------
    InputError
        If one is not a number; ``what`` names the option.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{what} '{text}' is not a list of numbers separated by commas.") from None


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names in ``flow,mean``.

    Raises
    ------
    InputError
        If there is none.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise InputError(f"'{text}' names nothing; write names separated by commas.")
    return names


def check_file(path: Path, option: str) -> None:
    """Refuse a file that could not be written, before any work is done.

    Raises
    ------
    InputError
        If its folder does not exist or may not be written to, or it is a folder itself.
    """
    if os.access(path, os.W_OK) and not path.is_dir():
        return  # it is replaced; also a device, whose folder nobody may write to
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{option} {path}: the folder {folder} does not exist; create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: you may not write to {folder}; choose another folder.")
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; name a file.")
    if path.exists():
        raise InputError(f"{option} {path}: you may not write to this file; choose another.")


def check_apart(path: Path, option: str, *others: Path | str) -> None:
    """Refuse to write over, into or around something that is read or written otherwise.

    Raises
    ------
    InputError
        If ``path`` is one of ``others``, lies within it or holds it.
    """
    from ..core.io.hdf5_reader import split_hdf5

    new = _real(path)
    for other in others:
        hdf5 = split_hdf5(str(other))
        old = _real(hdf5[0] if hdf5 else other)
        if new == old or old in new.parents or new in old.parents:
            raise InputError(f"{option} {path} would write into {other}; choose another place.")


def _real(path: Path | str) -> Path:
    """Return a path without links and dots; it need not lead to anything."""
    return Path(os.path.realpath(Path(path).expanduser()))
