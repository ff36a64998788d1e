"""A stack that is opened or dropped brings the dock to repair it: once, and never in the way."""

from napari_flowinpaint.widgets import opening
from napari_flowinpaint.widgets.dock import Dock, open_dock_of


def test_the_dock_opens_once(make_napari_viewer, stack_path, wait, qtbot):
    from napari_flowinpaint.viewer.session import session_of

    viewer = make_napari_viewer()
    viewer.open(stack_path, plugin="napari-flowinpaint")
    session = session_of(viewer)
    wait(lambda: open_dock_of(session, Dock) is not None)
    dock = open_dock_of(session, Dock)
    wait(lambda: session.stack is not None and not dock.jobs.is_running())
    viewer.window.remove_dock_widget(dock)
    viewer.open(stack_path, plugin="napari-flowinpaint")
    qtbot.wait(50)
    assert open_dock_of(session, Dock) is None, "whoever closes it has decided"


def test_not_beside_a_dock_that_is_open_and_not_without_a_stack(make_dock, stack_path, qtbot, wait):
    viewer, dock = make_dock()
    opening._greet(lambda: viewer)
    assert viewer not in opening._greeted
    viewer.open(stack_path, plugin="napari-flowinpaint")
    qtbot.wait(50)
    assert viewer in opening._greeted
    assert open_dock_of(dock.session, Dock) is dock
    wait(lambda: not dock.jobs.is_running())
    opening._greet(lambda: None)
