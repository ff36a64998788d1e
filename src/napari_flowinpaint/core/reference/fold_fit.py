"""A fold's displacement as a few numbers, fitted to a registration.

Sections differ from their reference even where nothing is folded: they are shifted, stretched and
deformed. That deformation continues smoothly across the line, where a fold's displacement jumps;
both are fitted together. Where they cannot be told apart, the likelier explanation is taken: a
fold is much the same on both sides and along its line, and the usual deformation of sections is
known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import BoolImage, FloatImage
from .fold_line import Curve, LineFrame
from .fold_search import FirstGuess, amplitude
from .optical_flow import Flow

_Numbers = npt.NDArray[np.float64]

#: Distance between the knots of the displacement along a line, pixels.
_KNOTS = 100.0
#: Standard deviation of its change from knot to knot, and between the two sides, pixels.
_UNEVEN = 0.5
_ASYMMETRY = 1.0
#: The same for the loss of displacement with distance.
_DECAY_ASYMMETRY = 0.001
#: Length over which it falls to zero towards a line's end inside the section, pixels.
_FADING = 150.0
#: Expected shift of a section against the reference, pixels. (Real shifts are 3 or more, but where
#: the tissue leaves it open, as where a line cuts off a corner, the fold is the likelier cause.)
_SHIFT = 1.0
#: Expected stretch, relative.
_STRETCH = 0.003
#: Expected further deformation, pixels, and the distance over which it is smooth, pixels.
_DEFORMATION = 1.5
_ALIKE = 400.0
#: Least displacement that a fit starts from, pixels.
_LEAST = 3.0
#: Error of the registration where both sections show the same, pixels.
_UNSURE = 1.0
#: Beyond this error, in pixels, it counts as wrong.
_OUTLIER = 1.5
#: Spacing at which the registration is sampled, pixels, and the most samples of a large section.
_CELL = 32
_MOST_CELLS = 600
_DECAYS = (
    0.0005, 0.003, 0.006, 0.01, 0.014, 0.019, 0.025, 0.031, 0.038, 0.046, 0.055, 0.065, 0.076,
    0.088, 0.1, 0.115, 0.13,
)  # fmt: skip


def taper(curve: Curve, arc: FloatImage) -> FloatImage:
    """Return the share of the displacement that is left near the ends of a line."""
    share = np.ones_like(arc)
    reach = min(_FADING, curve.length / 2)
    for fades, away in zip(curve.fades, (arc, curve.length - arc), strict=True):
        if fades:
            share *= np.sqrt(np.clip(away / reach, 0, 1))
    return share


@dataclass(frozen=True, slots=True, eq=False)
class FoldModel:
    """A displacement as numbers: at knots along each line and side, and decays.

    The numbers are, for each line and side, the displacement beside the line at its knots, and
    for each line and side the decay.

    Parameters
    ----------
    frame
        Of the lines.
    weights
        Numbers of the two knots that determine the displacement of each pixel, (2, H, W).
    shares
        Weights of these two, (2, H, W).
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
    def of(cls, lines: Sequence[Curve], frame: LineFrame) -> FoldModel:
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

    def start(self, guess: FirstGuess) -> tuple[_Numbers, Flow]:
        """Return the numbers of a first guess, and the section's own offset (2, 1, 1)."""
        values = np.zeros(self.decays.stop)
        # none at all would stay none: nothing depends on the decay then
        values[self.besides], values[self.decays] = guess.beside or _LEAST, guess.decay
        for knot, share in self._tapers():
            values[knot] *= share
        return values, np.array(guess.offset, dtype=np.float32)[:, None, None]

    def _tapers(self) -> list[tuple[int, float]]:
        """Return every knot with the share of the displacement that is expected there."""
        out = []
        for (first, count), line in zip(
            self.knots, [x for x in self.lines for _ in (0, 1)], strict=True
        ):
            places = np.linspace(0, line.length, count).astype(np.float32)
            out += [(first + i, float(s)) for i, s in enumerate(taper(line, places))]
        return out

    def flow(self, values: _Numbers) -> Flow:
        """Return the fold's flow, (2, H, W)."""
        beside = (values[self.weights] * self.shares).sum(axis=0)
        decay = values[self.decay_of].astype(np.float32)
        size = amplitude(beside.astype(np.float32), decay, self.frame.distance)
        return np.asarray(-size * self.frame.normal, dtype=np.float32)

    def fit(
        self, values: _Numbers, observed: Flow, agreement: FloatImage, seen: BoolImage
    ) -> tuple[_Numbers, Flow]:
        """Fit the numbers to an observed flow; also return the section's own deformation."""
        cells = _Cells.of(self, observed, agreement, seen)
        certainty = cells.certainty(values)
        tried = [self._solve(cells, certainty, values, decay) for decay in _DECAYS]
        values, _ = min(tried, key=lambda found: found[1])
        values, _ = self._solve(cells, cells.certainty(values), values, None)
        return values, cells.own(values, seen.shape)

    def _solve(
        self, cells: _Cells, certainty: _Numbers, values: _Numbers, decay: float | None
    ) -> tuple[_Numbers, float]:
        """Fit by generalised least squares, with all decays alike if one is given."""
        values = values.copy()
        if decay is not None:
            values[self.decays] = decay
        rows, targets = self._expectations(values, decay)
        for _ in range(5):
            rest = cells.observed - cells.expected(values)
            matrix, vector = rows.T @ rows, rows.T @ (targets - rows @ values)
            for axis in (0, 1):
                design = cells.design(values, axis)
                weighted = certainty @ design
                matrix += design.T @ weighted
                vector += weighted.T @ rest[axis]
            values = values + np.linalg.solve(matrix + 1e-9 * np.eye(len(values)), vector)
            values[self.decays] = np.clip(values[self.decays], 0, 0.2)
        rest = cells.observed - cells.expected(values)
        cost = sum(float(part @ certainty @ part) for part in rest)
        return values, cost + float(((targets - rows @ values) ** 2).sum())

    def _expectations(self, values: _Numbers, decay: float | None) -> tuple[_Numbers, _Numbers]:
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
        return np.array(rows), np.array(targets)


