"""The dock Repair section, mostly by calling its methods."""

import numpy as np
import pytest
from docks import paint, repair
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QStyle, QStyleOptionButton

from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.methods import ALONE
from napari_flowinpaint.viewer.tasks import devices, one_section
from napari_flowinpaint.viewer.tasks.review import STAGES
from napari_flowinpaint.widgets.dock import dock_around


def test_the_form_says_what_can_be_done(make_dock):
    _, dock = make_dock()
    assert "Load a stack" in dock.target.text()
    masks = dock.mask_panel
    for button in (masks.new_button, masks.loading, masks.missing_button, masks.tools):
        assert not button.isEnabled(), button.text()
    assert not dock.repair_panel.repair_button.isEnabled()
    assert not dock.review_panel.accept_button.isEnabled()
    assert not dock.accepted_panel.revert_button.isEnabled()
    assert not dock.cancel_button.isEnabled()
    dock.repair_panel.repair()
    assert "no stack" in dock.messages.text()


def test_the_narrowest_dock_shows_all_of_every_button(make_dock, wait):
    _, dock = make_dock(show=True)
    around, window = dock_around(dock), dock.window()
    window.resizeDocks([around], [100], Qt.Orientation.Horizontal)
    wait(lambda: around.width() == around.minimumSizeHint().width())
    cut = []
    for button in dock.findChildren(QPushButton):
        option = QStyleOptionButton()
        button.initStyleOption(option)
        contents = QStyle.SubElement.SE_PushButtonContents
        room = button.style().subElementRect(contents, option, button).width()
        needed = button.fontMetrics().horizontalAdvance(button.text())
        if needed > room:
            cut.append((button.text(), needed, room))
    assert not cut


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


def test_a_method_that_looks_at_no_neighbour_is_taken_after_a_question_only(make_dock):
    _, dock = make_dock()
    panel, settings = dock.repair_panel, dock.session.settings
    for answer, method in (("Cancel", "auto"), ("Use it", ALONE[0])):
        panel.method.setCurrentText(ALONE[0])
        question = panel.form.question
        assert "nothing but the damaged section itself" in question.text()
        assert panel.method.currentText() == settings.method == "auto"
        next(b for b in question.buttons() if b.text().strip("&") == answer).click()
        assert panel.method.currentText() == settings.method == method


def test_devices_are_looked_for_when_the_list_is_opened(make_dock, wait, monkeypatch):
    monkeypatch.setattr(devices, "list_devices", lambda *, progress: ("auto", "cpu", "cuda"))
    _, dock = make_dock()
    device = dock.repair_panel.device
    assert device.count() == 2
    device.opened.emit()
    wait(lambda: device.count() == 3)
    device.opened.emit()
    wait(lambda: not dock.jobs.is_running())
    assert [device.itemText(i) for i in range(3)] == ["auto", "cpu", "cuda"]


def test_no_data_is_shown_and_declared(make_dock, wait, stack_path, qtbot):
    viewer, dock = make_dock(stack_path)
    field = dock.repair_panel.no_data
    assert field.text() == ""
    for text in ("seven", "300"):
        field.setText(text)
        qtbot.keyClick(field, Qt.Key.Key_Return)
        assert text in dock.messages.text()
        assert dock.session.stack.no_data is None
    field.setText("7")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert dock.session.stack.no_data == 7
    assert "grey value 7 are no data" in dock.messages.text()
    viewer.add_image(np.zeros((5, 40, 40), np.uint8))
    wait(lambda: field.text() == "")
    viewer.layers.selection.active = viewer.layers[0]
    assert field.text() == "7"


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
    assert "waits in the list" in dock.messages.text()
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


def test_two_viewers_do_not_share_a_session(make_dock, stack_path):
    first, dock = make_dock(stack_path)
    _, other = make_dock()
    assert other.session.image is None
    assert dock.session.image is first.layers[0]
    other.session.settings.max_gap = 1
    assert dock.session.settings.max_gap == 5
