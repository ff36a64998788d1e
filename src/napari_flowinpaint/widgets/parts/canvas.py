"""Keep the window alive when layers are removed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow


class CanvasContext(QObject):
    """Makes the OpenGL context of a viewer's canvas current before layers are removed.

    napari 0.9.2 then, or after the last of many, sends what is left to be done in OpenGL, deletions
    above all, and does not make that context current: mostly the one in which Qt composes the
    window is. What is deleted there stays bound in the canvas's, and drawing with it crashes.
    Nothing may be painted at once while layers are removed: that makes the other context current.

    It lives as long as the window: layers are removed after our docks have been closed as well.

    Parameters
    ----------
    viewer
        The viewer.
    window
        Its window.
    """

    def __init__(self, viewer: Any, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        viewer.layers.events.removing.connect(self._make_current)
        viewer.layers.events.end_batch.connect(self._make_current)  # before the canvas hears of it

    @classmethod
    def keep(cls, viewer: Any, window: QMainWindow) -> None:
        """See to it from now on; once for a window, however often it is called."""
        if window.findChild(cls) is None:
            cls(viewer, window)

    def _make_current(self, event: Any = None) -> None:
        middle = self._window.centralWidget()  # docks of other plugins may have a canvas as well
        for canvas in [] if middle is None else middle.findChildren(QOpenGLWidget):
            if canvas.isValid():
                canvas.makeCurrent()
