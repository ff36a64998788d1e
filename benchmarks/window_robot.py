"""A robot that uses the window of a viewer, and a watchdog that tells when it was blocked."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import napari
import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow, QMenu, QPushButton, QWidget

LEFT = Qt.MouseButton.LeftButton


#: Packages by which a moment of the window's thread is told to be whose; the innermost counts.
OWNERS = {"napari_flowinpaint": "ours", "napari": "napari", "vispy": "napari"}
#: Milliseconds for which no computation of ours may block the window.
LIMIT = 200


class Block(NamedTuple):
    """Time between two ticks, in milliseconds.

    ``ours`` is what the window's thread computed in code of this package, ``napari`` in that of
    napari and vispy. The rest is Qt itself, or waiting: for Python's lock, for a processor that
    others had.
    """

    wall: float
    ours: float
    napari: float

    def __str__(self) -> str:
        return f"{self.wall:.0f} ms (ours {self.ours:.0f}, napari {self.napari:.0f})"


def owner_of(frame: FrameType | None) -> str:
    """Return whose code a thread is running: of the innermost frame that is anybody's."""
    while frame is not None:
        owner = OWNERS.get(str(frame.f_globals.get("__name__")).partition(".")[0])
        if owner is not None:
            return owner
        frame = frame.f_back
    return "rest"


class Watchdog:
    """Measures the longest time between two ticks of a 5 ms timer, and whose code ran then."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._spent = {"ours": 0.0, "napari": 0.0, "rest": 0.0}
        self._last: tuple[float, ...] = ()
        self._window = threading.get_ident()
        self._stopped = threading.Event()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)

    def _sample(self) -> None:
        """Look every 5 ms what the thread of the window is doing."""
        last = time.perf_counter()
        while not self._stopped.wait(0.005):
            owner = owner_of(sys._current_frames().get(self._window))
            now = time.perf_counter()
            self._spent[owner] += now - last
            last = now

    def _now(self) -> tuple[float, ...]:
        return (time.perf_counter(), time.thread_time(), *self._spent.values())

    def start(self) -> None:
        self._stopped.clear()
        threading.Thread(target=self._sample, daemon=True).start()
        self._last = self._now()
        self._timer.start()

    def stop(self) -> None:
        self._stopped.set()
        self._timer.stop()

    def _tick(self) -> None:
        now = self._now()
        wall, computed, *spent = (1000 * (a - b) for a, b in zip(now, self._last, strict=True))
        ours, others, _ = (computed * part / max(sum(spent), 1.0) for part in spent)
        self.blocks.append(Block(wall, ours, others))
        self._last = now


class Robot:
    """Clicks, types and paints in the window of a viewer as a person would."""

    watchdog: Watchdog | None = None

    def __init__(self, viewer: napari.Viewer, shots: Path) -> None:
        self.viewer, self.shots, self.count = viewer, shots, 0
        self.blocks: dict[str, list[Block]] = {}
        self.window = next(
            w
            for w in QApplication.topLevelWidgets()
            if isinstance(w, QMainWindow) and w.isVisible()
        )
        self.window.resize(1600, 1000)
        viewer.window.activate()  # shortcuts are those of the active window
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
        watchdog = self.watchdog
        if watchdog is not None:
            watchdog.stop()
        self.wait(lambda: False, 0.3, must=False)
        self.count += 1
        path = self.shots / f"{self.count:02d}-{name}.png"
        QApplication.primaryScreen().grabWindow(0).save(str(path))
        print(f"  {path.name}")
        if watchdog is not None:
            watchdog.start()

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Print for how long the event loop was blocked while the block ran."""
        QTest.qWait(50)  # what the last step has left to be drawn
        self.watchdog = watchdog = Watchdog()
        watchdog.start()
        yield
        QTest.qWait(50)  # what is left to be drawn
        self.watchdog = None
        watchdog.stop()
        self.blocks[what] = watchdog.blocks
        longest = sorted(watchdog.blocks, reverse=True)[:3]
        print(f"  {what}: event loop blocked for {', then '.join(map(str, longest))}")

    def report(self) -> None:
        """Print the longest block, and the longest by code of ours beside what is permitted."""
        parts = [(block, what) for what, blocks in self.blocks.items() for block in blocks]
        block, what = max(parts)
        print(f"  longest block: {block}, {what}")
        block, what = max(parts, key=lambda part: part[0].ours)
        verdict = "within" if block.ours <= LIMIT else "OVER"
        print(f"  longest by our code: {block.ours:.0f} ms, {what}: {verdict} {LIMIT} ms")

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
