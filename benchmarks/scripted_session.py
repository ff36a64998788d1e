r"""A whole session in the real window, through Qt's own clicks and keys, with screenshots.

    xvfb-run -a -s "-screen 0 1600x1000x24" \
        python benchmarks/scripted_session.py STACK.zarr --shots FOLDER

STACK.zarr is an OME-Zarr stack that may be written to; without it the synthetic sample is used.
It is written to and reverted, and its bytes are compared. A timer that ticks every 5 ms
measures for how long the event loop was blocked while a repair ran.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import napari
import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow, QMenu, QPushButton, QWidget

from napari_flowinpaint._widgets.load_stack import LoadStack
from napari_flowinpaint._widgets.repair_section import RepairSection
from napari_flowinpaint.core.damage.sample import SampleConfig, synthetic_stack
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.stack import Stack, open_stack

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

    @property
    def own(self) -> float:
        """About what would be left on a machine with nothing else to do."""
        return max(self.wall - self.queued - self.drawing, self.cpu)

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
        gaps = sorted(self.gaps, key=lambda gap: gap.own, reverse=True)
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
        self.wait(lambda: False, 0.3, must=False)
        self.count += 1
        path = self.shots / f"{self.count:02d}-{name}.png"
        QApplication.primaryScreen().grabWindow(0).save(str(path))
        print(f"  {path.name}")

    def open_dock(self, name: str, kind: type[QWidget]) -> QWidget:
        """Open a dock through the menu Plugins > FlowInpaint."""
        action = menu_actions(self.window)[f"Plugins > FlowInpaint > {name} (FlowInpaint)"]
        action.trigger()
        self.wait(lambda: bool(self.window.findChildren(kind)), 10)
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


def digest(path: Path) -> str:
    """Return a checksum of every file of the image, pyramid included; not of the journal."""
    state = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path).parts
        if file.is_file() and not {"labels", ".flowinpaint"} & set(inside):
            state.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return state.hexdigest()


def run(viewer: napari.Viewer, path: Path, shots: Path, repeats: int = 3) -> None:
    """Go through the session; raises where something is not as it should be."""
    original = open_stack(path)
    z = original.shape[0] // 2
    before, bytes_before = original.read(z), digest(path)
    robot, watchdog = Robot(viewer, shots), Watchdog()
    for way in menu_actions(robot.window):
        if "FlowInpaint" in way or "Load stack" in way or "Repair section" in way:
            print(f"  menu: {way}")

    load = robot.open_dock("Load stack", LoadStack)
    dock = robot.open_dock("Repair section", RepairSection)
    robot.shoot("docks")
    load.path.setFocus()
    QTest.keyClicks(load.path, str(path))
    QTest.keyClick(load.path, Qt.Key.Key_Return)
    robot.wait(lambda: len(viewer.layers) == 1)
    robot.wait(lambda: not dock.jobs.is_running())
    image = viewer.layers[0]
    robot.shoot("loaded")

    while dock.session.section != z:
        robot.key(Qt.Key.Key_Right if dock.session.section < z else Qt.Key.Key_Left)
    robot.click(dock.mask_panel.new_button)
    mask = dock.session.mask_layer
    height, width = original.shape[1:]
    mask.brush_size = max(12, height // 24)
    spots = [(0.3 * height, 0.3 * width), (0.65 * height, 0.6 * width)]
    for y, x in spots:
        step = height / 30
        robot.paint(mask, [(y, x), (y + step, x + step), (y + step, x + 2 * step)])
    robot.wait(lambda: "2 damaged" in dock.mask_panel.status.text())
    robot.shoot("painted")
    painted = int(mask.data.read(z).sum())

    robot.key(Qt.Key.Key_Right)
    robot.paint(mask, [(0.5 * height, 0.5 * width)])
    robot.key(Qt.Key.Key_Right)
    robot.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert dock.session.section == z + 1, "undo goes to the section it changes"
    assert not mask.data.read(z + 1).any(), "undo survives moving to another section"
    robot.key(Qt.Key.Key_Left)
    assert int(mask.data.read(z).sum()) == painted
    robot.click(dock.mask_panel.grow_button)
    robot.wait(lambda: int(mask.data.read(z).sum()) > painted)

    robot.click(dock.repair_panel.repair_button)
    robot.click(dock.cancel_button)
    robot.wait(lambda: not dock.jobs.is_running("repair"))
    print(f"  after cancel: {dock.messages.text()}")
    assert dock.session.review.current is None, "a cancelled job changes nothing"
    robot.shoot("cancelled")

    for attempt in range(repeats):
        watchdog.start()
        started = time.perf_counter()
        robot.key(Qt.Key.Key_R, Qt.KeyboardModifier.ShiftModifier)
        robot.wait(lambda: not dock.jobs.is_running("repair"))
        running = watchdog.stop()
        watchdog.start()
        robot.wait(lambda: not dock.repair_panel.is_showing)
        robot.wait(lambda: False, 0.2, must=False)
        seconds = time.perf_counter() - started
        print(f"  repair {attempt + 1} ({seconds:.1f} s): event loop blocked {running}")
        print(f"    while its layers appeared: {watchdog.stop()}")
        if attempt < repeats - 1:
            robot.click(dock.review_panel.discard_button)
    assert dock.session.review.current is not None
    robot.shoot("result")
    names = ("original", "initial", "refined", "result", "confidence")
    robot.key(Qt.Key.Key_N)
    for name in ("confidence", *names[:-1]):
        robot.shoot(f"stage-{name}")
        robot.key(Qt.Key.Key_N)
    robot.click(dock.review_panel.stages.button(names.index("result")))
    robot.canvas.setFocus()
    QTest.keyPress(robot.canvas, Qt.Key.Key_H)
    robot.shoot("holding-h")
    assert dock.session.review.shown is None
    QTest.keyRelease(robot.canvas, Qt.Key.Key_H)
    assert dock.session.review.shown == "result"

    table = dock.review_panel.table
    index = table.model().index(1, 0)
    spot = table.visualRect(index).center()
    QTest.mouseClick(
        table.viewport(), LEFT, pos=QPoint(table.visualRect(index).left() + 12, spot.y())
    )
    review = dock.session.review.current
    assert len(review.accepted) == 1, "one component is rejected"
    QTest.mouseClick(
        table.viewport(), LEFT, pos=table.visualRect(table.model().index(0, 1)).center()
    )
    robot.shoot("one-rejected-zoomed")
    viewer.reset_view()

    accepted = np.zeros((height, width), bool)
    for patch in review.selected().patches:
        accepted[patch.box.slices] |= patch.mask
    robot.click(dock.review_panel.accept_button)
    robot.wait(lambda: dock.review_panel.question is not None, 5)
    robot.shoot("question")
    question = dock.review_panel.question
    robot.click(next(b for b in question.buttons() if b.text() == "Write"))
    robot.wait(lambda: not dock.jobs.is_running("accept") and dock.session.review.current is None)
    robot.shoot("accepted")
    after = open_stack(path).read(z)
    assert np.array_equal(after[~accepted], before[~accepted]), "other pixels kept their bits"
    assert (after[accepted] != before[accepted]).mean() > 0.5, "accepted pixels are on disk"
    assert np.array_equal(np.asarray(image.data[0] if image.multiscale else image.data)[z], after)

    robot.click(dock.ledger_panel.revert_button)
    robot.wait(lambda: not dock.jobs.is_running("revert"))
    robot.wait(lambda: not dock.session.ledger.written(image))
    robot.shoot("reverted")
    assert digest(path) == bytes_before, "revert restores the bytes"
    print("  written, reverted, bytes equal")


def sample(folder: Path, config: SampleConfig) -> Path:
    """Write a synthetic stack as OME-Zarr."""
    stack = Stack.from_array(
        synthetic_stack(config), voxel_size=config.voxel_size, name="synthetic sections"
    )
    return save_ome_zarr(stack, folder / "sample.zarr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stack", type=Path, nargs="?", help="OME-Zarr stack that may be written to")
    parser.add_argument("--shots", type=Path, default=Path("shots"), help="folder for screenshots")
    arguments = parser.parse_args()
    arguments.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        viewer = napari.Viewer()
        run(viewer, arguments.stack or sample(Path(folder), SampleConfig()), arguments.shots)
        viewer.close()


if __name__ == "__main__":
    main()
