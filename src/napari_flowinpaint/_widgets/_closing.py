"""Notice when a dock goes away: closed by the user, or with the viewer."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QWidget


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
    may_close
        Asked before the window closes; False keeps it open. A dock is always closed.
    """

    def __init__(
        self, widget: QWidget, closing: Callable[[], None], may_close: Callable[[], bool]
    ) -> None:
        super().__init__(widget)
        self._widget = widget
        self._may_close = may_close
        self._closing: Callable[[], None] | None = closing
        self._docked = False
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Look at the events of the widget, of its dock and of the window around both."""
        kind = event.type()
        if kind == QEvent.Type.ParentChange:
            if watched is self._widget and self._docked and self._widget.parent() is None:
                self._close()
            self._watch_ancestors()
        elif kind == QEvent.Type.Close and isinstance(watched, QMainWindow):
            if self._closing is not None and not self._may_close():
                event.ignore()
                return True  # and no other dock hears of it
            self._close()
        elif kind == QEvent.Type.Close and watched is self._widget:
            self._close()
        return False

    def _watch_ancestors(self) -> None:
        """Follow the way up: the widget is put into a dock before the dock into a window."""
        ancestor = self._widget.parentWidget()
        self._docked = ancestor is not None
        while ancestor is not None:
            ancestor.installEventFilter(self)  # once, however often it is installed
            ancestor = ancestor.parentWidget()

    def _close(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing()
