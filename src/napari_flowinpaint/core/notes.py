"""Notes: what was taken for granted or done otherwise, to be told to whoever asked."""

from __future__ import annotations

from collections.abc import Callable

#: Told of each note, in words.
Note = Callable[[str], None]


def no_note(text: str) -> None:
    """Tell nobody (the default of every ``note`` argument)."""


class Notes:
    """Notes of one job, each once; call it with a note.

    Parameters
    ----------
    tell
        Called with each new note.

    Attributes
    ----------
    texts
        The notes so far.
    """

    def __init__(self, tell: Note = no_note) -> None:
        self.texts: list[str] = []
        self._tell = tell

    def __call__(self, text: str) -> None:
        """Take a note, if it is new."""
        text = " ".join(text.split())
        if text and text not in self.texts:
            self.texts.append(text)
            self._tell(text)
