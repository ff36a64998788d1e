"""Ask before a stack is written to, without holding up the viewer."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QMessageBox, QWidget

from ..core.stack import Stack


def ask_to_write(parent: QWidget, stack: Stack, answered: Callable[[bool], None]) -> QMessageBox:
    """Ask whether a stack may be changed.

    Parameters
    ----------
    parent
        The widget that asks.
    stack
        The stack.
    answered
        Called with the answer.

    Returns
    -------
    QMessageBox
        The question, which is open now.
    """
    question = QMessageBox(parent)
    question.setIcon(QMessageBox.Icon.Question)
    question.setWindowTitle("Write to the stack?")
    question.setText(f"Write the repaired pixels into {stack.path}?")
    question.setInformativeText(
        "The original pixels are kept in a journal beside the data, the new ones are marked "
        "as synthetic, and Revert brings the originals back. This is asked once per stack."
    )
    write = question.addButton("Write", QMessageBox.ButtonRole.AcceptRole)
    question.addButton(QMessageBox.StandardButton.Cancel)
    question.setDefaultButton(write)

    def finished(*_: object) -> None:
        answered(question.clickedButton() is write)
        question.deleteLater()

    question.finished.connect(finished)
    question.open()
    return question
