"""Sections that lie elsewhere: they match neither neighbour, though these match each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..view import View
from .base import Finding


@dataclass(frozen=True, slots=True)
class MisalignedDetector:
    """Registration that fails against both neighbours.

    Parameters
    ----------
    similarity
        A section lies elsewhere if its correlation with its neighbours, in place, is below this
        share of the correlation that they have with each other, although they are further apart.
    least
        Neighbours that correlate less than this with each other tell nothing.
    """

    similarity: float = 0.55
    least: float = 0.1

    kinds: ClassVar[tuple[str, ...]] = ("misaligned",)

    def look(self, view: View) -> list[Finding]:
        """See :class:`~.base.Detector`."""
        if view.blank or not np.isfinite(view.between) or view.between < self.least:
            return []
        nearest = (view.previous[:1] + view.following[:1]) if view.two_sided else view.neighbours
        own = max(n.registration.before for n in nearest)
        limit = self.similarity / view.strictness**0.5 * view.between
        if own >= limit:
            return []
        score = 1 + (limit - own) / limit
        return [Finding("misaligned", score, np.ones(view.shape, dtype=bool))]
