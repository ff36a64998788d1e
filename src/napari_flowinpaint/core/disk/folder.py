"""A folder that is held open: whatever is read, written or removed in it lies in it.

A path can lead anywhere: a link that came with somebody's data makes ``store/scratch`` the home of
the user. So a path is walked once, folder by folder and without following links, and then
everything happens relative to the handle of the last folder (``openat`` and its kin), which stays
what it is, whatever is renamed meanwhile. Only the root, which the user named, may be reached
through links of the user's own.

Not responsible for: systems without such calls (:mod:`.portable_folder`), locks (:mod:`.lock`),
whose folder it is (:mod:`.ownership`), what the files mean.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ..errors import LinkFound, StoreError
from ..names import check_name, printable

_CALLS = {os.open, os.mkdir, os.rmdir, os.unlink, os.rename, os.stat, os.access}
#: Whether the system has calls relative to the handle of a folder.
HANDLES = (
    os.supports_dir_fd >= _CALLS
    and os.listdir in os.supports_fd
    and hasattr(os, "O_NOFOLLOW")
    and hasattr(os, "O_DIRECTORY")
)
# A pipe that nobody writes to would be waited for: not blocking, it is opened, looked at, refused.
_FLAGS = sum(getattr(os, f"O_{n}", 0) for n in ("NOFOLLOW", "NONBLOCK", "CLOEXEC", "BINARY"))
_FOLDER = os.O_RDONLY | sum(getattr(os, f"O_{n}", 0) for n in ("DIRECTORY", "CLOEXEC"))


def _numbers(*names: str) -> set[int]:
    """Return the error numbers of these names that the operating system knows."""
    return {getattr(errno, name) for name in names if hasattr(errno, name)}


#: What file systems say that cannot sync a folder (some network and FUSE mounts) ...
_CANNOT_SYNC = _numbers("EINVAL", "ENOTSUP", "EOPNOTSUPP", "EACCES", "EBADF")
#: ... or that cannot reserve space; then there is none to give back.
_CANNOT_RESERVE = _numbers("EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")
#: Nothing of ours is nested deeper; each folder on the way takes a handle.
_DEEPEST = 64


class Folder:
    """A folder that is held open; made by :func:`~.open_root.open_root` and :meth:`folder`.

    It is closed by :meth:`close`, at the end of a ``with`` block, or when nobody needs it. All
    names are names within the folder, never paths, and none may be that of a link: then
    ``StoreError`` is raised, which says so. Errors of the disk are ``OSError``, with the whole
    path as their file name.

    Parameters
    ----------
    handle
        Of the folder; None in a :class:`~.portable_folder.PortableFolder`.
    root
        The folder the user named.
    parts
        The names on the way from there.
    """

    def __init__(self, handle: int | None, root: Path, parts: tuple[str, ...] = ()) -> None:
        self._handle = handle
        self._root = root
        self._parts = parts
        self._closed = False
        self._end: Callable[[], object] = lambda: None
        if handle is not None:
            self._end = weakref.finalize(self, os.close, handle)

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Open the folder that a path leads to: the links in it are followed."""
        root = Path(os.path.realpath(path))
        return cls(os.open(root, _FOLDER), root)

    @property
    def path(self) -> Path:
        """Where it was when it was opened; for messages."""
        return self._root.joinpath(*self._parts)

    def close(self) -> None:
        """Give the handle back; whatever is asked of the folder later fails."""
        self._closed = True
        self._end()
        if self._handle is not None:
            self._handle = -1  # another file may get the old number

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Folder {self.path}>"

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self._root, self._parts)

    # ---- looking

    def stat(self, name: str) -> os.stat_result | None:
        """Return what is known of a file, a folder or a link itself; None where there is none."""
        with self._named(name, look=False):
            try:
                return os.stat(self._at(name), dir_fd=self._handle, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def is_file(self, name: str) -> bool:
        """Return whether there is a regular file of this name."""
        return self._is(name, stat.S_ISREG)

    def is_folder(self, name: str) -> bool:
        """Return whether there is a folder of this name."""
        return self._is(name, stat.S_ISDIR)

    def names(self) -> list[str]:
        """Return the names of all that is in the folder, sorted."""
        # Two lists through one handle at once would share their position in the folder
        handle = os.open(os.curdir, _FOLDER, dir_fd=int(self._here()))
        try:
            return sorted(os.listdir(handle))  # noqa: PTH208
        finally:
            os.close(handle)

    def identity(self) -> tuple[int, int]:
        """Return what tells this folder from every other one on this machine."""
        here = self._here()
        found = os.stat(here)  # noqa: PTH116
        return (found.st_dev, found.st_ino)

    @property
    def is_gone(self) -> bool:
        """Whether the folder was removed since it was opened; one that was renamed is there."""
        try:
            return os.stat(self._here()).st_nlink == 0  # noqa: PTH116
        except OSError:
            return True

    def changed(self) -> tuple[int, int]:
        """Return a value that is another one once the folder, or a name in it, has changed."""
        found = os.stat(self._here())  # noqa: PTH116
        return (found.st_ino, found.st_mtime_ns)

    # ---- folders

    def folder(self, *names: str, create: bool = False) -> Folder:
        """Open the folder that these names lead to, one in the other; without any, this one again.

        Parameters
        ----------
        *names
            Names, from this folder down.
        create
            Whether folders that are missing are made, durably.

        Raises
        ------
        StoreError
            If one of them is a link.
        FileNotFoundError, NotADirectoryError
            If one of them is not there, or is a file.
        """
        here = self._copy()
        for name in names:
            try:
                found = here._child(name, create)
            finally:
                here.close()
            here = found
        return here

    def make_folder(self, name: str) -> Folder:
        """Make a new folder, durably, and open it.

        Raises
        ------
        FileExistsError
            If there is something of this name.
        """
        with self._named(name):
            os.mkdir(self._at(name), dir_fd=self._handle)
        self.sync()
        return self._child(name, create=False)

    def _child(self, name: str, create: bool) -> Folder:
        if create:
            with suppress(FileExistsError), self._named(name):
                os.mkdir(self._at(name), dir_fd=self._handle)
                self.sync()
        return self._enter(name)

    def _enter(self, name: str) -> Folder:
        """Open a folder in this one."""
        where = self._at(name)
        with self._named(name):
            handle = os.open(where, _FOLDER | os.O_NOFOLLOW, dir_fd=self._handle)
        return Folder(handle, self._root, (*self._parts, name))

    def _copy(self) -> Folder:
        return Folder(os.dup(int(self._here())), self._root, self._parts)

    def sync(self) -> None:
        """Make the names in the folder durable."""
        try:
            os.fsync(int(self._here()))
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise

    def sync_tree(self) -> None:
        """Make all that is in the folder durable, to the deepest file."""
        for name, found in self._listed():
            if stat.S_ISDIR(found.st_mode):
                with self.folder(name) as child:
                    child.sync_tree()
            elif stat.S_ISREG(found.st_mode):
                with self.open_file(name) as file:
                    os.fsync(file.fileno())
        self.sync()

    # ---- files

    def open_file(self, name: str) -> BinaryIO:
        """Open a regular file for reading.

        Raises
        ------
        StoreError
            If it is a link, a pipe, a socket or a device.
        FileNotFoundError, IsADirectoryError
            If there is none.
        """
        return os.fdopen(self._open(name, os.O_RDONLY), "rb")

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the content of a regular file.

        Parameters
        ----------
        name
            Its name.
        limit
            Most bytes that make sense; a larger file is refused before it is read.
        """
        with self.open_file(name) as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise StoreError(
                    f"{self._shown(name)} has {size} bytes, more than the {limit} it can have; "
                    "restore it from a copy."
                )
            return file.read()

    def open_lock(self, name: str) -> BinaryIO:
        """Open the file of a lock for reading and writing, and make it where there is none."""
        return os.fdopen(self._open(name, os.O_RDWR | os.O_CREAT), "rb+")

    @contextmanager
    def new_file(self, name: str) -> Iterator[BinaryIO]:
        """Yield a new file; its content is on disk when the block ends, its name need not be.

        Raises
        ------
        FileExistsError
            If there is something of this name, be it a link.
        """
        handle = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def write(
        self, name: str, content: Any, scratch: Folder | None = None, *, durable: bool = True
    ) -> None:
        """Put a file here: whoever looks sees the old one or the new one, never a part of it.

        A file that is replaced keeps its permissions; one that may not be written to is not
        replaced, although the folder would allow it: whoever protects the files of a stack means
        it.

        Parameters
        ----------
        name
            Of the file.
        content
            Bytes-like.
        scratch
            Folder of the same file system in which it is written first; None for this one.
        durable
            Whether it is on disk afterwards; if not, only the name changes at once.

        Raises
        ------
        StoreError
            If there is something of this name that is not a regular file.
        """
        mode = self.check_replaceable(name)
        first, part = scratch or self, f".{uuid.uuid4().hex}.part"
        try:
            handle = first._open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                if mode is not None and hasattr(os, "fchmod"):
                    with suppress(OSError):  # some network file systems know no permissions
                        os.fchmod(file.fileno(), mode)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            first.rename(part, self, name, durable=durable)
        except BaseException:
            with suppress(OSError):  # on a full disk the space is needed to put things right
                first.remove_file(part)
            raise

    def reserve(self, name: str, size: int) -> None:
        """Take ``size`` bytes of disk space, to be given back when the disk is full."""
        with self.new_file(name) as file:
            if hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError as error:
                    if error.errno not in _CANNOT_RESERVE:
                        raise
            else:
                block = bytes(1 << 20)
                for start in range(0, size, len(block)):
                    file.write(block[: size - start])

    def append(self, name: str, line: str) -> None:
        """Add a line to a text file (UTF-8), which is made where there is none.

        A file that has another name elsewhere (a hard link, such as some backups make) is replaced
        by one with the line, so that what the other name stands for stays.
        """
        found = self.stat(name)
        told = f"{line}\n".encode()
        if found is not None and found.st_nlink > 1:
            self.write(name, self.read(name) + told)
            return
        with os.fdopen(self._open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
            file.write(told)

    def rename(
        self,
        name: str,
        target: Folder | None = None,
        new: str | None = None,
        *,
        durable: bool = True,
    ) -> None:
        """Rename at once, durably; a file of the new name is replaced, a full folder is not.

        Parameters
        ----------
        name
            A file or folder in this one.
        target
            Folder of the same file system that it goes to; None for this one.
        new
            Its name there; None for the same.
        durable
            Whether the new name is on disk afterwards.
        """
        target, new = target or self, name if new is None else new
        for folder, there in ((self, name), (target, new)):
            found = folder.stat(there)
            if found is not None and is_link(found):
                folder._refuse(there)
        source, goal = self._at(name), target._at(new)
        with self._named(name):
            os.replace(source, goal, src_dir_fd=self._handle, dst_dir_fd=target._handle)
        if durable:
            target.sync()

    # ---- removing

    def remove_file(self, name: str) -> None:
        """Remove a file, or a link itself; nothing happens where there is none."""
        with suppress(FileNotFoundError), self._named(name, look=False):
            os.unlink(self._at(name), dir_fd=self._handle)

    def remove_tree(self, name: str) -> None:
        """Remove a file, a link itself, or a folder with all that is in it.

        Never goes where a link leads, nor to another file system that is mounted below. Nothing
        happens where there is none.

        Raises
        ------
        StoreError
            If it is nested so deeply that it cannot be ours, or has another file system in it.
        """
        self._remove(name, self.identity()[0], _DEEPEST)

    def _remove(self, name: str, device: int, depth: int) -> None:
        found = self.stat(name)
        if found is None:
            return
        if is_link(found) or not stat.S_ISDIR(found.st_mode):
            self.remove_file(name)
            return
        if depth == 0 or found.st_dev != device:
            why = "is nested too deeply" if depth == 0 else "lies on another file system"
            raise StoreError(f"{self._shown(name)} {why} and is not removed; check it yourself.")
        with self.folder(name) as child:
            for inner in child.names():
                child._remove(inner, device, depth - 1)
        self.remove_folder(name)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder; nothing happens where there is none."""
        with suppress(FileNotFoundError), self._named(name):
            os.rmdir(self._at(name), dir_fd=self._handle)

    # ---- within

    def _at(self, name: str) -> str:
        """Return what the system calls of a name take, beside the handle of the folder."""
        if self._closed:
            raise ValueError(f"the folder {self.path} is closed")
        return check_name(name)

    def _here(self) -> int | str:
        """Return what ``os.listdir`` takes for this folder."""
        if self._handle is None or self._closed:
            raise ValueError(f"the folder {self.path} is closed")
        return self._handle

    def _open(self, name: str, flags: int) -> int:
        """Open a regular file."""
        where = self._at(name)
        with self._named(name):
            handle = os.open(where, flags | _FLAGS, 0o666, dir_fd=self._handle)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            self._refuse(name)
        return handle

    def check_replaceable(self, name: str) -> int | None:
        """Return the permissions of a file that is to go, or to be replaced; None for none.

        Raises
        ------
        PermissionError
            If it may not be written to: whoever protects the files of a stack means it.
        """
        found = self.stat(name)
        if found is None:
            return None
        if not stat.S_ISREG(found.st_mode):
            self._refuse(name)
        with self._named(name):
            if not os.access(self._at(name), os.W_OK, dir_fd=self._handle):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat.S_IMODE(found.st_mode)

    def _is(self, name: str, kind: Callable[[int], bool]) -> bool:
        found = self.stat(name)
        if found is not None and is_link(found):
            self._refuse(name)
        return found is not None and kind(found.st_mode)

    def _listed(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield all that is in the folder; a link is refused."""
        for name in self.names():
            found = self.stat(name)
            if found is not None and is_link(found):
                self._refuse(name)
            if found is not None:
                yield name, found

    def _refuse(self, name: str) -> NoReturn:
        """Raise the error that says that this is neither a file nor a folder."""
        found = self.stat(name)
        if found is not None and is_link(found):
            raise link_found(self.path / name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path / name))
        raise StoreError(
            f"{self._shown(name)} is a pipe, a socket or a device, not a file; remove it."
        )

    @contextmanager
    def _named(self, name: str, look: bool = True) -> Iterator[None]:
        """Give errors the whole path; say which of them are due to a link."""
        try:
            yield
        except FileNotFoundError as error:
            error.filename = str(self.path / name)
            raise
        except OSError as error:
            if look and name and not isinstance(error, FileExistsError):
                found = self.stat(name)
                regular = found is None or stat.S_IFMT(found.st_mode) in (
                    stat.S_IFREG,
                    stat.S_IFDIR,
                )
                if found is not None and (is_link(found) or not regular):
                    self._refuse(name)
            error.filename = str(self.path / name)
            raise

    def _shown(self, name: str) -> str:
        return printable(self.path / name)


def _reopen(kind: type[Folder], root: Path, parts: tuple[str, ...]) -> Folder:
    """Open a folder again in another process."""
    with kind.at(root) as start:
        return start.folder(*parts)


def is_link(found: os.stat_result) -> bool:
    """Return whether this is a symbolic link, or a junction of Windows."""
    junction = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)
    return stat.S_ISLNK(found.st_mode) or (
        junction is not None and getattr(found, "st_reparse_tag", 0) == junction
    )


def link_found(path: Path) -> LinkFound:
    """Return the error that says that a link is not followed."""
    return LinkFound(
        f"{printable(path)} is a link, which is not followed; replace it with what it points to, "
        "or remove it."
    )
