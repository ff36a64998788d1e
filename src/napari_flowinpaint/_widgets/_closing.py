"""Notice when a dock goes away: closed by the user, or with the viewer."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class WindowWatch(QObject):
    """Calls back once, before a widget's window closes or when it is taken out of its dock.

    napari takes the widget out of a dock that is closed and leaves it to the garbage collector;
    a closing viewer tells its docks nothing. Threads have to be stopped in either case.

    Parameters
    ----------
    widget
        The widget inside the dock.
    closing
        What to call.
    """

    def __init__(self, widget: QWidget, closing: Callable[[], None]) -> None:
        super().__init__(widget)
        self._widget = widget
        self._closing: Callable[[], None] | None = closing
        self._window: QWidget | None = None
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Look at the events of the widget and of the window around it."""
        kind = event.type()
        if watched is self._widget:
            if kind == QEvent.Type.Show and self._window is None:
                window = self._widget.window()
                if window is not self._widget:
                    self._window = window
                    window.installEventFilter(self)
            elif kind == QEvent.Type.Close or (
                kind == QEvent.Type.ParentChange
                and self._widget.parent() is None
                and self._window is not None
            ):
                self._close()
        elif watched is self._window and kind == QEvent.Type.Close:
            self._close()
        return False

    def _close(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing()
