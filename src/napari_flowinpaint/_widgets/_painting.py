"""Paint a window in a turn of the event loop of its own, after what has changed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from ..warm_up import busy, hold_collector, release_collector

#: Milliseconds in which the event loop reacts before the window, and then the canvas, is painted.
_PAUSE = 5


class _Held(QObject):
    """Keeps back the event by which Qt paints what has changed in a window, for a moment.

    What has to be painted is remembered by Qt, so nothing is lost and nothing is painted twice.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._wanted = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self._release)
        busy()
        window.installEventFilter(self)

    def go_on_soon(self) -> None:
        """Let the window be painted in one of the next turns."""
        self._timer.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the event back."""
        if event.type() != QEvent.Type.UpdateRequest:
            return False
        self._wanted = True
        return True

    def _release(self) -> None:
        window = self.parent()
        window.removeEventFilter(self)
        if self._wanted:
            QCoreApplication.postEvent(window, QEvent(QEvent.Type.UpdateRequest))
        self.deleteLater()


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
    hold_collector()

    def go_on() -> None:
        release_collector()
        with suppress(RuntimeError):  # the window was closed meanwhile
            for canvas in canvases:
                canvas.setUpdatesEnabled(True)

    try:
        yield
    finally:
        held.go_on_soon()
        QTimer.singleShot(2 * _PAUSE, go_on)


def paint_windows_later() -> None:
    """Let what the rest of this turn changes be painted in the next but one.

    For the constructor of a dock, which is not in a window yet.
    """
    for window in QApplication.topLevelWidgets():
        if isinstance(window, QMainWindow) and window.isVisible():
            _Held(window).go_on_soon()
