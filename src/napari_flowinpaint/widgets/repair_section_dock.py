"""The dock *Repair section*: mask, repair, review, accept, revert."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from .dock import Dock, open_dock_of
from .panels.accepted_panel import AcceptedPanel
from .panels.mask_panel import MaskPanel
from .panels.progress_panel import ProgressRow
from .panels.repair_panel import RepairPanel
from .panels.review_panel import ReviewPanel
from .panels.target_panel import TargetLine
from .parts.keeping import Keeper
from .parts.keys import bind_common_keys
from .parts.scrolling import ScrollColumn

#: Jobs whose progress is shown and which Cancel stops, with what is said while they run.
_SHOWN = ("repair", "accept", "revert", "save", "open", "flags", "mask", "mark")
#: Milliseconds until what is shown has got its size.
_SETTLED = 60


class RepairSection(Dock):
    """The dock. It forwards: state is in the session, work is in :mod:`..viewer.tasks`.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    tab = "Repair"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        parts = (self.session, self.jobs, self.messages)
        self.target = self.with_part(TargetLine(*parts))
        self.mask_panel = self.with_part(MaskPanel(*parts))
        self.repair_panel = self.with_part(RepairPanel(*parts))
        self.review_panel = self.with_part(ReviewPanel(*parts))
        self.review_panel.refusal.anyway.connect(self.repair_panel.repair_anyway)
        self.mask_panel.status.counted.connect(self.repair_panel.show_choice)
        self.accepted_panel = self.with_part(AcceptedPanel(*parts))
        self.progress_row = ProgressRow(self.jobs, self.messages, _SHOWN)
        self.progress = self.progress_row.bar
        self.cancel_button = self.progress_row.cancel_button
        panels = (self.mask_panel, self.repair_panel, self.review_panel, self.accepted_panel)
        scroll = ScrollColumn(self.target, *panels)
        scroll.setMinimumWidth(352)
        self.lay_out(scroll, self.progress_row)
        self.with_part(Keeper(*parts))
        self.listen(self.session.review.changed, self._show_review)
        self.listen(self.session.refusals.changed, self._show_review)
        self.review_panel.refusal.why_button.toggled.connect(self._show_review)
        self._bind_keys()

    def _show_review(self, *_: object) -> None:
        """Scroll to what is to be decided, once it has its size."""
        panel = self.review_panel
        if self.session.refusals.places:
            QTimer.singleShot(_SETTLED, partial(self._scroll_to, panel.refusal))
        elif self.session.review.current is not None:
            QTimer.singleShot(_SETTLED, partial(self._scroll_to, panel.accept_button))

    def _scroll_to(self, widget: QWidget) -> None:
        if open_dock_of(self.session, RepairSection) is self:
            self.scroll.ensureWidgetVisible(widget)

    def _bind_keys(self) -> None:
        """Bind the keys; the ones napari has are left to it."""

        def repair(viewer: Any) -> None:
            if self.repair_panel.repair_button.isEnabled():
                self.repair_panel.repair()

        self.keys.bind("Shift+R", repair)
        bind_common_keys(self.keys, self.session)
