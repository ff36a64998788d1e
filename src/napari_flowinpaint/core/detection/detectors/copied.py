"""Sections that are a copy of a neighbour, put in place of a lost one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...filters import blur
from ...types import FloatImage
from ..features.maps import SectionMaps
from ..features.view import NeighbourView, View, register
from .detector import Finding

#: Thumbnails correlate at least so much before more is looked at.
_SUSPECT = 0.8
#: Width, in pixels of halved maps, beyond which structures are left out.
_WIDER = 1.7
#: Structures that correlate more than this are those of one image.
_SAME = 0.9995
#: By how much the further of two identical sections has to fit better what lies beyond it before
#: it counts as the original.
_BETTER = 0.02


@dataclass(frozen=True, slots=True)
class CopiedDetector:
    """Sections whose structures of a few pixels are those of a neighbour, all over.

    Two sections never share all of these, not even in an isotropic volume: what is usual there is
    asked of the other neighbours. Of two that are identical the one that fits worse what lies
    beyond it is the copy; the later one where that does not tell.

    Parameters
    ----------
    apart
        Structures of a copy correlate with those of its original to 1 less this, at least: another
        brightness, compression or interpolation changes them a little.
    usual
        And to 1 less this share of what other sections lack.
    """

    apart: float = 0.04
    usual: float = 0.4

    kinds: ClassVar[tuple[str, ...]] = ("copied",)

    def detect(self, view: View) -> list[Finding]:
        """See :class:`~.detector.Detector`."""
        if view.blank or not view.neighbours:
            return []
        for side, other in ((view.previous, view.following), (view.following, view.previous)):
            if not side or side[0].registration.after < _SUSPECT:
                continue
            if abs(side[0].features.z - view.section.z) > 1:
                continue
            lacks = 1 - _likeness(view, side[0])
            limit = min(self.apart, self.usual * _usual_lack(view, side, other))
            if lacks * view.strictness < limit and _is_copy(view, side, other):
                score = min(limit / max(lacks, 1e-6), 20.0)
                return [Finding("copied", score, np.ones(view.shape, dtype=bool))]
        return []


def _structures(maps: SectionMaps) -> FloatImage:
    """Return structures of 2 to 4 pixels, of every second pixel."""
    return maps.wide - blur(maps.wide, _WIDER)


def _likeness(view: View, neighbour: NeighbourView, other: NeighbourView | None = None) -> float:
    """Return how structures of a section, or of another neighbour, correlate with a neighbour's."""
    theirs = neighbour.moved(_structures(neighbour.features), 2)
    own = (
        _structures(view.section) if other is None else other.moved(_structures(other.features), 2)
    )
    if view.ignored is not None:
        seen = ~view.ignored[::2, ::2]
        own, theirs = own[seen], theirs[seen]
    return float(np.corrcoef(own.ravel(), theirs.ravel())[0, 1]) if own.size else 0.0


def _usual_lack(
    view: View, side: tuple[NeighbourView, ...], other: tuple[NeighbourView, ...]
) -> float:
    """Return by how much other neighbouring sections fall short of being alike; 0 if none do."""
    pairs = [_likeness(view, pair[0], pair[1]) for pair in (side, other) if len(pair) > 1]
    if other:
        pairs.append(_likeness(view, other[0]))
    unlike = [1 - likeness for likeness in pairs if likeness < _SAME]
    return float(np.median(unlike)) if unlike else 0.0


def _is_copy(view: View, side: tuple[NeighbourView, ...], other: tuple[NeighbourView, ...]) -> bool:
    """Tell which of two identical sections is the copy: the one that fits worse beyond it."""
    later = side[0].features.z < view.section.z
    if len(side) < 2 or not other:
        return later
    theirs = register(side[0].features, side[1].features).after
    own = other[0].registration.after
    return own < theirs + _BETTER if later else own < theirs - _BETTER
