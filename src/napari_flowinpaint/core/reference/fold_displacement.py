"""How far a fold has displaced the tissue around it.

A first guess (:mod:`.fold_search`) is refined by dense registration to the reference, to which a
displacement is fitted that may vary along the line and differ between its sides. Sections differ
from their reference also where nothing is folded: they are shifted, and stretched by a per cent.
That is fitted along with the fold, and then left alone; it is what belongs to the section. Where
the two cannot be told apart, the more likely one counts: folds are much alike on both sides and
along the line, and sections are shifted and stretched by so much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import blur
from ..types import BoolImage, FloatImage
from .fold_curves import FoldBand
from .fold_line import Curve, LineFrame
from .fold_search import FirstGuess, amplitude, first_guess, local_correlation
from .optical_flow import Flow, estimate_flow, warp

_Numbers = npt.NDArray[np.float64]

#: The displacement may change every so many pixels of a line.
_KNOTS = 100.0
#: How much it does from one such place to the next, and between the sides, in pixels.
_UNEVEN = 0.5
_ASYMMETRY = 1.0
#: The same for the loss of displacement with distance.
_DECAY_ASYMMETRY = 0.001
#: Near a line's end inside the section it falls to nothing over so many pixels.
_FADING = 150.0
#: Sections are shifted against the reference by so many pixels,
_SHIFT = 5.0
#: stretched by this share,
_STRETCH = 0.01
#: and deformed beyond that by so many pixels, alike over such a distance.
_DEFORMATION = 1.2
_ALIKE = 80.0
#: Registration is off where it is further off than this; pixels.
_OUTLIER = 1.5
#: Registration is sampled every so many pixels.
_CELL = 16
_ROUNDS = 2
_DECAYS = (
    0.0005, 0.003, 0.006, 0.01, 0.014, 0.019, 0.025, 0.031, 0.038, 0.046, 0.055, 0.065, 0.076,
    0.088, 0.1, 0.115, 0.13,
)  # fmt: skip
_SHIFTS = 6


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
        tapers[of_it] = _taper(curve, frame.arc[of_it])
    guess = first_guess(section, known, reference, frame, half, tapers)
    model = _Model.of(band.curves, frame)
    values = model.start(guess, frame)
    for _ in range(_ROUNDS):
        fold, offset = model.fields(values)
        flow = fold + offset
        hidden = _hidden(fold, frame, half) | (warp(known.astype(np.float32), flow) < 0.99)
        found, agreement = _register(section, reference, flow, hidden)
        values = model.fit(values, flow + found, agreement, ~hidden)
    fold, offset = model.fields(values)
    hidden = _hidden(fold, frame, half)
    beside = values[model.besides]
    most = float(beside[np.abs(beside).argmax()])
    return Displacement(fold, hidden, most, float(agreement[~hidden].mean()))


def _taper(curve: Curve, arc: FloatImage) -> FloatImage:
    """Return the share of the displacement that is left near the ends of a line."""
    share = np.ones_like(arc)
    reach = min(_FADING, curve.length / 2)
    for fades, away in zip(curve.fades, (arc, curve.length - arc), strict=True):
        if fades:
            share *= np.sqrt(np.clip(away / reach, 0, 1))
    return share


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


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A displacement as numbers: at knots along each line and side, decays, and the offset.

    The numbers are, for each line and side, the displacement beside the line at its knots; for
    each line and side the decay; and six of an affine offset of the section.

    Parameters
    ----------
    frame
        Of the lines.
    weights
        For each pixel of the lines' neighbourhood two knots count: (2, H, W) their numbers,
    shares
        and (2, H, W) how much.
    decay_of
        (H, W), the number of the decay of every pixel.
    knots
        For each line and side its first knot and how many there are.
    lines
        The lines.
    """

    frame: LineFrame
    weights: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]
    decay_of: npt.NDArray[np.int64]
    knots: tuple[tuple[int, int], ...]
    lines: tuple[Curve, ...]

    @classmethod
    def of(cls, lines: Sequence[Curve], frame: LineFrame) -> _Model:
        """Place the knots."""
        shape = frame.distance.shape
        weights, shares = np.zeros((2, *shape), np.int64), np.zeros((2, *shape), np.float32)
        decay_of, first = np.zeros(shape, np.int64), 0
        knots: list[tuple[int, int]] = []
        for number in range(len(lines)):
            of_line = frame.curve == number
            arc = frame.arc[of_line]
            low, high = (float(arc.min()), float(arc.max())) if arc.size else (0.0, 1.0)
            count = max(int(np.ceil((high - low) / _KNOTS)), 1) + 1
            for side in (1, -1):
                there = of_line & (frame.side == side)
                place = (frame.arc[there] - low) / max(high - low, 1e-6) * (count - 1)
                left = np.clip(place.astype(np.int64), 0, count - 2)
                weights[0][there], weights[1][there] = first + left, first + left + 1
                shares[1][there] = np.clip(place - left, 0, 1)
                decay_of[there] = len(knots)
                knots.append((first, count))
                first += count
        shares[0] = 1 - shares[1]
        return cls(frame, weights, shares, decay_of + first, tuple(knots), tuple(lines))

    @property
    def besides(self) -> slice:
        """Which of the numbers are displacements beside a line."""
        return slice(0, sum(count for _, count in self.knots))

    @property
    def decays(self) -> slice:
        """Which of the numbers are decays."""
        return slice(self.besides.stop, self.besides.stop + len(self.knots))

    def start(self, guess: FirstGuess, frame: LineFrame) -> _Numbers:
        """Return the numbers of a first guess."""
        values = np.zeros(self.decays.stop + _SHIFTS)
        values[self.besides], values[self.decays] = guess.beside, guess.decay
        for knot, share in self._tapers():
            values[knot] *= share
        normal = np.median((frame.normal * frame.side).reshape(2, -1), axis=1)
        along = np.array([-normal[1], normal[0]])
        values[-_SHIFTS:-4] = -guess.across * normal + guess.along * along
        return values

    def _tapers(self) -> list[tuple[int, float]]:
        """Return every knot with the share of the displacement that is expected there."""
        out = []
        for (first, count), line in zip(
            self.knots, [x for x in self.lines for _ in (0, 1)], strict=True
        ):
            places = np.linspace(0, line.length, count).astype(np.float32)
            out += [(first + i, float(s)) for i, s in enumerate(_taper(line, places))]
        return out

    def fields(self, values: _Numbers) -> tuple[Flow, Flow]:
        """Return the fold's flow and that of the section's offset, (2, H, W) each."""
        beside = (values[self.weights] * self.shares).sum(axis=0)
        decay = values[self.decay_of].astype(np.float32)
        size = amplitude(beside.astype(np.float32), decay, self.frame.distance)
        down, right = _places(size.shape)
        shift = values[-_SHIFTS:]
        offset = [
            np.broadcast_to(
                shift[i] + shift[2 + 2 * i] * down + shift[3 + 2 * i] * right, size.shape
            )
            for i in (0, 1)
        ]
        return (-size * self.frame.normal).astype(np.float32), np.stack(offset).astype(np.float32)

    def fit(
        self, values: _Numbers, observed: Flow, agreement: FloatImage, seen: BoolImage
    ) -> _Numbers:
        """Fit the numbers to a flow that was observed."""
        cells = _Cells.of(self, observed, agreement, seen)
        tried = [self._solve(cells, values, decay, 4) for decay in _DECAYS]
        best, _ = min(tried, key=lambda found: found[1])
        return self._solve(cells, best, None, 6)[0]

    def _solve(
        self, cells: _Cells, values: _Numbers, decay: float | None, rounds: int
    ) -> tuple[_Numbers, float]:
        """Fit by reweighted least squares, with all decays alike if one is given."""
        values = values.copy()
        if decay is not None:
            values[self.decays] = decay
        rows, targets = self._expectations(values, decay, cells.height)
        for _ in range(rounds):
            rest = cells.observed - cells.expected(values, self)
            robust = 1 / np.sqrt(1 + (np.hypot(*rest) / _OUTLIER) ** 2)
            matrix, vector = rows.T @ rows, rows.T @ (targets - rows @ values)
            for axis in (0, 1):
                design = cells.design(values, self, axis)
                weighted = design * (cells.weight * robust)[:, None]
                matrix += design.T @ weighted
                vector += weighted.T @ rest[axis]
            values = values + np.linalg.solve(matrix + 1e-9 * np.eye(len(values)), vector)
            values[self.decays] = np.clip(values[self.decays], 0, 0.2)
        off = np.hypot(*(cells.observed - cells.expected(values, self))) / _OUTLIER
        cost = (cells.weight * 2 * _OUTLIER**2 * (np.sqrt(1 + off**2) - 1)).sum()
        return values, float(cost + ((targets - rows @ values) ** 2).sum())

    def _expectations(
        self, values: _Numbers, decay: float | None, height: int
    ) -> tuple[_Numbers, _Numbers]:
        """Return what is likely, as equations: coefficients and right hand sides, over sigma."""
        rows: list[_Numbers] = []
        targets: list[float] = []

        def expect(
            numbers: Sequence[int], factors: Sequence[float], value: float, sigma: float
        ) -> None:
            row = np.zeros(len(values))
            row[list(numbers)] = factors
            rows.append(row / sigma)
            targets.append(value / sigma)

        share = dict(self._tapers())
        for number, (first, count) in enumerate(self.knots):
            for knot in range(first, first + count - 1):
                a, b = share[knot], share[knot + 1]
                expect((knot, knot + 1), (b, -a), 0, _UNEVEN + 10 * (1 - min(a, b)))
            for knot in range(first, first + count):
                if share[knot] < 0.01:
                    expect((knot,), (1,), 0, 0.1)
                if number % 2 == 0:
                    expect((knot, knot + count), (1, -1), 0, _ASYMMETRY * np.sqrt(count))
            if number % 2 == 0:
                d = self.decays.start + number
                expect((d, d + 1), (1, -1), 0, _DECAY_ASYMMETRY)
            if decay is not None:
                expect((self.decays.start + number,), (1,), decay, 1e-6)
        for i in range(_SHIFTS):
            sigma = _SHIFT if i < 2 else _STRETCH * height
            expect((len(values) - _SHIFTS + i,), (1,), 0, sigma)
        return np.array(rows), np.array(targets)


