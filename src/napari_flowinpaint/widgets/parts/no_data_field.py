"""The grey value that means no data: what is declared for the stack, and the field to set it."""

from __future__ import annotations

from qtpy.QtWidgets import QLineEdit

from ...core.errors import InputError

#: Without a value.
_FOUND = "automatic: padding and NaN"


class NoDataField(QLineEdit):
    """A field for a grey value, which may be empty."""

    def __init__(self) -> None:
        super().__init__()
        self.setPlaceholderText(_FOUND)
        self.setToolTip(
            "Grey value of pixels that were not imaged, if they are more than padding along the "
            "border; press Enter to use it for this stack."
        )

    def value(self) -> float | None:
        """Return the grey value; None where the field is empty.

        Raises
        ------
        InputError
            If something else is written in it.
        """
        text = self.text().strip()
        try:
            return float(text) if text else None
        except ValueError:
            raise InputError(
                f"'{text}' is not a grey value; type a number, or leave it empty."
            ) from None

    def show_value(self, value: float | None) -> None:
        """Show a grey value; nothing for None."""
        self.setText("" if value is None else _written(value))


def described(value: float | None) -> str:
    """Return in words what is taken for no data."""
    if value is None:
        return "no grey value is declared as no data; padding and NaN are found"
    return f"pixels of the grey value {_written(value)} are no data in this stack"


def _written(value: float) -> str:
    """Return a grey value such that it is read as the same."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
