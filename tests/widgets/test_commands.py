"""Commands of the palette that cannot do anything say what they need."""

import threading

import numpy as np
import pytest
from docks import paint, repair

from napari_flowinpaint.viewer.tasks import one_section
from napari_flowinpaint.widgets import commands
from napari_flowinpaint.widgets.dock import open_dock_of
from napari_flowinpaint.widgets.flagged_sections_dock import FlaggedSections
from napari_flowinpaint.widgets.repair_section_dock import RepairSection

NO_STACK = "There is no stack; load one"
NO_REPAIR = "There is no repair"
#: What each says without a stack.
NEEDS = {
    "repair_this_section": NO_STACK,
    "accept_repair": NO_REPAIR,
    "reject_repair": NO_REPAIR,
    "revert_last_repair": NO_REPAIR,
    "next_flagged": NO_STACK,
    "previous_flagged": NO_STACK,
    "new_mask": NO_STACK,
    "mask_every_section": NO_STACK,
    "undo_mask": NO_STACK,
    "mark_section_missing": NO_STACK,
    "describe_repairs": NO_STACK,
    "compare": NO_REPAIR,
    "draw_lasso": NO_STACK,
    "draw_lasso_by_grey": NO_STACK,
    "interpolate_mask": NO_STACK,
    "copy_mask": NO_STACK,
    "save_mask": NO_STACK,
    "adapt_to_stack": NO_STACK,
}


def all_commands():
    """Return the commands by name."""
    import npe2

    manifest = npe2.PluginManifest.from_distribution("napari-flowinpaint")
    names = [command.python_name.split(":") for command in manifest.contributions.commands]
    return {name: getattr(commands, name) for where, name in names if where == commands.__name__}


@pytest.fixture
def docks(make_napari_viewer):
    """Return a viewer and both docks that commands belong to."""
    viewer = make_napari_viewer()
    repair_dock, flagged = RepairSection(viewer), FlaggedSections(viewer)
    for dock in (repair_dock, flagged):
        viewer.window.add_dock_widget(dock)
    return viewer, repair_dock, flagged


def said(*docks):
    """Return what the docks say, and let them say it no more."""
    told = "".join(dock.messages.text() for dock in docks)
    for dock in docks:
        dock.messages.say("")
    return told


def test_without_a_stack_each_says_what_it_needs(docks):
    viewer, *both = docks
    assert set(NEEDS) == set(all_commands())
    for name, command in all_commands().items():
        command(viewer)
        assert said(*both).startswith(NEEDS[name]), name
    viewer.add_image(np.zeros((32, 32, 3), np.uint8), rgb=True, name="colours")
    for name, command in all_commands().items():
        command(viewer)
        words = "Layer colours is a colour image" if NEEDS[name] == NO_STACK else NEEDS[name]
        assert said(*both).startswith(words), name


def test_without_anything_to_do_each_says_so(make_dock, stack_path):
    viewer, dock = make_dock(stack_path)
    viewer.window.add_dock_widget(FlaggedSections(viewer))
    flagged = open_dock_of(dock.session, FlaggedSections)
    for name, words in {
        "next_flagged": "No section is on the list",
        "undo_mask": "There is no mask",
        "describe_repairs": "Nothing was repaired in this stack yet",
        "save_mask": "There is no mask",
    }.items():
        getattr(commands, name)(viewer)
        assert said(dock, flagged).startswith(words), name
    dock.mask_panel.new_mask()
    commands.undo_mask(viewer)
    assert said(dock) == "There is no change of the mask to undo."


@pytest.mark.parametrize(
    "command", ["repair_this_section", "accept_repair", "reject_repair", "revert_last_repair"]
)
def test_while_a_repair_runs_it_is_left_alone(make_dock, stack_path, wait, monkeypatch, command):
    viewer, dock = make_dock(stack_path)
    dock.session.settings.method = "flow"
    paint(dock)
    repair(dock, wait)
    review, free = dock.session.review.current, threading.Event()

    def held(job, *, progress):
        while not free.wait(0.02):
            progress(0.5, "working")
        return review

    monkeypatch.setattr(one_section, "repair", held)
    dock.repair_panel.repair()
    getattr(commands, command)(viewer)
    assert said(dock).startswith("A repair is running; wait until it has finished, or press Cancel")
    assert dock.session.review.current is review
    free.set()
    wait(lambda: not dock.jobs.is_running())
    assert dock.messages.text().startswith("Section 3 is repaired")
