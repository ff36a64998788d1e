"""The dock Repair section, mostly by calling its methods."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtTest import QTest

from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.viewer.tasks import one_section
from napari_flowinpaint.viewer.tasks.review import STAGES


def paint(dock, spots=((35, 40), (90, 100)), z=3):
    if dock.session.mask_layer is None:
        dock.mask_panel.new_mask()
    layer = dock.session.mask_layer
    layer.brush_size = 14
    for y, x in spots:
        layer.paint((z, y, x), 1)
    return layer


def repair(dock, wait):
    dock.repair_panel.repair()
    wait(lambda: not dock.jobs.is_running("repair") and not dock.repair_panel.is_showing)


def test_the_form_says_what_can_be_done(make_dock):
    _, dock = make_dock()
    assert "Load a stack" in dock.target.text()
    assert not dock.mask_panel.new_button.isEnabled()
    assert not dock.repair_panel.repair_button.isEnabled()
    assert not dock.review_panel.accept_button.isEnabled()
    assert not dock.accepted_panel.revert_button.isEnabled()
    assert not dock.cancel_button.isEnabled()
    dock.repair_panel.repair()
    assert "no stack" in dock.messages.text()


def test_the_form_and_the_settings_follow_each_other(make_dock):
    _, dock = make_dock()
    panel, settings = dock.repair_panel, dock.session.settings
    panel.method.setCurrentText("flow")
    panel.max_gap.setValue(2)
    panel.texture.setCurrentText("smooth (prediction alone)")
    assert (settings.method, settings.max_gap, settings.texture) == ("flow", 2, "smooth")
    settings.device = "cuda:1"
    settings.max_gap = 7
    assert panel.device.currentText() == "cuda:1"
    assert panel.max_gap.value() == 7


def test_devices_are_looked_for_when_the_list_is_opened(make_dock, wait, monkeypatch):
    monkeypatch.setattr(one_section, "list_devices", lambda *, progress: ("auto", "cpu", "cuda"))
    _, dock = make_dock()
    device = dock.repair_panel.device
    assert device.count() == 2
    device.opened.emit()
    wait(lambda: device.count() == 3)
    device.opened.emit()
    wait(lambda: not dock.jobs.is_running())
    assert [device.itemText(i) for i in range(3)] == ["auto", "cpu", "cuda"]


def test_a_painted_mask_is_counted_edited_and_undone(make_dock, wait, stack_path):
    viewer, dock = make_dock(stack_path)
    layer = paint(dock)
    wait(lambda: "2 damaged components" in dock.mask_panel.status.text())
    assert "neighbours 2 and 4" in dock.mask_panel.status.text()
    painted = layer.data.read(3)
    dock.mask_panel.pixels.setValue(5)
    dock.mask_panel.edit("grow")
    wait(lambda: layer.data.read(3).sum() > painted.sum())
    dock.mask_panel.edit("invert")
    wait(lambda: layer.data.read(3).sum() > painted.size // 2)
    viewer.dims.set_point(0, 0)
    for _ in range(2):
        dock.mask_panel.undo()
    assert np.array_equal(layer.data.read(3), painted)
    assert dock.session.section == 3
    assert dock.mask_panel.redo_button.isEnabled()
    dock.mask_panel.edit("clear")
    wait(lambda: not layer.data.read(3).any())
    wait(lambda: "nothing is masked" in dock.mask_panel.status.text())
    assert not dock.mask_panel.redo_button.isEnabled()


@pytest.mark.parametrize(
    ("neighbours", "message"),
    [
        (((2, 4), (1, 4)), "7 pixels; neighbours 1, 2 and 4."),
        (((2, None), (None, None)), "neighbour 2; no usable neighbour for 1 of 2 parts."),
        (((None, None), (None, None)), "7 pixels; no usable neighbour."),
        (None, "7 pixels."),
    ],
)
def test_neighbours_of_all_parts_are_shown(make_dock, stack_path, neighbours, message):
    _, dock = make_dock(stack_path)
    dock.mask_panel._show_status(one_section.MaskStatus(3, 2, 7, neighbours))
    assert dock.mask_panel.status.text().endswith(message)


def test_an_edit_is_not_put_over_what_was_painted_meanwhile(make_dock, wait, stack_path):
    _, dock = make_dock(stack_path)
    layer = paint(dock)
    dock.mask_panel.edit("clear")
    layer.paint((3, 10, 10), 1)
    wait(lambda: not dock.jobs.is_running("edit"))
    assert layer.data.read(3).any()
    assert "changed in the meantime" in dock.messages.text()


def test_masks_come_from_layers_and_files(make_dock, wait, stack_path, tmp_path):
    import tifffile

    viewer, dock = make_dock(stack_path)
    other = np.zeros((7, 128, 144), np.uint16)
    other[3, 50:60, 50:60] = 300
    viewer.add_labels(other, name="found", scale=(50, 4, 4))
    viewer.add_labels(other[1:], name="too small")
    viewer.layers.selection.active = viewer.layers["texture"]
    assert dock.mask_panel.usable_layers() == ["found"]
    dock.mask_panel.use_layer("found")
    wait(lambda: dock.session.mask is not None)
    assert dock.session.mask.read(3).sum() == 100
    assert not viewer.layers["found"].visible
    other[3, 90:100, 50:60] = 1
    tifffile.imwrite(tmp_path / "mask.tif", other)
    dock.mask_panel.load_mask(str(tmp_path / "mask.tif"))
    wait(lambda: dock.session.mask.read(3).sum() == 200)
    tifffile.imwrite(tmp_path / "short.tif", other[1:])
    dock.mask_panel.load_mask(str(tmp_path / "short.tif"))
    wait(lambda: "shape" in dock.messages.text())
    assert dock.session.mask.read(3).sum() == 200


def test_a_repair_fills_the_review(make_dock, wait, stack_path):
    viewer, dock = make_dock(stack_path)
    paint(dock)
    repair(dock, wait)
    assert [x.name for x in viewer.layers] == ["texture", *STAGES, "damage mask"]
    panel = dock.review_panel
    assert panel.table.components.rowCount() == 2
    assert panel.stages.checkedButton().text() == "Result"
    assert "2 of 2 components" in panel.headline.text()
    panel.none_button.click()
    assert dock.session.review.current.accepted == set()
    panel.accept()
    assert "rejected" in dock.messages.text()
    panel.all_button.click()
    assert dock.session.review.current.accepted == {1, 2}
    panel.stages.button(1).click()
    assert [name for name in STAGES if viewer.layers[name].visible] == ["initial reference"]
    viewer.layers["confidence"].visible = True
    assert panel.stages.checkedButton().text() == "Confidence", "the layer list counts as well"
    panel.discard_button.click()
    assert [x.name for x in viewer.layers if x.visible] == ["texture", "damage mask"]
    assert panel.table.components.rowCount() == 0


def test_picking_a_component_goes_there(make_dock, wait, stack_path):
    viewer, dock = make_dock(stack_path)
    paint(dock)
    repair(dock, wait)
    viewer.dims.set_point(0, 0)
    component = dock.session.review.current.components[1]
    dock.review_panel.table.picked.emit(component)
    assert dock.session.section == 3
    box = component.box
    middle = (2 * (box.y0 + box.y1 - 1), 2 * (box.x0 + box.x1 - 1))
    assert np.allclose(viewer.scene.camera.center[-2:], middle)


def test_an_answer_waits_when_the_user_has_moved_on(make_dock, wait, stack_path):
    viewer, dock = make_dock(stack_path)
    paint(dock)
    dock.repair_panel.repair()
    viewer.dims.set_point(0, 250)
    wait(lambda: not dock.jobs.is_running("repair"))
    assert dock.session.review.current is None
    assert "waiting repairs" in dock.messages.text()
    assert [x.name for x in viewer.layers] == ["texture", "damage mask"]


def test_cancel_leaves_everything_as_it_was(make_dock, wait, stack_path, monkeypatch):
    import time

    def endless(job, *, progress):
        while True:
            progress(0.5, "working")
            time.sleep(0.01)

    monkeypatch.setattr(one_section, "repair", endless)
    viewer, dock = make_dock(stack_path)
    paint(dock)
    dock.repair_panel.repair()
    wait(lambda: dock.progress.value() == 500)
    assert not dock.repair_panel.repair_button.isEnabled()
    dock.cancel_button.click()
    wait(lambda: not dock.jobs.is_running())
    assert "nothing was changed" in dock.messages.text()
    assert [x.name for x in viewer.layers] == ["texture", "damage mask"]
    assert dock.repair_panel.repair_button.isEnabled()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RepairRefused("no usable neighbour"), "No usable neighbour"),
        (InputError("the mask is empty"), "The mask is empty"),
        (RuntimeError("CUDA out of memory\nlong story"), "RuntimeError: CUDA out of memory"),
    ],
)
def test_errors_are_shown_in_one_line(make_dock, wait, stack_path, monkeypatch, error, message):
    from napari.utils.notifications import notification_manager

    def fail(job, *, progress):
        raise error

    monkeypatch.setattr(one_section, "repair", fail)
    _, dock = make_dock(stack_path)
    paint(dock)
    before = len(notification_manager.records)
    dock.repair_panel.repair()
    wait(lambda: not dock.jobs.is_running())
    assert message in dock.messages.text()
    (record,) = notification_manager.records[before:]
    assert message in record.message
    assert "\n" not in record.message


def test_what_is_left_of_a_section_is_reported(make_dock, wait, stack_path):
    from napari.utils.notifications import notification_manager

    from napari_flowinpaint.core.refusal import Refusal
    from napari_flowinpaint.core.types import Box

    _, dock = make_dock(stack_path)
    paint(dock)
    job = dock.session.request_repair()
    review = one_section.repair(job, progress=lambda *_: None)
    left = Refusal(Box(90, 100, 91, 102), 2, "no usable neighbour")
    review.repair = replace(review.repair, refused=(left,))
    before = len(notification_manager.records)
    dock.repair_panel.show_repair(job, review)
    wait(lambda: not dock.repair_panel.is_showing)
    assert "repaired in part" in dock.messages.text()
    (record,) = notification_manager.records[before:]
    assert record.severity.name == "WARNING"
    assert record.message == "2 pixels left at rows 90-90, columns 100-101: no usable neighbour"


def test_the_question_is_asked_once_per_stack_and_no_means_no(make_dock, wait, stack_path):
    _, dock = make_dock(stack_path)
    before = open_stack(stack_path).read(3)
    layer = paint(dock)
    repair(dock, wait)
    dock.review_panel.accept()
    question = dock.review_panel.question
    assert str(stack_path) in question.text()
    question.reject()
    wait(lambda: dock.review_panel.question is None)
    assert "nothing was written" in dock.messages.text().lower()
    assert np.array_equal(open_stack(stack_path).read(3), before)
    assert dock.session.review.current is not None
    dock.review_panel.accept()
    question = dock.review_panel.question
    next(b for b in question.buttons() if b.text() == "Write").click()
    wait(lambda: dock.session.review.current is None)
    assert not layer.data.read(3).any()
    layer.paint((3, 35, 110), 1)
    repair(dock, wait)
    dock.review_panel.accept()
    assert dock.review_panel.question is None, "agreed already"
    wait(lambda: dock.session.review.current is None)
    panel = dock.accepted_panel
    assert [panel.list.itemText(i)[:15] for i in range(2)] == ["#2 · section 3 ", "#1 · section 3 "]
    panel.list.setCurrentIndex(1)
    panel.revert()
    wait(lambda: panel.list.count() == 1)
    assert panel.list.itemText(0).startswith("#2")
    panel.revert()
    wait(lambda: not panel.revert_button.isEnabled() and not dock.jobs.is_running())
    assert np.array_equal(open_stack(stack_path).read(3), before)


def test_what_cannot_be_written_to_is_saved_elsewhere(make_dock, wait, tmp_path, stack_path):
    import tifffile

    original = np.asarray(open_stack(stack_path).array)
    tifffile.imwrite(tmp_path / "stack.tif", original)
    viewer, dock = make_dock(tmp_path / "stack.tif")
    layer = paint(dock)
    damaged = layer.data.read(3)
    repair(dock, wait)
    dock.review_panel.accept()
    assert dock.review_panel.question is None
    assert "Save as OME-Zarr" in dock.messages.text()
    assert "not saved" in dock.accepted_panel.list.currentText()
    dock.accepted_panel.revert()
    assert dock.accepted_panel.list.currentText() == "none in this stack yet"
    assert np.array_equal(layer.data.read(3), damaged)
    repair(dock, wait)
    dock.review_panel.accept()
    dock.accepted_panel.save(tmp_path / "repaired")
    wait(lambda: not dock.jobs.is_running("save") and not dock.accepted_panel.is_showing)
    saved = np.asarray(open_stack(tmp_path / "repaired.zarr").array)
    expected = original.copy()
    expected[3][damaged] = saved[3][damaged]
    assert np.array_equal(saved, expected)
    assert (saved != original).any()
    assert dock.session.image.name == "repaired"
    assert dock.session.stack.writable
    wait(lambda: dock.accepted_panel.list.currentText().startswith("#1"))
    assert not viewer.layers["stack"].visible


def test_an_image_that_another_reader_opened_is_repaired_as_well(make_dock, wait, stack_path):
    viewer, dock = make_dock()
    data = np.asarray(open_stack(stack_path).array)
    layer = viewer.add_image(data, name="array", translate=(5, 6, 7))
    viewer.dims.set_point(0, 8)
    wait(lambda: dock.session.stack is not None)
    assert dock.session.section == 3
    assert "read-only" in dock.target.text()
    paint(dock, spots=((35, 40),))
    repair(dock, wait)
    box = dock.session.review.current.repair.box
    assert np.allclose(
        viewer.layers["result"].data_to_world((0, 0, 0)), layer.data_to_world((3, box.y0, box.x0))
    )


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


def test_keys_that_are_taken_are_left_alone(make_napari_viewer):
    from napari_flowinpaint.widgets.parts.keys import KeyBindings

    viewer = make_napari_viewer()
    own = viewer.bind_key("H", lambda viewer: None)
    keys = KeyBindings(viewer)
    assert not keys.bind("H", lambda viewer: None)
    assert not keys.bind("Ctrl+R", lambda viewer: None), "napari resets the view with it"
    assert keys.bind("N", lambda viewer: None)
    assert keys.bound == ("N",)
    assert own is None


def test_the_docks_are_in_the_menus(make_napari_viewer):
    from napari_flowinpaint.widgets.load_stack_dock import LoadStack
    from napari_flowinpaint.widgets.repair_section_dock import RepairSection

    viewer = make_napari_viewer()
    for name, kind in (("Load stack", LoadStack), ("Repair section", RepairSection)):
        _, widget = viewer.window.add_plugin_dock_widget("napari-flowinpaint", name)
        assert isinstance(widget, kind)
        assert widget.session.viewer is viewer


def test_a_zarr_that_napari_opened_is_written_to_and_shown(make_dock, wait, stack_path, tmp_path):
    import zarr

    path = tmp_path / "plain.zarr"
    data = np.asarray(open_stack(stack_path).array)
    zarr.create_array(path, data=data, chunks=(2, 64, 64))
    viewer, dock = make_dock()
    (layer,) = viewer.open(str(path), plugin="napari")
    viewer.dims.set_point(0, 3)
    wait(lambda: dock.session.stack is not None)
    assert dock.session.stack.writable
    paint(dock)
    repair(dock, wait)
    dock.session.accepted.agree(layer)
    dock.review_panel.accept()
    wait(lambda: dock.session.review.current is None)
    on_disk = open_stack(path).read(3)
    assert (on_disk != data[3]).any()
    assert np.array_equal(np.asarray(layer.data[3]), on_disk)
    y, x = np.argwhere(on_disk != data[3])[0]
    assert layer.get_value((3, y, x)) == on_disk[y, x], "what is drawn is what was written"


def test_two_viewers_do_not_share_a_session(make_dock, stack_path):
    first, dock = make_dock(stack_path)
    _, other = make_dock()
    assert other.session.image is None
    assert dock.session.image is first.layers[0]
    other.session.settings.max_gap = 1
    assert dock.session.settings.max_gap == 5


def test_napari_asks_before_it_closes_over_repairs_that_are_not_saved(
    make_napari_viewer, stack_path, monkeypatch
):
    from qtpy.QtWidgets import QMessageBox

    from napari_flowinpaint.viewer.tasks import one_section
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
    session.add_stack(one_section.load(str(stack_path), progress=lambda *_: None))
    session.accepted._unsaved[session.image] = [SimpleNamespace(layer=None)]
    window = docks[0].window()
    assert not window.close()
    assert "Not saved yet: 1 accepted repair" in asked[0]
    assert not any(dock.jobs._stopped for dock in docks), "all docks go on"
    assert window.close()
    assert len(asked) == 2, "asked once, whatever docks are open"
    assert all(dock.jobs._stopped for dock in docks)


def test_what_the_gate_refused_is_repaired_anyway_by_a_click(make_dock, wait, tmp_path, qtbot):
    from qtpy.QtCore import Qt

    from napari_flowinpaint.core.export import save_ome_zarr
    from napari_flowinpaint.core.io.stack import Stack

    sections = np.random.default_rng(0).integers(0, 255, (7, 128, 144)).astype(np.uint8)
    path = save_ome_zarr(Stack.from_array(sections), tmp_path / "noise.zarr")
    _, dock = make_dock(path, show=True)
    paint(dock)
    panel = dock.repair_panel
    panel.method.setCurrentText("flow")
    repair(dock, wait)
    assert "show something else than section 3" in dock.messages.text()
    assert panel.anyway_button.isVisible()
    qtbot.mouseClick(panel.anyway_button, Qt.MouseButton.LeftButton)
    wait(lambda: not dock.jobs.is_running("repair") and not panel.is_showing)
    assert "section 3 is repaired" in dock.messages.text().lower()
    assert not panel.anyway_button.isVisible()
    made = dock.session.review.current.repair
    assert made.provenance.options["gate"] == "flag"
    assert "it was repaired all the same" in made.provenance.flags[0]
