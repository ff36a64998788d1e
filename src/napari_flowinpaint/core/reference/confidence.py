"""Confidence: how far a filled pixel is likely to be off, said before anyone can know.

Four things make a filled pixel doubtful: the hypotheses disagree there (previous against
following, forward against backward flow, registration against interpolation) or around it, it
lies far from the intact pixels, and the image is steep there, so that a small shift is a large
error. How much each counts is fitted on the rehearsal, where the error is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import blur, enlarge_to, shrink_to, wide_blur
from ..types import BoolImage, FloatImage
from .fusion import sample

#: Most pixels the five weights are fitted to: more add nothing.
_MOST_SAMPLES = 5_000
#: Scale over which the distance from intact pixels counts (pixels).
_REACH = 8.0
#: Disagreement around a pixel is averaged over this width (pixels).
_AROUND = 8.0
#: Less confidence than this is none.
_LEAST = 1e-6
#: Doubt assumed where no rehearsal was possible: nothing but the disagreement counts.
_DEFAULT_WEIGHTS = (0.0, 1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ErrorModel:
    """Expected absolute error (2 px low-pass) as a non-negative sum of the doubts.

    Parameters
    ----------
    weights
        Of a constant, the spread of the hypotheses, the same around a pixel, the distance from
        intact pixels, and how steep the image is.
    scale
        Standard deviation of the section's structure; an error of this size means confidence
        1/e.
    """

    weights: npt.NDArray[np.float64]
    scale: float

    @classmethod
    def default(cls, section: FloatImage, known: BoolImage) -> ErrorModel:
        """Return the model used when nothing could be rehearsed."""
        return cls(np.array(_DEFAULT_WEIGHTS), _structure_deviation(section, known))

    @classmethod
    def learn(
        cls,
        images: Sequence[FloatImage],
        off: FloatImage,
        section: FloatImage,
        known: BoolImage,
        holes: BoolImage,
    ) -> ErrorModel:
        """Fit the weights where the error is known.

        Parameters
        ----------
        images
            The rehearsed hypotheses.
        off
            How far the rehearsed result is off, (H, W) float32 >= 0, after a 2 px low-pass.
        section
            The truth in ``holes``.
        known
            Pixels the rehearsal looked at.
        holes
            The rehearsal holes.
        """
        from scipy.optimize import nnls

        picked = sample(holes, _MOST_SAMPLES)
        doubts = np.stack([doubt[picked] for doubt in _doubts(images, known)], axis=1)
        weights, _ = nnls(doubts.astype(np.float64), off[picked].astype(np.float64))
        return cls(weights, _structure_deviation(section, known | holes))

    def confidence(self, images: Sequence[FloatImage], known: BoolImage) -> FloatImage:
        """Return 0 (guessed) to 1 (certain) for every pixel, (H, W) float32."""
        error = np.zeros(known.shape, dtype=np.float32)
        for weight, doubt in zip(self.weights, _doubts(images, known), strict=True):
            error += np.float32(weight) * doubt
        return np.exp(-error / np.float32(self.scale))

    def mean_error(self, confidence: FloatImage, where: BoolImage) -> float:
        """Return the mean error that a confidence stands for."""
        return float(-self.scale * np.mean(np.log(np.maximum(confidence[where], _LEAST))))


def _doubts(images: Sequence[FloatImage], known: BoolImage) -> list[FloatImage]:
    """Return what makes a pixel doubtful, in the order of :attr:`ErrorModel.weights`.

    Doubts are smooth: they are found at half the resolution.
    """
    half = (-(-known.shape[0] // 2), -(-known.shape[1] // 2))
    small = [shrink_to(image, half) for image in images]
    mean = np.asarray(np.mean(small, axis=0), dtype=np.float32)
    spread = np.zeros_like(mean)
    for image in small:
        spread += blur(image - mean, 1.0) ** 2
    spread = blur(np.sqrt(spread / len(images)), 1.0)
    density = wide_blur(shrink_to(known.astype(np.float32), half), _REACH / 2)
    distance = 1 - np.minimum(2 * density, 1)
    rows, columns = np.gradient(blur(mean, 1.0))
    steepness = blur(np.asarray(np.hypot(rows, columns), dtype=np.float32), 1.0)
    small_fields = (spread, wide_blur(spread, _AROUND / 2), distance, steepness)
    fields = (enlarge_to(field, known.shape) for field in small_fields)
    return [np.ones(known.shape, dtype=np.float32), *fields]


def _structure_deviation(section: FloatImage, known: BoolImage) -> float:
    """Return the standard deviation of the section without its grain."""
    filled = np.where(known, section, section[known].mean()).astype(np.float32)
    return max(float(blur(filled, 2.0)[known].std()), 1e-3)
