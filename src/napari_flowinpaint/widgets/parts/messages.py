"""Say what happened, in plain words: in the dock and as napari's notifications."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from ...core.errors import Cancelled, FlowInpaintError, first_line
from ...core.io.names import printable
from .wording import in_window

_log = logging.getLogger(__name__)
_Widget = TypeVar("_Widget", bound=QWidget)


class Messages(QLabel):
    """The status line of a dock.

    Parameters
    ----------
    keeps_room
        Whether it is never lower than two lines.
    """

    def __init__(self, keeps_room: bool = False) -> None:
        super().__init__()
        self.keeps_room = keeps_room
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setMinimumWidth(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)

    def showEvent(self, event: QShowEvent) -> None:
        """Keep room for two lines, so that the buttons above stay under the mouse."""
        super().showEvent(event)
        if self.keeps_room:
            text = self.text()
            self.setText("two\nlines")
            self.setMinimumHeight(self.sizeHint().height())  # in the font that the window has
            self.setText(text)

    def sizeHint(self) -> QSize:
        """Return the height of the text at the width that it has.

        Qt would ask for that of a narrow column, and a dock would be as high.
        """
        height = max(self.heightForWidth(self.width()), self.minimumHeight())
        return QSize(super().sizeHint().width(), height)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Ask for another height where the width is another."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()

    def say(self, text: str) -> None:
        """Show a line in the dock only."""
        self.setText(_sentence(text))

    def notify(self, text: str, notes: Sequence[str] = ()) -> None:
        """Show a line in the dock and as a notification: something was achieved.

        Parameters
        ----------
        text
            What.
        notes
            What was taken for granted, or done otherwise; each is a line of its own.
        """
        from napari.utils.notifications import show_info

        text = "\n".join((text, *(f"Note: {note}" for note in notes)))
        self.say(text)
        show_info(_sentence(text))

    def warn(self, text: str) -> None:
        """Show a warning as a notification; the line in the dock stays."""
        from napari.utils.notifications import show_warning

        show_warning(_sentence(text))

    def fail(self, error: Exception) -> None:
        """Say why something did not work; never as a traceback.

        What the user can do something about is a warning; anything else is an error of the
        program, whose traceback goes to the log.
        """
        from napari.utils.notifications import show_error, show_warning

        if isinstance(error, Cancelled):
            self.say("cancelled; nothing was changed")
        elif isinstance(error, FlowInpaintError):
            self.say(str(error))
            show_warning(_sentence(str(error)))
        else:
            _log.error("unexpected error", exc_info=error)
            text = f"unexpected error: {type(error).__name__}: {first_line(error)}"
            self.say(text)
            show_error(_sentence(text))


def guarded(slot: Callable[[_Widget], None]) -> Callable[..., None]:
    """Make a method a slot whose exceptions become messages instead of a traceback.

    The object needs a ``messages`` attribute, a :class:`Messages`. Arguments of the signal are
    dropped.
    """

    @wraps(slot)
    def wrapper(self: Any, *_: Any) -> None:
        try:
            slot(self)
        except Exception as error:
            self.messages.fail(error)

    return wrapper


def _sentence(text: str) -> str:
    """Return a text as it is shown: in words of the window, and as a sentence.

    What came from files cannot steer the terminal of napari. Names of files and layers stay as
    they are.
    """
    text = in_window("\n".join(map(printable, text.splitlines())))
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.rstrip(",;:").isalpha() else text
