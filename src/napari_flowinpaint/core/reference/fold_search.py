"""A first guess at a fold's displacement: every displacement is tried against the reference.

The displacement is that of "Learning to restore ssTEM images from deformation and corruption"
(2020): perpendicular to the line, largest beside it, linearly less with the distance. Seen from the
unfolded section a pixel at distance ``d`` shows what the folded one has ``max(0, b - t d)`` nearer
to the line (for a crack: further away, ``b < 0``). All ``b`` and ``t`` are tried together with an
offset of the section as a whole; the sum of local correlations with the reference tells which fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import shrink_to
from ..types import BoolImage, FloatImage
from .fold_line import LineFrame

_Numbers = npt.NDArray[np.float64]

#: Pixels of the section per pixel of the search: the resolution of optical flow, too.
_SHRINK = 4
#: Width of the Gaussian that local correlations are taken in, pixels.
_LOCAL = 10.0
#: Displacements beside the line, and offsets across and along it, pixels.
_STEP = 3.0
_MOST = 129.0
_OFFSETS = np.arange(-15.0, 16.0, _STEP)
#: Losses of displacement per pixel of distance.
_DECAYS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.08, 0.11)
#: Large offsets are unlikely: what a correlation has to gain for one of 6 pixels.
_OFFSET_COST = 0.003 / 6**2
#: Distances to the line are told apart in steps of so many pixels.
_BIN = 8.0
#: Smaller variances of grey values are taken for this, so that flat places do not count.
_FLAT = 4.0


@dataclass(frozen=True, slots=True)
class FirstGuess:
    """Displacement beside the line, its loss per pixel, and the section's offset.

    Parameters
    ----------
    beside, decay
        ``b`` (pixels; negative for a crack) and ``t``.
    across, along
        How far the section as a whole is off the reference: along the normal of the positive side,
        and along the line, pixels.
    correlation
        Mean local correlation where the displacement leaves something to compare.
    """

    beside: float
    decay: float
    across: float
    along: float
    correlation: float


def amplitude(beside: FloatImage, decay: FloatImage, distance: FloatImage) -> FloatImage:
    """Return how far displaced tissue is displaced, (H, W) float32; negative for a crack."""
    size = np.clip(np.abs(beside) - decay * distance, 0, None)
    return np.asarray(np.sign(beside) * size, dtype=np.float32)


def first_guess(
    section: FloatImage,
    known: BoolImage,
    reference: FloatImage,
    frame: LineFrame,
    half_width: float,
    weight: FloatImage,
) -> FirstGuess:
    """Search for the displacement of a fold.

    Parameters
    ----------
    section, reference
        (H, W) float32, working grey values.
    known
        (H, W) bool, where the section shows tissue.
    frame
        Of the fold's line.
    half_width
        Half the width of that line, pixels: what comes nearer to its middle is hidden.
    weight
        (H, W) float32, 0 to 1: how much the places count, and how much of the displacement they
        have.
    """
    displacements = np.arange(-max(half_width, _STEP) - 18, _MOST + 18, _STEP)
    tables = _tables(section, known, reference, frame, half_width, weight, displacements)
    distances = _BIN * (np.arange(tables[0].shape[2]) + 0.5)
    steps = np.concatenate(
        [-np.arange(_STEP, half_width + 2, _STEP)[::-1], np.arange(0, _MOST, _STEP)]
    )
    beside, decay = np.meshgrid(steps, _DECAYS, indexing="ij")
    expected = amplitude(beside[..., None], decay[..., None], distances)
    places = np.arange(distances.size)
    scores = np.zeros((_OFFSETS.size, _OFFSETS.size, *beside.shape), dtype=np.float32)
    for i, across in enumerate(_OFFSETS):
        for table, sign in zip(tables, (1, -1), strict=True):
            row = np.rint((expected + sign * across - displacements[0]) / _STEP).astype(int)
            there = (row >= 0) & (row < displacements.size)
            row = np.clip(row, 0, displacements.size - 1)
            for j in range(_OFFSETS.size):
                scores[i, j] += (table[j][row, places] * there).sum(axis=-1)
    scores /= max(float(weight[::_SHRINK, ::_SHRINK].sum()), 1.0)
    cost = _OFFSET_COST * _OFFSETS**2
    judged = scores - cost[:, None, None, None] - cost[None, :, None, None]
    best = np.unravel_index(int(judged.argmax()), judged.shape)
    across_at, along_at, b, t = (int(place) for place in best)
    return FirstGuess(
        float(steps[b]),
        float(_DECAYS[t]),
        float(_OFFSETS[across_at]),
        float(_OFFSETS[along_at]),
        float(scores[across_at, along_at, b, t]),
    )


def _tables(
    section: FloatImage,
    known: BoolImage,
    reference: FloatImage,
    frame: LineFrame,
    half_width: float,
    weight: FloatImage,
    displacements: _Numbers,
) -> list[_Numbers]:
    """Return sums of local correlations, for either side.

    Each (offset along the line, displacement, distance to the line).
    """
    shape = (section.shape[0] // _SHRINK, section.shape[1] // _SHRINK)
    whole = (slice(0, shape[0] * _SHRINK), slice(0, shape[1] * _SHRINK))
    middle = (slice(_SHRINK // 2, whole[0].stop, _SHRINK), slice(_SHRINK // 2, None, _SHRINK))
    grey = np.where(known, section, section[known].mean()).astype(np.float32)
    images = _Reduced(
        shrink_to(np.ascontiguousarray(grey[whole]), shape),
        (shrink_to(known[whole].astype(np.float32), shape) > 0.99).astype(np.float32),
        shrink_to(np.ascontiguousarray(reference[whole]), shape),
    )
    distance = frame.distance[middle][: shape[0], : shape[1]]
    side = frame.side[middle][: shape[0], : shape[1]]
    normal = frame.normal[:, middle[0], middle[1]][:, : shape[0], : shape[1]]
    counts = weight[middle][: shape[0], : shape[1]]
    along = np.stack([-normal[1], normal[0]]) * side
    bins = (distance / _BIN).astype(np.int64)
    number = int(bins.max()) + 1
    sides = [np.flatnonzero(side == sign) for sign in (1, -1)]
    tables = [np.zeros((_OFFSETS.size, displacements.size, number)) for _ in sides]
    for c, displacement in enumerate(displacements):
        seen = (distance - displacement > half_width).astype(np.float32)
        for j, offset in enumerate(_OFFSETS):
            flow = (-displacement * normal + offset * along) / _SHRINK
            found = (images.correlation(flow, seen) * counts).ravel()
            for table, there in zip(tables, sides, strict=True):
                table[j, c] = np.bincount(bins.ravel()[there], found[there], number)
    return tables


@dataclass(frozen=True, slots=True, eq=False)
class _Reduced:
    """A section, where it shows tissue (0 or 1), and the reference, at the search's resolution."""

    section: FloatImage
    known: FloatImage
    reference: FloatImage

    def correlation(self, flow: npt.NDArray[np.float32], seen: FloatImage) -> FloatImage:
        """Return local correlations of the section sampled through a flow, 0 where not seen."""
        import cv2

        rows, columns = (np.arange(n, dtype=np.float32) for n in self.section.shape)
        x = (columns[None] + flow[1]).astype(np.float32)
        y = (rows[:, None] + flow[0]).astype(np.float32)
        moved, known = (
            np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR), dtype=np.float32)
            for image in (self.section, self.known)
        )
        weight = known * seen
        return local_correlation(moved, self.reference, weight, _LOCAL / _SHRINK) * weight


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
