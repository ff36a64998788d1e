"""The dock *Repair section*: mask, repair, review, accept, revert."""

from __future__ import annotations

from typing import Any

from .dock import Dock
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
_SHOWN = ("repair", "accept", "revert", "save", "open", "flags", "mask")


class RepairSection(Dock):
    """The dock. It forwards: state is in the session, work is in :mod:`..viewer.tasks.one_section`.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        parts = (self.session, self.jobs, self.messages)
        self.target = self.with_part(TargetLine(*parts))
        self.mask_panel = self.with_part(MaskPanel(*parts))
        self.repair_panel = self.with_part(RepairPanel(*parts))
        self.review_panel = self.with_part(ReviewPanel(*parts))
        self.accepted_panel = self.with_part(AcceptedPanel(*parts))
        self.progress_row = ProgressRow(self.jobs, self.messages, _SHOWN)
        self.progress = self.progress_row.bar
        self.cancel_button = self.progress_row.cancel_button
        panels = (self.mask_panel, self.repair_panel, self.review_panel, self.accepted_panel)
        scroll = ScrollColumn(self.target, *panels)
        scroll.setMinimumWidth(340)
        self.lay_out(scroll, self.progress_row)
        self.with_part(Keeper(*parts))
        self._bind_keys()

    def _bind_keys(self) -> None:
        """Bind the keys; the ones napari has are left to it."""

        def repair(viewer: Any) -> None:
            if self.repair_panel.repair_button.isEnabled():
                self.repair_panel.repair()

        self.keys.bind("Shift+R", repair)
        bind_common_keys(self.keys, self.session)
