"""Which values of a mask count as damage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..types import AnyImage, BoolImage

_COLOUR = re.compile(r"#?([0-9a-fA-F]{6})")


@dataclass(frozen=True, slots=True)
class MaskChoice:
    """Which values of a mask count as damage: by default all but 0.

    Parameters
    ----------
    classes
        The values; colours as 0xrrggbb. None for all but 0.
    invert
        Whether it is the other values that count.
    """

    classes: frozenset[int] | None = None
    invert: bool = False

    @classmethod
    def parse(cls, text: str | None, invert: bool = False) -> MaskChoice:
        """Return a choice from text such as ``2``, ``2,3`` or ``#ff0000``.

        Raises
        ------
        InputError
            If it is neither a number nor a colour.
        """
        if text is None:
            return cls(None, invert)
        return cls(frozenset(parse_class(part) for part in text.split(",")), invert)

    @property
    def made(self) -> bool:
        """Whether somebody has chosen."""
        return self.classes is not None or self.invert

    @property
    def empty_is_intact(self) -> bool:
        """Whether 0 is no damage."""
        return (self.classes is not None and 0 in self.classes) == self.invert

    def damaged(self, values: AnyImage) -> BoolImage:
        """Return where values are damage: bool, True = damaged."""
        found = values != 0 if self.classes is None else np.isin(values, [*self.classes])
        return np.asarray(~found if self.invert else found)


NOT_ZERO = MaskChoice()


def parse_class(text: str) -> int:
    """Return a value of a mask from a number, or from a colour such as ``#ff0000``."""
    text = text.strip()
    if text.lstrip("+-").isdecimal() and not (len(text) == 6 and text.startswith("0")):
        return int(text)
    colour = _COLOUR.fullmatch(text)
    if colour is None:
        raise InputError(
            f"'{text}' is not a class of a mask; give a number such as 2, or a colour such as "
            "#ff0000."
        )
    return int(colour[1], 16)


def class_name(value: int) -> str:
    """Return a value as :func:`parse_class` understands it."""
    return str(value) if value < 1 << 16 else f"#{value:06x}"


def describe_classes(values: Iterable[tuple[int, float]]) -> str:
    """Return values and the part of the pixels that they have, in words."""
    return ", ".join(f"{class_name(value)} ({100 * part:.3g} %)" for value, part in values)
