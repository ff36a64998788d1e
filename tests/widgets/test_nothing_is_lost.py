"""Work of the user is never lost: masks, repairs that wait, what is unsaved when napari closes."""

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.viewer.tasks import loading, one_section
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections
from napari_flowinpaint.widgets.repair_section_dock import RepairSection


def paint(dock, z=3, at=(35, 40)):
    if dock.session.mask_layer is None:
        dock.mask_panel.new_mask()
    layer = dock.session.mask_layer
    layer.brush_size = 14
    layer.paint((z, *at), 1)
    return layer


def repair(dock, wait, z=3):
    dock.session.viewer.dims.set_point(0, z * 50)
    dock.repair_panel.method.setCurrentText("flow")
    dock.repair_panel.repair()
    wait(lambda: not dock.jobs.is_running("repair") and not dock.repair_panel.is_showing)


def press(question, text):
    next(button for button in question.buttons() if button.text().strip("&") == text).click()


def test_a_mask_is_replaced_after_a_question_and_undo_brings_it_back(make_dock, stack_path):
    _, dock = make_dock(stack_path)
    layer, panel = paint(dock), dock.mask_panel
    painted = layer.data.read(3)
    panel.new_button.click()
    assert np.array_equal(layer.data.read(3), painted), "nothing before the answer"
    press(panel.loading.question, "Cancel")
    assert np.array_equal(layer.data.read(3), painted)
    panel.new_button.click()
    press(panel.loading.question, "Replace")
    assert not layer.data.read(3).any()
    assert panel.undo_button.isEnabled()
    layer.paint((3, 90, 90), 1)
    new = layer.data.read(3)
    panel.undo()
    panel.undo()
    assert np.array_equal(layer.data.read(3), painted)
    panel.redo()
    panel.redo()
    assert np.array_equal(layer.data.read(3), new)


def test_a_mask_is_painted_on_in_another_section(make_dock, stack_path):
    """Whoever goes on to the next damaged section presses New mask there as well."""
    viewer, dock = make_dock(stack_path)
    layer, panel = paint(dock), dock.mask_panel
    painted = layer.data.read(3)
    viewer.dims.set_point(0, 5 * 50)
    viewer.layers.selection.active = dock.session.image
    panel.new_button.click()
    question = panel.loading.question
    assert question.defaultButton().text() == "Paint on it"
    press(question, "Paint on it")
    assert viewer.layers.selection.active is layer
    assert layer.mode == "paint"
    assert "Paint over the damage" in dock.messages.text()
    assert np.array_equal(layer.data.read(3), painted)


def test_a_mask_whose_layer_was_removed_comes_back(make_dock, stack_path):
    viewer, dock = make_dock(stack_path)
    painted = paint(dock).data.read(3)
    viewer.layers.remove(dock.session.mask_layer)
    dock.mask_panel.new_mask()
    dock.mask_panel.undo()
    assert np.array_equal(dock.session.mask.read(3), painted)


def test_a_mask_painted_in_repair_section_is_back_on_reopening(make_dock, stack_path, wait):
    viewer, dock = make_dock(stack_path)
    painted = paint(dock).data.read(3)
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    again = RepairSection(viewer)
    viewer.window.add_dock_widget(again)
    again.session.add_stack(loading.load(str(stack_path), progress=lambda *_: None))
    wait(lambda: again.session.mask is not None)
    assert np.array_equal(again.session.mask.read(3), painted)


@pytest.mark.parametrize("removed", ["stack", "mask", "all"])
@pytest.mark.parametrize("saving", [False, True])
def test_a_mask_is_saved_when_layers_are_removed_at_once(
    make_dock, stack_path, wait, removed, saving
):
    viewer, dock = make_dock(stack_path)
    flags, image = dock.session.flags, dock.session.image
    painted = paint(dock).data.read(3)
    flags.saving = object() if saving else None  # of another dock
    if removed == "all":
        viewer.layers.clear()
    else:
        viewer.layers.remove(image if removed == "stack" else dock.session.mask_layer)
    flags.saving = None
    if saving:
        wait(lambda: flags.first_unsaved() is None)
    else:
        assert flags.first_unsaved() is None
    viewer.layers.clear()
    dock.session.add_stack(loading.load(str(stack_path), progress=lambda *_: None))
    wait(lambda: dock.session.mask is not None)
    assert np.array_equal(dock.session.mask.read(3), painted)


def test_list_and_mask_follow_into_a_copy(make_dock, stack_path, wait, tmp_path):
    _, dock = make_dock(stack_path)
    paint(dock)
    painted = paint(dock, 4).data.read(4)
    dock.session.require_flags().list.add(4, "hole")
    dock.accepted_panel.save(tmp_path / "copy.zarr")
    wait(lambda: dock.session.image is not None and dock.session.image.name == "copy")
    wait(lambda: dock.session.mask is not None)
    assert np.array_equal(dock.session.mask.read(4), painted)
    assert [row.section for row in dock.session.require_flags().list.rows] == [4]


