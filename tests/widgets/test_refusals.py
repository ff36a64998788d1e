"""What is refused: said in one sentence, shown where it lies, repaired anyway by a click."""

from dataclasses import replace

import numpy as np
import pytest
from docks import paint
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.refusal import Refusal
from napari_flowinpaint.core.types import Box
from napari_flowinpaint.viewer.tasks import one_section
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def noise_path(tmp_path):
    """Return a stack of sections that show nothing of each other, 7 x 128 x 144."""
    sections = np.random.default_rng(0).integers(0, 255, (7, 128, 144)).astype(np.uint8)
    return save_ome_zarr(Stack.from_array(sections), tmp_path / "noise.zarr")


def repair(dock, wait):
    dock.repair_panel.method.setCurrentText("flow")
    dock.repair_panel.repair()
    wait(lambda: not dock.jobs.is_running("repair") and not dock.repair_panel.is_showing)


def test_what_is_left_of_a_section_is_reported(make_dock, wait, stack_path):
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
    assert record.message == "Section 3: 1 part refused."
    assert "2 pixels left at rows 90-90, columns 100-101: no usable" in dock.messages.text()


def test_what_the_gate_refused_is_repaired_anyway_by_a_click(make_dock, wait, noise_path, qtbot):
    viewer, dock = make_dock(noise_path, show=True)
    paint(dock)
    panel, box = dock.repair_panel, dock.review_panel.refusal
    repair(dock, wait)
    assert "show something other than section 3" in dock.messages.text()
    assert box.line.text().startswith("2 components of section 3 refused: sections ")
    assert box.line.text().count(".") == 1, "one sentence"
    qtbot.waitUntil(lambda: box.anyway_button.isVisible())
    viewer.dims.set_point(0, 5)  # what was refused is repaired, wherever one looks
    qtbot.mouseClick(box.anyway_button, LEFT)
    wait(lambda: not dock.jobs.is_running("repair") and not panel.is_showing)
    (made,) = (review.repair for review in dock.session.review.waiting(dock.session.image))
    assert made.z == 3
    assert not box.isVisible()
    assert made.provenance.options["gate"] == "flag"
    assert "it was repaired anyway" in made.provenance.flags[0]


def test_a_refused_component_is_outlined_and_a_click_goes_there(make_dock, wait, noise_path, qtbot):
    viewer, dock = make_dock(noise_path)
    paint(dock)
    repair(dock, wait)
    table, refusals = dock.review_panel.table, dock.session.refusals
    model = table.model()
    assert [model.data(model.index(row, 3)) for row in range(2)] == ["refused"] * 2
    outlines = viewer.layers["refused"]
    assert outlines.nshapes == 2
    assert all(set(line[:, 0]) == {3} for line in outlines.data)
    viewer.dims.set_point(0, 0)
    qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualRect(model.index(1, 2)).center())
    assert dock.session.section == 3
    box = refusals.places[1].box
    assert np.allclose(
        viewer.scene.camera.center[-2:], ((box.y0 + box.y1 - 1) / 2, (box.x0 + box.x1 - 1) / 2)
    )
    assert dock.review_panel.refusal.details.isHidden(), "the rest on demand"
    dock.review_panel.refusal.why_button.click()
    assert "mirror images" in dock.review_panel.refusal.details.text()
    viewer.layers.remove(dock.session.image)
    wait(lambda: not len(viewer.layers))
    assert dock.review_panel.refusal.isHidden()


def test_the_section_at_fault_is_marked_as_damaged_right_there(make_dock, wait, noise_path):
    _, dock = make_dock(noise_path)
    paint(dock)
    dock.session.settings.max_gap = 1
    repair(dock, wait)
    box = dock.review_panel.refusal
    assert box.mark_button.text() == "Mark sections 2 and 4 as damaged"
    box.mark_button.click()
    wait(lambda: not dock.jobs.is_running("mark"))
    mask = dock.session.mask
    assert mask.read(2).all()
    assert mask.read(4).all()
    assert not mask.read(3).all()
    assert dock.session.section == 3, "one stays where one is"
    rows = dock.session.require_flags().list.rows
    assert [(row.section, row.decision) for row in rows] == [(2, "damaged"), (4, "damaged")]
    dock.mask_panel.undo()
    dock.mask_panel.undo()
    assert not mask.read(2).any()
    assert not mask.read(4).any()


def test_a_batch_repairs_anyway_what_the_gate_refused(make_dock, wait, noise_path):
    viewer, dock = make_dock(noise_path)
    flagged = FlaggedSections(viewer)
    viewer.window.add_dock_widget(flagged, name="Flagged sections")
    paint(dock)
    dock.session.settings.method = "flow"
    dock.session.require_flags().list.add(3, "dark")
    panel = flagged.batch_panel
    panel.plan()
    wait(lambda: not flagged.jobs.is_running())
    panel.run()
    wait(lambda: not flagged.jobs.is_running())
    panel.table.select(3)
    assert not panel.refusal.isHidden()
    assert panel.refusal.line.text().startswith("Section 3 refused: sections 2")
    panel.refusal.anyway_button.click()
    wait(lambda: not flagged.jobs.is_running())
    assert panel.refusal.isHidden()
    assert [row.status for row in panel.table.rows.rows] == ["repaired"]
    (staged,) = flagged.staged_panel.table.rows.rows
    assert "it was repaired anyway" in staged.flags[0]


def test_a_repair_of_a_batch_that_left_something_offers_the_same(make_dock, wait, noise_path):
    viewer, dock = make_dock(noise_path)
    flagged = FlaggedSections(viewer)
    viewer.window.add_dock_widget(flagged, name="Flagged sections")
    reason = "section 2 shows something other than section 3 (0.1); no other fits: align it, "
    panel = flagged.staged_panel
    left = Refusal(Box(0, 0, 1, 2), 2, reason + "or repair it anyway (--gate flag)")
    staged = _staged(3, (left,))
    dock.session.batch.set_staged(dock.session.image, (staged,))
    panel.table.select(3, pick=False)
    panel.refresh()
    assert panel.refusal.line.text() == (
        "1 part of section 3 refused: section 2 shows something other than section 3."
    )
    assert not panel.refusal.anyway_button.isHidden()
    assert panel.refusal.mark_button.text() == "Mark section 2 as damaged"


def _staged(z, refused=()):
    from napari_flowinpaint.core.batch import StagedSection

    return StagedSection(
        z, "repaired", "", "undecided", None, "flow", (2, 4), 9, {}, (), None, None, "", refused
    )
