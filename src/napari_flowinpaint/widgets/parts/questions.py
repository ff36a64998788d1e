"""Ask before a stack is written to or copied, or repairs are lost."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QWidget

from ...core.errors import ChoiceNeeded
from ...core.io.stack import Stack
from ...core.io.zarr_node import outside_groups
from ...viewer.tasks.many_sections import ACCEPTED, UNDECIDED
from .wording import listed

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
    return _ask(
        parent,
        "Write into the stack?",
        f"Write the repaired pixels into {stack.path}?",
        "The original pixels are kept in a journal beside the data, the new ones are marked "
        "as synthetic, and Revert brings the originals back. You are asked once per stack.",
        "Write",
        answered,
    )


def ask_to_replace(
    parent: QWidget,
    name: str,
    answered: Callable[[bool], None],
    paint: Callable[[], None] | None = None,
) -> QMessageBox:
    """Ask whether the mask of the stack ``name`` may be replaced; see :func:`ask_to_write`.

    ``paint`` is offered instead, where there is such a function: to paint on the mask as it is.
    """
    question = _ask(
        parent,
        "Replace the mask?",
        f"{name} has a mask already. Replace it in all sections?",
        "Undo brings the present mask back.",
        "Replace",
        answered,
    )
    if paint is not None:
        question.setText(f"{name} has a mask already. Paint on it, or replace it in all sections?")
        button = question.addButton("Paint on it", QMessageBox.ButtonRole.AcceptRole)
        question.setDefaultButton(button)
        button.clicked.connect(paint)
    return question


def ask_to_repair_alone(
    parent: QWidget, method: str, answered: Callable[[bool], None]
) -> QMessageBox:
    """Ask whether a method may repair a section from itself; see :func:`ask_to_write`."""
    return _ask(
        parent,
        "Repair without neighbours?",
        f"{method} looks at nothing but the damaged section itself.",
        "It is meant for specks and thin lines where no neighbour can guide: what it paints "
        "continues what lies around the damage, and may not be what was there. Confidence falls "
        "with the distance from intact pixels, and every repair says how it was made.",
        "Use it",
        answered,
    )


def ask_to_remove_adapted(parent: QWidget, answered: Callable[[bool], None]) -> QMessageBox:
    """Ask whether the weights adapted to a stack may be removed; see :func:`ask_to_write`."""
    return _ask(
        parent,
        "Remove the adapted weights?",
        "Remove what was learned from this stack?",
        "Repairs use the released weights again; those that were made stay as they are. To have "
        "it back, adapt again.",
        "Remove",
        answered,
    )


def ask_to_overwrite(
    parent: QWidget, chosen: Path, files: Sequence[Path], write: Callable[[], None]
) -> QMessageBox | None:
    """Write files, after asking if some are replaced that the dialog has not asked about.

    Parameters
    ----------
    parent
        The widget that asks.
    chosen
        The path that was chosen in a dialog, which has asked whether it may be replaced.
    files
        What is going to be written.
    write
        Writes them; called at once if there is nothing to ask.

    Returns
    -------
    QMessageBox or None
        The question, if one is open now.
    """
    there = [file.name for file in files if file != chosen and os.path.lexists(file)]
    if not there:
        write()
        return None
    one = len(there) == 1
    return _ask(
        parent,
        "Replace a file?",
        f"{listed(there)} in {chosen.parent} {'exists' if one else 'exist'} already. Replace "
        f"{'it' if one else 'them'}?",
        "Cancel, and choose another name, to keep what is there.",
        "Replace",
        lambda yes: write() if yes else None,
    )


def _ask(
    parent: QWidget,
    title: str,
    text: str,
    details: str,
    yes: str,
    answered: Callable[[bool], None],
) -> QMessageBox:
    """Ask something without holding up the viewer; the first button is a yes."""
    question = QMessageBox(parent)
    question.setIcon(QMessageBox.Icon.Question)
    question.setWindowTitle(title)
    question.setText(text)
    question.setInformativeText(details)
    button = question.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
    question.addButton(QMessageBox.StandardButton.Cancel)
    question.setDefaultButton(button)

    def finished(*_: object) -> None:
        answered(question.clickedButton() is button)
        question.deleteLater()

    question.finished.connect(finished)
    question.open()
    return question


def ask_which_class(
    parent: QWidget, question: ChoiceNeeded, answered: Callable[[str], None]
) -> QInputDialog:
    """Ask which values of a mask are the damage, without holding up the viewer.

    Parameters
    ----------
    parent
        The widget that asks.
    question
        What is to be chosen from.
    answered
        Called with the choice; not where nobody chooses.

    Returns
    -------
    QInputDialog
        The question, which is open now.
    """
    told = re.split("; (?:choose with|if it)", str(question))[0]
    text = f"{told[:1].upper()}{told[1:]}.\nWhich value shows the damage?"
    return _ask_which(parent, "What is the damage?", text, question, question.choices[-1], answered)


def ask_which_dataset(
    parent: QWidget, name: str, question: ChoiceNeeded, answered: Callable[[str], None]
) -> QInputDialog:
    """Ask which of the arrays in the file ``name`` is the mask; see :func:`ask_which_class`."""
    text = f"{name} holds {len(question.choices)} arrays.\nWhich of them is the mask?"
    return _ask_which(parent, "Which is the mask?", text, question, question.choices[0], answered)


def _ask_which(
    parent: QWidget,
    title: str,
    text: str,
    question: ChoiceNeeded,
    proposed: str,
    answered: Callable[[str], None],
) -> QInputDialog:
    """Ask for one of several choices, without holding up the viewer."""
    dialog = QInputDialog(parent)
    dialog.setWindowTitle(title)
    dialog.setLabelText(text)
    dialog.setComboBoxItems(list(question.choices))
    dialog.setTextValue(proposed)
    dialog.textValueSelected.connect(answered)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()
    return dialog


def ask_where_to_save(parent: QWidget, stack: Stack, title: str) -> Path | None:
    """Ask where a repaired copy of a stack is to be saved; None where nobody wants to."""
    proposed = folder_beside(stack) / f"{stack.name} repaired.zarr"
    path, _ = QFileDialog.getSaveFileName(parent, title, str(proposed), "OME-Zarr (*.zarr)")
    return Path(path) if path else None


def folder_beside(stack: Stack) -> Path:
    """Return the folder that is proposed for what goes with a stack: not within its store."""
    return Path.home() if stack.path is None else outside_groups(stack.path).parent


def may_close(parent: QWidget, session: Session) -> bool:
    """Ask whether napari may close, where something exists only in the viewer.

    Parameters
    ----------
    parent
        The widget that asks.
    session
        What the viewer is working on; a yes forgets what is unsaved.
    """
    if session.closing:
        return True
    session.flags.save_now()  # what cannot be saved is asked about
    unsaved = session.unsaved()
    if not unsaved:
        return True
    choice = QMessageBox.StandardButton
    advice = (
        "Save as OME-Zarr… in the dock Repair section saves the stack with the accepted repairs, "
        "the list and the mask."
    )
    if session.lost_of_batch(ACCEPTED) or session.lost_of_batch(UNDECIDED):
        advice += " Save copy… in the dock Flagged sections saves it with those of the batch."
    answer = QMessageBox.question(
        parent,
        "Close without saving?",
        f"Not saved yet: {listed(unsaved)}. {advice}",
        choice.Close | choice.Cancel,
        choice.Cancel,
    )
    session.closing = answer == choice.Close  # other docks do not ask again
    QTimer.singleShot(0, partial(setattr, session, "closing", False))
    return session.closing
