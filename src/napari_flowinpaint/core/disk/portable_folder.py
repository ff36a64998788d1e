"""A folder where the system has no calls relative to handles (Windows): see :mod:`.folder`.

Every folder of a path is looked at before each operation. That refuses the links that came with the
data, but not one that another program puts there between the look and the operation.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .folder import Folder, is_link, link_found


class PortableFolder(Folder):
    """A folder that is known by its path.

    Parameters
    ----------
    root, parts
        As for :class:`.folder.Folder`.
    """

    def __init__(self, root: Path, parts: tuple[str, ...] = ()) -> None:
        super().__init__(None, root, parts)

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Open the folder that a path leads to: the links in it are followed."""
        root = Path(os.path.realpath(path))
        if not stat.S_ISDIR(os.stat(root).st_mode):  # noqa: PTH116
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root))
        return cls(root)

    def names(self) -> list[str]:
        """Return the names of all that is in the folder, sorted."""
        return sorted(os.listdir(self._here()))  # noqa: PTH208

    def sync(self) -> None:
        """Do nothing: renames are durable by the journal of the file system."""

    def _enter(self, name: str) -> Folder:
        where = self._at(name)
        with self._named(name):
            if not stat.S_ISDIR(Path(where).lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return PortableFolder(self._root, (*self._parts, name))

    def _copy(self) -> Folder:
        self._here()
        return PortableFolder(self._root, self._parts)

    def _at(self, name: str) -> str:
        return os.path.join(str(self._here()), super()._at(name))  # noqa: PTH118

    def _here(self) -> int | str:
        if self._closed:
            raise ValueError(f"the folder {self.path} is closed")
        path = self._root
        for part in self._parts:
            path = path / part
            found = os.stat(path, follow_symlinks=False)  # noqa: PTH116
            if is_link(found):
                raise link_found(path)
        return str(path)

    def _open(self, name: str, flags: int) -> int:
        found = self.stat(name)
        if found is not None and not flags & os.O_EXCL and not stat.S_ISREG(found.st_mode):
            self._refuse(name)
        return super()._open(name, flags)