def test_marks_exist_once_with_all_docks(make_dock, stack_path, wait):
    viewer, dock = make_dock(stack_path)
    flagged = FlaggedSections(viewer)
    viewer.window.add_dock_widget(flagged, name="Flagged sections")
    dock.session.accepted.agree(dock.session.image)
    for z in (3, 5):
        paint(dock, z)
        repair(dock, wait, z)
        dock.review_panel.accept()
        wait(lambda: not dock.jobs.is_running("accept"))
    viewer.open(str(stack_path), plugin="napari-flowinpaint")
    wait(lambda: dock.session.accepted.is_known(dock.session.image))
    assert [layer.name for layer in viewer.layers].count("synthetic pixels") == 1


def test_a_repair_waits_while_one_looks_elsewhere(make_dock, stack_path, wait):
    viewer, dock = make_dock(stack_path)
    panel, session = dock.review_panel, dock.session
    paint(dock, 5)
    paint(dock, 3)
    repair(dock, wait, 3)
    assert panel.waiting.isHidden(), "it is the only one"
    viewer.dims.set_point(0, 5 * 50)
    assert session.mask_layer.visible, "to be painted on"
    dock.repair_panel.repair()
    viewer.dims.set_point(0, 0)
    wait(lambda: not dock.jobs.is_running("repair"))
    assert [review.z for review in session.review.waiting(session.image)] == [3, 5]
    assert "waits in the list" in dock.messages.text()
    assert not panel.waiting.isHidden()
    panel.waiting.select(("waiting", 5))
    wait(lambda: session.review.current is not None and session.review.current.z == 5)
    assert session.section == 5
    assert not session.mask_layer.visible
    panel.discard()
    assert [review.z for review in session.review.waiting(session.image)] == [3]


def test_accepting_one_repair_keeps_the_others_that_wait(make_dock, stack_path, wait):
    _, dock = make_dock(stack_path)
    session = dock.session
    session.accepted.agree(session.image)
    for z in (3, 5):
        paint(dock, z)
        repair(dock, wait, z)
    dock.review_panel.accept()  # of section 5, and one goes to section 3 while it is written
    dock.review_panel.waiting.select(("waiting", 3))
    wait(lambda: not dock.jobs.is_running() and not dock.review_panel.is_showing)
    assert [review.z for review in session.review.waiting(session.image)] == [3]
    assert session.review.current is not None
    assert session.review.current.z == 3
    assert not session.mask.read(5).any()
    assert session.mask.read(3).any()


def test_both_docks_list_the_same_repairs(make_dock, stack_path, wait):
    viewer, dock = make_dock(stack_path)
    flagged = FlaggedSections(viewer)
    viewer.window.add_dock_widget(flagged, name="Flagged sections")
    for z in (3, 5):
        paint(dock, z)
        repair(dock, wait, z)
    lists = [panel.rows.rows for panel in (dock.review_panel.waiting, flagged.staged_panel.table)]
    assert lists[0] == lists[1]
    assert [row.z for row in lists[0]] == [3, 5]
    flagged.staged_panel.table.select(("waiting", 3))
    wait(lambda: dock.session.review.current is not None and dock.session.review.current.z == 3)
    wait(lambda: not flagged.staged_panel.is_showing)
    flagged.staged_panel.reject()
    assert [row.z for row in dock.review_panel.waiting.rows.rows] == [5]
    assert dock.session.mask.read(3).any(), "what was dropped is still damaged"


def test_closing_asks_where_something_is_unsaved(make_dock, wait, monkeypatch):
    viewer, dock = make_dock()
    asked = []

    def question(parent, title, text, *_):
        asked.append(text)
        return QMessageBox.StandardButton.Cancel

    monkeypatch.setattr(QMessageBox, "question", question)
    viewer.add_image(np.zeros((5, 64, 64), np.uint8), name="array")
    wait(lambda: dock.session.flags.is_settled(dock.session.image))
    assert dock.session.unsaved() == []
    paint(dock, 2, (20, 20))
    assert dock.session.unsaved() == ["1 mask or list of flagged sections"]
    assert not dock.window().close()
    assert len(asked) == 1
    assert "1 mask or list of flagged sections" in asked[0]
    assert dock.keys.bound, "it goes on"
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Close)


def test_closing_asks_about_all_that_a_stack_without_a_file_cannot_keep(
    make_dock, wait, monkeypatch, stack_path, tmp_path
):
    viewer, dock = make_dock()
    asked = []

    def question(parent, title, text, *_):
        asked.append(text)
        return QMessageBox.StandardButton.Cancel

    monkeypatch.setattr(QMessageBox, "question", question)
    viewer.add_image(np.asarray(open_stack(stack_path).array), name="array", scale=(50, 4, 4))
    viewer.dims.set_point(0, 150)
    wait(lambda: dock.session.flags.is_settled(dock.session.image))
    dock.session.require_flags().list.add(2, "dark")
    assert not dock.window().close()
    assert "Not saved yet: 1 mask or list of flagged sections." in asked[-1]
    paint(dock)
    repair(dock, wait)
    assert not dock.window().close()
    assert "1 repair waiting for review and 1 mask or list" in asked[-1]
    dock.review_panel.accept()
    assert not dock.window().close()
    assert "1 accepted repair and 1 mask or list" in asked[-1]
    dock.accepted_panel.save(tmp_path / "copy")
    wait(lambda: dock.session.image.name == "copy" and not dock.accepted_panel.is_showing)
    assert dock.session.unsaved() == [], "the copy has all of it"
    dock.session.flags.of(viewer.layers["array"]).list.add(4, "dark")
    assert dock.session.unsaved() == ["1 mask or list of flagged sections"]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Close)


