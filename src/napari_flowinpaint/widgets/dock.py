"""What all docks have in common: how they begin, and how they end.

A dock ends when the user closes it, or with the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QVBoxLayout, QWidget

from ..viewer.removal import never
from ..viewer.session import Session, session_of
from .parts.canvas import CanvasContext
from .parts.jobs import JobRunner
from .parts.keys import KeyBindings
from .parts.messages import Messages, spoken_of
from .parts.questions import may_close
from .parts.scrolling import ScrollColumn


class Part(Protocol):
    """A part of a dock that listens to the session."""

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""


_Part = TypeVar("_Part", bound=Part)


_Kind = TypeVar("_Kind", bound="Dock")
#: The open docks, of all viewers.
_docks: WeakSet[Dock] = WeakSet()


def open_dock_of(session: Session, kind: type[_Kind]) -> _Kind | None:
    """Return the open dock of a kind, or None."""
    found = (dock for dock in _docks if isinstance(dock, kind) and dock.session is session)
    return next(found, None)


class Dock(QWidget):
    """A dock: the session of its viewer, threads, keys, a status line, and parts that listen.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    keeps_room
        Whether the status line is never lower than two lines.

    Attributes
    ----------
    tab
        Title as a tab, short: four lie side by side.
    """

    tab = "FlowInpaint"

    def __init__(self, napari_viewer: Any, *, keeps_room: bool = False) -> None:
        super().__init__()
        self.session = session_of(napari_viewer)
        self.session.later = self._later
        self.jobs = JobRunner(self, lambda: self.session.image)
        self.messages = Messages(keeps_room, partial(spoken_of, self.jobs))
        self.keys = KeyBindings(self.session.viewer, self)
        self._parts: list[Part] = []
        _docks.add(self)
        self._connections: list[tuple[Any, Callable[..., None]]] = []
        self.listen(self.session.stack_removed, self._end_with)
        self._watch = WindowWatch(
            self, self.close_session, lambda: may_close(self, self.session), self._on_docked
        )
        self._placed = False

    def with_part(self, part: _Part) -> _Part:
        """Return a part, which is told when the dock closes."""
        self._parts.append(part)
        return part

    def listen(self, signal: Any, slot: Callable[..., None]) -> None:
        """Connect a signal of the session until the dock closes."""
        signal.connect(slot)
        self._connections.append((signal, slot))

    def lay_out(self, scroll: ScrollColumn, *below: QWidget) -> None:
        """Put widgets below what scrolls, and the status line below all."""
        self.scroll = scroll
        box = QVBoxLayout(self)
        box.addWidget(scroll, stretch=1)
        for widget in (*below, self.messages):
            box.addWidget(widget)

    def _end_with(self, image: Any) -> None:
        """Say and do no more about a stack that was removed."""
        self.messages.forget(image)
        self.jobs.cancel_of(image)

    def _later(self, what: Callable[[], None]) -> None:
        """Call something in the next iteration of the event loop, if the dock is open then."""
        QTimer.singleShot(0, lambda: what() if self in _docks else None)

    def _on_docked(self, window: QMainWindow) -> None:
        """Let the keys work in the window, and lie down beside the docks that are there."""
        self.keys.attach(window)
        CanvasContext.keep(self.session.viewer, window)
        if not self._placed:
            self._placed = True
            self._later(self._tabify)

    def _tabify(self) -> None:
        """Become a tab of the docks of the plugin: stacked, each would be too low to work with.

        Once: where the user then puts it, it stays.
        """
        own, window = dock_around(self), self.window()
        if own is None or not isinstance(window, QMainWindow):
            return
        name = own.windowTitle()
        own.setWindowTitle(self.tab)
        own.toggleViewAction().setText(name)  # in the menu there is room
        for other in _docks:
            there = dock_around(other) if other.session is self.session else None
            if there is None or there is own or there.window() is not window:
                continue
            if not there.isFloating() and there not in window.tabifiedDockWidgets(own):
                window.tabifyDockWidget(there, own)
                self._later(own.raise_)  # once there is a tab
                return

    def close_session(self) -> None:
        """Stop and wait for the threads, unbind the keys, stop listening."""
        _docks.discard(self)
        other = open_dock_of(self.session, Dock)
        self.session.later = never if other is None else other._later
        self.jobs.stop()
        self.keys.release()
        for part in self._parts:
            part.disconnect_session()
        for signal, slot in self._connections:
            signal.disconnect(slot)


def dock_around(widget: QWidget) -> QDockWidget | None:
    """Return the dock that a widget is in, or None."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


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
    docked
        Called with the window once the widget is in one.
    """

    def __init__(
        self,
        widget: QWidget,
        closing: Callable[[], None],
        may_close: Callable[[], bool],
        docked: Callable[[QMainWindow], None],
    ) -> None:
        super().__init__(widget)
        self._widget = widget
        self._may_close = may_close
        self._closing: Callable[[], None] | None = closing
        self._tell_window = docked
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
            if isinstance(ancestor, QMainWindow):
                self._tell_window(ancestor)
            ancestor = ancestor.parentWidget()

    def _close(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing()
