"""Every dock ends as it began: nothing of it listens to the session, no key stays bound."""

import pytest

from napari_flowinpaint.viewer.session import session_of
from napari_flowinpaint.widgets.find_damage_dock import FindDamage
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections
from napari_flowinpaint.widgets.load_stack_dock import LoadStack
from napari_flowinpaint.widgets.repair_section_dock import RepairSection


def listeners(session):
    """Return how many listen to each signal of a session."""
    signals = (
        session.target_changed,
        session.section_changed,
        session.stack_removed,
        session.masks.changed,
        session.review.changed,
        session.review.stage_changed,
        session.accepted.changed,
        session.flags.changed,
        session.batch.changed,
        session.settings.events.all,
        session.settings.events.max_gap,
        session.search.events.all,
    )
    return [len(signal) for signal in signals]


@pytest.mark.parametrize("kind", [LoadStack, RepairSection, FindDamage, FlaggedSections])
def test_a_closed_dock_listens_no_more(make_napari_viewer, kind):
    viewer = make_napari_viewer()
    session = session_of(viewer)
    before = listeners(session)
    dock = kind(viewer)
    viewer.window.add_dock_widget(dock)
    assert kind is LoadStack or listeners(session) != before
    viewer.window.remove_dock_widget(dock)
    assert listeners(session) == before
    assert not dock.keys.bound
    dock.jobs.start("late", print, done=print, failed=print)
    assert not dock.jobs.is_running(), "its threads have ended"


def open_all(make_napari_viewer, qtbot):
    """Open a viewer, 1280 x 720, with all docks; return these, the frames around, the window."""
    from napari_flowinpaint.widgets.dock import dock_around

    viewer = make_napari_viewer(show=True)
    docks = [kind(viewer) for kind in (LoadStack, RepairSection, FindDamage, FlaggedSections)]
    for dock in docks:
        viewer.window.add_dock_widget(dock, name=f"{type(dock).__name__} (FlowInpaint)")
        qtbot.wait(20)
    window = docks[0].window()
    window.resize(1280, 720)
    qtbot.wait(50)
    return docks, [dock_around(dock) for dock in docks], window


def test_docks_become_tabs_with_short_titles_and_fit_a_small_screen(make_napari_viewer, qtbot):
    docks, around, window = open_all(make_napari_viewer, qtbot)
    assert set(window.tabifiedDockWidgets(around[0])) == set(around[1:])
    assert [dock.windowTitle() for dock in around] == ["Load", "Repair", "Find damage", "Flagged"]
    assert around[1].toggleViewAction().text() == "RepairSection (FlowInpaint)"
    assert (window.width(), window.height()) == (1280, 720)
    assert window.minimumSizeHint().height() <= 720
    assert not docks[3].visibleRegion().isEmpty(), "the newest is in front"


def test_no_text_is_cut_off_at_1280_pixels(make_napari_viewer, qtbot):
    from qtpy.QtWidgets import QCheckBox, QComboBox, QPushButton

    docks, around, _ = open_all(make_napari_viewer, qtbot)
    tabs, cut = docks[3].tabs, []
    for dock, frame in zip(docks, around, strict=True):
        frame.raise_()
        for number in range(tabs.count() if dock is docks[3] else 1):
            tabs.setCurrentIndex(number)
            qtbot.wait(20)
            for button in dock.findChildren(QPushButton) + dock.findChildren(QCheckBox):
                room = button.width()
                if isinstance(button, QCheckBox):
                    room -= button.sizeHint().width() - _text_width(button) - 4
                if button.isVisible() and room < _text_width(button):
                    cut.append(button.text())
            for combo in dock.findChildren(QComboBox):
                text = combo.currentText()
                needed = combo.fontMetrics().horizontalAdvance(text)
                if combo.isVisible() and _room_for_text(combo) < needed:
                    cut.append(text)
    assert not cut


def _room_for_text(combo):
    from qtpy.QtWidgets import QStyle, QStyleOptionComboBox

    option = QStyleOptionComboBox()
    combo.initStyleOption(option)
    style, part = combo.style(), QStyle.SubControl.SC_ComboBoxEditField
    return style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, combo).width()


def _text_width(button):
    return button.fontMetrics().horizontalAdvance(button.text())


def test_nothing_of_repair_section_scrolls_at_1000_pixels(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    dock = RepairSection(viewer)
    viewer.window.add_dock_widget(dock, name="Repair section (FlowInpaint)")
    dock.window().resize(1600, 1000)
    qtbot.wait(400)  # it has counted the damage
    dock.repair_panel.show_choice("flowinpaint (two usable neighbours)")
    qtbot.wait(100)
    assert dock.window().height() == 1000
    assert dock.repair_panel.choice.isVisible()
    assert dock.scroll.verticalScrollBar().maximum() == 0


@pytest.mark.parametrize("open_dock", [True, False])
def test_layers_are_removed_in_the_context_of_the_canvas(make_napari_viewer, qtbot, open_dock):
    """Else napari deletes what it draws in a context where it stays bound, and crashes."""
    import numpy as np
    from qtpy.QtGui import QOpenGLContext
    from qtpy.QtOpenGLWidgets import QOpenGLWidget

    viewer = make_napari_viewer(show=True)
    dock = RepairSection(viewer)
    viewer.window.add_dock_widget(dock)
    (canvas,) = dock.window().centralWidget().findChildren(QOpenGLWidget)
    viewer.add_image(np.zeros((4, 32, 32), np.uint8))
    qtbot.wait(100)
    if not open_dock:
        viewer.window.remove_dock_widget(dock)
    current = []

    def note(event):
        current.append(QOpenGLContext.currentContext() is canvas.context())
        canvas.doneCurrent()  # whoever hears of it may paint the window

    viewer.layers.events.removed.connect(note)
    viewer.layers.events.end_batch.connect(note, position="last")
    canvas.doneCurrent()
    viewer.layers.clear()
    assert current == [True, True]


def test_progress_is_not_painted_at_once(qtbot):
    """In the middle of a removal of layers the context of the canvas would not be current then."""
    from napari_flowinpaint.widgets.panels.progress_panel import ProgressBar

    painted = []

    class Bar(ProgressBar):
        def paintEvent(self, event):
            super().paintEvent(event)
            painted.append(self.value())

    bar = Bar()
    qtbot.addWidget(bar)
    bar.show()
    qtbot.waitUntil(lambda: bool(painted))
    painted.clear()
    bar.setValue(50)
    assert not painted
    qtbot.waitUntil(lambda: painted == [50])


def test_a_line_that_is_too_long_ends_in_an_ellipsis(qtbot):
    from napari_flowinpaint.widgets.parts.elided import ElidedLine

    line = ElidedLine()
    qtbot.addWidget(line)
    line.setText("takes one_neighbour: no usable neighbour after the section")
    line.resize(line.sizeHint().width() + 4, 20)
    assert line.shown_text() == line.text()
    line.resize(120, 20)
    assert line.shown_text().endswith("…")
    assert line.fontMetrics().horizontalAdvance(line.shown_text()) <= 120
    assert line.text().startswith(line.shown_text()[:-1])
