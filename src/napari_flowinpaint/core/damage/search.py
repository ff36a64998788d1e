"""Let the detectors look at a section, and settle what several of them claim."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..types import BoolImage
from .detectors import Detector, Finding
from .features import grow
from .kinds import KINDS
from .view import View

#: A kind of which others claim more than this share of the pixels is theirs.
_CLAIMED = 0.6
#: Pixels around damage in which nothing else is looked for: its border is uncertain.
_AROUND = 5


def search(
    view: View,
    detectors: Sequence[Detector],
    *,
    kinds: Collection[str] = KINDS,
    scales: Mapping[str, float] = {},
) -> list[Finding]:
    """Return the damage of one section: disjoint masks, several of a kind where it varies.

    Parameters
    ----------
    view
        The section.
    detectors
        Those that look, in this order.
    kinds
        Kinds that are wanted. The others are looked for all the same, since one would be taken
        for another, and then left out.
    scales
        Factor on the thresholds of kinds, from an estimate of the stack.
    """
    findings: list[Finding] = []
    claimed = np.zeros(view.shape, dtype=bool)
    seen = view
    for detector in detectors:
        found = [f for f in detector.look(seen) if _enough(f, view, scales)]
        fresh = np.zeros_like(claimed)
        for finding in sorted(found, key=lambda f: list(KINDS).index(f.kind)):
            if finding.kind == "misaligned" and any(f.kind == "fold" for f in findings):
                continue  # a fold draws the tissue on its sides together: it is the reason
            own = finding.mask & ~claimed & ~fresh
            if own.sum() < (1 - _CLAIMED) * finding.mask.sum() or not own.any():
                continue
            findings.append(Finding(finding.kind, finding.score, own, finding.sharp))
            fresh |= own
        claimed |= fresh
        if claimed.all():
            break
        if fresh.any():
            seen = view.without(grow(claimed, _AROUND))
    return [f for f in findings if f.kind in kinds]


def _enough(finding: Finding, view: View, scales: Mapping[str, float]) -> bool:
    return finding.score >= view.strictness * scales.get(finding.kind, 1.0) * 0.999


def union(findings: Sequence[Finding], shape: tuple[int, int]) -> BoolImage:
    """Return all masks together."""
    out = np.zeros(shape, dtype=bool)
    for finding in findings:
        out |= finding.mask
    return out