def test_nobody_is_told_that_a_batch_of_a_stack_without_a_file_is_kept(make_napari_viewer, wait):
    viewer = make_napari_viewer()
    dock = FlaggedSections(viewer)
    viewer.window.add_dock_widget(dock)
    pixels = np.random.default_rng(0).integers(0, 255, (5, 64, 64), dtype=np.uint8)
    image, session = viewer.add_image(pixels), dock.session
    wait(lambda: session.flags.of(image) is not None)
    assert dock.flag_panel.count.text() == "Nothing is flagged."
    session.require_flags().list.add(2, "dark")
    session.masks.new(image).data[2, 20:24, 20:24] = 1
    session.settings.method = "flow"
    dock.batch_panel.plan()
    wait(lambda: not dock.jobs.is_running("plan"))
    assert dock.batch_panel.summary.text().endswith("\nNot kept: the stack has no file.")


def test_closing_at_once_asks_where_the_mask_cannot_be_saved(
    make_dock, stack_path, wait, monkeypatch
):
    flagged = stack_path.with_name(stack_path.name + ".flagged")
    flagged.write_text("of somebody else")
    _, dock = make_dock(stack_path)
    asked, choice = [], QMessageBox.StandardButton

    def question(parent, title, text, *_):
        asked.append(text)
        return choice.Cancel

    monkeypatch.setattr(QMessageBox, "question", question)
    wait(lambda: dock.session.flags.is_settled(dock.session.image))
    paint(dock)
    assert not dock.window().close(), "nothing has been tried to be saved before"
    assert "Not saved yet: 1 mask or list of flagged sections." in asked[0]
    flagged.unlink()
    assert dock.window().close()
    assert len(asked) == 1, "it is saved now"
    assert flagged.is_dir()


def test_it_is_said_that_what_could_not_be_saved_is_saved_now(make_dock, stack_path, wait):
    flagged = stack_path.with_name(stack_path.name + ".flagged")
    flagged.write_text("of somebody else")
    _, dock = make_dock(stack_path)
    wait(lambda: dock.session.flags.is_settled(dock.session.image))
    paint(dock)
    wait(lambda: "is a file, where the flagged folder" in dock.messages.text())
    flagged.unlink()
    paint(dock, at=(90, 90))
    wait(lambda: dock.messages.text() == "The list and the mask could be saved now.")
    assert flagged.is_dir()


def blocked(job, *, progress):
    import time

    progress(0.5, "about 1 s left")
    time.sleep(1.5)
    progress(0.6, "later")


def test_cancel_answers_at_once(make_dock, stack_path, wait, monkeypatch):
    import time

    monkeypatch.setattr(one_section, "repair", blocked)
    _, dock = make_dock(stack_path)
    paint(dock)
    dock.repair_panel.repair()
    started = time.monotonic()
    dock.cancel_button.click()
    assert not dock.jobs.is_running("repair")
    assert "ancelled" in dock.messages.text()
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("how", ["stack", "selected", "clear"])
def test_removing_layers_leaves_nothing_behind(make_dock, stack_path, wait, monkeypatch, how):
    viewer, dock = make_dock(stack_path)
    paint(dock)
    repair(dock, wait)
    monkeypatch.setattr(one_section, "repair", blocked)
    dock.repair_panel.repair()
    wait(lambda: "left" in dock.messages.text())
    if how == "stack":
        viewer.layers.remove(dock.session.image)
    elif how == "clear":
        viewer.layers.clear()
    else:
        viewer.layers.select_all()
        viewer.layers.remove_selected()
    wait(lambda: not len(viewer.layers))
    assert not dock.jobs.is_running("repair")
    assert "left" not in dock.messages.text()
    assert dock.session.review.current is None
    assert dock.progress.value() == 0
    assert "Load a stack" in dock.target.text()


def test_the_result_is_the_first_layer_and_the_message_comes_after_it(make_dock, stack_path, wait):
    viewer, dock = make_dock(stack_path)
    paint(dock)
    dock.repair_panel.method.setCurrentText("flow")
    dock.repair_panel.repair()
    seen = []
    viewer.layers.events.inserted.connect(lambda event: seen.append(dock.messages.text()))
    wait(lambda: "is repaired" in dock.messages.text())
    assert viewer.layers["result"].visible
    assert "is repaired" not in seen[0], "the message comes after it"
    wait(lambda: not dock.repair_panel.is_showing)
    names = [layer.name for layer in viewer.layers]
    assert names[1:5] == ["initial reference", "refined reference", "result", "confidence"]
