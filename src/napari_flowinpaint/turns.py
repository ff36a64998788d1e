"""Let the viewer have its turn soon while threads beside it compute in Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

#: Seconds after which a thread of Python asks another for the lock. A viewer that draws gives the
#: lock away at every call of OpenGL, and waits for it afterwards: 5 ms each time, usually.
_TURN = 5e-4

_lock = Lock()
_inside = 0
_usual = 0.0


@contextmanager
def short_turns() -> Iterator[None]:
    """Have threads take short turns while the block runs; any number may be in it."""
    global _inside, _usual
    with _lock:
        if _inside == 0:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual, _TURN))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                sys.setswitchinterval(_usual)
