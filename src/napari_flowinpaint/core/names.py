"""Names and texts that came from outside: what may be a name, and what may be printed."""

from __future__ import annotations

import os
import re
import shlex

from .errors import StoreError

_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def printable(text: object) -> str:
    """Return a path, or what else came from outside, fit for one line of a terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def check_name(name: str) -> str:
    """Return a name that can only be that of something in a folder.

    Raises
    ------
    StoreError
        If it is empty, leads elsewhere (``..``, a separator, a drive), or is a device.
    """
    separators = [s for s in (os.sep, os.altsep, "/", "\0") if s]
    bad = name in ("", os.curdir, os.pardir) or any(s in name for s in separators)
    if os.name == "nt":
        bad = bad or ":" in name or bool(_WINDOWS_DEVICE.fullmatch(name.rstrip(". ")))
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        bad = True
    if bad:
        raise StoreError(
            f"{printable(ascii(name))} is not a valid file name; the data are damaged, or were "
            "made to lead elsewhere: restore them from a copy."
        )
    return name


def quoted(path: object) -> str:
    """Return a path as a shell takes it, for commands that a message proposes.

    Parameters
    ----------
    path
        Of a file or folder, whatever its name. What cannot be printed is escaped as bash reads it.
    """
    text = str(path)
    if printable(text) == text:
        return shlex.quote(text)
    escaped = (
        "\\" + letter
        if letter in "\\'"
        else letter
        if printable(letter) == letter
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(letter))
        for letter in text
    )
    return f"$'{''.join(escaped)}'"