def _covariance(first: _Numbers, second: _Numbers) -> _Numbers:
    """Return the covariance (N, M) of a section's own deformation at (N, 2) and (M, 2), pixels²."""
    apart = np.sqrt(3) / _ALIKE * np.hypot(*(first[:, None] - second[None]).transpose(2, 0, 1))
    smooth = _DEFORMATION**2 * (1 + apart) * np.exp(-apart)
    return np.asarray(_SHIFT**2 + _STRETCH**2 * (first @ second.T) + smooth)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Registration sampled on a coarse grid.

    A section's own deformation is modelled as a Gaussian process: it continues smoothly across
    lines, where a fold's displacement jumps.
    """

    observed: _Numbers
    noise: _Numbers
    distance: _Numbers
    normal: _Numbers
    knots: npt.NDArray[np.int64]
    shares: _Numbers
    decay_of: npt.NDArray[np.int64]
    place: _Numbers
    everywhere: _Numbers
    grid: tuple[int, int]

    @classmethod
    def of(cls, model: FoldModel, observed: Flow, agreement: FloatImage, seen: BoolImage) -> _Cells:
        """Sample a flow and how well it agrees, where tissue is seen."""
        import cv2

        side = max(_CELL, int(np.sqrt(seen.size / _MOST_CELLS)))
        grid = (slice(side // 2, None, side), slice(side // 2, None, side))
        whole = cv2.blur(seen.astype(np.float32), (16, 16))[grid] > 0.9
        take = lambda image: np.asarray(image[..., grid[0], grid[1]])[..., whole]  # noqa: E731
        axes = [np.arange(n)[part] - n / 2 for n, part in zip(seen.shape, grid, strict=True)]
        rows, columns = np.meshgrid(*axes, indexing="ij")
        everywhere = np.stack([rows.ravel(), columns.ravel()], axis=1)
        frame = model.frame
        return cls(
            take(observed).astype(np.float64),
            (_UNSURE / np.maximum(take(agreement).astype(np.float64), 0.05)) ** 2,
            take(frame.distance).astype(np.float64),
            take(frame.normal).astype(np.float64),
            take(model.weights),
            take(model.shares).astype(np.float64),
            take(model.decay_of),
            everywhere[whole.ravel()],
            everywhere,
            (rows.shape[0], rows.shape[1]),
        )

    def certainty(self, values: _Numbers) -> _Numbers:
        """Return the inverse covariance (N, N) of what is not the fold's, robustly."""
        rest = self.observed - self.expected(values)
        own = _covariance(self.place, self.place)
        noise = self.noise
        for _ in range(3):
            inverse = np.linalg.inv(own + np.diag(noise))
            off = np.hypot(*(rest - rest @ inverse @ own)) / _OUTLIER
            noise = self.noise * np.sqrt(1 + off**2)
        return np.asarray(np.linalg.inv(own + np.diag(noise)))

    def own(self, values: _Numbers, shape: tuple[int, ...]) -> Flow:
        """Return the section's own deformation, (2, H, W)."""
        import cv2

        rest = self.observed - self.expected(values)
        found = rest @ self.certainty(values) @ _covariance(self.place, self.everywhere)
        return np.stack(
            [
                cv2.resize(part.reshape(self.grid).astype(np.float32), (shape[1], shape[0]))
                for part in found
            ]
        )

    def _size(self, values: _Numbers) -> tuple[_Numbers, npt.NDArray[np.bool_]]:
        """Return the displacements beside the lines, and where any of it is left."""
        beside = (values[self.knots] * self.shares).sum(axis=0)
        return beside, np.abs(beside) > values[self.decay_of] * self.distance

    def expected(self, values: _Numbers) -> _Numbers:
        """Return the fold's flow that follows from the numbers, (2, N)."""
        beside, _ = self._size(values)
        left = np.clip(np.abs(beside) - values[self.decay_of] * self.distance, 0, None)
        return np.asarray(-np.sign(beside) * left * self.normal)

    def design(self, values: _Numbers, axis: int) -> _Numbers:
        """Return how one axis of the flow changes with each of the numbers, (N, numbers)."""
        beside, active = self._size(values)
        pull = -self.normal[axis] * active
        every = np.arange(self.distance.size)
        out = np.zeros((self.distance.size, len(values)))
        for knot, share in zip(self.knots, self.shares, strict=True):
            out[every, knot] += share * pull
        out[every, self.decay_of] = -np.sign(beside) * self.distance * pull
        return out
