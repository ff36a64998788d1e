"""Several folds in one section: each is found in the section, with the others unfolded.

Folds are undone one after the other. Their displacements are found in rounds: first each from the
tissue that lies nearer to its own line than to any other's, or one by one; then again, given the
displacements of the others. The folds undone before it are removed from the section, those undone
after it are put into the reference. A fold that does not make the section agree better with its
reference is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..filters import blur
from ..parallel import together
from ..types import BoolImage, FloatImage
from .fold_curves import FoldBand, fold_bands
from .fold_displacement import Displacement, find_displacement, register
from .fold_line import LineFrame
from .fold_search import local_correlation
from .optical_flow import Flow, compose, warp

_Found = list[Displacement | None]

#: Where several folds are begun with: all, each from its surroundings (None), the first, or the
#: second.
_STARTS = (None, 0, 1)
#: Rounds in which the best of these is improved.
_ROUNDS = 2
#: Steps of inverting a flow; each leaves a tenth or less of the error.
_INVERTING = 6

#: Says whether a displacement is to be believed: (section, reference, hidden, displacement).
Judge = Callable[[FloatImage, FloatImage, BoolImage, Displacement], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Unfolding:
    """What all folds of a section together did to it.

    Parameters
    ----------
    flow
        (2, H, W) float32, to the section as it was.
    hidden
        (H, W) bool, what cannot be seen in the unfolded section.
    found
        What each fold did, in the order in which they are unfolded; those that are not believed
        have no flow.
    """

    flow: Flow
    hidden: BoolImage
    found: tuple[Displacement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SeveralFolds:
    """A section with folds.

    Parameters
    ----------
    section, reference
        (H, W) float32, working grey values.
    intact
        (H, W) bool, where the section shows tissue; nowhere in a fold's line.
    unseen
        (H, W) bool, where nothing was imaged.
    fading
        (H, W) float32, 0..1, how much of a displacement is taken.
    """

    section: FloatImage
    reference: FloatImage
    intact: BoolImage
    unseen: BoolImage
    fading: FloatImage

    def unfold(self, bands: Sequence[FoldBand], believed: Judge) -> Unfolding:
        """Find what some folds did, the first of them taken from the section first."""
        if len(bands) > 1:
            found = self._together(bands, believed)
        else:
            found = [self._find([None], 0, band, None, believed) for band in bands]
        flow, hidden = self._through(found)
        return Unfolding(flow, hidden, tuple(one for one in found if one is not None))

    def _together(self, bands: Sequence[FoldBand], believed: Judge) -> _Found:
        """Find what several folds did; return the solution that agrees best."""
        best, *others = together([partial(self._start, bands, one, believed) for one in _STARTS])
        for other in others:
            best = self._better(best, other)
        for _ in range(_ROUNDS):
            found = list(best)
            for number, band in enumerate(bands):
                found[number] = self._find(found, number, band, None, believed)
            if self._better(best, found) is best:
                break
            best = found
        for number, one in enumerate(best):
            if one is not None and one.flow.any():
                best = self._better([*best[:number], _left(one), *best[number + 1 :]], best)
        return best

    def _start(self, bands: Sequence[FoldBand], first: int | None, believed: Judge) -> _Found:
        """Find the folds one by one, from the given one on; None: each from its surroundings."""
        found: _Found = [None] * len(bands)
        territory = _territories(bands, self.section.shape)
        for step in range(len(bands)):
            number = (step + (first or 0)) % len(bands)
            own = territory == number if first is None else None
            found[number] = self._find(found, number, bands[number], own, believed)
        return found

    def _better(self, first: _Found, second: _Found) -> _Found:
        """Return which agrees better with the reference, where both show tissue."""
        agreements, there = [], np.ones_like(self.intact)
        for found in (first, second):
            flow, hidden = self._through(found)
            hidden |= leaves(flow)
            moved = register(self.section, self.reference, flow, hidden)[1]
            # displacements that differ by a shift of the section agree once it is registered
            agreements.append(moved + self._placed(flow, hidden))
            there &= ~hidden
        gain = (agreements[1] - agreements[0])[there]
        return second if gain.size and gain.mean() > 0 else first

    def _placed(self, flow: Flow, hidden: BoolImage) -> FloatImage:
        """Return how well a section agrees with its reference as it lies."""
        seen = (~hidden).astype(np.float32)
        low = [
            blur(image, 2.0)
            for image in (
                np.where(hidden, self.reference, warp(self.section, flow)),
                self.reference,
            )
        ]
        return np.clip(local_correlation(low[0], low[1], seen, 12.0), 0, 1) * seen

    def _through(self, found: Sequence[Displacement | None]) -> tuple[Flow, BoolImage]:
        """Return the flow through some folds, and what is hidden then."""
        flow = np.zeros((2, *self.section.shape), dtype=np.float32)
        hidden = ~self.intact
        for one in found:
            if one is None:
                continue
            if one.flow.any():
                flow = compose(one.flow, flow)
                hidden = sampled(hidden, one.flow) | one.swallowed
        return flow, hidden

    def _find(
        self,
        found: Sequence[Displacement | None],
        number: int,
        band: FoldBand,
        territory: BoolImage | None,
        believed: Judge,
    ) -> Displacement | None:
        """Find what one fold did, given the others; None where another has swallowed it."""
        inner, hidden = self._through(found[:number])
        reference, beyond = self.reference, np.zeros_like(hidden)
        if any(one is not None and one.flow.any() for one in found[number + 1 :]):
            outer = np.zeros_like(inner)
            for one in found[number + 1 :]:
                outer = outer if one is None else compose(one.flow, outer)
            folding = inverse(outer)
            reference, beyond = warp(self.reference, folding), leaves(folding)
        if inner.any():
            here = sampled(band.band, inner)
            if here.sum() < 0.5 * band.band.sum():
                return None
            bands = fold_bands(here, sampled(self.unseen, inner))
            if not bands:
                return None
            band = bands[0]
        moving = warp(self.section, inner)
        known = ~(hidden | beyond)
        if territory is not None:
            known &= territory
        one = find_displacement(moving, known, reference, band)
        if not believed(moving, reference, hidden, one):
            return _left(one)
        return Displacement(one.flow * self.fading, one.swallowed, one.beside, one.correlation)


def _left(found: Displacement) -> Displacement:
    """Return that a fold leaves tissue where it is."""
    return Displacement(np.zeros_like(found.flow), found.swallowed, 0.0, found.correlation)


def _territories(bands: Sequence[FoldBand], shape: tuple[int, ...]) -> np.ndarray:
    """Return the number of the band whose lines are the nearest, (H, W)."""
    size = (shape[0], shape[1])
    away = [LineFrame.of(band.curves, size).distance for band in bands]
    return np.asarray(np.argmin(away, axis=0))


def sampled(mask: BoolImage, flow: Flow) -> BoolImage:
    """Return a mask sampled through a flow, where any of it is."""
    return np.asarray(warp(mask.astype(np.float32), flow) > 0.01)


def inverse(flow: Flow) -> Flow:
    """Return the flow that undoes another one: ``x + flow(x) = y`` where ``x = y + inverse(y)``.

    Parameters
    ----------
    flow
        (2, H, W) float32, pixels; it changes by less than one pixel per pixel.
    """
    out = -flow
    for _ in range(_INVERTING):
        out = -np.stack([warp(np.ascontiguousarray(part), out) for part in flow])
    return np.asarray(out, dtype=np.float32)


def leaves(flow: Flow) -> BoolImage:
    """Return where a flow samples beyond the borders."""
    height, width = flow.shape[1:]
    y = np.arange(height)[:, None] + flow[0]
    x = np.arange(width)[None, :] + flow[1]
    return np.asarray((y < -0.5) | (x < -0.5) | (y > height - 0.5) | (x > width - 0.5))
