"""Whether what is about to be read fits in memory: a header may promise what nobody has.

Not responsible for: what a repair needs besides its pixels.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from ..errors import StoreError

#: Taken where the system does not tell, bytes.
_UNKNOWN = 1 << 34


def check_fits(size: int, what: str) -> None:
    """Refuse to read what does not fit in the memory that is free.

    Parameters
    ----------
    size
        Bytes.
    what
        What is to be read, for the message.

    Raises
    ------
    StoreError
        If it does not fit.
    """
    if size < 1 << 26:  # asking the system takes longer than reading this
        return
    free = free_memory()
    if size > free:
        raise StoreError(
            f"{what} needs {_gigabytes(size)} of memory, but only {_gigabytes(free)} is free; if "
            "its shape is right, use a machine with more memory."
        )


def free_memory() -> int:
    """Return how much memory this process can still get, bytes; a guess where nobody tells."""
    found = [size for size in (_of_system(), _of_container(), _of_process()) if size is not None]
    return max(min(found, default=_UNKNOWN), 0)


def _of_system() -> int | None:
    """Return what is free on this machine, or all it has where it tells nothing better."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container() -> int | None:
    """Return what is left of the limit of a container or a batch system (Linux, cgroup 2)."""
    folder = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # no limit is told as "max"
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        return limit - int((folder / "memory.current").read_text(encoding="ascii"))
    return None


def _of_process() -> int | None:
    """Return the limit of this process (``ulimit -v``)."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
