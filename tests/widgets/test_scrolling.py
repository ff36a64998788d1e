"""Docks scroll: they fit a low window, and the wheel moves them, not the values under the mouse."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea, QSpinBox

from napari_flowinpaint._widgets._scrolling import ScrollColumn
from napari_flowinpaint._widgets.find_damage import FindDamage
from napari_flowinpaint._widgets.flagged_sections import FlaggedSections
from napari_flowinpaint._widgets.load_stack import LoadStack
from napari_flowinpaint._widgets.repair_section import RepairSection

DOCKS = (LoadStack, RepairSection, FindDamage, FlaggedSections)
#: Height of a small laptop's screen, pixels.
LOW = 720


def wheel(widget, steps=-1):
    """Turn the wheel over a widget; negative scrolls down."""
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle,
        QPointF(widget.mapToGlobal(widget.rect().center())),
        QPoint(),
        QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


@pytest.fixture
def column(qtbot):
    """Return a low column of many spin boxes with a button below."""
    boxes = [QSpinBox() for _ in range(20)]
    for box in boxes:
        box.setValue(50)
    column = ScrollColumn(*boxes, QPushButton("last"))
    qtbot.addWidget(column)
    column.resize(300, 150)
    column.show()
    qtbot.waitExposed(column)
    return column, boxes


def test_all_docks_one_above_the_other_fit_a_low_screen(make_napari_viewer, stack_path, wait):
    viewer = make_napari_viewer(show=True)
    docks = [kind(viewer) for kind in DOCKS]
    for dock in docks:
        viewer.window.add_dock_widget(dock, name=type(dock).__name__)
    wait(lambda: hasattr(docks[-1], "tabs") and docks[-1].tabs.widget(0).layout().count())
    window = docks[0].window()
    wait(lambda: window.minimumSizeHint().height() <= LOW, 5)
    # what does not fit is reached by scrolling
    for dock in docks:
        area = dock.findChild(QScrollArea)
        assert area.horizontalScrollBar().maximum() == 0


def test_the_wheel_scrolls_and_leaves_values_alone(column):
    area, boxes = column
    wheel(boxes[2])
    assert area.verticalScrollBar().value() > 0
    assert [box.value() for box in boxes] == [50] * 20
    assert not boxes[2].hasFocus()


def test_the_wheel_changes_a_value_that_was_clicked(column, qtbot):
    _, boxes = column
    boxes[2].activateWindow()
    boxes[2].setFocus()
    qtbot.waitUntil(boxes[2].hasFocus)
    wheel(boxes[2])
    assert boxes[2].value() == 49


def test_tab_scrolls_to_what_is_below(column, qtbot):
    area, boxes = column
    button = area.widget().findChild(QPushButton)
    area.activateWindow()
    boxes[-1].setFocus()
    qtbot.waitUntil(boxes[-1].hasFocus)
    assert area.verticalScrollBar().maximum() > 0
    qtbot.keyClick(boxes[-1], Qt.Key.Key_Tab)
    qtbot.waitUntil(button.hasFocus)
    place = button.mapTo(area.viewport(), button.rect().center())
    assert area.viewport().rect().contains(place)


def test_it_is_as_high_as_what_it_holds_where_there_is_room(qtbot):
    column = ScrollColumn(QPushButton("one"))
    qtbot.addWidget(column)
    assert column.minimumSizeHint().height() <= column.sizeHint().height() < 80
