"""The reader as napari calls it: a stack that is opened or dropped brings the dock to repair it.

Once per window, and not where one of our docks is open: whoever closes it has decided.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from ..viewer import reader
from ..viewer.reader import LayerData

if TYPE_CHECKING:
    import napari.viewer

_PLUGIN = "napari-flowinpaint"
#: Windows in which the dock has been opened by itself, or was open already.
_greeted: WeakSet[napari.viewer.Viewer] = WeakSet()


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader for ``path`` if it holds a stack, else None; see :mod:`..viewer.reader`."""
    read = reader.get_reader(path)
    return None if read is None else partial(_read, read)


def _read(
    read: Callable[[str | list[str]], list[LayerData]], path: str | list[str]
) -> list[LayerData]:
    """Read a stack; when napari shows it, open the dock."""
    found = read(path)
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is not None and viewer not in _greeted:
        from qtpy.QtCore import QCoreApplication, QTimer

        if QCoreApplication.instance() is not None:
            QTimer.singleShot(0, partial(_greet, ref(viewer)))
    return found


def _greet(of: Callable[[], napari.viewer.Viewer | None]) -> None:
    """Open the dock, where a stack of ours is shown."""
    from ..viewer.session import session_of
    from .dock import Dock, open_dock_of

    viewer = of()
    if viewer is None or viewer in _greeted:
        return
    if not any(layer.source.reader_plugin == _PLUGIN for layer in viewer.layers):
        return
    _greeted.add(viewer)
    if open_dock_of(session_of(viewer), Dock) is None:
        viewer.window.add_plugin_dock_widget(_PLUGIN, "Repair section")
