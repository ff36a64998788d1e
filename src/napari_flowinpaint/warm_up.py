"""Keep out of the viewer's way what it would wait for when it shows a mask or a repair.

No Qt, and napari only as far as it is imported already.
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
    """Import, and let vispy draw the dashes of a labels layer's outline; in a thread."""
    with counted_as_old():
        for name in _MODULES:
            with suppress(ImportError):
                import_module(name)
        with suppress(ImportError, AttributeError):
            # 13 patterns of 1024 texels in a Python loop, kept for all outlines that follow.
            import_module("vispy.visuals.line.dash_atlas").DashAtlas()


@contextmanager
def counted_as_old() -> Iterator[None]:
    """Count what is made in the block as old, so that it does not call the garbage collector.

    Python looks through all objects of the process, for a quarter of a second in which the viewer
    stands still, as soon as a quarter of them is new. Modules and layers are tens of thousands of
    objects that stay; they do not call for it. Garbage is found as before.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # into the oldest generation, without being counted as new there
        if enabled:
            gc.enable()
