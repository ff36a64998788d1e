"""Commands of the command palette: what the buttons of the docks do, on the section shown.

A command opens the dock that it belongs to where that is closed; what does not work is said there.
"""

from __future__ import annotations

import napari.viewer  # when a command runs, napari looks at the annotations to give it the viewer

from ..core.errors import InputError
from ..viewer.session import session_of
from .dock import Dock, open_dock_of
from .flagged_sections_dock import flagged_dock
from .repair_section_dock import RepairSection

_PLUGIN = "napari-flowinpaint"
#: Jobs that have to end before another begins, in words; the buttons are disabled meanwhile.
_RUNNING = {
    "repair": "a repair is running",
    "accept": "a repair is being written",
    "revert": "a repair is being reverted",
    "save": "the stack is being saved",
    "batch": "a batch is running",
    "redo": "a repair is running",
    "write": "repairs are being written",
}


def _repair_dock(viewer: napari.viewer.Viewer) -> RepairSection:
    session = session_of(viewer)
    dock = open_dock_of(session, RepairSection)
    if dock is None:
        viewer.window.add_plugin_dock_widget(_PLUGIN, "Repair section", tabify=True)
        dock = open_dock_of(session, RepairSection)
        assert dock is not None
    return dock


def _is_free(dock: Dock) -> bool:
    """Return whether nothing runs that has to end first; say what does."""
    words = next((w for name, w in _RUNNING.items() if dock.jobs.is_running(name)), "")
    if words:
        dock.messages.fail(InputError(f"{words}; wait until it has finished, or press Cancel."))
    return not words


def repair_this_section(viewer: napari.viewer.Viewer) -> None:
    """Repair the section that is shown."""
    dock = _repair_dock(viewer)
    if _is_free(dock):
        dock.repair_panel.repair()


def accept_repair(viewer: napari.viewer.Viewer) -> None:
    """Accept the repair under review, of one section or of a batch."""
    if session_of(viewer).review.staged:
        flagged = flagged_dock(viewer)
        if _is_free(flagged):
            flagged.staged_panel.accept()
        return
    dock = _repair_dock(viewer)
    if _is_free(dock):
        dock.review_panel.accept()


def reject_repair(viewer: napari.viewer.Viewer) -> None:
    """Reject the repair under review, of one section or of a batch."""
    if session_of(viewer).review.staged:
        flagged = flagged_dock(viewer)
        if _is_free(flagged):
            flagged.staged_panel.reject()
        return
    dock = _repair_dock(viewer)
    if _is_free(dock):
        dock.review_panel.discard()


def revert_last_repair(viewer: napari.viewer.Viewer) -> None:
    """Take back the repair that was accepted last."""
    dock = _repair_dock(viewer)
    if _is_free(dock):
        dock.accepted_panel.list.setCurrentIndex(0)  # the newest is the first
        dock.accepted_panel.revert()


def next_flagged(viewer: napari.viewer.Viewer) -> None:
    """Go to the next row of the list of flagged sections."""
    flagged_dock(viewer).flag_panel.step(1)


def previous_flagged(viewer: napari.viewer.Viewer) -> None:
    """Go to the previous row of the list of flagged sections."""
    flagged_dock(viewer).flag_panel.step(-1)


def new_mask(viewer: napari.viewer.Viewer) -> None:
    """Make an empty mask and pick up the brush."""
    _repair_dock(viewer).mask_panel.new_mask()


def mask_every_section(viewer: napari.viewer.Viewer) -> None:
    """Mask the damage of the section that is shown in every section: a gap to be filled."""
    _repair_dock(viewer).mask_panel.spread()


def undo_mask(viewer: napari.viewer.Viewer) -> None:
    """Take back the last change of the mask."""
    session = session_of(viewer)
    if session.other_labels is not None or session.masks.can_step(session.image, back=True):
        session.undo(back=True)
    else:
        _repair_dock(viewer).mask_panel.undo()  # says why there is nothing


def describe_repairs(viewer: napari.viewer.Viewer) -> None:
    """Write what was repaired for the methods section of a publication."""
    _repair_dock(viewer).accepted_panel.choose_text()


def compare(viewer: napari.viewer.Viewer) -> None:
    """Drag a line between the original and the repair under review, or end that."""
    session = session_of(viewer)
    if session.review.current is None:
        why = "there is no repair to compare with the original; press Repair first."
        _repair_dock(viewer).messages.fail(InputError(why))
    else:
        session.comparison.toggle()


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
