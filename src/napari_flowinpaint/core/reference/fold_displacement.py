"""How far a fold has displaced the tissue around it.

A first guess (:mod:`.fold_search`) is refined by dense registration to the reference, to which a
displacement is fitted that may vary along the line and differ between its sides (:mod:`.fold_fit`).
By what a section differs from its reference where nothing is folded is found along with the fold,
and left alone; it is what belongs to the section.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..filters import blur
from ..types import BoolImage, FloatImage
from .fold_curves import FoldBand
from .fold_fit import FoldModel, taper
from .fold_line import LineFrame
from .fold_search import first_guess, local_correlation
from .optical_flow import Flow, estimate_flow, warp

#: Registration and fit are repeated: what is far off is registered wrongly.
_ROUNDS = 4


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
    guess = first_guess(section, known, reference, frame, half, tapers)
    model = FoldModel.of(band.curves, frame)
    values, offset = model.start(guess)
    for _ in range(_ROUNDS):
        fold = model.flow(values)
        flow = fold + offset
        hidden = _hidden(fold, frame, half) | (warp(known.astype(np.float32), flow) < 0.99)
        found, agreement = _register(section, reference, flow, hidden)
        values, offset = model.fit(values, flow + found, agreement, ~hidden)
    fold = model.flow(values)
    hidden = _hidden(fold, frame, half)
    beside = values[model.besides]
    most = float(beside[np.abs(beside).argmax()])
    return Displacement(fold, hidden, most, float(agreement[~hidden].mean()))


def _hidden(fold: Flow, frame: LineFrame, half: float) -> BoolImage:
    """Return where a section sampled through a fold's flow shows the line, or what is beyond it."""
    moved = (fold * frame.normal).sum(axis=0)
    return np.asarray(frame.distance + moved < half)


def _register(
    section: FloatImage, reference: FloatImage, flow: Flow, hidden: BoolImage
) -> tuple[Flow, FloatImage]:
    """Register a section, sampled through a flow, to the reference; return how well they agree."""
    moved = np.where(hidden, reference, warp(section, flow))
    found = estimate_flow(reference, moved, patch=16)
    low = [blur(image, 2.0) for image in (warp(moved, found), reference)]
    seen = (~hidden).astype(np.float32)
    return found, np.clip(local_correlation(low[0], low[1], seen, 12.0), 0, 1) * seen
