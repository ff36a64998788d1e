"""The interface of detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...types import BoolImage
from ..features.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """Damage of one kind in one section.

    Parameters
    ----------
    kind
        A name of :data:`~..kinds.KINDS`.
    score
        How strong, in units of the threshold at a sensitivity of 0.5: 1 is just enough, 2 is
        twice that.
    mask
        (H, W) bool at the working level.
    sharp
        Whether the damage has a sharp border that can be found at full resolution by grey value.
    """

    kind: str
    score: float
    mask: BoolImage
    sharp: bool = False


class Detector(Protocol):
    """Finds damage of one sort; a frozen dataclass whose fields are its parameters.

    Attributes
    ----------
    kinds
        The kinds it finds.
    """

    @property
    def kinds(self) -> tuple[str, ...]:  # pragma: no cover
        """The kinds it finds."""
        ...

    def detect(self, view: View) -> list[Finding]:  # pragma: no cover
        """Return what it finds in one section; nothing where all is well."""
        ...
