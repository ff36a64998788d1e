"""Open the folder that the user named, as the system can."""

from __future__ import annotations

from pathlib import Path

from .folder import HANDLES, Folder
from .portable_folder import PortableFolder


def open_root(path: Path | str, *, handles: bool = HANDLES) -> Folder:
    """Open the folder that the user named; it may be reached through links.

    Parameters
    ----------
    path
        Of the folder.
    handles
        Whether the calls relative to handles are used; not where the system has none.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    """
    return (Folder if handles else PortableFolder).at(Path(path))
