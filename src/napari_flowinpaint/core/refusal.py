"""What is left of a section's damage, and why: windows whose repair would have to be made up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .box import Box

#: How a reason ends that is the gate's: with another gate the window is repaired, and flagged.
ANYWAY = "or repair it anyway (--gate flag)"
#: How a reason names the sections at fault, in the words of the gate.
_AT_FAULT = re.compile(r"\bsections? (\d+(?:(?:, | and )\d+)*) (?:shows?|is out|are out|lies?) ")
_ASIDE = re.compile(r" \([^()]*\)")
#: Places and reasons that are listed in one line; of the others, how many there are.
_LISTED = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """A window of a section that was refused: its pixels are left as they are.

    Parameters
    ----------
    box
        Bounding box of the damage in the section, without context.
    pixels
        Damaged pixels in it that are left.
    reason
        Why, in one line.
    """

    box: Box
    pixels: int
    reason: str

    @property
    def place(self) -> str:
        """Where it lies, in words; the last row and column are included."""
        box = self.box
        return f"rows {box.y0}-{box.y1 - 1}, columns {box.x0}-{box.x1 - 1}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as reports and staging folders have them."""
        box = [self.box.y0, self.box.x0, self.box.y1, self.box.x1]
        return {"box_yxyx": box, "pixels": self.pixels, "reason": self.reason}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Refusal:
        """Return the refusal that :meth:`to_dict` turned into ``record``."""
        return cls(Box(*record["box_yxyx"]), record["pixels"], record["reason"])


def describe_refused(refused: Sequence[Refusal]) -> str:
    """Return in one line what is left, where and why; "" where nothing is.

    Parameters
    ----------
    refused
        Windows of one section.

    Examples
    --------
    >>> describe_refused([Refusal(Box(4, 0, 8, 9), 36, "section 3 has no usable neighbour")])
    '36 pixels left at rows 4-7, columns 0-8: section 3 has no usable neighbour'
    """
    lines = []
    for reason in dict.fromkeys(refusal.reason for refusal in refused):
        same = [refusal for refusal in refused if refusal.reason == reason]
        pixels = sum(refusal.pixels for refusal in same)
        places = _few([refusal.place for refusal in same], " and ")
        lines.append(f"{pixels} pixel{'s' * (pixels != 1)} left at {places}: {reason}")
    return _few(lines, "; ")


def describe_reasons(refused: Sequence[Refusal]) -> str:
    """Return in one line why windows were refused, each reason once."""
    return _few(list(dict.fromkeys(refusal.reason for refusal in refused)), "; ")


def reason_of(z: int, reason: str) -> str:
    """Return the reason of a section for a line that begins with its number.

    Examples
    --------
    >>> reason_of(3, "section 3 has no usable neighbour")
    'it has no usable neighbour'
    """
    return re.sub(rf"^section {z} (?=has |is )", "it ", reason)


def is_of_gate(reason: str) -> bool:
    """Return whether a reason is the gate's: with another gate the window would be repaired."""
    return ANYWAY in reason


def sections_at_fault(reason: str) -> tuple[int, ...]:
    """Return which neighbours a reason of the gate blames, ascending.

    Examples
    --------
    >>> sections_at_fault("sections 3 and 5 show something other than section 4 (0.1)")
    (3, 5)
    """
    found = (re.findall(r"\d+", numbers) for numbers in _AT_FAULT.findall(reason))
    return tuple(sorted({int(number) for numbers in found for number in numbers}))


def in_short(reason: str) -> str:
    """Return the one sentence of a reason that says what is at fault, without numbers and advice.

    Examples
    --------
    >>> in_short("section 3 is out of focus (50%); no other within 5 sections fits: align it")
    'section 3 is out of focus'
    """
    return re.split("; |: ", _ASIDE.sub("", reason))[0]


def _few(texts: Sequence[str], joint: str) -> str:
    """Return the first few of some texts, joined, and the number of the others."""
    more = len(texts) - _LISTED
    return joint.join([*texts[:_LISTED], *([f"{more} more"] if more > 0 else [])])
