"""Ask before a stack is written to or copied, or repairs are lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from ...core.io.stack import Stack

if TYPE_CHECKING:
    from ...viewer.session import Session


def ask_to_write(parent: QWidget, stack: Stack, answered: Callable[[bool], None]) -> QMessageBox:
    """Ask whether a stack may be changed, without holding up the viewer.

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
    question.setWindowTitle("Write into the stack?")
    question.setText(f"Write the repaired pixels into {stack.path}?")
    question.setInformativeText(
        "The original pixels are kept in a journal beside the data, the new ones are marked "
        "as synthetic, and Revert brings the originals back. You are asked once per stack."
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


def ask_where_to_save(parent: QWidget, stack: Stack, title: str) -> Path | None:
    """Ask where a repaired copy of a stack is to be saved; None where nobody wants to."""
    folder = stack.path.parent if stack.path is not None else Path.home()
    proposed = folder / f"{stack.name} repaired.zarr"
    path, _ = QFileDialog.getSaveFileName(parent, title, str(proposed), "OME-Zarr (*.zarr)")
    return Path(path) if path else None


def may_close(parent: QWidget, session: Session) -> bool:
    """Ask whether napari may close, where accepted repairs exist only in the viewer.

    Parameters
    ----------
    parent
        The widget that asks.
    session
        What the viewer is working on; a yes forgets the repairs.
    """
    count = session.accepted.unsaved_count
    if not count:
        return True
    choice = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent,
        "Close without saving?",
        f"{count} accepted repair{'s are' if count != 1 else ' is'} not saved yet, since the stack "
        "cannot be written to in place. Save as OME-Zarr… in the dock Repair section saves "
        "the stack with them.",
        choice.Close | choice.Cancel,
        choice.Cancel,
    )
    if answer == choice.Close:
        session.accepted.forget_unsaved()
        return True
    return False
