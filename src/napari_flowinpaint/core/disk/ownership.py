"""Whose folder it is: a mark in those that we made, with the names that we wrote there.

Only what is listed in the mark is ever removed, and only while the folder is the very one that was
marked: a copy, an unpacked archive or a folder into which the mark was merged is somebody's own.

The mark is ``.flowinpaint-folder.json``: ``format`` (1), ``kind``, ``identity`` (random), ``place``
(what the file system numbers the folder by), ``names``.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import StoreError
from ..names import check_name, printable
from .folder import Folder

MARK = ".flowinpaint-folder.json"
_UNFINISHED = f"{MARK}.part"
_FORMAT = 1
#: Kinds of folders whose place can be chosen.
_CHOSEN = ("staging", "demo")
#: Most bytes that a mark may have.
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class OwnershipMark:
    """What the mark of a folder says.

    Parameters
    ----------
    kind
        What the folder is for, such as ``"staging"``.
    identity
        Random; no other folder has it, but copies of this one.
    place
        Number of the folder in its file system.
    names
        What we wrote in it.
    """

    kind: str
    identity: str
    place: int
    names: tuple[str, ...]


def mark_owned(folder: Folder, kind: str, names: Iterable[str] = ()) -> OwnershipMark:
    """Mark a folder as ours.

    Parameters
    ----------
    folder
        Empty, but for a mark that a crash has left unfinished.
    kind
        What it is for.
    names
        What we are going to write in it; :func:`own` adds more.

    Raises
    ------
    StoreError
        If something is in it: it is somebody else's.
    """
    found = set(folder.names()) - {_UNFINISHED}
    if found:
        raise StoreError(
            f"{printable(folder.path)} is not empty (it holds {printable(min(found))}); choose "
            "another folder."
        )
    told = tuple(sorted({check_name(name) for name in names}))
    mark = OwnershipMark(kind, secrets.token_hex(16), folder.identity()[1], told)
    _put(folder, mark)
    return mark


def read_mark(folder: Folder, kind: str) -> OwnershipMark | None:
    """Return the mark of a folder, also of a copy; None where there is none of this kind."""
    try:
        found = json.loads(folder.read(MARK, _LARGEST))
    except (FileNotFoundError, IsADirectoryError):
        return None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("format") != _FORMAT or found.get("kind") != kind:
        return None
    names, identity, place = found.get("names"), found.get("identity"), found.get("place")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    if not isinstance(identity, str) or type(place) is not int:
        return None
    return OwnershipMark(kind, identity, place, tuple(check_name(name) for name in names))


def is_owned(folder: Folder, kind: str) -> bool:
    """Return whether this very folder was made by us, and for this."""
    mark = read_mark(folder, kind)
    return mark is not None and mark.place == folder.identity()[1]


def owned_names(folder: Folder, kind: str) -> tuple[str, ...]:
    """Return the names that we wrote in a folder; none in one that is not ours."""
    mark = read_mark(folder, kind)
    return mark.names if mark is not None and is_owned(folder, kind) else ()


def own(folder: Folder, kind: str, *names: str) -> None:
    """List names as ours before they are written.

    Raises
    ------
    StoreError
        If the folder is not ours, or one of the names is there already and is not listed.
    """
    mark = read_mark(folder, kind)
    if mark is None or not is_owned(folder, kind):
        raise foreign(folder.path, kind)
    new = {check_name(name) for name in names} - set(mark.names)
    for name in sorted(new):
        if folder.stat(name) is not None:
            raise StoreError(
                f"{printable(folder.path / name)} was put there by another program; remove it, or "
                "choose another folder."
            )
    if new:
        _put(folder, replace(mark, names=tuple(sorted({*mark.names, *new}))))


def remove_owned(parent: Folder, name: str, kind: str) -> tuple[str, ...]:
    """Remove what we wrote in a folder, and the folder where nothing else is in it.

    Parameters
    ----------
    parent, name
        Where the folder is.
    kind
        What it must be for.

    Returns
    -------
    tuple of str
        What is left in it: not ours.

    Raises
    ------
    StoreError
        If the folder is not ours; nothing is removed.
    """
    with parent.folder(name) as folder:
        if not is_owned(folder, kind):
            raise foreign(folder.path, kind)
        for owned in owned_names(folder, kind):
            folder.remove_tree(owned)
        left = tuple(found for found in folder.names() if found not in (MARK, _UNFINISHED))
        if left:
            return left
        folder.remove_file(_UNFINISHED)
        folder.remove_file(MARK)
    parent.remove_folder(name)
    return ()


def foreign(path: Path, kind: str) -> StoreError:
    """Return the error that says that a folder is not ours."""
    other = ", or choose another folder" if kind in _CHOSEN else ""
    return StoreError(
        f"{printable(path)} is not a {kind} folder made by flowinpaint, so nothing in it is "
        f"changed or removed; move it away{other}."
    )


def _put(folder: Folder, mark: OwnershipMark) -> None:
    """Write the mark; a crash leaves the old one, or one of a name that is known to be ours."""
    content = json.dumps({"format": _FORMAT, **asdict(mark)}, indent=1) + "\n"
    folder.remove_file(_UNFINISHED)
    with folder.new_file(_UNFINISHED) as file:
        file.write(content.encode())
    folder.rename(_UNFINISHED, folder, MARK)