def _places(shape: tuple[int, ...]) -> tuple[_Numbers, _Numbers]:
    """Return where rows and columns lie, -0.5 to 0.5 of the longer side."""
    longest = max(shape)
    down = (np.arange(shape[0])[:, None] - shape[0] / 2) / longest
    right = (np.arange(shape[1])[None, :] - shape[1] / 2) / longest
    return down, right


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Registration sampled on a coarse grid."""

    observed: _Numbers
    weight: _Numbers
    distance: _Numbers
    normal: _Numbers
    knots: npt.NDArray[np.int64]
    shares: _Numbers
    decay_of: npt.NDArray[np.int64]
    place: _Numbers
    height: int

    @classmethod
    def of(cls, model: _Model, observed: Flow, agreement: FloatImage, seen: BoolImage) -> _Cells:
        """Sample a flow and how well it agrees, where tissue is seen."""
        import cv2

        grid = (slice(_CELL // 2, None, _CELL), slice(_CELL // 2, None, _CELL))
        whole = cv2.blur(seen.astype(np.float32), (_CELL, _CELL))[grid] > 0.9
        take = lambda image: np.asarray(image[..., grid[0], grid[1]])[..., whole]  # noqa: E731
        down, right = np.broadcast_arrays(*_places(seen.shape))
        per_cell = _CELL**2 / (2 * np.pi * _ALIKE**2) / _DEFORMATION**2
        frame = model.frame
        return cls(
            take(observed).astype(np.float64),
            take(agreement).astype(np.float64) ** 2 * per_cell,
            take(frame.distance).astype(np.float64),
            take(frame.normal).astype(np.float64),
            take(model.weights),
            take(model.shares).astype(np.float64),
            take(model.decay_of),
            np.stack([np.ones(int(whole.sum())), take(down), take(right)]),
            max(seen.shape),
        )

    def _size(self, values: _Numbers) -> tuple[_Numbers, npt.NDArray[np.bool_]]:
        """Return the displacements beside the lines, and where any of it is left."""
        beside = (values[self.knots] * self.shares).sum(axis=0)
        return beside, np.abs(beside) > values[self.decay_of] * self.distance

    def expected(self, values: _Numbers, model: _Model) -> _Numbers:
        """Return the flow that the numbers let expect, (2, N)."""
        beside, _ = self._size(values)
        size = np.sign(beside) * np.clip(
            np.abs(beside) - values[self.decay_of] * self.distance, 0, None
        )
        shift = values[-_SHIFTS:]
        offset = np.stack([shift[[0, 2, 3]] @ self.place, shift[[1, 4, 5]] @ self.place])
        return np.asarray(offset - size * self.normal)

    def design(self, values: _Numbers, model: _Model, axis: int) -> _Numbers:
        """Return how one axis of the flow changes with each of the numbers, (N, numbers)."""
        beside, active = self._size(values)
        pull = -self.normal[axis] * active
        every = np.arange(self.distance.size)
        out = np.zeros((self.distance.size, len(values)))
        for knot, share in zip(self.knots, self.shares, strict=True):
            out[every, knot] += share * pull
        out[every, self.decay_of] = -np.sign(beside) * self.distance * pull
        numbers = (-6, -4, -3) if axis == 0 else (-5, -2, -1)
        for number, place in zip(numbers, self.place, strict=True):
            out[:, number] = place
        return out
