"""The dock *Flagged sections*: decide about them, repair them in one go, review the repairs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeVar

from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from ._batch_panel import BatchPanel
from ._damage_dock import DamageDock
from ._flag_panel import FlagPanel, bind_keys
from ._keys import bind_review_keys
from ._staged_panel import StagedPanel
from ._steps import Steps

Panel = TypeVar("Panel", bound=QWidget)
_TABS = {"flag_panel": "List", "batch_panel": "Batch", "staged_panel": "Review"}


class FlaggedSections(DamageDock):
    """The dock. It forwards: state is in the session, work is in :mod:`..batch_work`.

    Its three panels are made one after the other once it is shown, or when they are asked for:
    all at once would hold up the viewer.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, ("plan", "batch", "redo", "write", "revert", "save"))
        self.tabs = QTabWidget()
        for title in _TABS.values():
            page = QWidget()
            QVBoxLayout(page).setContentsMargins(0, 0, 0, 0)
            self.tabs.addTab(page, title)
        self.lay_out(self.tabs, stretch=False)
        self.begin()
        self._building = Steps(self.messages.fail, self)
        self._building.start(self._build())

    def _build(self) -> Iterator[None]:
        """Make the panels that nobody has asked for yet, step by step."""
        for name in _TABS:
            yield
            getattr(self, name)
        yield
        self._bind_keys()

    @cached_property
    def flag_panel(self) -> FlagPanel:
        """The list."""
        return self._on_page(0, FlagPanel(self.session, self.jobs, self.messages))

    @cached_property
    def batch_panel(self) -> BatchPanel:
        """Plan and run."""
        panel = BatchPanel(self.session, self.jobs, self.messages)
        panel.finished.connect(self._load_staged)
        return self._on_page(1, panel)

    @cached_property
    def staged_panel(self) -> StagedPanel:
        """The review."""
        panel = self._on_page(2, StagedPanel(self.session, self.jobs, self.messages))
        panel.load_once()  # the list may have been opened by another dock
        return panel

    def _on_page(self, number: int, panel: Panel) -> Panel:
        """Put a panel on its page."""
        self.tabs.widget(number).layout().addWidget(panel)
        self.scroll.leave_wheel(panel)
        return panel

    def _load_staged(self) -> None:
        self.staged_panel.load()

    @property
    def is_opening(self) -> bool:
        """Whether panels are still being made, or what is kept is still being shown."""
        return self._building.running or super().is_opening

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
        bind_review_keys(self.keys, self.session.review)

    def close_session(self) -> None:
        """Stop and wait for the threads, keep what is left, stop listening."""
        self._building.stop()
        super().close_session()
        for name in _TABS:
            if name in self.__dict__:  # it was made
                getattr(self, name).disconnect_session()
