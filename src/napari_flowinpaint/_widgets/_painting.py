"""Paint a window in a turn of the event loop of its own, after what has changed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from ..warm_up import busy, hold_collector, release_collector

#: Milliseconds in which the event loop reacts before the window, and then the canvas, is painted.
_PAUSE = 5


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
    """Return whether something that was changed is still to be painted, or to be drawn."""
    return bool(_held)


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
    canvases = window.findChildren(QOpenGLWidget)
    held = _Held(window)
    for canvas in canvases:
        canvas.setUpdatesEnabled(False)
    busy()
    hold_collector()
    _held.add(held)

    def paint() -> None:
        _release(held)
        QTimer.singleShot(_PAUSE, draw)

    def draw() -> None:
        _held.discard(held)
        release_collector()
        with suppress(RuntimeError):  # the window was closed meanwhile
            for canvas in canvases:
                _draw(canvas)

    try:
        yield
    finally:
        QTimer.singleShot(_PAUSE, paint)


def _draw(canvas: QWidget) -> None:
    """Let a canvas be drawn again.

    Where the window was painted meanwhile the canvas is painted over, by what lies behind it: that
    has to be painted once more, which leaves out what a canvas covers.
    """
    canvas.setUpdatesEnabled(True)
    behind = canvas.parentWidget()
    if behind is not None:
        behind.update(canvas.geometry())


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
