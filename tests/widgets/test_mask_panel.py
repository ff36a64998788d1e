"""The mask in the dock Repair section: painted, edited, loaded, counted."""

import numpy as np
import pytest
from docks import paint
from qtpy.QtCore import QPoint
from qtpy.QtTest import QTest

from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.viewer.tasks import one_section


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
    dock.mask_panel.status._show(one_section.MaskStatus(3, 2, 7, neighbours))
    assert dock.mask_panel.status.text().endswith(message)


def test_it_says_which_method_auto_takes_and_why(make_dock, wait, stack_path):
    viewer, dock = make_dock(stack_path, show=True)
    panel = dock.repair_panel

    def place():
        return panel.repair_button.mapTo(panel.parentWidget(), QPoint(0, 0)).y()

    assert not panel.choice.text().strip()
    QTest.qWait(300)
    before = place()
    layer = paint(dock)
    wait(lambda: panel.choice.text() == "takes flowinpaint (two usable neighbours)")
    assert abs(place() - before) <= 4, "nothing jumps"
    panel.method.setCurrentText("flow")
    wait(lambda: not panel.choice.text().strip())
    panel.method.setCurrentText("auto")
    layer.data[3, 20:40, 20:24] = KINDS["fold"].label
    dock.session.masks.changed.emit()
    wait(lambda: "unfold (a fold: its tissue is moved back)" in panel.choice.text())
    viewer.dims.set_point(0, 0)
    wait(lambda: not panel.choice.text().strip())


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
    assert dock.mask_panel.loading.usable_layers() == ["found"]
    dock.mask_panel.loading.use_layer("found")
    wait(lambda: dock.session.mask is not None)
    assert dock.session.mask.read(3).sum() == 100
    assert not viewer.layers["found"].visible
    other[3, 90:100, 50:60] = 1
    tifffile.imwrite(tmp_path / "mask.tif", other)
    dock.mask_panel.loading.load(str(tmp_path / "mask.tif"))
    wait(lambda: dock.session.mask.read(3).sum() == 200)
    tifffile.imwrite(tmp_path / "short.tif", other[1:])
    dock.mask_panel.loading.load(str(tmp_path / "short.tif"))
    wait(lambda: "shape" in dock.messages.text())
    assert dock.session.mask.read(3).sum() == 200


def test_damage_of_every_section_is_masked_in_all_of_them(make_dock, stack_path, wait):
    _, dock = make_dock(stack_path)
    panel, session = dock.mask_panel, dock.session
    assert not panel.every_button.isEnabled()
    paint(dock)
    depth = session.mask.shape[0]
    before = session.mask[3].copy()
    panel.every_button.click()
    wait(lambda: session.mask[0].any())
    assert all(np.array_equal(session.mask[z], before) for z in range(depth))
    assert f"all {depth} sections" in dock.messages.text()
    flags = session.flags.of(session.image)
    if flags is not None:
        assert flags.list.sections(("damaged",)) == tuple(range(depth))
    panel.undo()
    assert not session.mask[0].any()
    assert session.mask[3].any()
    session.masks.new(session.image)
    panel.spread()
    assert "paint the gap" in dock.messages.text()
