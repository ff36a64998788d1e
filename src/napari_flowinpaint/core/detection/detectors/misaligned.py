"""Sections that lie elsewhere: they match neither neighbour, though these match each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..features.view import View
from .detector import Finding

#: How far the shifts against both neighbours are apart, at most, as a share of their length: the
#: neighbours may themselves lie a little off each other.
_ALIKE = 0.45


@dataclass(frozen=True, slots=True)
class MisalignedDetector:
    """Registration that fails against both neighbours.

    Parameters
    ----------
    similarity
        A section lies elsewhere if its correlation with its neighbours, in place, is below this
        share of the correlation that they have with each other, although they are further apart.
    shift
        Shift against both neighbours, as a share of the section's side, that is damage ...
    match
        ... where it makes the correlation larger than this, and more than twice what it was.
    displaced
        Its score.
    least
        Neighbours that correlate less than this with each other tell nothing.
    alone
        Then it lies elsewhere if it correlates less with both neighbours, in place, than this share
        of what each of these does with the one beyond it.
    """

    similarity: float = 0.55
    shift: float = 0.045
    match: float = 0.18
    displaced: float = 1.6
    least: float = 0.1
    alone: float = 0.3

    kinds: ClassVar[tuple[str, ...]] = ("misaligned",)

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        if self._displaced(view):
            return [Finding("misaligned", self.displaced, np.ones(view.shape, dtype=bool))]
        limit = self._limit(view)
        if limit <= 0:
            return []
        nearest = (view.previous[:1] + view.following[:1]) if view.two_sided else view.neighbours
        own = max(n.registration.before for n in nearest)
        if own >= limit:
            return []
        score = 1 + (limit - own) / limit
        return [Finding("misaligned", score, np.ones(view.shape, dtype=bool))]

    def _limit(self, view: View) -> float:
        """Return the correlation that a section in its place has; 0 where nothing tells."""
        if np.isfinite(view.between) and view.between >= self.least:
            usual = self.similarity * view.between
        elif view.two_sided and view.beside >= self.least:
            usual = self.alone * view.beside
        else:
            return 0.0
        return usual / view.strictness**0.5

    def _displaced(self, view: View) -> bool:
        """Tell whether a section matches both neighbours by the same shift, and not in place.

        So much is certain also where the neighbours hardly match each other.
        """
        if not view.two_sided:
            return False
        both = [side[0].registration for side in (view.previous, view.following)]
        one, other = (np.array(r.shift, dtype=float) for r in both)
        length = float(np.hypot(*(one + other))) / 2
        return bool(
            length > self.shift * view.side * view.strictness**0.5
            and np.hypot(*(one - other)) < _ALIKE * length
            and all(r.after > self.match and r.before < 0.5 * r.after for r in both)
        )
