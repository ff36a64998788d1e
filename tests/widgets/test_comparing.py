"""Compare original and repair: a line to drag, and one component magnified."""

from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from qtpy.QtCore import QRect, Qt
from qtpy.QtWidgets import QApplication

from napari_flowinpaint.core.types import Box
from napari_flowinpaint.widgets.parts.component_window import (
    ComponentWindow,
    grey_of,
    open_component,
    view_of,
)


@pytest.fixture
def reviewed(make_dock, wait, stack_path):
    """Return viewer, dock and the repair of two components under review."""
    level = zarr.open_group(stack_path)["0"]
    level[3, 30:42, 30:42] = 255
    level[3, 90:99, 90:110] = 0
    viewer, dock = make_dock(stack_path)
    dock.mask_panel.new_button.click()
    dock.session.mask[3, 30:42, 30:42] = 1
    dock.session.mask[3, 90:99, 90:110] = 1
    dock.session.settings.method = "flow"
    dock.repair_panel.repair()
    wait(lambda: not dock.jobs.is_running() and not dock.repair_panel.is_showing)
    return viewer, dock


def test_left_of_the_line_is_the_original(reviewed):
    viewer, dock = reviewed
    session = dock.session
    review, comparison = session.review.current, session.comparison
    result = review.image("result").copy()
    assert (result != review.original).any()
    comparison.toggle()
    assert comparison.line in viewer.layers
    comparison.move_to(70)
    column = 70 - review.repair.box.x0
    shown = np.asarray(session.review.layers["result"].data)[0]
    assert np.array_equal(shown[:, :column], review.original[:, :column])
    assert np.array_equal(shown[:, column:], result[:, column:])
    assert np.asarray(comparison.line.data[0])[:, 2] == pytest.approx(69.5)

    scale = session.image.scale
    at = lambda x: (3 * scale[0], 50 * scale[1], x * scale[2])  # noqa: E731
    event = SimpleNamespace(position=at(20), type="mouse_press", handled=False)
    assert list(comparison._drag(viewer, event)) == []
    assert not event.handled, "too far from the line: the canvas is moved"
    event.position = at(69.5)
    drag = comparison._drag(viewer, event)
    next(drag)
    assert event.handled
    event.type, event.position = "mouse_move", at(99.5)
    next(drag)
    event.type = "mouse_release"
    assert list(drag) == []
    assert session.review.split == 100 - review.repair.box.x0
    assert (np.asarray(session.review.layers["result"].data)[0] == review.original)[:, :60].all()

    comparison.toggle()
    assert comparison.line is None
    assert comparison._drag not in viewer.mouse_drag_callbacks
    assert np.array_equal(np.asarray(session.review.layers["result"].data)[0], result)


def test_the_line_ends_with_the_review(reviewed):
    viewer, dock = reviewed
    dock.session.comparison.toggle()
    dock.review_panel.discard_button.click()
    assert dock.session.comparison.line is None
    dock.session.comparison.toggle()
    assert dock.session.comparison.line is None, "there is nothing to compare"
    assert "original | repair" not in viewer.layers


def test_without_its_line_nothing_is_compared(reviewed):
    viewer, dock = reviewed
    comparison = dock.session.comparison
    comparison.toggle()
    viewer.layers.remove(comparison.line)
    assert comparison.line is None
    assert dock.session.review.split is None, "the whole of the stage is seen"
    comparison.toggle()
    assert comparison.line in viewer.layers


def test_a_component_is_looked_at_closely_and_rejected(reviewed, qtbot):
    _, dock = reviewed
    review = dock.session.review.current
    left = Qt.MouseButton.LeftButton
    qtbot.mouseClick(dock.review_panel.closer_button, left)
    (window,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, ComponentWindow)]
    assert "Component 1 of 2: 144 pixels" in window.facts.text()
    assert not window.previous_button.isEnabled()
    qtbot.mouseClick(window.next_button, left)
    assert window.component.number == 2
    qtbot.mouseClick(window.use, left)
    assert review.accepted == {1}
    assert "1 of 2 components" in dock.review_panel.headline.text()
    dock.review_panel.all_button.click()
    assert window.use.isChecked(), "it follows the dock"
    dock.review_panel.discard_button.click()
    assert not window.isVisible()


def test_the_stages_of_a_component_fit_the_screen_of_a_laptop(reviewed, monkeypatch):
    class Laptop:
        def availableGeometry(self):
            return QRect(0, 0, 1280, 720)

    monkeypatch.setattr(ComponentWindow, "screen", lambda window: Laptop())
    _, dock = reviewed
    window = open_component(dock, dock.session)
    assert 1200 < window.sizeHint().width() < 1280
    window.close()


def test_what_is_shown_of_a_component_lies_within_the_repair():
    repair = Box(10, 10, 200, 110)
    for component in (Box(10, 10, 14, 12), Box(150, 20, 199, 100), Box(90, 50, 94, 54)):
        view = view_of(component, repair)
        assert view.y0 >= 10
        assert view.x0 >= 10
        assert view.y1 <= 200
        assert view.x1 <= 110
        assert view.union(component) == view
    assert view_of(Box(90, 50, 94, 54), repair).shape == (48, 48)
    assert grey_of(np.array([[np.nan, 50.0, 150.0]]), 50, 100).tolist() == [[0, 0, 255]]
