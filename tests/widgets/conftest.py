"""Tests of the docks; skipped, with the reason, where no window can be opened."""

import os
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


@lru_cache
def why_not():
    """Return why no window can be opened here; empty if one can.

    Called when tests are collected: plugins may have started a display until then.
    """
    try:
        import qtpy.QtWidgets  # noqa: F401
    except Exception as error:  # no binding, or one whose system libraries are missing
        return f"no Qt: {error}"
    headless = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return "no display; run under xvfb-run" if headless else ""


class _Skipped(pytest.Module):
    """A test module that is not imported, since it could not be."""

    def collect(self):
        yield pytest.Function.from_parent(self, name="all_tests", callobj=self._skip)

    def _skip(self):
        pytest.skip(why_not())


def pytest_pycollect_makemodule(module_path, parent):
    """Replace the modules of this folder by one skipped test each, where there is no display."""
    if module_path.parent == HERE and why_not():
        return _Skipped.from_parent(parent, path=module_path)
    return None


@pytest.fixture
def stack_path(tmp_path):
    """Return an OME-Zarr stack of drifting texture, 7 x 128 x 144, that can be written to."""
    import cv2

    from napari_flowinpaint.core.export import save_ome_zarr
    from napari_flowinpaint.core.io.stack import Stack

    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((160, 180)), (0, 0), 3)
    noise = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    sections = np.stack([noise[2 * z : 2 * z + 128, z : z + 144] for z in range(7)])
    stack = Stack.from_array(sections, voxel_size=(50, 4, 4), name="texture")
    return save_ome_zarr(stack, tmp_path / "texture.zarr")


@pytest.fixture
def wait(qtbot):
    """Return a function that lets the event loop run until a condition holds."""

    def until(condition, seconds=120):
        qtbot.waitUntil(lambda: bool(condition()), timeout=int(1000 * seconds))

    return until


@pytest.fixture
def make_dock(make_napari_viewer, wait):
    """Return a function that opens a viewer with the dock and, optionally, a stack."""
    from napari_flowinpaint.widgets.repair_section_dock import RepairSection

    def make(path=None, show=False):
        viewer = make_napari_viewer(show=show)
        dock = RepairSection(viewer)
        viewer.window.add_dock_widget(dock, name="Repair section")
        if path is not None:
            from napari_flowinpaint.viewer.tasks import loading

            dock.session.add_stack(loading.load(str(path), progress=lambda *_: None))
            viewer.dims.set_point(0, 3 * viewer.layers[0].scale[0])
            wait(lambda: not dock.jobs.is_running())
        return viewer, dock

    return make


@pytest.fixture(autouse=True)
def _close_without_saving(monkeypatch):
    """Let viewers close at the end of a test, whatever is unsaved."""
    if not why_not():
        from qtpy.QtWidgets import QMessageBox

        answer = QMessageBox.StandardButton.Close
        monkeypatch.setattr(QMessageBox, "question", lambda *_, **__: answer)
