"""A robot that uses the window of a viewer, and a watchdog that tells when it was blocked."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import napari
import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow, QMenu, QPushButton, QWidget

LEFT = Qt.MouseButton.LeftButton


class Gap(NamedTuple):
    """Time between two ticks, in seconds.

    ``cpu`` is what the thread of the window computed meanwhile, ``queued`` how long it, and
    ``drawing`` how long the slower of the threads that draw without a graphics card, waited for a
    processor that others had (0 where the system does not tell). The rest is waiting for the
    drawing itself, or for Python's lock.
    """

    wall: float
    cpu: float
    queued: float
    drawing: float

    def __str__(self) -> str:
        ms = [round(1000 * seconds) for seconds in self]
        return f"{ms[0]} ms (computing {ms[1]}, queued {ms[2]} + {ms[3]})"


def queued(thread: int) -> float:
    """Return for how long a thread of this process has waited for a processor, seconds."""
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1]) / 1e9
    except OSError:  # not Linux
        return 0.0


def drawing_threads() -> list[int]:
    """Return the threads of Mesa that draw where there is no graphics card."""
    tasks = Path("/proc/self/task").glob("*/comm")
    return [int(path.parent.name) for path in tasks if "llvmpipe" in path.read_text()]


class Watchdog:
    """Measures the longest time between two ticks of a 5 ms timer."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)
        self._threads: list[int] = []
        self._last: tuple[float, ...] = ()

    def _now(self) -> tuple[float, ...]:
        """Return the clocks of this thread, and how long each that draws was queued."""
        return (time.perf_counter(), time.thread_time(), *map(queued, self._threads))

    def start(self) -> None:
        self.gaps, self._threads = [], [threading.get_native_id(), *drawing_threads()]
        self._last = self._now()
        self._timer.start()

    def stop(self) -> str:
        self._timer.stop()
        gaps = sorted(self.gaps, reverse=True)
        return (
            f"longest {', then '.join(map(str, gaps[:3]))}; "
            f"median {1000 * statistics.median(g.wall for g in gaps):.1f} ms of {len(gaps)} ticks"
        )

    def _tick(self) -> None:
        now = self._now()
        wall, cpu, window, *drawing = (a - b for a, b in zip(now, self._last, strict=True))
        self.gaps.append(Gap(wall, cpu, window, max(drawing, default=0.0)))
        self._last = now


class Robot:
    """Clicks, types and paints in the window of a viewer as a person would."""

    watchdog: Watchdog | None = None

    def __init__(self, viewer: napari.Viewer, shots: Path) -> None:
        self.viewer, self.shots, self.count = viewer, shots, 0
        self.window = next(
            w
            for w in QApplication.topLevelWidgets()
            if isinstance(w, QMainWindow) and w.isVisible()
        )
        self.window.resize(1600, 1000)
        self.wait(lambda: False, 0.5, must=False)
        self.canvas = next(
            w for w in self.window.findChildren(QWidget) if "CanvasBackend" in type(w).__name__
        )

    def wait(self, condition: Callable[[], bool], seconds: float = 120, must: bool = True) -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            QTest.qWait(5)
        if must and not condition():
            raise TimeoutError

    def shoot(self, name: str) -> None:
        """Take a screenshot; its time does not count as time in which the viewer was blocked."""
        gaps = None if self.watchdog is None else list(self.watchdog.gaps)
        self.wait(lambda: False, 0.3, must=False)
        self.count += 1
        path = self.shots / f"{self.count:02d}-{name}.png"
        QApplication.primaryScreen().grabWindow(0).save(str(path))
        print(f"  {path.name}")
        if self.watchdog is not None and gaps is not None:
            self.watchdog.start()
            self.watchdog.gaps = gaps

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Print for how long the event loop was blocked while the block ran."""
        QTest.qWait(50)  # what the last step has left to be drawn
        self.watchdog = watchdog = Watchdog()
        watchdog.start()
        yield
        QTest.qWait(50)  # what is left to be drawn
        self.watchdog = None
        print(f"  {what}: event loop blocked {watchdog.stop()}")

    def open_dock(self, name: str, kind: type[QWidget]) -> QWidget:
        """Open a dock through the menu Plugins > FlowInpaint."""
        action = menu_actions(self.window)[f"Plugins > FlowInpaint > {name} (FlowInpaint)"]
        with self.watched(f"opening {name}"):  # not the walk through all menus
            action.trigger()
            self.wait(lambda: bool(self.window.findChildren(kind)), 10)
            self.wait(lambda: False, 0.5, must=False)  # what it does first
        return self.window.findChildren(kind)[0]

    def click(self, button: QPushButton) -> None:
        self.wait(button.isEnabled, 30)
        QTest.mouseClick(button, LEFT)

    def key(
        self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
    ) -> None:
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifier)
        QTest.qWait(20)

    def position(self, layer: napari.layers.Layer, y: float, x: float) -> QPoint:
        """Return where a pixel of a layer is on the canvas."""
        world = np.asarray(layer.data_to_world((0, y, x)))[1:]
        camera = self.viewer.scene.camera
        height, width = self.canvas.height(), self.canvas.width()
        py, px = (world - np.asarray(camera.center)[-2:]) * camera.zoom + (height / 2, width / 2)
        return QPoint(round(px), round(py))

    def paint(self, layer: napari.layers.Layer, points: list[tuple[float, float]]) -> None:
        """Draw a stroke of the active tool through pixels of a layer."""
        places = [self.position(layer, *point) for point in points]
        QTest.mouseMove(self.canvas, places[0])
        QTest.mousePress(self.canvas, LEFT, pos=places[0])
        for place in places[1:]:
            self._drag(place)
            QTest.qWait(10)
        QTest.mouseRelease(self.canvas, LEFT, pos=places[-1])
        QTest.qWait(50)

    def _drag(self, place: QPoint) -> None:
        """Move with the button held (``QTest.mouseMove`` sends no buttons)."""
        event = QMouseEvent(
            QMouseEvent.Type.MouseMove,
            QPointF(place),
            QPointF(self.canvas.mapToGlobal(place)),
            Qt.MouseButton.NoButton,
            LEFT,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self.canvas, event)


def menu_actions(window: QMainWindow) -> dict[str, object]:
    """Return every entry of the menu bar by its way, as a person reads it."""
    found = {}

    def walk(menu: QMenu, way: str) -> None:
        menu.aboutToShow.emit()
        for action in menu.actions():
            here = f"{way} > {action.text().replace('&', '')}"
            found[here] = action
            if action.menu() is not None:
                walk(action.menu(), here)

    for action in window.menuBar().actions():
        walk(action.menu(), action.text().replace("&", ""))
    return found
