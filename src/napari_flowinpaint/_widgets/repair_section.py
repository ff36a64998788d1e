"""The dock *Repair section*: mask, repair, review, accept, revert."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..session import session_of
from ..warm_up import bring_back
from ._calm import warm_up_soon
from ._closing import WindowWatch
from ._jobs import JobRunner
from ._keys import Keys, bind_review_keys
from ._ledger_panel import LedgerPanel
from ._mask_panel import MaskPanel
from ._messages import Messages
from ._painting import paint_windows_later
from ._progress import ProgressRow
from ._questions import may_close
from ._repair_panel import RepairPanel
from ._review_panel import ReviewPanel
from ._scrolling import ScrollColumn
from ._target import TargetLine

#: Jobs whose progress is shown and which Cancel stops, with what is said while they run.
_SHOWN = ("repair", "accept", "revert", "save", "open", "mask")


class RepairSection(QWidget):
    """The dock. It forwards: state is in the session, work is in :mod:`..work`.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        paint_windows_later()
        self.session = session_of(napari_viewer)
        self.jobs = JobRunner(self)
        self.messages = Messages()
        parts = (self.session, self.jobs, self.messages)
        self.target = TargetLine(*parts)
        self.mask_panel = MaskPanel(*parts)
        self.repair_panel = RepairPanel(*parts)
        self.review_panel = ReviewPanel(*parts)
        self.ledger_panel = LedgerPanel(*parts)
        self.progress_row = ProgressRow(self.jobs, self.messages, _SHOWN)
        self.progress = self.progress_row.bar
        self.cancel_button = self.progress_row.cancel_button
        self.keys = Keys(self.session.viewer)
        self._lay_out()
        self._bind_keys()
        self._watch = WindowWatch(self, self.close_session, lambda: may_close(self, self.session))
        warm_up_soon()

    def _lay_out(self) -> None:
        scroll = ScrollColumn(
            self.target,
            self.mask_panel,
            self.repair_panel,
            self.review_panel,
            self.ledger_panel,
        )
        scroll.setMinimumWidth(340)
        box = QVBoxLayout(self)
        box.addWidget(scroll, stretch=1)
        box.addWidget(self.progress_row)
        box.addWidget(self.messages)

    def _bind_keys(self) -> None:
        """Bind the keys; the ones napari has are left to it."""

        def repair(viewer: Any) -> None:
            if self.repair_panel.repair_button.isEnabled():
                self.repair_panel.repair()

        self.keys.bind("Shift+R", repair)
        bind_review_keys(self.keys, self.session.review)

    # ---- closing

    def close_session(self) -> None:
        """Stop and wait for the threads, unbind the keys, stop listening."""
        self.jobs.stop()
        bring_back()
        self.keys.release()
        parts = (self.mask_panel, self.repair_panel, self.review_panel, self.ledger_panel)
        for part in (self.target, *parts):
            part.disconnect_session()
