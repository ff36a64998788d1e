"""The faint outline of what was imaged, and the field for a value that means no data."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from napari.layers import Shapes
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QApplication

from napari_flowinpaint.viewer.tasks.find_no_data import outline
from napari_flowinpaint.widgets.load_stack_dock import LoadStack
from napari_flowinpaint.widgets.parts.no_data_field import NoDataField
from napari_flowinpaint.widgets.repair_section_dock import RepairSection


@pytest.fixture
def padded_path(tmp_path):
    """Return a stack of 3 sections; the first and the last are padded, by 30 and by 50 pixels."""
    pixels = np.random.default_rng(0).integers(40, 200, (3, 200, 240), dtype=np.uint8)
    pixels[0, :, :30] = pixels[2, :50] = 0
    pixels[1, 100:120, 100:140] = 7
    zarr.save_array(tmp_path / "s.zarr", pixels)
    return tmp_path / "s.zarr"


def test_the_outline_of_a_section_is_shown_while_it_is(make_napari_viewer, qtbot, padded_path):
    viewer = make_napari_viewer()
    load, dock = LoadStack(viewer), RepairSection(viewer)
    load.path.setText(str(padded_path))
    load.load()
    session = dock.session
    qtbot.waitUntil(lambda: session.stack is not None, timeout=60_000)

    def shown() -> list[np.ndarray]:
        return [] if session.no_data.layer is None else list(session.no_data.layer.data)

    viewer.dims.set_point(0, 0)
    qtbot.waitUntil(lambda: len(shown()) == 1, timeout=60_000)
    layer = session.no_data.layer
    assert isinstance(layer, Shapes)
    assert not layer.editable
    (line,) = shown()
    assert set(line[:, 0]) == {0}
    assert abs(line[:, 2].min() - 30) <= 2
    viewer.dims.set_point(0, 1)
    qtbot.waitUntil(lambda: not shown(), timeout=60_000)
    viewer.dims.set_point(0, 2)
    qtbot.waitUntil(lambda: len(shown()) == 1, timeout=60_000)
    assert abs(shown()[0][:, 1].min() - 50) <= 2
    assert session.image is not layer
    viewer.layers.remove(layer)
    viewer.dims.set_point(0, 0)
    qtbot.wait(400)
    assert not any(isinstance(other, Shapes) for other in viewer.layers), "the user wants none"
    for part in (load, dock):
        part.close_session()


def test_a_value_is_declared(make_napari_viewer, qtbot, padded_path):
    viewer = make_napari_viewer()
    dock = LoadStack(viewer)
    dock.path.setText(str(padded_path))
    dock.no_data.setText("seven")
    dock.load()
    assert "is not a grey value" in dock.messages.text()
    dock.no_data.setText("7")
    dock.load()
    qtbot.waitUntil(lambda: dock.session.stack is not None, timeout=60_000)
    assert dock.session.stack.no_data == 7
    assert len(outline(dock.session.stack, 1)) == 2  # around the section, and around the hole in it
    dock.no_data.clear()
    dock.declare()
    assert dock.session.stack.no_data is None
    assert outline(dock.session.stack, 1) == ()
    dock.no_data.setText("300")
    dock.declare()
    assert "uint8" in dock.messages.text()
    dock.close_session()


def test_a_value_counts_without_enter(make_dock, stack_path, qtbot):
    _, dock = make_dock(stack_path)
    field, session = dock.repair_panel.no_data, dock.session
    qtbot.keyClicks(field, "255")
    left = QFocusEvent(QEvent.Type.FocusOut, Qt.FocusReason.MouseFocusReason)
    QApplication.sendEvent(field, left)
    assert session.stack.no_data == 255
    assert "255 are no data" in dock.messages.text()
    field.setText("white")
    dock.mask_panel.new_mask()
    session.mask[3, 50:60, 60:70] = 1
    dock.repair_panel.repair()
    assert "'white'" in dock.messages.text()
    assert not dock.jobs.is_running("repair"), "it would be repaired as if nothing were written"
    field.setText("")
    dock.repair_panel.repair()
    assert session.stack.no_data is None
    assert dock.jobs.is_running("repair")


@pytest.mark.parametrize("value", [255.0, 0.1, float(np.finfo(np.float32).min), 16777215.0])
def test_a_value_is_read_as_it_was_written(qtbot, value):
    field = NoDataField()
    qtbot.addWidget(field)
    field.show_value(value)
    assert field.value() == value
