"""Begin what can wait a moment when the viewer has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread

from qtpy.QtCore import QCoreApplication, QObject, Qt, QTimer

from .. import warm_up

#: Milliseconds between two looks, how many in a row have to be in time, and by how much.
_INTERVAL = 10
_CALM = 3
_LATE = 5
#: Seconds after which it is begun all the same.
_LIMIT = 0.3


class _Looks(QTimer):
    """A timer that tells for how many of its intervals on end the event loop has been idle."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.calm = 0
        self._last = time.monotonic()
        self.setTimerType(Qt.TimerType.PreciseTimer)
        self.setInterval(_INTERVAL)
        self.timeout.connect(self._look)
        self.start()

    def _look(self) -> None:
        now = time.monotonic()
        late = 1000 * (now - self._last) > _INTERVAL + _LATE
        self.calm = 0 if late else self.calm + 1
        self._last = now


class Calm(QObject):
    """Calls back once, as soon as the event loop has been idle for a moment, or 0.3 s have passed.

    A thread that computes in Python holds up the viewer while it draws: what a dock or a click
    asks for is begun after what they show was drawn.

    Parameters
    ----------
    call
        What to call.
    parent
        Qt parent; nothing is called once it is gone.
    """

    def __init__(self, call: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self._call = call
        self._began = time.monotonic()
        self._looks = _Looks(self)
        self._looks.timeout.connect(self._look)

    def _look(self) -> None:
        if self._looks.calm >= _CALM or time.monotonic() - self._began > _LIMIT:
            self._looks.stop()
            self.deleteLater()
            self._call()


class _Pulse(_Looks):
    """Tells a thread that warms up when the viewer is idle, while there is one."""

    def __init__(self, thread: Thread, parent: QObject) -> None:
        super().__init__(parent)
        self._thread = thread
        warm_up.beat()
        self.timeout.connect(self._beat)

    def _beat(self) -> None:
        if not self._thread.is_alive():
            warm_up.stop_beating()
            self.stop()
            self.deleteLater()
        elif self.calm >= _CALM - 1:
            warm_up.beat()


_begun = False


def warm_up_soon() -> None:
    """Warm up in a thread, once the viewer is idle; the first call does it."""
    global _begun
    app = QCoreApplication.instance()
    if _begun or app is None:
        return
    _begun = True

    def begin() -> None:
        thread = Thread(target=warm_up.warm_up, name="flowinpaint-warm-up")
        thread.start()
        _Pulse(thread, app)

    Calm(begin, app)
