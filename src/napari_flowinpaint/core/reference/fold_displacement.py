"""How far a fold has displaced the tissue around it.

A first guess (:mod:`.fold_search`) is refined by dense registration to the reference, to which a
displacement is fitted that may vary along the line and differ between its sides (:mod:`.fold_fit`).
A section's own deformation against its reference is found along with the fold and left as it is: it
belongs to the section.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import blur
from ..types import BoolImage, FloatImage
from .fold_curves import FoldBand
from .fold_fit import FoldModel, taper
from .fold_line import LineFrame
from .fold_search import COARSE, FINE, Reduced, first_guess, local_correlation
from .optical_flow import Flow, estimate_flow, warp

#: Registration and fit are repeated, because tissue that is far off is registered wrongly.
_ROUNDS = 4
#: They end when the agreement of the section gains less than this.
_BETTER = 0.0005
#: Tissue displaced by at least this, in pixels, shows whether moving it back improves agreement.
_DISPLACED = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Displacement:
    """What a fold did to a section.

    Parameters
    ----------
    flow
        (2, H, W) float32: ``unfolded(x) = section(x + flow(x))``.
    swallowed
        (H, W) bool, where the unfolded section shows what the fold hides.
    beside
        Largest displacement, pixels; negative for a crack.
    correlation
        Mean local correlation of the unfolded section with the reference.
    """

    flow: Flow
    swallowed: BoolImage
    beside: float
    correlation: float


def find_displacement(
    section: FloatImage, known: BoolImage, reference: FloatImage, band: FoldBand
) -> Displacement:
    """Find how a fold has displaced the tissue around it.

    Parameters
    ----------
    section, reference
        (H, W) float32, working grey values.
    known
        (H, W) bool, where the section shows tissue; nowhere in the fold's line.
    band
        The fold's line.
    """
    frame = LineFrame.of(band.curves, section.shape)
    half = float(np.percentile(frame.distance[band.band], 99.5)) + 0.5
    tapers = np.ones(section.shape, dtype=np.float32)
    for number, curve in enumerate(band.curves):
        of_it = frame.curve == number
        tapers[of_it] = taper(curve, frame.arc[of_it])
    coarse, fine = (
        Reduced.of(section, known, reference, frame, half, tapers, shrink)
        for shrink in (COARSE, FINE)
    )
    model = FoldModel.of(band.curves, frame)
    values, own = model.start(first_guess(coarse, fine))
    own = np.broadcast_to(own, (2, *section.shape)).astype(np.float32)
    best = _Fitted(values, model.flow(values), own, -1.0, 0.0)
    for _ in range(_ROUNDS):
        fold = model.flow(values)
        flow = fold + own
        hidden = _hidden(fold, frame, half) | (warp(known.astype(np.float32), flow) < 0.99)
        found, agreement = register(section, reference, flow, hidden)
        reached = fine.correlation(fold, own)
        if reached < best.reached + _BETTER:
            break
        best = _Fitted(values, fold, own, reached, float(agreement[~hidden].mean()))
        values, own = model.fit(values, flow + found, agreement, ~hidden)
    hidden = _hidden(best.fold, frame, half)
    if _gain(section, known, reference, best, hidden) <= 0:
        none = np.zeros_like(best.fold)
        return Displacement(none, _hidden(none, frame, half), 0.0, best.agreement)
    beside = best.values[model.besides]
    most = float(beside[np.abs(beside).argmax()])
    return Displacement(best.fold, hidden, most, best.agreement)


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Result of one round of registration and fit.

    Parameters
    ----------
    values
        The numbers of the model.
    fold, own
        (2, H, W) float32: the fold's flow, and the section's own.
    reached
        Mean local correlation with the reference at the resolution of the search.
    agreement
        The same for the registered section, where it is seen.
    """

    values: npt.NDArray[np.float64]
    fold: Flow
    own: Flow
    reached: float
    agreement: float


def _hidden(fold: Flow, frame: LineFrame, half: float) -> BoolImage:
    """Return where a section sampled through a fold's flow shows the line, or what is beyond it."""
    moved = (fold * frame.normal).sum(axis=0)
    return np.asarray(frame.distance + moved < half)


def _gain(
    section: FloatImage,
    known: BoolImage,
    reference: FloatImage,
    fitted: _Fitted,
    hidden: BoolImage,
) -> float:
    """Return by how much displaced tissue agrees better with the reference once it is moved back.

    Both are registered for the section's own deformation first; infinite if nothing is displaced.
    """
    low = blur(reference, 2.0)
    moved = np.hypot(*fitted.fold) > _DISPLACED
    found, there = [], moved & ~hidden
    for flow in (fitted.fold + fitted.own, fitted.own):
        seen = (warp(known.astype(np.float32), flow) > 0.99) & ~(hidden & (flow is not fitted.own))
        image = np.where(seen, warp(section, flow), reference)
        found.append(local_correlation(blur(image, 2.0), low, seen.astype(np.float32), 12.0))
        there &= seen
    return float((found[0] - found[1])[there].mean()) if there.any() else np.inf


def register(
    section: FloatImage, reference: FloatImage, flow: Flow, hidden: BoolImage
) -> tuple[Flow, FloatImage]:
    """Register a section, sampled through a flow, to the reference; return how well they agree."""
    moved = np.where(hidden, reference, warp(section, flow))
    found = estimate_flow(reference, moved, patch=16)
    low = [blur(image, 2.0) for image in (warp(moved, found), reference)]
    seen = (~hidden).astype(np.float32)
    return found, np.clip(local_correlation(low[0], low[1], seen, 12.0), 0, 1) * seen
