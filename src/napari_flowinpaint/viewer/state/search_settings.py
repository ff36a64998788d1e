"""What the user chose for the next search for damage: evented state, no Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from psygnal import SignalGroupDescriptor

from ...core.detection.detect_section import DetectionOptions
from ...core.errors import InputError
from ...core.kinds import KINDS

#: What may be searched.
SECTION, RANGE, STACK = "this section", "a range", "the whole stack"
WHERE = (SECTION, RANGE, STACK)


@dataclass
class SearchSettings:
    """Where to search, and for which kinds; ``events`` emits every change.

    Parameters
    ----------
    where
        One of :data:`WHERE`.
    first, last
        The range, both included.
    kinds
        Names of the kinds that are wanted.
    sensitivity
        0 to 1, see :class:`~napari_flowinpaint.core.detection.detect_section.DetectionOptions`.
    scales
        Factors on the thresholds of kinds, fitted to a stack; empty for the defaults.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    where: str = STACK
    first: int = 0
    last: int = 0
    kinds: tuple[str, ...] = tuple(KINDS)
    sensitivity: float = 0.5
    scales: Mapping[str, float] = field(default_factory=dict)

    def options(self) -> DetectionOptions:
        """Return what the detectors are told.

        Raises
        ------
        InputError
            If no kind is wanted.
        """
        if not self.kinds:
            raise InputError("no kind of damage is ticked; tick at least one.")
        return DetectionOptions(
            sensitivity=self.sensitivity, kinds=self.kinds, scales=dict(self.scales)
        )

    def sections(self, shown: int | None, depth: int) -> tuple[int, ...]:
        """Return which sections are searched.

        Parameters
        ----------
        shown
            The section that is shown, or None.
        depth
            Number of sections of the stack.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.where == SECTION:
            if shown is None:
                raise InputError("no section is shown; switch to 2-D and move the slider along z.")
            return (shown,)
        if self.where == STACK:
            return tuple(range(depth))
        chosen = range(max(self.first, 0), min(self.last, depth - 1) + 1)
        if not chosen:
            raise InputError(
                f"there are no sections from {self.first} to {self.last}; the stack has 0 to "
                f"{depth - 1}."
            )
        return tuple(chosen)
