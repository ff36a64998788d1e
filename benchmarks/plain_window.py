r"""How long napari's own calls hold up the viewer, without this package.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/plain_window.py

What napari takes to add, draw or remove a layer is not counted as ours. Prints for each call,
the first time and later, what the thread of the window computed during the call and while the
event loop then drew, in milliseconds; time in which others had the processor is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import napari
import numpy as np
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLabel


def measure(what: str, call: Callable[[], object], times: int = 4) -> None:
    """Print what the first and the later calls took."""
    took = []
    for _ in range(times):
        started = time.thread_time()
        call()
        called = time.thread_time()
        QApplication.processEvents()
        took.append((1000 * (called - started), 1000 * (time.thread_time() - called)))
        QTest.qWait(300)
    (call_first, draw_first), later = took[0], np.median(took[1:], axis=0)
    print(
        f"{what:28s} first {call_first:4.0f} + {draw_first:3.0f} to draw;"
        f" later {later[0]:4.0f} + {later[1]:3.0f} to draw"
    )


def main() -> None:
    viewer = napari.Viewer()
    viewer.window.resize(1600, 1000)
    QTest.qWait(800)
    data = np.random.default_rng(0).integers(0, 255, (24, 512, 512)).astype(np.uint8)

    def step() -> None:
        viewer.dims.set_point(0, (viewer.dims.point[0] + 1) % 24)

    measure("open an empty dock", lambda: viewer.window.add_dock_widget(QLabel("empty")))
    measure("add an image layer", lambda: viewer.add_image(data))
    measure("add a hidden image layer", lambda: viewer.add_image(data, visible=False))
    measure("step to another section", step)
    measure("add a labels layer", lambda: viewer.add_labels(np.zeros_like(data)))
    measure(
        "add a hidden labels layer", lambda: viewer.add_labels(np.zeros_like(data), visible=False)
    )
    measure("remove a layer", lambda: viewer.layers.pop())
    viewer.close()


if __name__ == "__main__":
    main()
