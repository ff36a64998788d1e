"""Keep out of the viewer's way what it would wait for when it shows a mask or a repair.

No Qt, and napari only as far as it is imported already. Everything but :func:`bring_back` is meant
for threads.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache
from importlib import import_module
from threading import Lock

#: What napari imports for its first labels layer, and what jobs import when they begin.
_MODULES = (
    "pandas",
    "scipy.linalg",
    "skimage.color.colorconv",
    "scipy.optimize",
    "skimage.registration",
    "dask.delayed",
    "dask.threaded",
)

_warming = Lock()


def warm_up() -> None:
    """Import, let vispy draw the dashes of a labels layer's outline, spare the collector.

    The first call does it; others that come meanwhile wait for it: two at once would leave the
    viewer a third of the processor, since they all compute in Python.
    """
    with _warming:
        hold_collector()  # or all that is imported would make it begin
        try:
            _draw_dashes()
            for name in _MODULES:
                with suppress(ImportError):
                    import_module(name)
            set_aside()
        finally:
            release_collector()


@cache
def _draw_dashes() -> None:
    """Make 13 patterns of 1024 texels in a Python loop; vispy keeps them for all outlines."""
    with suppress(ImportError, AttributeError):
        import_module("vispy.visuals.line.dash_atlas").DashAtlas()


_lock = Lock()
_holders = 0
_was_enabled = True


def hold_collector() -> None:
    """Let no garbage collection begin, in any thread, until everybody has released it again."""
    global _holders, _was_enabled
    with _lock:
        if not _holders:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1


def release_collector() -> None:
    """Take one :func:`hold_collector` back."""
    global _holders
    with _lock:
        _holders = max(_holders - 1, 0)
        if not _holders and _was_enabled:
            gc.enable()


def know_units() -> None:
    """Let pint read its definitions of units, which it does for the first one it is asked for."""
    with suppress(ImportError):
        import_module("pint").get_application_registry().Unit("nm")


def set_aside() -> None:
    """Spare the garbage collector the objects that are there now.

    Python looks through all objects of the process as soon as a quarter of them is new, and the
    viewer stands still for a quarter of a second, whatever thread it happens in: the modules,
    widgets and layers of napari are 300 000. Until :func:`bring_back` only what is made from now
    on is looked through.
    """
    gc.freeze()


def bring_back() -> None:
    """Let the garbage collector find what has become garbage since it was set aside.

    Called when a layer or a dock goes, since their objects refer to each other.
    """
    gc.unfreeze()
