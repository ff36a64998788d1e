"""More ways to a mask: drawn around, between sections, on other sections; brush and saving."""

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_flowinpaint.core.open import open_mask
from napari_flowinpaint.viewer import layers


def chosen(dock, text):
    """Choose something of the menu."""
    actions = dock.mask_panel.tools.menu().actions()
    next(action for action in actions if action.text().startswith(text)).trigger()


def draw(layer, z, corners):
    """Draw what is told of a shape that somebody has closed."""
    points = [(z, y, x) for y, x in corners]
    layer.add_polygons([np.array(points, float)])


@pytest.fixture
def idle(wait, qtbot):
    """Return a function that waits until the jobs of a dock are done."""

    def until(dock):
        qtbot.wait(1)
        wait(lambda: not dock.jobs.is_running("edit", "save mask"))

    return until


SQUARE = ((29.6, 39.6), (29.6, 60.4), (50.4, 60.4), (50.4, 39.6))


def test_what_is_drawn_goes_into_the_mask_at_once(make_dock, idle, stack_path):
    viewer, dock = make_dock(stack_path)
    chosen(dock, "Lasso")
    drawing = dock.session.drawing
    assert viewer.layers.selection.active is drawing.layer
    assert str(drawing.layer.mode) == "add_polygon_lasso"
    draw(drawing.layer, 3, SQUARE)
    idle(dock)
    mask = dock.session.mask
    expected = np.zeros((128, 144), bool)
    expected[30:51, 40:61] = True
    assert np.array_equal(mask.read(3), expected)
    assert dock.session.mask_layer.visible
    assert drawing.layer.nshapes == 0, "and does not stay"
    chosen(dock, "Polygon")
    assert str(drawing.layer.mode) == "add_polygon"
    draw(drawing.layer, 3, [(y + 60, x) for y, x in SQUARE])
    idle(dock)
    assert mask.read(3).sum() == 2 * expected.sum()
    dock.mask_panel.undo_button.click()
    assert np.array_equal(mask.read(3), expected)
    viewer.layers.remove(dock.session.image)
    idle(dock)


def test_only_what_stands_out_is_taken(make_dock, wait, idle, stack_path):
    from napari_flowinpaint.core.open import open_stack

    stack = open_stack(stack_path)
    section = stack.read(3)
    section[36:44, 46:54] = 0
    for level in stack.levels[:1]:
        level.write(3, section)
    _, dock = make_dock(stack_path)
    chosen(dock, "Lasso, only")
    draw(dock.session.drawing.layer, 3, SQUARE)
    idle(dock)
    found = dock.session.mask.read(3)
    assert found[36:44, 46:54].all()
    assert found.sum() < 160


def test_sections_between_and_beside(make_dock, idle, stack_path, qtbot):
    viewer, dock = make_dock(stack_path)
    chosen(dock, "Interpolate")
    assert "no mask" in dock.messages.text()
    dock.mask_panel.new_button.click()
    mask = dock.session.mask
    mask[1, 30:50, 40:60] = mask[5, 38:58, 40:60] = 3
    mask.commit()
    chosen(dock, "Interpolate")
    idle(dock)
    assert "2 to 4" in dock.messages.text()
    assert np.array_equal(np.argwhere(mask.read(3))[[0, -1]], [(34, 40), (53, 59)])
    assert (mask[3][mask.read(3)] == 3).all(), "of the same kind"
    dock.mask_panel.undo_button.click()
    assert not any(mask.read(z).any() for z in (2, 3, 4)), "one step"

    viewer.dims.set_point(0, 5 * viewer.layers[0].scale[0])
    chosen(dock, "Same mask")
    dialog = dock.mask_panel.tools.dialog
    dialog.first.setValue(6)
    dialog.last.setValue(0)
    ok = dialog.buttons.button(dialog.buttons.StandardButton.Ok)
    qtbot.mouseClick(ok, Qt.MouseButton.LeftButton)
    idle(dock)
    assert all(mask.read(z)[38:58, 40:60].all() for z in range(7))
    assert mask.read(1)[30:38, 40:60].all(), "what was there stays"


def test_the_mask_is_saved_as_one_that_can_be_loaded(make_dock, wait, idle, stack_path, tmp_path):
    _, dock = make_dock(stack_path)
    dock.mask_panel.new_button.click()
    mask = dock.session.mask
    mask[2, 10:30, 20:41] = 5
    dock.mask_panel.tools.save(tmp_path / "mine")
    idle(dock)
    assert "mine.zarr" in dock.messages.text()
    assert np.array_equal(np.asarray(open_mask(tmp_path / "mine.zarr").array), np.asarray(mask))
    dock.mask_panel.tools.save(tmp_path / "mine")
    idle(dock)
    assert "exists" in dock.messages.text()


def test_shift_and_the_wheel_change_the_brush():
    layer = SimpleNamespace(brush_size=20, mode="paint")
    event = SimpleNamespace(modifiers=("Shift",), delta=(0.0, 1.0), handled=False)
    layers.size_brush(layer, event)
    assert (layer.brush_size, event.handled) == (22, True)
    layers.size_brush(layer, SimpleNamespace(modifiers=("Shift",), delta=(-1.0, 0.0)))
    assert layer.brush_size == 20
    for modifiers, mode in (((), "paint"), (("Control",), "paint"), (("Shift",), "pan_zoom")):
        layer.mode = mode
        layers.size_brush(layer, SimpleNamespace(modifiers=modifiers, delta=(0.0, 1.0)))
        assert layer.brush_size == 20


def test_missing_masks_the_whole_section_in_one_click(make_dock, idle, stack_path):
    _, dock = make_dock(stack_path)
    dock.mask_panel.missing_button.click()
    idle(dock)
    assert dock.session.mask.read(3).all()
