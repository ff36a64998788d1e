"""Paint a window in a turn of the event loop of its own, after what has changed it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from weakref import WeakSet

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from ..warm_up import busy, hold_collector, release_collector

#: Milliseconds in which the event loop reacts before the window, and then the canvas, is painted.
_PAUSE = 5
#: Seconds for which a canvas stays as it is at most while steps go on.
_STILL = 0.25


class _Held(QObject):
    """Keeps back the event by which Qt paints what has changed in a window.

    What has to be painted is remembered by Qt, so nothing is lost and nothing is painted twice.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._wanted = False
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the event back."""
        if event.type() != QEvent.Type.UpdateRequest:
            return False
        self._wanted = True
        return True

    def release(self) -> None:
        """Let the window be painted, in the next turn of the event loop."""
        window = self.parent()
        window.removeEventFilter(self)
        if self._wanted:
            QCoreApplication.postEvent(window, QEvent(QEvent.Type.UpdateRequest))
        self.deleteLater()


#: What keeps windows from being painted now, for :func:`painted_later`.
_held: set[_Held] = set()


def is_to_paint() -> bool:
    """Return whether something that was changed is still to be painted."""
    return bool(_held)


class _Canvases:
    """Canvases that are not drawn while steps go on that change them, but for a moment at most.

    To draw a canvas takes longer than most steps; it is drawn once after several.
    """

    def __init__(self) -> None:
        self.steps: WeakSet[object] = WeakSet()  # that are not all done
        self._still: set[QWidget] = set()
        self._since = 0.0
        self._waiting = False

    def hold(self, canvases: Iterable[QWidget]) -> None:
        """Have canvases stay as they are until :meth:`draw`."""
        if not self._still:
            self._since = time.monotonic()
        for canvas in canvases:
            self._still.add(canvas)
            canvas.setUpdatesEnabled(False)

    def draw(self) -> None:
        """Let the canvases be drawn again, now or soon.

        Where the window was painted meanwhile a canvas may be painted over, by what lies behind
        it: that has to be painted once more, which leaves out what a canvas covers.
        """
        if self.steps and time.monotonic() - self._since < _STILL:
            if not self._waiting:
                self._waiting = True
                QTimer.singleShot(2 * _PAUSE, self._draw_at_last)
            return
        for canvas in self._still:
            with suppress(RuntimeError):  # the window was closed meanwhile
                canvas.setUpdatesEnabled(True)
                behind = canvas.parentWidget()
                if behind is not None:
                    behind.update(canvas.geometry())
        self._still.clear()

    def _draw_at_last(self) -> None:
        self._waiting = False
        self.draw()


canvases = _Canvases()


@contextmanager
def painted_later(widget: QWidget) -> Iterator[None]:
    """Leave to later turns of the event loop what changes of a window bring about.

    The window is painted, then its canvas is drawn, each of which takes as long as many a change,
    and then the garbage collector looks through the many objects that a layer is made of.

    Parameters
    ----------
    widget
        In the window that is changed.
    """
    window = widget.window()
    held = _Held(window)
    canvases.hold(window.findChildren(QOpenGLWidget))
    busy()
    hold_collector()
    _held.add(held)

    def paint() -> None:
        _release(held)
        QTimer.singleShot(_PAUSE, draw)

    def draw() -> None:
        _held.discard(held)
        release_collector()
        canvases.draw()

    try:
        yield
    finally:
        QTimer.singleShot(_PAUSE, paint)


def paint_windows_later() -> None:
    """Let what the rest of this turn changes be painted in the next but one.

    For the constructor of a dock, which is not in a window yet.
    """
    busy()
    for window in QApplication.topLevelWidgets():
        if isinstance(window, QMainWindow) and window.isVisible():
            held = _Held(window)
            QTimer.singleShot(_PAUSE, partial(_release, held))


def _release(held: _Held) -> None:
    with suppress(RuntimeError):  # the window was closed meanwhile
        held.release()
