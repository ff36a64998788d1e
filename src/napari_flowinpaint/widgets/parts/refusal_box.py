"""What was refused, in one short line; the rest on demand, and what can be done about it."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSizePolicy, QWidget

from ...core.refusal import in_short, is_of_gate, sections_at_fault
from .messages import as_sentence
from .wording import listed


class RefusalBox(QWidget):
    """A line, *Why*, *Repair anyway* and *Mark section N as damaged*; hidden without a refusal.

    Attributes
    ----------
    anyway
        Signal: repair it all the same.
    marked
        Signal (tuple of section numbers): these are damaged.
    """

    anyway = Signal()
    marked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.line, self.details = QLabel(), QLabel()
        self.why_button = QPushButton("Why")
        self.anyway_button = QPushButton("Repair anyway")
        self.mark_button = QPushButton()
        self._faulty: tuple[int, ...] = ()
        self._shown = ("", "")
        self._lay_out()
        self.why_button.toggled.connect(self.details.setVisible)
        self.anyway_button.clicked.connect(self.anyway)
        self.mark_button.clicked.connect(self._mark)
        self.hide()

    def _lay_out(self) -> None:
        for label in (self.line, self.details):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.details.hide()
        self.why_button.setCheckable(True)
        self.why_button.setToolTip("All that is known about it.")
        self.anyway_button.setToolTip(
            "Repair what was refused anyway; the reason is kept with the repair."
        )
        self.mark_button.setToolTip(
            "Mask the whole section and put it on the list, so that it guides no repair; Undo "
            "removes the mask."
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.line, 0, 0, 1, 3)
        for column, button in enumerate((self.anyway_button, self.why_button)):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            grid.addWidget(button, 1, column)
        grid.setColumnStretch(0, 2)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self.mark_button, 2, 0, 1, 3)
        grid.addWidget(self.details, 3, 0, 1, 3)

    def show_reason(self, subject: str, reason: str) -> None:
        """Show why something was refused, and offer what can be done.

        Parameters
        ----------
        subject
            What was refused, such as "Section 4".
        reason
            Why, in one line; "" hides the box.
        """
        if (subject, reason) == self._shown:  # it may be open
            return
        self._shown = (subject, reason)
        self._faulty = sections_at_fault(reason)
        self.line.setText(as_sentence(f"{subject} refused: {in_short(reason)}"))
        self.details.setText(as_sentence(reason))
        self.why_button.setChecked(False)
        self.anyway_button.setVisible(is_of_gate(reason))
        self.mark_button.setVisible(bool(self._faulty))
        plural = "s" * (len(self._faulty) > 1)
        if self._faulty:
            self.mark_button.setText(f"Mark section{plural} {listed(self._faulty)} as damaged")
        self.setVisible(bool(reason))

    def set_free(self, free: bool) -> None:
        """Enable the buttons, unless something runs that they would disturb."""
        for button in (self.anyway_button, self.mark_button):
            button.setEnabled(free)

    def _mark(self) -> None:
        self.marked.emit(self._faulty)
