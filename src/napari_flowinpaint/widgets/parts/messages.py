"""Say what happened, in plain words: in the dock and as napari's notifications."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QMouseEvent, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from ...core.errors import Cancelled, FlowInpaintError, ended, first_line
from ...core.names import printable
from .wording import in_window

if TYPE_CHECKING:
    from .jobs import JobRunner

_log = logging.getLogger(__name__)
#: How many lines of a text are shown, and how the rest is announced.
_LINES, _MORE = 3, "… (more)"
#: Letters that a notification of napari shows in one line.
_TOAST = 42
_Widget = TypeVar("_Widget", bound=QWidget)


class Messages(QLabel):
    """The status line of a dock: a few lines, and a click on them shows the rest.

    What came of something the user did (:meth:`say`, :meth:`notify`, :meth:`fail`) stays until
    more is said. What nobody asked for (:meth:`mention`, progress aside) is shown only where
    nothing of that kind is, or once the user has turned to something else (:meth:`release`).

    Parameters
    ----------
    keeps_room
        Whether it is never lower than two lines.
    about
        Returns what is spoken of, and its name where that has to be said; see :func:`spoken_of`.
    """

    def __init__(
        self,
        keeps_room: bool = False,
        about: Callable[[], tuple[object, str]] = lambda: (None, ""),
    ) -> None:
        super().__init__()
        self.keeps_room = keeps_room
        self._about = about
        self._subject: Callable[[], object] = lambda: None
        self._full, self._open = "", False
        self._told = self._going = False
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setMinimumWidth(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)

    def text(self) -> str:
        """Return all that is said, also what is not seen of it."""
        return self._full

    def setText(self, text: str | None) -> None:
        """Say something else."""
        self._full, self._open = text or "", False
        self._show_text()

    def _show_text(self) -> None:
        """Show what fits into a few lines, or all of it."""
        shown = self._full if self._open else self._shortened()
        self.setToolTip(self._full if shown != self._full else "")
        if shown != super().text():
            super().setText(shown)

    def _shortened(self) -> str:
        """Return as much of the text as fits, at the width that the line has."""
        text = self._full
        if self._fits(text):
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self._fits(text[:middle] + _MORE):
                low = middle
            else:
                high = middle - 1
        head = text[:low]
        if low < len(text) and not text[low].isspace() and " " in head:
            head = head.rsplit(" ", 1)[0]  # no part of a word
        return head.rstrip(" ,;:(.") + _MORE

    def _fits(self, text: str) -> bool:
        metrics, width = self.fontMetrics(), max(self.width() - 2 * self.margin(), 40)
        room, wrapped = QRect(0, 0, width, 1 << 16), int(Qt.TextFlag.TextWordWrap)
        needed, most = (
            metrics.boundingRect(room, wrapped, lines).height()
            for lines in (text, "\n" * (_LINES - 1))
        )
        return bool(needed <= most)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Show all of the text, or a few lines again."""
        super().mouseReleaseEvent(event)
        if not self.hasSelectedText():
            self._open = not self._open
            self._show_text()

    def showEvent(self, event: QShowEvent) -> None:
        """Keep room for two lines, so that the buttons above stay under the mouse."""
        super().showEvent(event)
        if self.keeps_room:
            super().setText("two\nlines")
            self.setMinimumHeight(self.sizeHint().height())  # in the font that the window has
        self._show_text()

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
            self._show_text()
            self.updateGeometry()

    def say(self, text: str) -> None:
        """Show in the dock only what came of something the user did; "" clears the line."""
        self._show(self._named(text))

    def _show(self, told: str) -> None:
        """Show what came of something, as it is."""
        self._note_subject()
        self._told, self._going = bool(told), False
        self.setText(told)

    def _note_subject(self) -> None:
        subject, _ = self._about()
        self._subject = (lambda: None) if subject is None else ref(subject)

    def forget(self, subject: object) -> None:
        """Say no more what was said about something, such as a layer that was removed."""
        if self._subject() is subject:
            self.say("")

    def _named(self, text: str) -> str:
        """Return a text as it is shown, with the name of what it is about where that is needed."""
        _, name = self._about()
        return as_sentence(text, name)

    def mention(self, text: str) -> None:
        """Show something nobody asked for, unless it would hide what the user waits for."""
        if not self._told:
            self.say(text)
            self._told = False

    def release(self) -> None:
        """Let a mention replace what was said: the user has turned to something else."""
        self._told = False

    def show_progress(self, text: str, *, aside: bool = False) -> None:
        """Show how far something is, no sentence.

        Parameters
        ----------
        text
            Such as "repairing section 3".
        aside
            Whether nobody asked for it: what came of the last thing the user did stays.
        """
        if not (aside and self._told):
            self._note_subject()
            self._told, self._going = not aside, True
            self.setText(_in_words(text, self._about()[1]))

    def end_progress(self) -> None:
        """Clear the line where it shows how far something is: it has ended, and told nothing."""
        if self._going:
            self.say("")

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
        show_info(_in_short(self._named(text)))

    def warn(self, text: str, toast: str = "") -> None:
        """Add a warning to the line in the dock, and show it as a notification.

        Parameters
        ----------
        text
            In full.
        toast
            The notification; its first words without.
        """
        before = "" if self._going else self.text()
        self._show("\n".join(filter(None, (before, self._named(text)))))
        self.toast(toast or text)

    def toast(self, text: str) -> None:
        """Show a warning as a notification only."""
        from napari.utils.notifications import show_warning

        show_warning(_in_short(self._named(text)))

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
            show_warning(_in_short(self._named(str(error))))
        else:
            _log.error("unexpected error", exc_info=error)
            text = f"{type(error).__name__}: {first_line(error)}"
            self.say(f"unexpected error: {text}")
            show_error(_in_short(self._named(text)))


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


def toast_of(text: str) -> str:
    """Return the beginning of a text, as short as a notification shows it in one line."""
    return _in_short(as_sentence(text))


def _in_short(told: str) -> str:
    first = re.split("; |\n", re.sub(r" \([^()]*\)", "", told))[0]
    first = ended(first)
    if len(first) <= _TOAST:
        return first
    return first[: _TOAST - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def as_sentence(text: str, name: str = "") -> str:
    """Return a text as it is shown, in words of the window: each line of it as a sentence.

    The first begins with the name of what it is about, where that is given.
    """
    first, *others = [line.rstrip() for line in text.splitlines()] or [""]
    told = [_in_words(first, name if first else ""), *map(_in_words, others)]
    return "\n".join(map(ended, told))


def _in_words(line: str, name: str = "") -> str:
    """Return a line in words of the window, after the name of what it is about, or as a sentence.

    What came from files cannot steer the terminal of napari. Names of files and layers stay as
    they are.
    """
    line = in_window(printable(line))
    if name:
        return f"{name}: {line}"
    first = line.partition(" ")[0]
    return line[:1].upper() + line[1:] if first.rstrip(",;:.…").isalpha() else line


def spoken_of(jobs: JobRunner) -> tuple[object, str]:
    """Return the layer that jobs of a dock speak of now, and its name if another one is meant.

    What is meant is said by the first line of the dock, and need not be said again.
    """
    subject = jobs.subject
    return subject, printable(str(getattr(subject, "name", ""))) if jobs.aside else ""
