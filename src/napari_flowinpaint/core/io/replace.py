"""A new store takes the place of an old one: complete, on disk, and never half way for long.

The new one is made in a hidden folder of ours beside its place. When it is complete it is synced
(what goes away must not be the only copy that is on disk), the old one is moved into the hidden
folder, the new one out of it, and the folder goes. A kill in between leaves nothing at the place;
:func:`settle` then finds both, and finishes.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .. import folders
from ..disk.folder import Folder
from ..disk.lock import StoreBusy, locked
from ..disk.open_root import open_root
from ..disk.ownership import is_owned, remove_owned
from ..disk.workplace import alone_in
from ..errors import InputError, StoreError
from ..names import printable
from .crate_seal import CRATE, is_sealed
from .ngff_image import is_label
from .npz import parse_json
from .zarr_node import is_zarr_node

#: Kinds of hidden folders, and what the new store is called in them.
SAVING, DETECTING = "saving", "detection"
STORES = {SAVING: "store", DETECTING: "masks"}
OLD, READY = "old", "ready"
#: A hidden folder in which nothing is yet may belong to somebody who has just begun; seconds.
_JUST_BEGUN = 60.0
_METADATA = frozenset(("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"))
#: What systems and converters put into a store.
_HARMLESS = frozenset((".DS_Store", "METADATA.ome.xml"))
_CHUNK = re.compile(r"c(\.\d+)*|\d+(\.\d+)*")
#: What is in a journal: entries, also those that do not count, and what a kill has left.
_STATE = "prepared|committed|reverting|reverted|aborting"
_ENTRY = re.compile(rf"\d{{8,10}}-z\d+\.({_STATE})(\.\d+)?")
_ENTRY_FILES = frozenset(("entry.json", "pixels.npz"))
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part|[0-9a-f]{32}|reserve|(entry|discarded)-\d+.*")


@contextmanager
def making(target: Path) -> Iterator[Folder]:
    """Yield a hidden folder in which what is to become ``target`` is made; it goes at the end.

    Parameters
    ----------
    target
        Without links; its folder must exist.
    """
    # The name is unique: two who save to the same place do not meet before the end.
    path = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    names = (STORES[SAVING], folders.SCRATCH, OLD, READY)
    try:
        with alone_in(path, SAVING, names, target, timeout=0.0) as work:
            yield work
    finally:
        with open_root(target.parent) as parent, suppress(OSError, StoreError):
            _remove(parent, path.name, SAVING, target.name)


def move_into_place(work: Folder, kind: str, target: Path, overwrite: bool) -> None:
    """Give a finished store its name; an old one goes only when the new one is there, on disk.

    Parameters
    ----------
    work
        Hidden folder beside the target, locked.
    kind
        Of this folder.
    target
        Its name to be.
    overwrite
        Whether what has this name is replaced.

    Raises
    ------
    InputError
        If ``target`` exists and is not to be replaced.
    """
    name = STORES[kind]
    with open_root(target.parent) as parent:
        if parent.stat(target.name) is not None and not overwrite:  # somebody else was faster
            raise InputError(
                f"{target} was created in the meantime; choose another name or overwrite it "
                "(--overwrite)."
            )
        with work.folder(name) as store:
            store.sync_tree()
        if parent.stat(target.name) is None:
            work.rename(name, parent, target.name)
            return
        with work.folder(name) as store:
            check_replaceable(target, labels=_is_label(store))
        work.write(READY, b"")
        parent.rename(target.name, work, OLD)
        try:
            work.rename(name, parent, target.name)
        except OSError:
            work.rename(OLD, parent, target.name)
            raise
        work.remove_tree(OLD)
        work.remove_file(READY)


def check_name_length(target: Path) -> None:
    """Refuse a name that is too long for the hidden folder in which the store is made.

    Raises
    ------
    InputError
        With the number of bytes that it may have.
    """
    longest = os.pathconf(target.parent, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    spare = longest - len(f"..{'0' * 8}.partial")
    if len(os.fsencode(target.name)) > spare:
        raise InputError(f"the name of {target} is too long; choose one of at most {spare} bytes.")


def check_replaceable(target: Path, *, labels: bool = False) -> None:
    """Refuse to replace what is no store, more than a store, or a store of another kind.

    Parameters
    ----------
    target
        What is there.
    labels
        Whether it is replaced by masks (a label image), or by an image. Only like replaces like:
        whoever gives the name of a stack where masks go has mistaken it.

    Raises
    ------
    InputError
        If something else is there, or a file is in it that is not the store's.
    """
    if not (target.is_dir() and is_zarr_node(target)):
        raise InputError(f"{target} is not a zarr store and is not replaced; choose another name.")
    with open_root(target) as store:
        found = stranger(store) or _more_than_an_image(store)
        alike = _is_label(store) == labels
    if found:
        raise InputError(
            f"{target} is not replaced, since {printable(found)} in it is not part of the store; "
            "move that away, or choose another name."
        )
    if not alike:
        kinds = "an image, not masks" if labels else "a label image (masks), not a stack"
        raise InputError(f"{target} is {kinds}, and is not replaced; choose another name.")


def _is_our_crate(store: Folder, name: str) -> bool:
    """Return whether a file of a store is the metadata that we wrote, as we wrote them."""
    return name == CRATE and store.is_file(name) and is_sealed(store.read(name))


def stranger(store: Folder) -> str:
    """Return the first thing in a store that does not belong there; "" where there is none."""
    names = store.names()
    if not names:
        return ""
    if not _METADATA & set(names):
        return names[0]
    array = _is_array(store)
    for name in names:
        if name in _METADATA or name in _HARMLESS or _is_our_crate(store, name):
            continue
        if array and name == folders.JOURNAL and store.is_folder(name):
            with store.folder(name) as journal:
                found = _stranger_in_journal(journal)
            found = found and f"{name}/{found}"
        else:
            found = _stranger_in(store, name, array)
        if found:
            return found
    return ""


def _more_than_an_image(store: Folder) -> str:
    """Return the first array or label image in a group that saving an image does not make."""
    if _is_array(store):
        return ""
    levels = {path.partition("/")[0] for path in _level_paths(store)}
    for name in store.names():
        if name in levels or name in _METADATA or name in _HARMLESS:
            continue
        if _is_our_crate(store, name):
            continue
        if name != folders.LABELS:
            return name
        with store.folder(name) as labels:
            others = set(labels.names()) - _METADATA - set(_HARMLESS) - {folders.SYNTHETIC}
        if others:
            return f"{name}/{min(others)}"
    return ""


def _level_paths(store: Folder) -> list[str]:
    """Return the paths of the levels of the images of a group; none where it names none."""
    try:
        told: Any = _attributes(store)
        images = told.get("ome", told).get("multiscales", [])
        return [str(level["path"]) for image in images for level in image["datasets"]]
    except (TypeError, KeyError, AttributeError):
        return []


def _is_label(store: Folder) -> bool:
    """Return whether a store is a label image, as masks are."""
    return not _is_array(store) and is_label(_attributes(store))


def _attributes(store: Folder) -> dict[str, Any]:
    """Return the attributes of a store; none where it has none that can be read."""
    for name in ("zarr.json", ".zattrs"):
        try:
            told: Any = parse_json(store.read(name, 1 << 26))
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return {}
        told = told.get("attributes", told) if isinstance(told, dict) else {}
        return told if isinstance(told, dict) else {}
    return {}


def _stranger_in(store: Folder, name: str, array: bool) -> str:
    """Return what does not belong there of one name in an array or a group."""
    if array and not _CHUNK.fullmatch(name):
        return name
    if not store.is_folder(name):
        return "" if array and store.is_file(name) else name
    with store.folder(name) as inner:
        found = _no_chunk(inner) if array else stranger(inner)
    return f"{name}/{found}" if found else ""


def _stranger_in_journal(journal: Folder) -> str:
    """Return the first thing in the journal of an array that was not put there by us."""
    for name in journal.names():
        if name in (folders.README, folders.LOCK) or name in _HARMLESS:
            continue
        if name not in (folders.ENTRIES, folders.SCRATCH, folders.LABELS):
            return name
        if not journal.is_folder(name):
            return name
        with journal.folder(name) as inner:
            found = {
                folders.ENTRIES: _no_entry,
                folders.SCRATCH: _not_unfinished,
                folders.LABELS: stranger,
            }[name](inner)
        if found:
            return f"{name}/{found}"
    return ""


def _no_entry(entries: Folder) -> str:
    """Return the first thing among the entries of a journal that is none."""
    for name in sorted(set(entries.names()) - _HARMLESS):
        if not (_ENTRY.fullmatch(name) and entries.is_folder(name)):
            return name
        with entries.folder(name) as entry:
            found = set(entry.names()) - _ENTRY_FILES - _HARMLESS
        if found:
            return f"{name}/{min(found)}"
    return ""


def _not_unfinished(scratch: Folder) -> str:
    """Return the first thing in a scratch folder that a kill of ours has not left there."""
    return next((name for name in scratch.names() if not _UNFINISHED.fullmatch(name)), "")


def _no_chunk(folder: Folder) -> str:
    """Return the first thing in a folder of chunks that is none."""
    for name in folder.names():
        found = "" if name in _HARMLESS else _stranger_in(folder, name, array=True)
        if found:
            return found
    return ""


def _is_array(store: Folder) -> bool:
    if store.is_file(".zarray"):
        return True
    try:
        told = parse_json(store.read("zarr.json", 1 << 26))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("node_type") == "array"


# ---- after a kill


def put_right(path: str) -> tuple[str, ...]:
    """Finish a replacement that was interrupted when it had left nothing at this path.

    Returns
    -------
    tuple of str
        What was done, to be told.
    """
    path = path.removeprefix("file://")
    if "://" in path:
        return ()
    try:
        where = Path(path).expanduser()
        missing = [p for p in (where, *where.parents) if not os.path.lexists(p)]
        return settle(Path(os.path.realpath(missing[-1]))) if missing else ()
    except (OSError, ValueError):  # no path of this system
        return ()


def settle(target: Path, *, tidy: bool = False) -> tuple[str, ...]:
    """Finish or put back replacements of a store that were interrupted.

    Parameters
    ----------
    target
        The store, which may be missing therefore; without links.
    tidy
        Whether stores that were left unfinished are removed as well.

    Returns
    -------
    tuple of str
        What was done, to be told.

    Raises
    ------
    StoreError
        If it cannot be finished; the message says where the stores are.
    """
    if not os.access(target.parent, os.R_OK | os.X_OK):
        return ()
    told: list[str] = []
    with open_root(target.parent) as parent:
        for name in parent.names():
            kind = _kind_of(name, target.name)
            if kind is None or not _is_dead(parent, name, kind):
                continue
            try:
                with parent.folder(name) as work, locked(work, target, timeout=0.0):
                    told += _finish(parent, work, kind, target)
                    if tidy or told:
                        work.remove_tree(OLD)
            except StoreBusy:
                continue
            except OSError as error:
                raise StoreError(
                    f"the replacement of {target} was interrupted and cannot be finished "
                    f"({error.strerror}); the old and the new store are in {parent.path / name}: "
                    "make that folder writable and try again."
                ) from error
            if kind == SAVING and (tidy or told):
                _remove(parent, name, kind, target.name)
    return tuple(told)


def _finish(parent: Folder, work: Folder, kind: str, target: Path) -> list[str]:
    """Bring the new store to its place where the old one has left it; else the old one back."""
    if not work.is_folder(OLD) or parent.stat(target.name) is not None:
        return []
    if work.is_file(READY) and work.is_folder(STORES[kind]):
        work.rename(STORES[kind], parent, target.name)
        return [f"the replacement of {target} was interrupted and is now finished."]
    work.rename(OLD, parent, target.name)
    return [f"the replacement of {target} was interrupted; the old store is back."]


def _kind_of(name: str, target: str) -> str | None:
    """Return the kind of a hidden folder of a target, by its name; None where it is none."""
    if name == folders.unfinished_detection(Path(target)).name:
        return DETECTING
    start, end = f".{target}.", ".partial"
    if name.startswith(start) and name.endswith(end):
        return SAVING if re.fullmatch(r"[0-9a-f]{8}", name[len(start) : -len(end)]) else None
    return None


def _is_dead(parent: Folder, name: str, kind: str) -> bool:
    """Return whether a hidden folder is ours, and nobody has just begun with it."""
    try:
        with parent.folder(name) as work:
            begun = work.stat(STORES[kind]) or work.stat(OLD)
            found = parent.stat(name)
            old = found is not None and time.time() - found.st_mtime > _JUST_BEGUN
            return is_owned(work, kind) and (begun is not None or old)
    except (OSError, StoreError):
        return False


def _remove(parent: Folder, name: str, kind: str, target: str) -> None:
    """Remove a hidden folder, unless the only copy of the target is in it."""
    with parent.folder(name) as work:
        if work.stat(OLD) is not None and parent.stat(target) is None:
            return
    remove_owned(parent, name, kind)
