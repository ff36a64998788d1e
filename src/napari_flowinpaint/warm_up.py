"""Keep out of the viewer's way what it would wait for when it shows a mask or a repair.

No Qt, and napari only as far as it is imported already. Everything but :func:`bring_back` is meant
for threads.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

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


def warm_up() -> None:
    """Import, let vispy draw the dashes of a labels layer's outline, spare the collector."""
    with without_collector():  # or all that is imported would make it begin
        for name in _MODULES:
            with suppress(ImportError):
                import_module(name)
        with suppress(ImportError, AttributeError):
            # 13 patterns of 1024 texels in a Python loop, kept for all outlines that follow.
            import_module("vispy.visuals.line.dash_atlas").DashAtlas()
        set_aside()


@contextmanager
def without_collector() -> Iterator[None]:
    """Let no garbage collection begin in the block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
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
