"""Let the detectors look at a section, and settle what several of them claim."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..kinds import KINDS
from ..types import BoolImage, FloatImage
from .detectors import Detector, Finding
from .features.morphology import ConnectedComponents, grow, reached
from .features.view import View

#: A kind of which others claim more than this share of the pixels is theirs.
_CLAIMED = 0.6
#: Pixels around damage in which nothing else is looked for: its border is uncertain.
_AROUND = 5
#: Least share of debris that is left when what lies at the border of other damage is gone.
_LEFT = 0.2
#: Kinds that may be without any texture in their middle, and the share of its surroundings that
#: they have to cover there.
_SURROUNDED = 0.4
_WITH_MIDDLES = ("dark", "bright", "staining", "blur")
#: Share of the surroundings of a cloud that are blurred if it is blurred itself.
_BORDERS = 0.2
#: Kinds to which debris at their border belongs.
_WITH_FRINGES = ("missing", "hole", "fold", "crack")
#: Kinds that come in pieces; how large the smaller ones are together, at most, as a share of the
#: largest; and how far their grey values are apart, in standard deviations of the section.
_IN_PIECES = ("missing", "hole")
_PIECE = 0.5
_ALIKE = 0.5
#: Least share of a piece of damage that lies where there are data.
_IMAGED = 0.5
#: Score of damage that is beyond doubt although the neighbours of one side were not imaged there.
_SURE = 2.0
#: A misaligned section of this score shows other tissue: no line in it is to be believed.
_ELSEWHERE = 1.8
#: Factor on the thresholds of other damage in a section with a fold.
_BESIDE_FOLD = 4.0


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
        found = [f for f in detector.detect(seen) if _enough(f, findings, view, scales)]
        found = [kept for f in found for kept in _imaged(f, view)]
        if not found:
            continue
        fresh = np.zeros_like(claimed)
        for finding in sorted(found, key=lambda f: list(KINDS).index(f.kind)):
            own = finding.mask & ~claimed & ~fresh
            if own.sum() < (1 - _CLAIMED) * finding.mask.sum() or not own.any():
                continue
            if finding.kind == "misaligned":
                findings = [
                    f for f in findings if f.kind == "missing" or not _elsewhere(finding, f)
                ]
                own = finding.mask & ~np.logical_or.reduce(
                    [np.zeros_like(claimed), *(f.mask for f in findings)]
                )
            fresh |= own
            if finding.kind == "staining" and _give_to_blur(findings, own):
                continue
            own = _take_middles(findings, finding.kind, own, view)
            if finding.kind in ("dark", "bright"):
                own = _give_fringes(findings, own, view.section.smooth)
            if own.sum() > _LEFT * finding.mask.sum():
                findings.append(Finding(finding.kind, finding.score, own, finding.sharp))
        claimed |= fresh
        if claimed.all():
            break
        if fresh.any():
            seen = view.without(grow(claimed, _AROUND))
    return [f for f in findings if f.kind in kinds]


def _imaged(finding: Finding, view: View) -> Iterator[Finding]:
    """Yield what of a finding lies where a section and its neighbours were imaged.

    Components that lie elsewhere for the most part are no damage, nor is what they leave. Where
    only the neighbours of one side were imaged more is needed, whatever the sensitivity.
    """
    ignored, doubtful = view.ignored, view.doubtful
    if doubtful is None:
        yield finding
    elif finding.mask.all():
        own = view.section.imaged
        yield finding if own is None else replace(finding, mask=own)
    else:
        certain = finding.score >= _SURE
        elsewhere = ignored if certain else doubtful
        kept = finding.mask
        if elsewhere is not None:
            kept = _mostly(ConnectedComponents(finding.mask), ~elsewhere)
        if ignored is not None:
            kept = kept & ~ignored
        if kept.sum() > _IMAGED * finding.mask.sum():
            yield replace(finding, mask=kept)


def _mostly(components: ConnectedComponents, where: BoolImage) -> BoolImage:
    """Return the components that lie, for the most part, where a mask is True."""
    numbers = components.numbers[where.ravel()[components.indices]]
    inside = np.bincount(numbers, minlength=components.areas.size)
    return components.mask(inside > _IMAGED * components.areas)


def _give_to_blur(findings: list[Finding], cloud: BoolImage) -> bool:
    """Add a region to the blur that it borders on: so much of it is gone that nothing is fine."""
    ring = grow(cloud, 3 * _AROUND) & ~cloud
    for n, finding in enumerate(findings):
        if finding.kind == "blur" and (finding.mask & ring).sum() > _BORDERS * ring.sum() > 0:
            findings[n] = replace(finding, mask=finding.mask | cloud)
            return True
    return False


def _take_middles(findings: list[Finding], kind: str, own: BoolImage, view: View) -> BoolImage:
    """Add flat middles to the cloud, charging or blur around them: these are no holes.

    Nor is the largest piece of much debris one that is as dark, or as bright.
    """
    if kind not in _WITH_MIDDLES:
        return own
    grey = view.section.smooth
    usual = float(np.median(grey))
    for finding in [f for f in findings if f.kind == "hole"]:
        ring = grow(finding.mask, 3 * _AROUND) & ~grow(finding.mask, _AROUND)
        middle = ring.any() and own[ring].mean() > _SURROUNDED
        side = "dark" if float(np.median(grey[finding.mask])) < usual else "bright"
        piece = kind == side and own.sum() > 2 * finding.mask.sum()
        if middle or piece:
            findings.remove(finding)
            own = own | (grow(finding.mask, _AROUND) if middle else finding.mask)
    return own


def _give_fringes(findings: list[Finding], blobs: BoolImage, grey: FloatImage) -> BoolImage:
    """Add blobs at the border of holes and lines to these; return the others.

    So with small blobs that are as dark, or as bright, as a hole not far away.
    """
    for n, finding in enumerate(findings):
        if finding.kind in _WITH_FRINGES:
            fringe = reached(blobs, blobs & grow(finding.mask, 2 * _AROUND))
            if finding.kind in _IN_PIECES:
                fringe |= _pieces(finding.mask, blobs & ~fringe, grey)
            blobs = blobs & ~fringe
            findings[n] = replace(finding, mask=finding.mask | fringe)
    return blobs


def _pieces(hole: BoolImage, blobs: BoolImage, grey: FloatImage) -> BoolImage:
    """Return blobs that are pieces of a hole: of its grey value, near, and smaller."""
    size = float(hole.sum())
    near = reached(blobs, blobs & grow(hole, max(round(np.sqrt(size)), 1)))
    if not near.any() or near.sum() > _PIECE * size:
        return np.zeros_like(hole)
    low, high = np.percentile(grey[hole], (5, 95))
    middle = float(np.median(grey[near]))
    slack = _ALIKE * float(grey.std())
    return near if low - slack < middle < high + slack else np.zeros_like(hole)


def _elsewhere(misaligned: Finding, other: Finding) -> bool:
    """Tell whether other damage is just what a section that lies elsewhere looks like."""
    return misaligned.score > _ELSEWHERE or (
        other.kind in ("fold", "crack") and other.score < misaligned.score
    )


def _enough(
    finding: Finding, before: Sequence[Finding], view: View, scales: Mapping[str, float]
) -> bool:
    least = view.strictness * scales.get(finding.kind, 1.0) * 0.999
    if finding.kind == "misaligned":  # the less there is of a section, the less it tells
        least *= 1 + sum(float(f.mask.mean()) for f in before if f.kind == "missing")
    if any(f.kind == "fold" for f in before):
        # a fold draws in the tissue on its sides: it lies elsewhere, and is not to be blamed
        if finding.kind == "misaligned":
            return any(_elsewhere(finding, f) for f in before if f.kind == "fold")
        least *= _BESIDE_FOLD
    return finding.score >= least
