"""The docks Find damage and Flagged sections, mostly by calling their methods."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_flowinpaint.core.batch import BatchReport, Rate, SectionOutcome
from napari_flowinpaint.core.detection.flag_table import read_table
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.refusal import Refusal
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.viewer.tasks.flag_list import DAMAGED, INTACT, SKIP, UNDECIDED
from napari_flowinpaint.widgets.repair_section_dock import RepairSection

DAMAGED_SECTIONS = (2, 5)


@pytest.fixture(scope="module")
def sections_of_tissue():
    """Return synthetic sections with a blank region in two of them, 8 x 192 x 208."""
    from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

    pixels = synthetic_stack(SampleConfig(shape=(8, 192, 208)))
    for z in DAMAGED_SECTIONS:
        pixels[z, 40:80, 50:100] = 0
    return pixels


@pytest.fixture
def damaged_path(sections_of_tissue, tmp_path):
    """Return the sections as an OME-Zarr stack that can be written to."""
    from napari_flowinpaint.core.export import save_ome_zarr
    from napari_flowinpaint.core.io.stack import Stack

    stack = Stack.from_array(sections_of_tissue, voxel_size=(50, 4, 4), name="tissue")
    return save_ome_zarr(stack, tmp_path / "tissue.zarr")


@pytest.fixture
def make_docks(make_napari_viewer, wait):
    """Return a function that opens a viewer with both docks and a stack."""
    from napari_flowinpaint.viewer.tasks import loading
    from napari_flowinpaint.widgets.find_damage_dock import FindDamage
    from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections

    def make(path):
        viewer = make_napari_viewer()
        find, flagged = FindDamage(viewer), FlaggedSections(viewer)
        viewer.window.add_dock_widget(find, name="Find damage")
        viewer.window.add_dock_widget(flagged, name="Flagged sections")
        flagged.session.add_stack(loading.load(str(path), progress=lambda *_: None))
        wait(lambda: flagged.session.flags.of(flagged.session.image) is not None)
        wait(lambda: not find.jobs.is_running() and not flagged.jobs.is_running())
        return viewer, find, flagged

    return make


def search(find, wait):
    find.search()
    wait(lambda: not find.jobs.is_running("search"))


def test_what_was_found_is_listed_without_a_further_click(make_napari_viewer, wait, damaged_path):
    from napari_flowinpaint.viewer.tasks import loading
    from napari_flowinpaint.widgets.dock import open_dock_of
    from napari_flowinpaint.widgets.find_damage_dock import FindDamage
    from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections

    viewer = make_napari_viewer()
    _, find = viewer.window.add_plugin_dock_widget("napari-flowinpaint", "Find damage")
    assert isinstance(find, FindDamage)
    find.session.add_stack(loading.load(str(damaged_path), progress=lambda *_: None))
    wait(lambda: find.session.flags.of(find.session.image) is not None)
    search(find, wait)
    flagged = open_dock_of(find.session, FlaggedSections)
    assert sections(flagged.flag_panel)
    close(viewer, find, flagged)


def close(viewer, *docks):
    for dock in docks:
        viewer.window.remove_dock_widget(dock)


def sections(panel):
    return [row.section for row in panel.table.rows.rows]


def test_a_search_fills_the_list_and_the_mask(make_docks, wait, damaged_path):
    _viewer, find, flagged = make_docks(damaged_path)
    search(find, wait)
    panel = flagged.flag_panel
    assert set(DAMAGED_SECTIONS) <= set(sections(panel))
    mask = flagged.session.mask
    for z in DAMAGED_SECTIONS:
        assert mask.read(z)[42:78, 52:98].mean() > 0.9
    assert not mask.painted_sections, "nothing is copied into memory"
    assert str(len(set(sections(panel)))) in find.messages.text()
    row = panel.table.rows.rows[0]
    assert panel.table.select((row.section, row.kind))
    wait(lambda: flagged.session.section == row.section)
    assert flagged.session.mask_layer.selected_label == KINDS[row.kind].label
    wait(lambda: not panel.thumbnails.pictures[1].pixmap().isNull())
    assert panel.thumbnails.captions[1].text() == f"this: {row.section}"


def test_a_mask_is_edited_before_the_section_is_shown(make_docks, wait, damaged_path):
    _viewer, find, flagged = make_docks(damaged_path)
    search(find, wait)
    panel = flagged.flag_panel
    first, last = panel.table.rows.rows[0], panel.table.rows.rows[-1]
    for row in (last, first):
        panel.table.select((row.section, row.kind))
        panel.edit_mask()
        assert flagged.session.section == row.section
        assert flagged.session.mask_layer.mode == "paint"
        wait(lambda row=row: panel.thumbnails.captions[1].text() == f"this: {row.section}")
    panel.table.select((last.section, last.kind))
    panel.table.select((first.section, first.kind))
    panel.table.select((last.section, last.kind))
    wait(lambda: flagged.session.section == last.section)
    wait(lambda: panel.thumbnails.captions[1].text() == f"this: {last.section}")


def test_the_form_and_the_settings_follow_each_other(make_docks, damaged_path):
    _, find, _ = make_docks(damaged_path)
    settings = find.settings
    assert (settings.first, settings.last) == (0, 7)
    find.where.setCurrentText("a range")
    find.first.setValue(2)
    find.sensitivity.setValue(find.sensitivity.maximum())
    find.kinds["blur"].setChecked(False)
    assert settings.sections(None, 8) == (2, 3, 4, 5, 6, 7)
    assert settings.options().sensitivity == 1
    assert "blur" not in settings.options().kinds
    settings.sensitivity = 0.25
    settings.kinds = ("hole",)
    assert find.sensitivity_text.text() == "0.25"
    assert not find.kinds["dark"].isChecked()
    settings.kinds = ()
    find.search()
    assert "no kind" in find.messages.text().lower()


def test_an_estimate_is_kept_until_it_is_forgotten(make_docks, wait, damaged_path):
    _, find, _ = make_docks(damaged_path)
    find.estimate()
    wait(lambda: not find.jobs.is_running("estimate"))
    assert set(find.settings.scales) == set(KINDS)
    find.defaults_button.click()
    assert find.settings.scales == {}
    assert "defaults" in find.scales_text.text()


def test_a_cancelled_search_leaves_no_mask(make_docks, wait, damaged_path, monkeypatch):
    from napari_flowinpaint.viewer.tasks import find_damage

    started = []

    def slow(*args, progress):
        started.append(1)
        while True:
            progress(0.5, "searching")

    monkeypatch.setattr(find_damage, "search", slow)
    _, find, flagged = make_docks(damaged_path)
    find.search()
    wait(lambda: started)
    find.cancel_button.click()
    wait(lambda: not find.jobs.is_running("search"))
    assert "cancelled" in find.messages.text().lower()
    assert flagged.session.mask_layer is None
    assert not sections(flagged.flag_panel)


def test_decisions_are_made_filtered_and_kept(
    make_docks, wait, damaged_path, tmp_path, monkeypatch
):
    viewer, _find, flagged = make_docks(damaged_path)
    panel, flags = flagged.flag_panel, flagged.session.require_flags()
    for z in (1, 2, 5):
        viewer.dims.set_point(0, z * viewer.layers["tissue"].scale[0])
        panel.new_kind.setCurrentText("dark")
        panel.add_section()
    assert [row.decision for row in flags.list.rows] == [DAMAGED] * 3
    panel.table.select((1, "dark"))
    panel.decide(INTACT)
    assert panel.table.current.section == 2, "it goes on to the next row"
    panel.decide(SKIP)
    panel.undecide_button.click()
    assert [row.decision for row in flags.list.rows] == [INTACT, SKIP, UNDECIDED]
    panel.decision_filter.setCurrentIndex(panel.decision_filter.findData(SKIP))
    assert sections(panel) == [2]
    panel.decision_filter.setCurrentIndex(0)
    panel.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert sections(panel) == [5, 2, 1]
    panel.save(tmp_path / "list")
    assert [row.decision for row in read_table(tmp_path / "list.csv")] == [INTACT, SKIP, UNDECIDED]
    chosen = str(tmp_path / "list"), ""  # the dialog has not asked about list.csv
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: chosen)
    panel.save_button.click()
    assert "list.csv" in panel.question.text()
    panel.question.reject()
    panel.table.select((2, "dark"))
    panel.remove()
    assert sections(panel) == [5, 1]
    panel.load(tmp_path / "list.csv")
    assert sections(panel) == [5, 2, 1]


def test_list_and_mask_survive_napari(make_docks, wait, damaged_path):
    viewer, find, flagged = make_docks(damaged_path)
    search(find, wait)
    flagged.flag_panel.table.select((2, flagged.flag_panel.table.rows.rows[0].kind))
    flagged.flag_panel.edit_mask()
    layer = flagged.session.mask_layer
    assert layer.mode == "paint"
    layer.brush_size = 8
    layer.paint((0, 100, 20), KINDS["crack"].label)
    flagged.flag_panel.decide(DAMAGED)
    before = [layer.data[z] for z in range(8)]
    rows = flagged.session.require_flags().list.rows
    wait(lambda: flagged.session.flags.unsaved_changes(flagged.session.image) is None)
    close(viewer, find, flagged)

    _, _, again = make_docks(damaged_path)
    kept = again.session.require_flags().list.rows
    assert [(r.section, r.kind, r.decision) for r in kept] == [
        (r.section, r.kind, r.decision) for r in rows
    ]
    assert all(np.array_equal(again.session.mask[z], before[z]) for z in range(8))
    assert again.session.mask[0, 100, 20] == KINDS["crack"].label


def test_what_is_not_saved_yet_is_saved_on_closing(make_docks, damaged_path):
    viewer, find, flagged = make_docks(damaged_path)
    flagged.flag_panel.add_section()
    store = flagged.session.require_flags().store
    close(viewer, find, flagged)
    assert len(read_table(store.folder / "flagged.csv")) == 1


def wait_until_idle(flagged, wait):
    """Wait until nothing runs and all is shown."""
    wait(lambda: not flagged.jobs.is_running() and not flagged.staged_panel.is_showing, 60)


def batch(flagged, wait):
    """Plan and run a batch."""
    panel = flagged.batch_panel
    panel.form.method.setCurrentText("flow")
    panel.plan()
    wait(lambda: not flagged.jobs.is_running("plan"))
    panel.run()
    wait(lambda: not flagged.jobs.is_running("batch", "staged"), 60)


def flag(flagged, find, wait):
    search(find, wait)
    keys = [(r.section, r.kind) for r in flagged.session.require_flags().list.rows]
    flags = flagged.session.require_flags()
    flags.list.decide(keys, INTACT)
    flags.list.decide([key for key in keys if key[0] in DAMAGED_SECTIONS], DAMAGED)


def test_the_review_begins_with_the_first_repair(make_docks, wait, damaged_path):
    _viewer, find, flagged = make_docks(damaged_path)
    flagged.window().show()
    flag(flagged, find, wait)
    batch(flagged, wait)
    panel = flagged.staged_panel
    assert panel.table.current is None
    flagged.tabs.setCurrentWidget(panel)
    wait(lambda: flagged.session.review.current is not None and not panel.is_showing)
    assert panel.table.current is panel.table.rows.rows[0]
    assert flagged.session.section == panel.table.current.z


def test_plan_run_review_write_revert(make_docks, wait, damaged_path):
    viewer, find, flagged = make_docks(damaged_path)
    stack = open_stack(damaged_path)
    before = stack.read(2).copy()
    flagged.batch_panel.plan()
    assert "no section is marked" in flagged.messages.text().lower()
    flag(flagged, find, wait)
    batch(flagged, wait)
    assert [row.status for row in flagged.batch_panel.table.rows.rows] == ["repaired"] * 2
    assert np.array_equal(stack.read(2), before), "the stack is not touched"

    panel = flagged.staged_panel
    assert sorted(row.z for row in panel.table.rows.rows) == list(DAMAGED_SECTIONS)
    quality = [row.quality for row in panel.table.rows.rows]
    assert quality == sorted(quality), "the worst first"
    assert not panel.components_button.isEnabled()
    panel.table.select(2)
    wait(lambda: flagged.session.review.current is not None and not panel.is_showing)
    assert {"result", "confidence"} <= {layer.name for layer in viewer.layers}
    assert panel.components_button.isEnabled()
    panel.reject()
    wait(lambda: flagged.session.batch.of(flagged.session.image).find(2).decision == "rejected")
    panel.threshold.setValue(0)
    panel.accept_above()
    wait(lambda: not flagged.jobs.is_running())
    assert flagged.session.batch.of(flagged.session.image).find(5).decision == "accepted"
    panel.table.select(2)
    panel.accept()
    wait(lambda: not flagged.jobs.is_running())
    panel.writing.write()
    next(b for b in panel.writing.question.buttons() if b.text() == "Write").click()
    wait(
        lambda: not flagged.jobs.is_running("write") and not panel.writing.write_button.isEnabled()
    )
    assert not np.array_equal(stack.read(2), before)
    assert not any(flagged.session.mask.read(z).any() for z in DAMAGED_SECTIONS)
    other, *docks = make_docks(damaged_path)
    wait(lambda: "synthetic pixels" in other.layers)
    close(other, *docks)
    panel.table.select(5)
    panel.writing.revert()
    wait_until_idle(flagged, wait)
    assert flagged.session.mask.read(5)[42:78, 52:98].any()
    assert not flagged.session.mask.read(2).any()
    panel.writing.revert_all()
    wait_until_idle(flagged, wait)
    assert np.array_equal(stack.read(2), before)
    assert not panel.writing.revert_all_button.isEnabled()


def test_what_a_batch_leaves_of_a_section_is_reported(make_docks, wait, damaged_path):
    _, find, flagged = make_docks(damaged_path)
    flag(flagged, find, wait)
    panel, batch_board, image = flagged.batch_panel, flagged.session.batch, flagged.session.image
    panel.plan()
    wait(lambda: not flagged.jobs.is_running("plan"))
    left = Refusal(Box(0, 0, 1, 2), 2, "no usable neighbour")
    found = batch_board.of(image)
    planned = [replace(section, refused=(left,)) for section in found.plan.sections]
    found.plan = replace(found.plan, sections=tuple(planned))
    panel.refresh()
    assert "2 windows left in the others" in panel.summary.text()
    row = panel.table.rows.rows[0]
    assert row.reason == "2 pixels left at rows 0-0, columns 0-1: no usable neighbour"
    panel._on_picked(row)
    assert "guided by 1 and 3" in flagged.messages.text()
    assert row.reason in flagged.messages.text()
    outcome = SectionOutcome(2, "repaired", refused=(left,))
    batch_board.add_outcome(image, outcome)
    assert panel.table.rows.rows[0].reason == row.reason
    panel._on_done(image, BatchReport((outcome,), 1.0, 1, Rate()))
    assert "1 repaired only in part (the table gives the reasons)" in flagged.messages.text()


def test_a_section_is_repaired_again_from_the_painted_mask(make_docks, wait, damaged_path):
    _viewer, find, flagged = make_docks(damaged_path)
    flag(flagged, find, wait)
    batch(flagged, wait)
    panel = flagged.staged_panel
    panel.table.select(5)
    wait(lambda: flagged.session.review.current is not None and not panel.is_showing)
    before = panel.table.current
    panel.paint_mask()
    layer = flagged.session.mask_layer
    layer.brush_size = 12
    layer.paint((5, 150, 150), 1)
    panel.redo()
    wait(lambda: not flagged.jobs.is_running("redo"), 60)
    assert panel.table.current.pixels > before.pixels + 50
    assert panel.table.current.decision == "undecided"
    wait_until_idle(flagged, wait)
    assert "was repaired again" in flagged.messages.text()


def test_a_repair_of_another_stack_is_named_and_decided_about_there(make_docks, wait, damaged_path):
    viewer, find, flagged = make_docks(damaged_path)
    flag(flagged, find, wait)
    batch(flagged, wait)
    session, image = flagged.session, flagged.session.image
    flagged.staged_panel.table.select(5)
    wait(lambda: session.review.current is not None and not flagged.staged_panel.is_showing)
    dock = RepairSection(viewer)
    viewer.window.add_dock_widget(dock, name="Repair section")
    assert dock.review_panel.headline.text().startswith("Section 5: ")
    viewer.add_image(np.zeros((3, 64, 64), np.uint8))
    wait(lambda: session.image is not image and session.flags.of(session.image) is not None)
    assert dock.review_panel.headline.text().startswith("tissue, section 5: ")
    dock.review_panel.accept()
    wait(lambda: session.batch.of(image).find(5).decision == "accepted")
    assert session.unsaved() == []


def test_a_plan_is_not_carried_out_once_the_mask_has_changed(make_docks, wait, damaged_path):
    _viewer, find, flagged = make_docks(damaged_path)
    flag(flagged, find, wait)
    flagged.batch_panel.plan()
    wait(lambda: not flagged.jobs.is_running("plan"))
    assert flagged.messages.text() == "2 sections planned; press Run to repair them."
    flagged.session.mask_layer.paint((5, 150, 150), 1)
    flagged.batch_panel.run()
    assert "press Plan again" in flagged.messages.text()


def test_a_paused_batch_can_be_cancelled_and_gone_on_with(make_docks, wait, damaged_path):
    _viewer, find, flagged = make_docks(damaged_path)
    flag(flagged, find, wait)
    panel = flagged.batch_panel
    panel.form.method.setCurrentText("flow")
    panel.plan()
    wait(lambda: not flagged.jobs.is_running("plan"))
    panel.run()
    panel.pause_button.click()
    wait(lambda: "paused" in flagged.messages.text())
    flagged.cancel_button.click()
    wait(lambda: not flagged.jobs.is_running("batch"))
    assert "press Run to resume" in flagged.messages.text()
    assert not panel.pause_button.isChecked()
    panel.run()
    wait(lambda: not flagged.jobs.is_running("batch", "staged"), 60)
    assert len(flagged.staged_panel.table.rows.rows) == 2


def test_repairs_of_a_file_are_kept_beside_it_or_saved_as_a_copy(
    make_docks, wait, sections_of_tissue, tmp_path
):
    import tifffile

    path = tmp_path / "tissue.tif"
    tifffile.imwrite(path, sections_of_tissue)
    viewer, find, flagged = make_docks(path)
    flag(flagged, find, wait)
    assert (tmp_path / "tissue.tif.flagged").is_dir(), "beside the file"
    batch(flagged, wait)
    panel = flagged.staged_panel
    panel.threshold.setValue(0)
    panel.accept_above()
    wait_until_idle(flagged, wait)
    panel.writing.save(tmp_path / "copy")
    wait_until_idle(flagged, wait)
    copy = open_stack(tmp_path / "copy.zarr")
    assert np.array_equal(copy.read(0), sections_of_tissue[0])
    assert not np.array_equal(copy.read(5), sections_of_tissue[5])
    assert flagged.session.stack.path == copy.path, "the copy is worked on now"
    assert flagged.messages.text().startswith("Saved "), "and not that its list was opened"
    assert viewer.layers.selection.active.name == "copy"
    viewer.layers.selection.active = viewer.layers["tissue"]
    wait_until_idle(flagged, wait)
    panel.writing.write()
    wait_until_idle(flagged, wait)
    shown = np.asarray(viewer.layers["tissue"].data)
    assert np.array_equal(shown, np.asarray(copy.array)), "without a question"
    assert np.array_equal(tifffile.imread(path), sections_of_tissue)
    assert (tmp_path / "tissue.tif.repairs").is_dir()
