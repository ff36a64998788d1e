"""Keep out of the viewer's way what it would wait for when it shows a mask or a repair.

No Qt, and napari only as far as it is imported already. Everything but :func:`bring_back` is meant
for threads.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, get_ident, main_thread
from types import ModuleType

from .core.device import read_into_memory
from .turns import short_turns

#: What napari imports for its first labels layer, and what jobs import when they begin.
_MODULES = (
    "cv2",
    "pandas",
    "scipy.linalg",
    "skimage.color.colorconv",
    "scipy.optimize",
    "skimage.registration",
    "dask.delayed",
    "dask.threaded",
)
#: What napari imports for its first image.
_FOR_IMAGES = ("xarray", "napari.components.histogram")

_warming = Lock()

#: Seconds without a beat after which the viewer is busy, and for how long it is waited for in all.
_BUSY, _PATIENCE = 0.03, 1.0
_last_beat: float | None = None


def warm_up() -> None:
    """Import, let vispy draw the dashes of a labels layer's outline, spare the collector.

    The first call does it; others that come meanwhile wait for it: two at once would leave the
    viewer a third of the processor, since they all compute in Python. Between any two modules the
    viewer goes first, where it tells that it is busy, see :func:`beat`.
    """
    with _warming, short_turns():
        hold_collector()  # or all that is imported would make it begin
        polite = _Polite()
        sys.meta_path.insert(0, polite)
        try:
            _draw_dashes(polite)
            _read_opencv()
            for name in _MODULES:
                with suppress(ImportError):
                    import_module(name)
            set_aside()
        finally:
            sys.meta_path.remove(polite)
            release_collector()


def beat() -> None:
    """Tell that the viewer has nothing to do; to be called every 10 ms or so while it is so."""
    global _last_beat
    _last_beat = time.monotonic()


def stop_beating() -> None:
    """Tell that the viewer will not tell any more."""
    global _last_beat
    _last_beat = None


def busy() -> None:
    """Tell that the viewer begins something, if it tells at all when it is done."""
    global _last_beat
    if _last_beat is not None:
        _last_beat = -math.inf


class _Polite:
    """Lets the viewer go first before each import of one thread. For ``sys.meta_path``.

    It finds what Python itself would find. Compiled modules are read before they are loaded,
    since Python's lock is held while they are, also while the disk is waited for.
    """

    def __init__(self) -> None:
        self._thread = get_ident()
        self._patience = _PATIENCE

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Wait for the viewer; find modules of packages, leave others to Python."""
        if get_ident() != self._thread:
            return None
        self.wait()
        spec = None if path is None else PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            read_into_memory(spec.loader.path)
        return spec

    def wait(self) -> None:
        """Wait until the viewer is not busy, but not for long.

        Not at all where it waits for a module itself: that may be one of this thread.
        """
        while self._patience > 0 and _last_beat is not None:
            started = time.monotonic()
            if started - _last_beat <= _BUSY or _viewer_wants_module():
                break
            time.sleep(0.004)
            self._patience -= time.monotonic() - started


def _viewer_wants_module() -> bool:
    """Return whether the main thread is in Python's import system, as when it waits for a lock."""
    frame = sys._current_frames().get(main_thread().ident or 0)
    return frame is not None and frame.f_code.co_filename == "<frozen importlib._bootstrap>"


def _read_opencv() -> None:
    """Read the libraries of OpenCV, which Python looks for in another way than in packages."""
    spec = None if "cv2" in sys.modules else find_spec("cv2")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    for path in (*folder.rglob("*"), *folder.parent.glob("opencv_*.libs/*")):
        if {".so", ".dylib", ".pyd", ".dll"} & set(path.suffixes):
            read_into_memory(path)


def _draw_dashes(polite: _Polite) -> None:
    """Make 13 patterns of 1024 texels in a Python loop; vispy keeps them for all outlines."""
    with suppress(ImportError, AttributeError):
        atlas: type = import_module("vispy.visuals.line.dash_atlas").DashAtlas

        class Polite(atlas):  # type: ignore[misc]
            def __setitem__(self, key: object, value: object) -> None:
                polite.wait()
                super().__setitem__(key, value)

        Polite()


_lock = Lock()
_holders = 0
_thresholds = gc.get_threshold()


def hold_collector() -> None:
    """Let no garbage collection begin, in any thread, until everybody has released it again.

    The collector stays enabled: dask, while it is imported, looks whether it is, and leaves it
    disabled ever after where it is not.
    """
    global _holders, _thresholds
    with _lock:
        if not _holders:
            _thresholds = gc.get_threshold()
            gc.set_threshold(0)
        _holders += 1


def release_collector() -> None:
    """Take one :func:`hold_collector` back."""
    global _holders
    with _lock:
        if _holders == 1:
            gc.set_threshold(*_thresholds)
        _holders = max(_holders - 1, 0)


def know_images() -> None:
    """Import what napari wants for its first image, and let pint read its definitions of units.

    The viewer would wait for the disk, or for a thread that is just importing the same.
    """
    for name in _FOR_IMAGES if "napari" in sys.modules else ():
        with suppress(ImportError):
            import_module(name)
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
