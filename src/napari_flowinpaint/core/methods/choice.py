"""Which method ``auto`` takes for a window, and why: the only place that decides it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ..kinds import UNFOLDED
from . import check_method, get_method
from .method import Method

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the choice of a method for a window depends on.

    Parameters
    ----------
    neighbours
        Number of usable neighbours, 0 to 2.
    kind
        Kind of the damage, where it is known.
    gap
        The gap of an isotropic volume that the window is part of, in a few words; "" if of none.
    no_gap
        Why a missing section does not count as a gap, where that may surprise; otherwise "".
    """

    neighbours: int
    kind: str | None = None
    gap: str = ""
    no_gap: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A method, and why it was taken.

    Parameters
    ----------
    method
        A new instance.
    why
        In a few words; "" where the method was asked for by name.
    """

    method: Method
    why: str = ""


def choose_method(name: str, situation: Situation) -> Choice | None:
    """Return the method to use in a situation, or None if none can.

    Parameters
    ----------
    name
        A method's name, or ``"auto"``.
    situation
        What is known of the window.

    Raises
    ------
    InputError
        If there is no such method.
    """
    check_method(name)
    if name != AUTO:
        method = get_method(name)
        return Choice(method) if method.neighbours <= situation.neighbours else None
    filling, no_gap = get_method("gap_patches"), situation.no_gap
    if situation.gap and situation.kind not in UNFOLDED:
        if filling.ready():
            return Choice(filling, situation.gap)
        no_gap = "no weights for gaps installed"
    if situation.neighbours == 0:
        return None
    if situation.kind in UNFOLDED:
        return Choice(get_method("unfold"), f"a {situation.kind}: its tissue is moved back")
    one = situation.neighbours == 1
    there = "one usable neighbour" if one else "two usable neighbours"
    there += f"; {no_gap}" if no_gap else ""
    learned = get_method("one_neighbour" if one else "flowinpaint")
    if learned.ready():
        return Choice(learned, there)
    return Choice(get_method("flow"), f"{there}, no weights installed")


class MadeBy(Protocol):
    """A window, planned or repaired, and the method that repairs it."""

    @property
    def method(self) -> str:
        """Name of the method."""
        ...

    @property
    def why(self) -> str:
        """Why ``auto`` took it."""
        ...


def describe_methods(windows: Iterable[MadeBy]) -> str:
    """Return in words which methods repair windows, and why, where ``auto`` chose them.

    Examples
    --------
    >>> from types import SimpleNamespace as Window
    >>> describe_methods([Window(method="flow", why="one usable neighbour")])
    'flow (one usable neighbour)'
    """
    made = sorted({(window.method, window.why) for window in windows})
    return " and ".join(f"{method} ({why})" if why else method for method, why in made)
