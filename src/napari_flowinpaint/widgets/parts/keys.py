"""Keys of the docks: shortcuts of the window, whatever in it has the focus.

Not bound to the viewer, which hears keys only while the canvas has the focus. Fields that are typed
into keep their keys. Keys that napari or the user has bound already are left alone. npe2 parses
key bindings of a manifest and registers none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from app_model.types import KeyBinding
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QAction, QKeyEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import QMainWindow

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...viewer.session import Session

#: Milliseconds after which a key is pressed again by the system where it is held down: some systems
#: tell of a release in between, as if it were one.
_REPEATS = 100

Action = Callable[["ViewerModel"], Iterator[None] | None]


class KeyBindings(QObject):
    """Keys of one dock.

    Parameters
    ----------
    viewer
        The viewer.
    parent
        Qt parent.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._bound: dict[str, Action] = {}
        self._window: WindowKeys | None = None

    @property
    def bound(self) -> tuple[str, ...]:
        """The keys."""
        return tuple(self._bound)

    def bind(self, key: str, action: Action) -> bool:
        """Bind a key, unless it is taken; return whether it was bound.

        Parameters
        ----------
        key
            Such as ``"Shift+R"``.
        action
            Called with the viewer; a generator function is continued when the key is released.
        """
        binding = KeyBinding.from_str(key)
        taken = [self.viewer.keymap]
        taken += [getattr(base, "class_keymap", {}) for base in type(self.viewer).__mro__]
        if any(str(key) == str(binding) for keymap in taken for key in keymap):
            return False
        self._bound[key] = action
        return True

    def attach(self, window: QMainWindow) -> None:
        """Let the keys work in a window; the dock was put into it."""
        if self._window is None:
            known = window.findChild(WindowKeys)
            self._window = known if known is not None else WindowKeys(window)
            for key, action in self._bound.items():
                self._window.add(key, self, action)

    def release(self) -> None:
        """Let the keys work no more."""
        if self._window is not None:
            self._window.remove(self)
            self._window = None
        self._bound.clear()


class WindowKeys(QObject):
    """The shortcuts of one window, for all docks in it; of docks with one key the first has it.

    Parameters
    ----------
    window
        The window.
    """

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._actions: dict[str, list[tuple[KeyBindings, Action]]] = {}
        self._shortcuts: dict[str, QShortcut] = {}
        self._held: tuple[int, Iterator[None]] | None = None
        self._released = QTimer(self)
        self._released.setSingleShot(True)
        self._released.setInterval(_REPEATS)
        self._released.timeout.connect(self._release)

    def add(self, key: str, owner: KeyBindings, action: Action) -> None:
        """Let a key call something, unless the window has an action of that key."""
        sequence = QKeySequence(key)
        window = self.parent()
        if any(sequence in item.shortcuts() for item in window.findChildren(QAction)):
            return
        if key not in self._shortcuts:
            shortcut = self._shortcuts[key] = QShortcut(sequence, window)
            shortcut.setObjectName(key)
            shortcut.activated.connect(self._press)  # a closure would keep the window alive
        self._actions.setdefault(key, []).append((owner, action))

    def remove(self, owner: KeyBindings) -> None:
        """Forget what a dock has bound."""
        for key, actions in list(self._actions.items()):
            self._actions[key] = [(who, action) for who, action in actions if who is not owner]
            if not self._actions[key]:
                del self._actions[key]
                shortcut = self._shortcuts.pop(key)
                shortcut.setEnabled(False)
                shortcut.deleteLater()
        self._release()

    def _press(self) -> None:
        if self._held is not None:  # the key repeats itself
            self._released.stop()
            return
        key = self.sender().objectName()
        owner, action = self._actions[key][0]
        held = action(owner.viewer)
        if isinstance(held, Iterator):
            next(held, None)
            app = QCoreApplication.instance()
            if app is not None:
                self._held = (Qt.Key[f"Key_{key}"].value, held)
                app.installEventFilter(self)  # whoever has the focus hears of the release

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Wait for a key that is held down to be released."""
        kind = event.type()
        if self._held is not None and kind == QEvent.Type.KeyRelease:
            assert isinstance(event, QKeyEvent)
            if event.key() == self._held[0] and not event.isAutoRepeat():
                self._released.start()
        elif kind == QEvent.Type.WindowDeactivate and watched is self.parent():
            self._release()
        return False

    def _release(self) -> None:
        self._released.stop()
        if self._held is not None:
            (_, held), self._held = self._held, None
            app = QCoreApplication.instance()
            if app is not None:
                app.removeEventFilter(self)
            next(held, None)


def bind_common_keys(keys: KeyBindings, session: Session) -> None:
    """Bind the keys by which a repair is compared with the original, and the mask is undone."""
    review = session.review

    def next_stage(viewer: ViewerModel) -> None:
        review.show_next()

    def hold_original(viewer: ViewerModel) -> Iterator[None]:
        shown = review.shown
        review.show(None)
        yield
        review.show(shown)

    def compare(viewer: ViewerModel) -> None:
        session.comparison.toggle()

    keys.bind("N", next_stage)
    keys.bind("B", compare)
    keys.bind("H", hold_original)
    keys.bind("Ctrl+Z", lambda viewer: session.undo(back=True))
    keys.bind("Ctrl+Shift+Z", lambda viewer: session.undo(back=False))
