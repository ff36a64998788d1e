"""Docks scroll: they fit a low window, and the wheel moves them, not the values under the mouse."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea, QSpinBox, QVBoxLayout, QWidget

from napari_flowinpaint.widgets.find_damage_dock import FindDamage
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections
from napari_flowinpaint.widgets.load_stack_dock import LoadStack
from napari_flowinpaint.widgets.parts.messages import Messages
from napari_flowinpaint.widgets.parts.scrolling import ScrollColumn
from napari_flowinpaint.widgets.repair_section_dock import RepairSection

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


@pytest.fixture
def open_docks(make_napari_viewer, qtbot):
    """Return a function that opens docks in a window, one above the other."""

    def opened(*kinds):
        viewer = make_napari_viewer(show=True)
        docks = [kind(viewer) for kind in kinds]
        inside = [viewer.window.add_dock_widget(d, name=type(d).__name__) for d in docks]
        qtbot.wait(50)  # a dock is raised only once it was laid out
        return docks, inside

    return opened


def test_all_docks_one_above_the_other_fit_a_low_screen(open_docks, stack_path, wait):
    docks, _ = open_docks(*DOCKS)
    load = docks[0]
    load.path.setText(str(stack_path))
    load.load()
    wait(load.facts.text)
    window = load.window()
    wait(lambda: window.minimumSizeHint().height() <= LOW, 5)
    # what does not fit is reached by scrolling
    for dock in docks:
        bar = dock.findChild(QScrollArea).horizontalScrollBar()
        wait(lambda bar=bar: bar.maximum() == 0, 5)  # the style sheet comes late


def test_load_stack_does_not_scroll_where_there_is_room(open_docks, wait):
    (load,), _ = open_docks(LoadStack)
    # the style sheet comes late, and changes the heights
    wait(lambda: load.scroll.viewport().height() >= load.scroll.widget().height())
    assert not load.scroll.verticalScrollBar().isVisible()


def test_tabbed_docks_need_no_scrolling_on_a_low_screen(open_docks, qtbot, wait):
    (_, flagged), (below, above) = open_docks(FindDamage, FlaggedSections)
    window = flagged.window()
    window.tabifyDockWidget(below, above)
    window.resize(1280, LOW)
    above.raise_()
    qtbot.wait(200)
    for page in range(3):
        flagged.tabs.setCurrentIndex(page)
        wait(lambda: flagged.scroll.verticalScrollBar().maximum() == 0)
        assert window.height() == LOW


def test_a_message_is_as_high_as_its_lines(qtbot):
    dock, messages = QWidget(), Messages()
    qtbot.addWidget(dock)
    QVBoxLayout(dock).addWidget(messages)
    dock.resize(350, 200)
    dock.show()
    messages.say("some words about what was done with the stack " * 3)
    qtbot.wait(20)
    lines, margins = messages.heightForWidth(messages.width()), dock.layout().contentsMargins()
    assert lines > messages.heightForWidth(1000)
    assert dock.minimumSizeHint().height() == lines + margins.top() + margins.bottom()


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
