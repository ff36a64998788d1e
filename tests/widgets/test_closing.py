"""Closing a dock or the window: threads end, keys are free, nothing is lost unasked."""

from types import SimpleNamespace

import pytest
from qtpy.QtTest import QTest

from napari_flowinpaint.viewer.tasks import loading, one_section


def paint(dock):
    dock.mask_panel.new_mask()
    dock.session.mask_layer.brush_size = 14
    dock.session.mask_layer.paint((3, 35, 40), 1)


@pytest.mark.parametrize("how", ["dock", "window"])
def test_closing_stops_the_threads_and_frees_the_keys(make_dock, stack_path, monkeypatch, how):
    import time

    started, ended = [], []

    def endless(job, *, progress):
        started.append(True)
        try:
            while True:
                progress(0.5, "working")
                time.sleep(0.01)
        finally:
            ended.append(True)

    monkeypatch.setattr(one_section, "repair", endless)
    viewer, dock = make_dock(stack_path, show=True)
    assert "Shift+R" in dock.keys.bound
    paint(dock)
    dock.repair_panel.repair()
    while not started:
        QTest.qWait(5)
    if how == "dock":
        viewer.window.remove_dock_widget(dock)
        viewer.dims.set_point(0, 0)
    else:
        viewer.close()
    assert ended
    assert not dock.keys.bound


@pytest.mark.parametrize("how", ["dock", "window"])
def test_closing_while_layers_are_added_adds_no_more(make_dock, wait, stack_path, how):
    viewer, dock = make_dock(stack_path, show=True)
    paint(dock)
    dock.repair_panel.repair()
    wait(lambda: "result" in viewer.layers)
    assert dock.repair_panel.is_showing
    if how == "dock":
        viewer.window.remove_dock_widget(dock)
        QTest.qWait(50)
        assert "confidence" not in viewer.layers
    else:
        viewer.close()
    assert not dock.repair_panel.is_showing


def test_napari_asks_before_it_closes_over_repairs_that_are_not_saved(
    make_napari_viewer, stack_path, monkeypatch
):
    from qtpy.QtWidgets import QMessageBox

    from napari_flowinpaint.widgets.load_stack_dock import LoadStack
    from napari_flowinpaint.widgets.repair_section_dock import RepairSection

    choice = QMessageBox.StandardButton
    answers, asked = iter((choice.Cancel, choice.Close)), []

    def question(parent, title, text, *_):
        asked.append(text)
        return next(answers)

    monkeypatch.setattr(QMessageBox, "question", question)
    viewer = make_napari_viewer()
    docks = LoadStack(viewer), RepairSection(viewer)
    for dock in docks:
        viewer.window.add_dock_widget(dock)
    session = docks[0].session
    session.add_stack(loading.load(str(stack_path), progress=lambda *_: None))
    session.accepted._unsaved[session.image] = [SimpleNamespace(layer=None)]
    window = docks[0].window()
    assert not window.close()
    assert "Not saved yet: 1 accepted repair" in asked[0]
    assert not any(dock.jobs._stopped for dock in docks), "all docks go on"
    assert window.close()
    assert len(asked) == 2, "asked once, whatever docks are open"
    assert all(dock.jobs._stopped for dock in docks)
