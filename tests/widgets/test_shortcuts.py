"""Shortcuts, wherever the focus is in the window, and commands of the command palette."""

import npe2
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.widgets import commands
from napari_flowinpaint.widgets.dock import open_dock_of
from napari_flowinpaint.widgets.repair_section_dock import RepairSection

SHIFT, CTRL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def shown(make_dock, stack_path, wait, monkeypatch):
    """Return a viewer and a dock whose window is active; repairs are only counted."""
    viewer, dock = make_dock(stack_path, show=True)
    viewer.window.activate()
    wait(lambda: dock.window().isVisible())
    if QApplication.activeWindow() is None:  # nobody manages windows on a virtual display
        QApplication.setActiveWindow(dock.window())
    repairs = []
    monkeypatch.setattr(dock.repair_panel, "repair", lambda: repairs.append(True))
    dock.mask_panel.new_mask()
    return viewer, dock, repairs


def test_keys_work_wherever_the_focus_is(shown):
    viewer, dock, repairs = shown
    form = dock.repair_panel.form
    for number, widget in enumerate((form.quality, dock.review_panel.table, form.method), start=1):
        widget.setFocus()
        QTest.keyClick(widget, Qt.Key.Key_R, SHIFT)
        assert len(repairs) == number
    field = dock.mask_panel.pixels.lineEdit()
    field.setFocus()
    QTest.keyClick(field, Qt.Key.Key_R, SHIFT)
    assert len(repairs) == 3, "a field is typed into"
    layer = dock.session.mask_layer
    layer.paint((3, 35, 40), 1)
    viewer.layers.selection.active = dock.session.image
    QTest.keyClick(dock.review_panel.table, Qt.Key.Key_Z, CTRL)
    assert not layer.data.read(3).any()
    QTest.keyClick(dock.review_panel.table, Qt.Key.Key_Z, CTRL | SHIFT)
    assert layer.data.read(3).any()


def test_a_held_key_ends_when_it_is_released(shown, wait):
    """Systems repeat a key that is held down, some with a release before each repetition."""
    _, dock, _ = shown
    calls = []

    def hold(viewer):
        calls.append("down")
        yield
        calls.append("up")

    window = dock.window()
    dock.keys.release()
    dock.keys.bind("J", hold)
    dock.keys.attach(window)
    QTest.keyPress(dock.review_panel.table, Qt.Key.Key_J)
    for _ in range(3):
        QTest.keyRelease(dock.review_panel.table, Qt.Key.Key_J)
        QTest.keyPress(dock.review_panel.table, Qt.Key.Key_J)
        QTest.qWait(150)
    assert calls == ["down"]
    QTest.keyRelease(dock.review_panel.table, Qt.Key.Key_J)
    wait(lambda: calls == ["down", "up"])


def test_another_labels_layer_has_its_own_history(shown):
    viewer, dock, _ = shown
    dock.session.mask_layer.paint((3, 35, 40), 1)
    other = viewer.add_labels(np.zeros((7, 128, 144), np.uint8), scale=(50, 4, 4))
    other.paint((3, 10, 10), 1)
    dock.session.undo(back=True)
    assert not other.data.any()
    assert dock.session.mask.read(3).any()


def test_commands_are_in_the_palette_and_act(make_napari_viewer, stack_path, wait):
    from napari.viewer import Viewer

    viewer = make_napari_viewer()
    manifest = npe2.PluginManager.instance().get_manifest("napari-flowinpaint")
    found = {
        command.python_name.partition(":")[2]
        for command in manifest.contributions.commands
        if command.python_name.startswith(commands.__name__)
    }
    functions = [
        f for f in vars(commands).values() if getattr(f, "__module__", "") == commands.__name__
    ]
    assert found == {f.__name__ for f in functions if not f.__name__.startswith("_")}
    for name in found:
        assert getattr(commands, name).__annotations__["viewer"] == "napari.viewer.Viewer"
    session = session_of(viewer)
    dock = RepairSection(viewer)
    viewer.window.add_dock_widget(dock)
    viewer.open(str(stack_path), plugin="napari-flowinpaint")  # opens none where one is open
    assert open_dock_of(session, RepairSection) is dock
    wait(lambda: session.flags.is_settled(session.image))
    viewer.dims.set_point(0, 150)
    commands.mark_section_missing(viewer)
    wait(lambda: session.mask.read(3).all())
    commands.undo_mask(viewer)
    assert not session.mask.read(3).any()
    assert isinstance(viewer, Viewer)


def test_the_sample_opens_on_a_damaged_section_with_its_mask(make_napari_viewer, monkeypatch):
    from napari_flowinpaint.core.simulation import sample

    small = sample.damaged_sample(sample.SampleConfig(shape=(9, 128, 128)))
    monkeypatch.setattr(sample, "damaged_sample", lambda: small)
    viewer = make_napari_viewer()
    viewer.open_sample("napari-flowinpaint", "damaged-serial-sections")
    session = session_of(viewer)
    assert session.image is viewer.layers[0]
    assert session.mask_layer is viewer.layers[1]
    share = session.mask.read(session.section).mean()
    assert 0 < share < 0.1
