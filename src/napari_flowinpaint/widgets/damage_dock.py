"""What the docks about damage have in common: list and mask are kept beside the stack."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QWidget

from .dock import Dock
from .panels.progress_panel import ProgressRow
from .panels.target_panel import TargetLine
from .parts.keeping import Keeper
from .parts.scrolling import ScrollColumn


class DamageDock(Dock):
    """A dock with a target line above, progress and messages below.

    Parameters
    ----------
    napari_viewer
        The viewer; given by napari.
    shown
        Kinds of jobs whose progress is shown.
    """

    def __init__(self, napari_viewer: Any, shown: tuple[str, ...]) -> None:
        super().__init__(napari_viewer, keeps_room=True)
        self.target = self.with_part(TargetLine(self.session, self.jobs, self.messages))
        self.progress_row = ProgressRow(self.jobs, self.messages, ("open", "flags", *shown))
        self.cancel_button = self.progress_row.cancel_button
        self.setMinimumWidth(376)

    def begin(self, *widgets: QWidget, stretch: bool = True) -> None:
        """Lay widgets out and start to listen; the last step of a constructor.

        Parameters
        ----------
        widgets
            What is put between the target line and the progress.
        stretch
            Whether room that is left is left below them.
        """
        scroll = ScrollColumn(self.target, *widgets, stretch=stretch)
        self.lay_out(scroll, self.progress_row)
        self.with_part(Keeper(self.session, self.jobs, self.messages))
