"""Fuse several hypotheses about the hidden pixels, as well as the section itself can teach.

Registered neighbours never show exactly what the section shows: position, contrast and grain
differ, more at fine than at coarse scales. How much of each hypothesis to believe at each scale
is measured on the section itself: *rehearsal holes* are cut into its intact pixels, filled
by the same procedure, and compared with what is really there. The least-squares weights found
there are then used in the real hole. Where registration is poor, fine scales are given up (they
would only add errors); where it is good, they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import blur, wide_blur
from ..types import BoolImage, FloatImage

#: Widths, in pixels, of the Gaussians that separate the frequency bands.
BANDS = (1.0, 2.0, 4.0, 8.0)
#: What is left after this band can be sampled at every second pixel.
_SMOOTH = 2.0
#: Number of bands that are finer than structure.
_STRUCTURE = 2
#: More pixels than this teach the weights nothing new.
_MOST_SAMPLES = 20_000
#: Weight of the ridge, relative to the variance of a column.
_RIDGE = 1.0
#: The same where one hypothesis is weighed against the fusion of all: two well-separated columns.
_LEADER_RIDGE = 0.01
#: The same where all holes of a stack are pooled.
_POOLED_RIDGE = 0.003
#: Largest weight of the further sections. A cubic through four sections gives them -0.125.
_MOST_FURTHER = 0.5
#: They count where they lower the squared error of the rehearsal by this share at least.
_FURTHER_GAIN = 0.01

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bands:
    """Samples of the truth and of the hypotheses in every frequency band, finest first.

    Parameters
    ----------
    truth
        Per band, (samples,).
    rows
        Per band, (hypotheses, samples).
    """

    truth: tuple[npt.NDArray[np.float32], ...]
    rows: tuple[npt.NDArray[np.float32], ...]

    @classmethod
    def of(cls, hypotheses: Sequence[FloatImage], truth: FloatImage, where: BoolImage) -> Bands:
        """Sample images at every second row and column of ``where``, thinned where it is large.

        Parameters
        ----------
        hypotheses
            (H, W) float32 each, made without looking at ``where``.
        truth
            (H, W) float32, the section; trusted at ``where``.
        where
            (H, W) bool, the rehearsal holes.
        """
        picked = sample(where[::2, ::2])
        y, *rows = (_band_values(image, picked) for image in (truth, *hypotheses))
        return cls(tuple(y), tuple(np.stack(band) for band in zip(*rows, strict=True)))

    def only(self, chosen: Sequence[int]) -> Bands:
        """Return the samples of some of the hypotheses."""
        return Bands(self.truth, tuple(band[list(chosen)] for band in self.rows))

    def error(self, fusion: FusionWeights) -> float:
        """Return the mean squared error of a fusion of the hypotheses, without the fine bands."""
        bands = zip(self.truth, self.rows, fusion.weights, fusion.offsets, strict=True)
        off = [y - weight @ x - offset for y, x, weight, offset in bands]
        return float(np.mean(np.sum(off[_STRUCTURE:], axis=0) ** 2))


def _band_values(
    image: FloatImage, picked: tuple[npt.NDArray[np.intp], ...]
) -> list[npt.NDArray[np.float32]]:
    """Split an image into bands; return the values at pixels of every second row and column.

    What is left after the finest bands is smooth, so every second pixel is enough for the rest.
    """
    values = []
    step = 2
    for sigma in BANDS:
        low = blur(image, sigma * step / 2)
        values.append((image[::step, ::step] - low[::step, ::step])[picked])
        image = low
        if sigma == _SMOOTH:
            image, step = np.ascontiguousarray(low[::2, ::2]), 1
    return [*values, image[picked]]


@dataclass(frozen=True)
class FusionWeights:
    """Least-squares weights of the hypotheses, one row per frequency band.

    Parameters
    ----------
    weights
        (bands, hypotheses).
    offsets
        (bands,) grey values.
    """

    weights: Matrix
    offsets: npt.NDArray[np.float64]

    @classmethod
    def learn(
        cls, bands: Bands, leader: int | None = None, prior: Matrix | None = None
    ) -> FusionWeights:
        """Fit the weights on the rehearsal.

        Parameters
        ----------
        bands
            Samples of the rehearsal holes.
        leader
            Number of the hypothesis that is weighed against the fusion of all, as one against
            one; None if all are peers.
        prior
            (bands, hypotheses), weights that other sections of the stack taught: what the weights
            are drawn towards then, instead of equal ones, and no leader counts. None: none.
        """
        if prior is not None:
            return cls._drawn_towards(prior, bands)
        weights, offsets = [], []
        for y, x in zip(bands.truth, bands.rows, strict=True):
            means = x.mean(axis=1)
            about, wanted = x - means[:, None], y - y.mean()
            weight = ridge(about, wanted)
            if leader is not None:
                share = ridge(np.stack([weight @ about, about[leader]]), wanted, _LEADER_RIDGE)
                weight = share[0] * weight
                weight[leader] += share[1]
            weights.append(weight)
            offsets.append(float(y.mean() - means @ weight))
        return cls(np.stack(weights), np.array(offsets))

    @classmethod
    def _drawn_towards(cls, prior: Matrix, bands: Bands) -> FusionWeights:
        weights, offsets = [], []
        for y, x, known in zip(bands.truth, bands.rows, prior, strict=True):
            means = x.mean(axis=1)
            about = x - means[:, None]
            left = (y - y.mean() - known @ about).astype(np.float32)
            weight = known + _shrunk(about, left, _RIDGE)
            weights.append(weight)
            offsets.append(float(y.mean() - means @ weight))
        return cls(np.stack(weights), np.array(offsets))

    def with_further(self, bands: Bands, further: int) -> FusionWeights:
        """Return the weights with those of the sections beyond the neighbours added.

        Tissue does not change quite linearly between the neighbours. The mean of the further
        sections, registered as well, shows the curvature: where sections are thin it gets a
        *negative* weight, as in cubic interpolation. Its size is learned in every band, and is
        zero where the rehearsal gains nothing by it.

        Parameters
        ----------
        bands
            Samples of the rehearsal holes, the ``further`` hypotheses last.
        further
            How many these are.
        """
        weights, offsets = [], []
        for y, x, own in zip(bands.truth, bands.rows, self.weights, strict=True):
            means = x.mean(axis=1)
            about = x - means[:, None]
            near = own @ about[:-further]
            bend = about[-further:].mean(axis=0) - near
            power = (1 + _LEADER_RIDGE) * float(bend @ bend)
            share = float(bend @ (y - y.mean() - near)) / max(power, 1e-12)
            share = float(np.clip(share, -_MOST_FURTHER, _MOST_FURTHER))
            weight = np.concatenate([(1 - share) * own, np.full(further, share / further)])
            weights.append(weight)
            offsets.append(float(y.mean() - means @ weight))
        extended = FusionWeights(np.stack(weights), np.array(offsets))
        alone = FusionWeights(np.pad(self.weights, ((0, 0), (0, further))), self.offsets)
        gains = bands.error(extended) < (1 - _FURTHER_GAIN) * bands.error(alone)
        return extended if gains else alone

    def apply(self, hypotheses: Sequence[FloatImage]) -> FloatImage:
        """Return the fused image, (H, W) float32.

        The sum over the bands of every hypothesis, ordered so that each Gaussian is applied
        once: hypotheses with equal weights in a band and in the next coarser one are not split.
        """
        import cv2

        steps = np.diff(self.weights, axis=0, prepend=0)
        total = np.zeros_like(hypotheses[0])
        for step, sigma in zip(steps[::-1], (*BANDS[::-1], None), strict=True):
            for weight, image in zip(step, hypotheses, strict=True):
                if weight == 0:
                    continue
                cv2.scaleAdd(image, float(weight), total, total)
            if sigma is not None:
                total = wide_blur(total, sigma)
        return total + np.float32(self.offsets.sum())


def ridge(x: npt.NDArray, y: npt.NDArray, strength: float = _RIDGE) -> npt.NDArray[np.float64]:
    """Solve least squares ``w @ x = y`` of rows ``x``, drawn towards equal weights.

    First one gain for the mean of all rows, then the rows' deviations from it, which the
    ridge holds down: rows are much alike, and a few thousand pixels in one place of the section
    do not show which of them is better elsewhere unless the difference is plain.
    """
    count = len(x)
    mean = x.mean(axis=0)
    gain = float(mean @ y) / max(float(mean @ mean), 1e-12)
    return gain / count + _shrunk(x, y - gain * mean, strength)


def _shrunk(x: npt.NDArray, y: npt.NDArray, strength: float) -> npt.NDArray[np.float64]:
    """Solve least squares ``w @ x = y`` of rows ``x``, drawn towards zero."""
    gram = (x @ x.T).astype(np.float64)
    gram += strength * max(np.trace(gram) / len(x), 1e-12) * np.eye(len(x))
    return np.linalg.solve(gram, (x @ y).astype(np.float64))


def sample(where: BoolImage, most: int = _MOST_SAMPLES) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the indices of at most ``most`` True pixels, evenly drawn."""
    indices = np.nonzero(where)
    step = max(-(-len(indices[0]) // most), 1)
    return tuple(index[::step] for index in indices)


def pooled_prior(sums: Sequence[tuple[Matrix, npt.NDArray[np.float64]]], further: int) -> Matrix:
    """Return the weights of hypotheses learned from many holes together.

    Parameters
    ----------
    sums
        Per band the sums of :func:`products` over all holes.
    further
        Number of the last hypotheses, which are drawn to zero; the others to equal weights.

    Returns
    -------
    Matrix
        (bands, hypotheses), for :meth:`FusionWeights.learn`.
    """
    weights = []
    for gram, wanted in sums:
        count = len(wanted)
        draw = _POOLED_RIDGE * max(np.trace(gram) / count, 1e-12)
        equal = np.pad(np.full(count - further, 1 / (count - further)), (0, further))
        weights.append(np.linalg.solve(gram + draw * np.eye(count), wanted + draw * equal))
    return np.stack(weights)


def products(bands: Bands) -> list[tuple[Matrix, npt.NDArray[np.float64]]]:
    """Return, per band, products of the hypotheses with each other and with the truth.

    In units of the variance of the truth, so that all holes count equally.
    """
    found = []
    for y, x in zip(bands.truth, bands.rows, strict=True):
        about, wanted = x - x.mean(axis=1)[:, None], y - y.mean()
        power = max(float(wanted @ wanted), 1e-12)
        found.append(((about @ about.T).astype(np.float64) / power, (about @ wanted) / power))
    return found
