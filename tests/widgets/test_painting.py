"""A window is painted in a turn of its own, and what can wait begins when nothing else is done."""

import time

import pytest


@pytest.fixture
def window(qtbot):
    from qtpy.QtWidgets import QMainWindow

    class Counting(QMainWindow):
        painted = 0

        def paintEvent(self, event):
            self.painted += 1

    window = Counting()
    qtbot.addWidget(window)
    window.show()
    qtbot.waitUntil(lambda: window.painted > 0)
    qtbot.wait(50)
    window.painted = 0
    return window


def turn():
    from qtpy.QtCore import QCoreApplication

    QCoreApplication.sendPostedEvents()  # without those that timers will bring


def test_a_change_is_painted_in_a_later_turn(window, qtbot):
    from napari_flowinpaint._widgets._painting import painted_later

    window.update()
    turn()
    assert window.painted == 1, "as usual"
    with painted_later(window):
        window.update()
        turn()
    turn()
    assert window.painted == 1
    qtbot.waitUntil(lambda: window.painted == 2)
    window.update()
    turn()
    assert window.painted == 3, "as usual again"


def test_what_opens_a_dock_is_painted_in_a_later_turn(window, qtbot):
    from napari_flowinpaint._widgets._painting import paint_windows_later

    paint_windows_later()
    paint_windows_later()
    window.update()
    turn()
    assert window.painted == 0
    qtbot.waitUntil(lambda: window.painted == 1)


def test_a_window_is_painted_after_a_change_that_failed(window, qtbot):
    from napari_flowinpaint._widgets._painting import painted_later

    def fail():
        with painted_later(window):
            window.update()
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    qtbot.waitUntil(lambda: window.painted == 1)


def test_what_can_wait_begins_after_the_event_loop_was_idle(window, qtbot):
    from qtpy.QtCore import QTimer

    from napari_flowinpaint._widgets._calm import Calm

    began, started = [], time.monotonic()
    busy = QTimer(window)
    busy.timeout.connect(lambda: time.sleep(0.03))
    busy.start(0)
    Calm(lambda: began.append(time.monotonic() - started), window)
    qtbot.wait(100)
    assert not began
    busy.stop()
    qtbot.waitUntil(lambda: bool(began), timeout=1000)
    qtbot.wait(100)
    assert len(began) == 1


def test_what_can_wait_begins_at_last_though_the_viewer_is_busy(window, qtbot):
    from qtpy.QtCore import QTimer

    from napari_flowinpaint._widgets._calm import Calm

    began = []
    busy = QTimer(window)
    busy.timeout.connect(lambda: time.sleep(0.03))
    busy.start(0)
    Calm(lambda: began.append(True), window)
    qtbot.waitUntil(lambda: bool(began), timeout=5000)


@pytest.fixture
def red(qtbot):
    """Return a window, its red canvas, what lies behind, and whether the canvas is seen."""
    from OpenGL import GL
    from qtpy.QtCore import QPoint
    from qtpy.QtGui import QGuiApplication
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from qtpy.QtWidgets import QMainWindow, QVBoxLayout, QWidget

    class Red(QOpenGLWidget):
        drawn = 0

        def paintGL(self):
            self.drawn += 1
            GL.glClearColor(1, 0, 0, 1)
            GL.glClear(GL.GL_COLOR_BUFFER_BIT)

    window, behind, canvas = QMainWindow(), QWidget(), Red()
    qtbot.addWidget(window)
    QVBoxLayout(behind).addWidget(canvas)
    window.setCentralWidget(behind)
    window.resize(200, 200)
    window.show()
    screen = QGuiApplication.primaryScreen()

    def is_seen():
        place = canvas.mapToGlobal(QPoint(50, 50))
        shown = screen.grabWindow(0, place.x(), place.y(), 1, 1).toImage().pixelColor(0, 0)
        return shown.getRgb()[:3] == (255, 0, 0)

    try:
        qtbot.waitUntil(is_seen, timeout=5000)
    except qtbot.TimeoutError:
        pytest.skip("this screen cannot be looked at")
    return window, canvas, behind, is_seen


def test_a_canvas_is_seen_after_the_window_was_painted(red, qtbot):
    """What lies behind a canvas that is not to be drawn yet must not stay painted over it."""
    from napari_flowinpaint._widgets._painting import painted_later

    window, _, behind, is_seen = red
    with painted_later(window):
        behind.update()
    qtbot.wait(200)
    assert is_seen()


@pytest.mark.parametrize("ended", [True, False], ids=["done", "stopped"])
def test_a_canvas_is_drawn_now_and_then_while_steps_go_on(red, qtbot, ended):
    from napari_flowinpaint._widgets._steps import Steps

    window, canvas, _, is_seen = red
    done, seen = [], []

    def work():
        for number in range(30):
            canvas.update()
            done.append(number)
            seen.append(is_seen())
            yield

    steps, before = Steps(pytest.fail, window), canvas.drawn
    steps.start(work())
    if ended:
        qtbot.waitUntil(lambda: not steps.running)
        assert before + 2 <= canvas.drawn <= before + len(done) / 3
        assert all(seen)
    else:
        qtbot.waitUntil(lambda: len(done) == 3)
        steps.stop()
    qtbot.wait(150)
    assert is_seen()
    last = canvas.drawn
    canvas.update()
    qtbot.waitUntil(lambda: canvas.drawn == last + 1, timeout=200)
