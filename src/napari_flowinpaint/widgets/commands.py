"""Commands of the command palette: what the buttons of the docks do, on the section shown.

A command opens the dock that it belongs to where that is closed; what does not work is said there.
"""

from __future__ import annotations

import napari.viewer  # when a command runs, napari looks at the annotations to give it the viewer

from ..viewer.session import session_of
from .dock import open_dock_of
from .flagged_sections_dock import FlaggedSections
from .repair_section_dock import RepairSection

_PLUGIN = "napari-flowinpaint"


def _repair_dock(viewer: napari.viewer.Viewer) -> RepairSection:
    session = session_of(viewer)
    dock = open_dock_of(session, RepairSection)
    if dock is None:
        viewer.window.add_plugin_dock_widget(_PLUGIN, "Repair section", tabify=True)
        dock = open_dock_of(session, RepairSection)
        assert dock is not None
    return dock


def flagged_dock(viewer: napari.viewer.Viewer) -> FlaggedSections:
    """Return the dock *Flagged sections*, which is opened as a tab where it is closed."""
    session = session_of(viewer)
    dock = open_dock_of(session, FlaggedSections)
    if dock is None:
        viewer.window.add_plugin_dock_widget(_PLUGIN, "Flagged sections", tabify=True)
        dock = open_dock_of(session, FlaggedSections)
        assert dock is not None
    return dock


def repair_this_section(viewer: napari.viewer.Viewer) -> None:
    """Repair the section that is shown."""
    _repair_dock(viewer).repair_panel.repair()


def accept_repair(viewer: napari.viewer.Viewer) -> None:
    """Accept the repair under review, of one section or of a batch."""
    if session_of(viewer).review.staged:
        flagged_dock(viewer).staged_panel.accept()
    else:
        _repair_dock(viewer).review_panel.accept()


def reject_repair(viewer: napari.viewer.Viewer) -> None:
    """Reject the repair under review, of one section or of a batch."""
    if session_of(viewer).review.staged:
        flagged_dock(viewer).staged_panel.reject()
    else:
        _repair_dock(viewer).review_panel.discard()


def revert_last_repair(viewer: napari.viewer.Viewer) -> None:
    """Take back the repair that was accepted last."""
    panel = _repair_dock(viewer).accepted_panel
    panel.list.setCurrentIndex(0)  # the newest is the first
    panel.revert()


def next_flagged(viewer: napari.viewer.Viewer) -> None:
    """Go to the next row of the list of flagged sections."""
    flagged_dock(viewer).flag_panel.table.step(1)


def previous_flagged(viewer: napari.viewer.Viewer) -> None:
    """Go to the previous row of the list of flagged sections."""
    flagged_dock(viewer).flag_panel.table.step(-1)


def new_mask(viewer: napari.viewer.Viewer) -> None:
    """Make an empty mask and pick up the brush."""
    _repair_dock(viewer).mask_panel.new_mask()


def mask_every_section(viewer: napari.viewer.Viewer) -> None:
    """Mask the damage of the section that is shown in every section: a gap to be filled."""
    _repair_dock(viewer).mask_panel.spread()


def undo_mask(viewer: napari.viewer.Viewer) -> None:
    """Take back the last change of the mask."""
    session_of(viewer).undo(back=True)


def describe_repairs(viewer: napari.viewer.Viewer) -> None:
    """Write what was repaired for the methods section of a publication."""
    _repair_dock(viewer).accepted_panel.choose_text()


def compare(viewer: napari.viewer.Viewer) -> None:
    """Drag a line between the original and the repair under review, or end that."""
    session_of(viewer).comparison.toggle()


def draw_lasso(viewer: napari.viewer.Viewer) -> None:
    """Draw around damage in one stroke."""
    _repair_dock(viewer).mask_panel.tools.lasso()


def draw_lasso_by_grey(viewer: napari.viewer.Viewer) -> None:
    """Draw roughly around damage; what stands out by its grey value is taken."""
    _repair_dock(viewer).mask_panel.tools.lasso_by_grey()


def interpolate_mask(viewer: napari.viewer.Viewer) -> None:
    """Mask the sections between two painted ones."""
    _repair_dock(viewer).mask_panel.tools.interpolate()


def copy_mask(viewer: napari.viewer.Viewer) -> None:
    """Add the mask of the section that is shown to others."""
    _repair_dock(viewer).mask_panel.tools.copy()


def save_mask(viewer: napari.viewer.Viewer) -> None:
    """Save the mask as a label image."""
    _repair_dock(viewer).mask_panel.tools.choose_target()


def mark_section_missing(viewer: napari.viewer.Viewer) -> None:
    """Mask the whole section that is shown."""
    _repair_dock(viewer).mask_panel.mark_missing()


def adapt_to_stack(viewer: napari.viewer.Viewer) -> None:
    """Open the window in which the weights are adapted to the stack."""
    _repair_dock(viewer).repair_panel.adapt.open()
