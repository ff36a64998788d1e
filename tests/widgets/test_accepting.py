"""Accepted repairs: written, kept beside the file, or saved with a copy."""

from datetime import datetime, timedelta, timezone

import numpy as np
from docks import paint, repair
from qtpy.QtWidgets import QFileDialog

from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.widgets.panels.accepted_panel import _when


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


def test_repairs_of_a_file_that_cannot_be_written_to_are_kept_beside_it(
    make_dock, wait, tmp_path, stack_path
):
    import tifffile

    path = tmp_path / "stack.tif"
    original = np.asarray(open_stack(stack_path).array)
    tifffile.imwrite(path, original)
    bytes_before = path.read_bytes()
    viewer, dock = make_dock(path)
    assert "kept beside it" in dock.target.text()
    layer = paint(dock)
    damaged = layer.data.read(3)
    repair(dock, wait)
    waiting = dock.session.request_repair()  # goes on although the stack becomes another
    dock.review_panel.accept_button.click()
    wait(lambda: not dock.jobs.is_running())
    assert dock.review_panel.question is None, "nothing happens to the file"
    assert "beside the file, marked as synthetic; the file itself is unchanged." in (
        dock.messages.text()
    )
    shown = np.asarray(viewer.layers["stack"].data)
    assert (shown[3] != original[3])[damaged].any()
    assert np.array_equal(shown[3][~damaged], original[3][~damaged])
    assert dock.session.where_shown(waiting) is dock.session.image
    assert dock.session.unsaved() == []
    assert "synthetic pixels" in viewer.layers
    assert path.read_bytes() == bytes_before
    dock.accepted_panel.describe(tmp_path / "repairs.tex")
    wait(lambda: not dock.jobs.is_running("describe"))
    assert "repairs.pdf" in dock.messages.text()
    assert (tmp_path / "repairs.tex").read_text().startswith("\\subsection*")
    assert (tmp_path / "repairs.pdf").is_file()

    _, again = make_dock(path)  # napari was closed and started again
    assert np.array_equal(np.asarray(again.session.image.data), shown)
    wait(lambda: again.accepted_panel.list.currentText().startswith("#1"))
    again.accepted_panel.save(tmp_path / "repaired")
    wait(lambda: not again.jobs.is_running("save") and not again.accepted_panel.is_showing)
    assert np.array_equal(np.asarray(open_stack(tmp_path / "repaired.zarr").array), shown)
    assert again.session.image.name == "repaired"

    dock.accepted_panel.revert_button.click()
    wait(lambda: not dock.jobs.is_running())
    assert np.array_equal(np.asarray(viewer.layers["stack"].data), original)
    assert np.array_equal(layer.data.read(3), damaged)


def test_a_figure_that_nobody_has_asked_about_is_not_replaced(
    make_dock, wait, stack_path, tmp_path, monkeypatch
):
    _, dock = make_dock(stack_path)
    paint(dock)
    repair(dock, wait)
    dock.session.accepted.agree(dock.session.image)
    dock.review_panel.accept()
    wait(lambda: dock.accepted_panel.describe_button.isEnabled())
    text, figure = tmp_path / "thesis.md", tmp_path / "thesis.png"
    figure.write_text("mine")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(text), ""))
    dock.accepted_panel.describe_button.click()
    assert "thesis.png" in dock.accepted_panel.question.text()
    dock.accepted_panel.question.reject()
    assert not dock.jobs.is_running("describe")
    assert figure.read_text() == "mine"
    dock.accepted_panel.describe_button.click()
    next(b for b in dock.accepted_panel.question.buttons() if b.text() == "Replace").click()
    wait(lambda: text.exists() and not dock.jobs.is_running("describe"))
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_repairs_of_an_array_are_saved_as_a_stack(make_dock, wait, tmp_path, stack_path):
    original = np.asarray(open_stack(stack_path).array)
    viewer, dock = make_dock()
    viewer.add_image(original.copy(), name="stack")
    viewer.dims.set_point(0, 3)
    wait(lambda: dock.session.stack is not None)
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


def test_that_a_copy_was_saved_stays_readable_while_its_list_opens(
    make_dock, wait, tmp_path, stack_path
):
    _, dock = make_dock(stack_path)
    paint(dock)
    dock.session.require_flags().list.add(3, "dark")
    dock.accepted_panel.save(tmp_path / "copy")
    wait(lambda: dock.session.image.name == "copy" and not dock.accepted_panel.is_showing)
    wait(lambda: dock.session.flags.of(dock.session.image) and not dock.jobs.is_running())
    assert dock.session.require_flags().list.sections(["damaged"]) == (3,), "it has opened"
    assert dock.messages.text().startswith("Saved ")
    assert "new repair" not in dock.messages.text(), "there is none"


def test_a_repair_waits_aside_while_a_copy_is_saved_and_shown(
    make_dock, wait, tmp_path, stack_path
):
    viewer, dock = make_dock(stack_path)
    paint(dock)
    repair(dock, wait)
    image, review = dock.session.image, dock.session.review.current
    dock.accepted_panel.save(tmp_path / "copy")
    wait(lambda: dock.session.image.name == "copy" and not dock.accepted_panel.is_showing)
    assert dock.review_panel.headline.text() == "Nothing to review."
    assert "result" not in viewer.layers
    assert dock.session.pending(image) == (review,), "it waits"
    assert dock.session.unsaved() == ["1 repair waiting for review"]


def test_the_time_of_a_repair_is_that_of_the_users_clock():
    now = datetime(2026, 5, 2, 1, 30, tzinfo=timezone(timedelta(hours=9)))
    assert _when("2026-05-01T16:20:05+00:00", now) == "01:20"
    assert _when("2026-05-01T14:59:05+00:00", now) == "2026-05-01"
    assert _when("long ago", now) == "long ago"


def test_what_is_to_be_known_of_a_stack_stays_readable_while_its_list_opens(
    make_dock, wait, stack_path, monkeypatch
):
    told = ("taken as sections z, y, x",)
    monkeypatch.setattr(Stack, "messages", property(lambda stack: told))
    viewer, dock = make_dock()
    viewer.add_image(np.asarray(open_stack(stack_path).array))
    wait(lambda: dock.session.flags.of(dock.session.image) and not dock.jobs.is_running())
    assert dock.messages.text() == "Taken as sections z, y, x."


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
