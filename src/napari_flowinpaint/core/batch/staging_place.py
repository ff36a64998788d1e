"""The place of a staging folder: whose it is, who works in it, what may be removed.

Not responsible for: what the files in it mean (:mod:`.staging_folder`).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import folders
from ..disk.folder import Folder
from ..disk.lock import StoreBusy, locked
from ..disk.open_root import open_root
from ..disk.ownership import MARK, is_owned, read_mark
from ..disk.ownership import foreign as not_ours
from ..disk.workplace import is_empty, make_ours, remove_marks
from ..errors import StoreError, is_disk_full
from ..io.npz import LARGEST_JSON
from ..names import printable
from .records import StagedPlan, parse

_README = """\
Repairs made by flowinpaint, waiting to be accepted and written into the stack.
Nothing here is part of the stack. Delete the folder if you do not want them; to resume an
interrupted batch, keep it and run the same command again.
"""
KIND = "staging"
_FILES = (folders.PLAN, folders.DECISIONS, folders.EDITS_FILE, folders.LOG, folders.LOCK)
_FOLDERS = (folders.MASKS, folders.SECTIONS, folders.EDITS)
#: What we write in it, besides the mark.
_NAMES = (folders.README, *_FILES, *_FOLDERS, folders.SCRATCH)
#: Who holds the lock.
_AT_WORK = "at-work"
#: Files of sections in it.
SECTION_FILE = re.compile(r"z(\d{6,10})\.npz")
#: Unfinished files, and those that tell workers that they are still wanted.
_UNFINISHED = re.compile(rf"\.[0-9a-f]{{32}}\.part|run-[0-9a-f]{{12}}|redo|{_AT_WORK}")
_SCRATCH_FILE = re.compile(rf"{_UNFINISHED.pattern}|{folders.LOCK}")
#: What is raised where there is no folder of a name.
ABSENT = (FileNotFoundError, NotADirectoryError)


class StagingBusy(StoreBusy):
    """Another batch is at work in the staging folder."""


class StagingPlace:
    """A place where a staging folder is, or is going to be.

    Parameters
    ----------
    path
        The folder; need not exist yet.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()

    @property
    def exists(self) -> bool:
        """Whether a batch was begun here."""
        with self.opened() as root:
            return root is not None and root.is_file(folders.PLAN)

    @property
    def ours(self) -> bool:
        """Whether we made this very folder, so that what we wrote in it may be removed."""
        with self.opened() as root:
            return root is not None and is_owned(root, KIND)

    @property
    def foreign(self) -> bool:
        """Whether something else is at this place.

        Not where a batch was killed before it put its plan there; nor is a copy of a staging folder
        something else, nor one that an earlier version has made.
        """
        try:
            with self.opened() as root:
                if root is None:
                    return self.path.exists()
                if is_empty(root) or read_mark(root, KIND) is not None:
                    return False
                if not root.is_file(folders.PLAN):
                    return True
        except NotADirectoryError:
            return True
        try:
            with open_root(self.path) as root:
                parse(StagedPlan, root.read(folders.PLAN, LARGEST_JSON))
        except (OSError, ValueError, StoreError):
            return True
        return False

    def check_kinds(self) -> None:
        """Refuse a folder in which there is a link, or a folder in place of a file.

        Raises
        ------
        StoreError
            Naming it; nothing is written.
        """
        with self.opened() as root:
            if root is None:
                return
            wrong = [name for name in (folders.README, *_FILES) if root.is_folder(name)]
            for name in (*_FOLDERS, folders.SCRATCH):
                if root.is_file(name):
                    wrong.append(name)
                elif root.is_folder(name):
                    with root.folder(name) as inside:
                        ours = [n for n in inside.names() if n == folders.LOCK or _is_section(n)]
                        wrong += [f"{name}/{n}" for n in ours if inside.is_folder(n)]
        if wrong:
            raise StoreError(
                f"{printable(self.path / wrong[0])} is not what a batch puts there (a folder "
                "instead of a file, or a file instead of a folder); remove it and try again."
            )

    @contextmanager
    def writing(self, timeout: float = 1.0) -> Iterator[None]:
        """Create the folder where it is missing, and keep other batches out of it.

        Parameters
        ----------
        timeout
            Seconds to wait for another one.

        Raises
        ------
        StagingBusy
            If another batch is using it; the message says which.
        StoreError
            If it may not be written to.
        """
        with self.explained():
            while True:
                with (
                    self._make() as root,
                    root.folder(folders.SCRATCH, create=True) as scratch,
                    self._locked(scratch, timeout),
                ):
                    if not self._is_still(root, scratch):
                        continue  # whoever had it has removed it meanwhile
                    if is_owned(root, KIND):
                        _sweep(scratch)
                        self.put(folders.README, _README.encode())
                    with _named(scratch):
                        yield
                    return

    def _make(self) -> Folder:
        """Open the folder, which is made where it is missing."""
        with self.opened() as root:
            if root is not None and (read_mark(root, KIND) or root.is_file(folders.PLAN)):
                return root.folder()
        return make_ours(self.path, KIND, _NAMES)

    @contextmanager
    def _locked(self, scratch: Folder, timeout: float) -> Iterator[None]:
        """Hold the lock; say who holds it where that is another one."""
        held = locked(scratch, self.path, timeout)
        try:
            held.__enter__()
        except StoreBusy:
            who = ""
            with suppress(OSError, StoreError, ValueError):
                who = f" ({printable(scratch.read(_AT_WORK, 300).decode())})"
            raise StagingBusy(
                f"another process{who} is at work in {self.path}; wait until it has finished and "
                "try again."
            ) from None
        try:
            yield
        finally:
            held.__exit__(None, None, None)

    def _is_still(self, root: Folder, scratch: Folder) -> bool:
        """Return whether what was locked is what is there."""
        with self.opened() as now:
            if now is None or now.identity() != root.identity():
                return False
            try:
                with now.folder(folders.SCRATCH) as found:
                    same = found.identity() == scratch.identity()
                    return same and found.is_file(folders.LOCK)
            except ABSENT:
                return False

    @contextmanager
    def token(self, name: str) -> Iterator[Path]:
        """Yield the path of a file that is there until the block ends."""
        with self._scratch() as scratch:
            scratch.write(name, b"", durable=False)
            try:
                yield self.path / folders.SCRATCH / name
            finally:
                with suppress(OSError):
                    scratch.remove_file(name)

    def clear(self) -> tuple[str, ...]:
        """Remove what was staged; call it while :meth:`writing`.

        Returns
        -------
        tuple of str
            What is left, since somebody else has put it there.

        Raises
        ------
        StoreError
            If we did not make the folder; nothing is removed.
        """
        with open_root(self.path) as root:
            if not is_owned(root, KIND):
                raise not_ours(self.path, KIND)
            for name in _FILES:
                root.remove_file(name)
            for name in _FOLDERS:
                with suppress(*ABSENT), root.folder(name) as folder:
                    for file in filter(SECTION_FILE.fullmatch, folder.names()):
                        folder.remove_file(file)
                with suppress(OSError):  # something is left in it
                    root.remove_folder(name)
        return self.strangers()

    def strangers(self) -> tuple[str, ...]:
        """Return what somebody else has put into the folder: names, within it."""
        with open_root(self.path) as root:
            left = [name for name in root.names() if name not in (MARK, *_NAMES)]
            for inside in (*_FOLDERS, folders.SCRATCH):
                known = _SCRATCH_FILE if inside == folders.SCRATCH else SECTION_FILE
                with suppress(*ABSENT), root.folder(inside) as folder:
                    names = folder.names()
                    left += [f"{inside}/{name}" for name in names if not known.fullmatch(name)]
        return tuple(left)

    def remove(self) -> None:
        """Remove the cleared folder where nothing of somebody else's is in it.

        Call it while :meth:`writing`: whoever waits for the lock looks whether it is still there.
        """
        if os.name == "nt":  # a lock that is held cannot be removed; the empty folder stays
            return
        if self.strangers():
            return
        with open_root(self.path) as root, root.folder(folders.SCRATCH) as scratch:
            if not is_owned(root, KIND):
                raise not_ours(self.path, KIND)
            for name in (_AT_WORK, folders.LOCK):
                scratch.remove_file(name)
            root.remove_folder(folders.SCRATCH)
            root.remove_file(folders.README)
            remove_marks(root)
        with suppress(OSError):  # an empty folder that the user reaches by a link stays
            self.path.rmdir()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn an error of the disk into one line with advice."""
        try:
            yield
        except OSError as error:
            full = is_disk_full(error)
            stored = "there is no space left" if full else error.strerror or error
            raise StoreError(
                f"{self.path} cannot be written to ({stored}); make room or check the "
                "permissions, or choose another folder for the staging."
            ) from error

    @contextmanager
    def opened(self) -> Iterator[Folder | None]:
        """Yield the folder, None where there is none."""
        try:
            root = open_root(self.path)
        except ABSENT:
            yield None
            return
        with root:
            yield root

    @contextmanager
    def _scratch(self) -> Iterator[Folder]:
        with open_root(self.path) as root, root.folder(folders.SCRATCH, create=True) as scratch:
            yield scratch

    def put(self, name: str, content: bytes, folder: str | None = None) -> None:
        """Put a file into the folder, as a whole or not at all; nothing where it is there."""
        with open_root(self.path) as root, root.folder(folders.SCRATCH, create=True) as scratch:
            inside = () if folder is None else (folder,)
            with root.folder(*inside, create=True) as target:
                found = target.stat(name)
                same_size = found is not None and found.st_size == len(content)
                if same_size and target.read(name) == content:
                    return
                target.write(name, content, scratch)


def _is_section(name: str) -> bool:
    return SECTION_FILE.fullmatch(name) is not None


@contextmanager
def _named(scratch: Folder) -> Iterator[None]:
    """Say who holds the lock."""
    who = f"process {os.getpid()} on {socket.gethostname()}"
    scratch.write(_AT_WORK, who.encode(), durable=False)
    try:
        yield
    finally:
        with suppress(OSError):
            scratch.remove_file(_AT_WORK)


def _sweep(scratch: Folder) -> None:
    """Remove what a batch that was killed has left unfinished."""
    for name in scratch.names():
        if _UNFINISHED.fullmatch(name):
            scratch.remove_file(name)
