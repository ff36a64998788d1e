"""A stack that keeps the parts that were read last, for those who read the same ones again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from ..types import AnyImage, Box
from .stack import Stack


class RecentStack(Stack):
    """A stack that keeps what was read last, up to ``most`` bytes.

    It does not notice when the data change, so it is to be used for one run only.

    Parameters
    ----------
    stack
        The stack.
    most
        Bytes to keep.
    """

    def __init__(self, stack: Stack, most: int) -> None:
        self._lock = threading.Lock()
        self._parts: OrderedDict[tuple[int, Box | None], AnyImage] = OrderedDict()
        self._bytes, self._most = 0, most
        super().__init__(stack._opened, stack.path, stack._reopen)

    def read(self, z: int, box: Box | None = None) -> AnyImage:
        """Read one section, or the ``box`` of it; see :meth:`.Stack.read`. Not to be changed."""
        key = (z, box)
        with self._lock:
            found = self._parts.get(key)
            if found is not None:
                self._parts.move_to_end(key)
                return found
        part = super().read(z, box)
        part.flags.writeable = False
        with self._lock:
            if key not in self._parts:
                self._parts[key] = part
                self._bytes += part.nbytes
            while self._bytes > self._most:
                _, gone = self._parts.popitem(last=False)
                self._bytes -= gone.nbytes
        return part
