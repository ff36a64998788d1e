"""Buttons for the stages of the repair under review."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from ...viewer.tasks.review import STAGES

if TYPE_CHECKING:
    from ...viewer.state.reviews import ReviewState

#: Text of the buttons; the first shows the stack itself.
_BUTTONS = {
    None: "Original",
    "initial reference": "Initial",
    "refined reference": "Refined",
    "result": "Result",
    "confidence": "Confidence",
}


#: Room that a button has around its text, pixels.
_AROUND = 12


class StageButtons(QWidget):
    """One button per stage; the one that is shown is pressed.

    Parameters
    ----------
    review
        The repair under review.
    """

    def __init__(self, review: ReviewState) -> None:
        super().__init__()
        self.review = review
        self.group = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for number, (stage, text) in enumerate(_BUTTONS.items()):
            button = QPushButton(text)
            button.setToolTip(f"Show the {stage or 'original section'}.")
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self.group.addButton(button, number)
            row.addWidget(button, stretch=share_of(button))
        self.group.idClicked.connect(self._on_clicked)
        review.changed.connect(self.refresh)
        review.stage_changed.connect(self.refresh)
        self.refresh()

    def _on_clicked(self, number: int) -> None:
        self.review.show(list(_BUTTONS)[number])

    def refresh(self) -> None:
        """Press the button of the stage that is shown."""
        for button in self.group.buttons():
            button.setEnabled(self.review.current is not None)
        self.group.button([None, *STAGES].index(self.review.shown)).setChecked(True)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        self.review.changed.disconnect(self.refresh)
        self.review.stage_changed.disconnect(self.refresh)


def share_of(button: QPushButton) -> int:
    """Return the share of a row that a button needs for its text."""
    return int(button.fontMetrics().horizontalAdvance(button.text())) + _AROUND
