"""The dock *Flagged sections*: decide about them, repair them in one go, review the repairs."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QTabWidget

from ..viewer.session import session_of
from .damage_dock import DamageDock
from .dock import open_dock_of
from .panels.batch_panel import BatchPanel
from .panels.flag_panel import FlagPanel, bind_keys
from .panels.staged_panel import StagedPanel
from .parts.keys import bind_common_keys

#: Jobs whose progress is shown and which Cancel stops.
_SHOWN = ("plan", "batch", "redo", "mark", "accept", "write", "revert", "save")


class FlaggedSections(DamageDock):
    """The dock. It forwards.

    State is in the session, what takes long in :mod:`..viewer.tasks.many_sections`.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    tab = "Flagged"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer, ("plan", "batch", "redo", "mark", "accept", "write", "revert", "save")
        )
        parts = (self.session, self.jobs, self.messages)
        self.flag_panel = self.with_part(FlagPanel(*parts))
        self.batch_panel = self.with_part(BatchPanel(*parts))
        self.staged_panel = self.with_part(StagedPanel(*parts))
        self.batch_panel.finished.connect(self.staged_panel.load_again)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.flag_panel, "List")
        self.tabs.addTab(self.batch_panel, "Batch")
        self.tabs.addTab(self.staged_panel, "Review")
        self._bind_keys()
        self.begin(self.tabs, stretch=False)
        self.staged_panel.load_once()  # the list may have been opened by another dock

    def _bind_keys(self) -> None:
        """Bind the keys; the ones napari has are left to it."""

        def accept(viewer: Any) -> None:
            if self.staged_panel.accept_button.isEnabled():
                self.staged_panel.accept()

        def reject(viewer: Any) -> None:
            if self.staged_panel.reject_button.isEnabled():
                self.staged_panel.reject()

        def step(rows: int) -> None:
            tables = (self.flag_panel.table, self.batch_panel.table, self.staged_panel.table)
            tables[self.tabs.currentIndex()].step(rows)

        def next_row(viewer: Any) -> None:
            step(1)

        def previous_row(viewer: Any) -> None:
            step(-1)

        bind_keys(self.flag_panel, self.keys)
        self.keys.bind("Shift+A", accept)
        self.keys.bind("Shift+X", reject)
        self.keys.bind("Shift+Right", next_row)
        self.keys.bind("Shift+Left", previous_row)
        bind_common_keys(self.keys, self.session)


def flagged_dock(viewer: Any) -> FlaggedSections:
    """Return the dock *Flagged sections*, which is opened as a tab where it is closed."""
    session = session_of(viewer)
    dock = open_dock_of(session, FlaggedSections)
    if dock is None:
        viewer.window.add_plugin_dock_widget("napari-flowinpaint", "Flagged sections", tabify=True)
        dock = open_dock_of(session, FlaggedSections)
        assert dock is not None
    return dock
