"""A first guess at a fold's displacement: every displacement is tried against the reference.

The displacement is that of "Learning to restore ssTEM images from deformation and corruption"
(2020): perpendicular to the line, largest beside it, decreasing linearly with distance. In the
unfolded section a pixel at distance ``d`` shows what the folded one has ``max(0, b - t d)`` nearer
to the line (for a crack: further away, ``b < 0``). All ``b`` and ``t`` are tried, with offsets
of the section as a whole, at a low resolution, and judged by the sum of local correlations with
the reference. The best are improved step by step, at a higher resolution in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..filters import shrink_to
from ..types import BoolImage, FloatImage
from .fold_line import LineFrame
from .optical_flow import Flow

_Numbers = npt.NDArray[np.float64]

#: Pixels of the section per pixel of the search, in the beginning and in the end.
COARSE, FINE = 8, 4
#: Width of the Gaussian that local correlations are taken in, pixels.
_LOCAL = 10.0
#: Displacements beside the line, and offsets of the section, pixels.
_STEP = 8.0
_MOST = 136.0
_OFFSETS = (-16.0, -8.0, 0.0, 8.0, 16.0)
#: Losses of displacement per pixel of distance.
_DECAYS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.08, 0.11)
#: Large offsets are unlikely: gain in correlation required for one of 6 pixels, per square pixel.
_OFFSET_COST = 0.008 / 6**2
#: Width of the bins of the distance to the line, pixels.
_BIN = 8.0
#: How many of the best are improved, at the low and at the higher resolution.
_TRIED, _LAST = 5, 2
#: Steps of displacement, share of the decay, and offset, in which they are improved.
_COARSE_STEPS = ((6.0, 0.4, 6.0), (3.0, 0.25, 3.0))
_FINE_STEPS = ((2.0, 0.2, 2.0), (1.0, 0.1, 1.0))
#: Most steps that are made.
_MOST_STEPS = 12
#: Least variance of grey values that is divided by, so that flat places do not count.
_FLAT = 4.0


@dataclass(frozen=True, slots=True)
class FirstGuess:
    """Displacement beside the line, its loss per pixel, and the section's offset.

    Parameters
    ----------
    beside, decay
        ``b`` (pixels; negative for a crack) and ``t``.
    offset
        By how much the section as a whole is off the reference: where to look, (y, x), pixels.
    correlation
        Mean local correlation where the displacement leaves something to compare, less what the
        offset costs.
    """

    beside: float
    decay: float
    offset: tuple[float, float]
    correlation: float

    def near(self, beside: float, decay: float, offset: float) -> Iterator[FirstGuess]:
        """Return the guesses that differ by one step in one of the numbers."""
        for sign in (1, -1):
            yield replace(self, beside=self.beside + sign * beside)
            yield replace(self, decay=float(np.clip(self.decay * (1 + decay) ** sign, 5e-4, 0.15)))
            y, x = self.offset
            yield replace(self, offset=(y + sign * offset, x))
            yield replace(self, offset=(y, x + sign * offset))


def amplitude(beside: FloatImage, decay: FloatImage, distance: FloatImage) -> FloatImage:
    """Return the displacement of tissue, (H, W) float32, pixels; negative for a crack."""
    size = np.clip(np.abs(beside) - decay * distance, 0, None)
    return np.asarray(np.sign(beside) * size, dtype=np.float32)


def first_guess(coarse: Reduced, fine: Reduced) -> FirstGuess:
    """Search for the displacement of a fold, at two resolutions."""
    found = [_improved(coarse, guess, _COARSE_STEPS) for guess in _best(coarse)]
    found.sort(key=lambda guess: -guess.correlation)
    last = [_improved(fine, fine.judged(guess), _FINE_STEPS) for guess in found[:_LAST]]
    return max(last, key=lambda guess: guess.correlation)


def _best(images: Reduced) -> list[FirstGuess]:
    """Return the best of all displacements and offsets, each unlike the others."""
    shifts = np.arange(-np.ceil((images.half_width + 2) / _STEP) * _STEP, _MOST, _STEP)
    beside, decay = np.meshgrid(shifts[shifts > -images.half_width - 2], _DECAYS, indexing="ij")
    distances = _BIN * (np.arange(images.bins.max() + 1) + 0.5)
    expected = np.sign(beside)[..., None] * np.clip(
        np.abs(beside)[..., None] - decay[..., None] * distances, 0, None
    )
    rows = np.clip(np.rint((expected - shifts[0]) / _STEP).astype(int), 0, shifts.size - 1)
    places = np.arange(distances.size)
    offsets = [(y, x) for y in _OFFSETS for x in _OFFSETS]
    scores = np.stack(
        [
            images.table(shifts, offset)[rows, places].sum(axis=-1) - _cost(offset)
            for offset in offsets
        ]
    )
    out: list[FirstGuess] = []
    for flat in np.argsort(-scores, axis=None):
        o, b, t = np.unravel_index(flat, scores.shape)
        one = FirstGuess(
            float(beside[b, t]), float(decay[b, t]), offsets[int(o)], float(scores[o, b, t])
        )
        if all(_unlike(one, other) for other in out):
            out.append(one)
        if len(out) == _TRIED:
            break
    return out


def _unlike(first: FirstGuess, second: FirstGuess) -> bool:
    """Return whether improving one would not lead to the other."""
    apart = np.hypot(*np.subtract(first.offset, second.offset))
    return bool(abs(first.beside - second.beside) + apart > 1.5 * _STEP)


def _cost(offset: tuple[float, float]) -> float:
    return _OFFSET_COST * (offset[0] ** 2 + offset[1] ** 2)


def _improved(
    images: Reduced, guess: FirstGuess, steps: tuple[tuple[float, float, float], ...]
) -> FirstGuess:
    """Change a guess step by step, as long as that makes it better."""
    for size in steps:
        for _ in range(_MOST_STEPS):
            tried = max(
                (images.judged(other) for other in guess.near(*size)),
                key=lambda other: other.correlation,
            )
            if tried.correlation <= guess.correlation:
                break
            guess = tried
    return guess


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """What is compared, at the resolution of the search.

    Parameters
    ----------
    section, reference, known
        (H, W) float32; 1 where the section shows tissue, else 0.
    distance, normal
        To and away from the line, full pixels; (H, W) and (2, H, W) float32.
    weight
        (H, W) float32, how much places count; their sum is 1.
    bins
        (H, W) int64, the distance in bins.
    half_width
        Half the width of the line, full pixels.
    shrink
        Pixels of the section per pixel.
    """

    section: FloatImage
    known: FloatImage
    reference: FloatImage
    distance: FloatImage
    normal: npt.NDArray[np.float32]
    weight: FloatImage
    bins: npt.NDArray[np.int64]
    half_width: float
    shrink: int

    @classmethod
    def of(
        cls,
        section: FloatImage,
        known: BoolImage,
        reference: FloatImage,
        frame: LineFrame,
        half_width: float,
        weight: FloatImage,
        shrink: int,
    ) -> Reduced:
        """Reduce a section and its reference.

        Parameters
        ----------
        section, reference
            (H, W) float32, working grey values.
        known
            (H, W) bool, where the section shows tissue.
        frame
            Of the fold's line.
        half_width
            Half the width of that line, pixels: anything nearer to its middle is hidden.
        weight
            (H, W) float32, 0 to 1: how much the places count, and how much of the displacement
            they have.
        shrink
            Pixels of the section per pixel.
        """
        shape = (section.shape[0] // shrink, section.shape[1] // shrink)
        whole = (slice(0, shape[0] * shrink), slice(0, shape[1] * shrink))
        middle = tuple(slice(shrink // 2, part.stop, shrink) for part in whole)
        grey = np.where(known, section, section[known].mean()).astype(np.float32)
        small = lambda image: shrink_to(np.ascontiguousarray(image[whole]), shape)  # noqa: E731
        counts = weight[middle]
        distance = frame.distance[middle]
        return cls(
            small(grey),
            (small(known.astype(np.float32)) > 0.99).astype(np.float32),
            small(reference),
            distance,
            frame.normal[:, middle[0], middle[1]],
            np.asarray(counts / max(float(counts.sum()), 1.0), dtype=np.float32),
            (distance / _BIN).astype(np.int64),
            half_width,
            shrink,
        )

    def judged(self, guess: FirstGuess) -> FirstGuess:
        """Return a guess with its correlation."""
        size = np.clip(abs(guess.beside) - np.float32(guess.decay) * self.distance, 0, None)
        found = self._correlation(np.sign(np.float32(guess.beside)) * size, guess.offset)
        return replace(guess, correlation=float(found.sum()) - _cost(guess.offset))

    def table(self, shifts: _Numbers, offset: tuple[float, float]) -> _Numbers:
        """Return sums of local correlations: (displacement, distance to the line)."""
        bins, number = self.bins.ravel(), int(self.bins.max()) + 1
        return np.stack(
            [
                np.bincount(bins, self._correlation(np.float32(shift), offset).ravel(), number)
                for shift in shifts
            ]
        )

    def correlation(self, fold: Flow, own: Flow) -> float:
        """Return the mean local correlation of the section, sampled through both flows."""
        small = [
            np.stack([shrink_to(part, self.section.shape) for part in flow]) for flow in (fold, own)
        ]
        size = -(small[0] * self.normal).sum(axis=0)
        return float(self._sampled((small[0] + small[1]) / np.float32(self.shrink), size).sum())

    def _correlation(
        self, size: FloatImage | np.float32, offset: tuple[float, float]
    ) -> FloatImage:
        """Return weighted local correlations with the section moved by ``size`` to the line."""
        flow = np.array(offset)[:, None, None] - size * self.normal
        return self._sampled((flow / self.shrink).astype(np.float32), size)

    def _sampled(self, flow: Flow, size: FloatImage | np.float32) -> FloatImage:
        """Return weighted local correlations with the section sampled through a reduced flow."""
        import cv2

        rows, columns = (np.arange(n, dtype=np.float32) for n in self.section.shape)
        y, x = flow[0] + rows[:, None], flow[1] + columns[None]
        image, known = (
            np.asarray(cv2.remap(part, x, y, cv2.INTER_LINEAR), dtype=np.float32)
            for part in (self.section, self.known)
        )
        seen = known * (self.distance - size > self.half_width)
        found = local_correlation(image, self.reference, seen, _LOCAL / self.shrink)
        return np.asarray(found * seen * self.weight, dtype=np.float32)


def local_correlation(
    first: FloatImage, second: FloatImage, weight: FloatImage, sigma: float
) -> FloatImage:
    """Return the weighted correlation of two images in a Gaussian around every pixel.

    Parameters
    ----------
    first, second
        (H, W) float32.
    weight
        (H, W) float32, at least 0.
    sigma
        Of the Gaussian, pixels.
    """
    import cv2

    def low(image: FloatImage) -> FloatImage:
        out = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(out, dtype=np.float32)

    total = low(weight) + np.float32(1e-6)
    mean = lambda image: low(image) / total  # noqa: E731
    means = mean(weight * first), mean(weight * second)
    spread = [
        np.maximum(mean(weight * image * image) - m * m, _FLAT)
        for image, m in zip((first, second), means, strict=True)
    ]
    product = mean(weight * first * second) - means[0] * means[1]
    return np.asarray(product / np.sqrt(spread[0] * spread[1]), dtype=np.float32)
