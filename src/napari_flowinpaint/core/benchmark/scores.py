"""All that the benchmark measures on one repaired section, inside the mask only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Literal

import numpy as np

from ..io.polarity import Polarity
from ..metrics import Scores, data_range, score
from ..types import AnyImage, BoolImage
from .segmentation import Segmentation
from .similarity import FsimFeatures, ms_ssim


@dataclass(frozen=True)
class BenchmarkScores(Scores):
    """Scores of one repair, all inside the mask.

    Parameters
    ----------
    structure_psnr, psnr, ssim, detail
        See :class:`~napari_flowinpaint.core.metrics.Scores`.
    ms_ssim
        0..1, see :func:`~napari_flowinpaint.core.benchmark.similarity.ms_ssim`.
    fsim
        0..1, see :class:`~napari_flowinpaint.core.benchmark.similarity.FsimFeatures`.
    voi
        Bits, variation of information between the segmentations of repaired and true section;
        see :mod:`~napari_flowinpaint.core.benchmark.segmentation`.
    rand_error
        0..1, adapted Rand error between them.
    """

    ms_ssim: float
    fsim: float
    voi: float
    rand_error: float


@dataclass(frozen=True)
class Metric:
    """How a score is shown.

    Parameters
    ----------
    field
        Of :class:`BenchmarkScores`.
    head
        Head of its column.
    digits
        After the decimal point.
    best
        Which value is right: the highest or the lowest.
    """

    field: str
    head: str
    digits: int
    best: Literal["highest", "lowest"] = "highest"

    def worst(self, values: Sequence[float]) -> float:
        """Return the worst of several values."""
        return max(values) if self.best == "lowest" else min(values)


METRICS = (
    Metric("structure_psnr", "structure", 2),
    Metric("psnr", "PSNR", 2),
    Metric("ssim", "SSIM", 3),
    Metric("ms_ssim", "MS-SSIM", 3),
    Metric("fsim", "FSIM", 3),
    Metric("voi", "VOI", 2, "lowest"),
    Metric("rand_error", "Rand error", 3, "lowest"),
)


def mean_scores(found: Sequence[BenchmarkScores]) -> BenchmarkScores:
    """Return the mean of every score; NaN of none."""
    if not found:
        return BenchmarkScores(*[float("nan")] * len(fields(BenchmarkScores)))
    return BenchmarkScores(*map(float, np.mean([astuple(s) for s in found], axis=0)))


def worst_scores(found: Sequence[BenchmarkScores]) -> BenchmarkScores:
    """Return the worst of every score, each from whichever section had it; NaN of none."""
    if not found:
        return mean_scores(found)
    worst = {m.field: m.worst([getattr(s, m.field) for s in found]) for m in METRICS}
    return replace(mean_scores(found), **worst)


class Scorer:
    """Scores repairs of one section; what is needed of the true one is computed once.

    Parameters
    ----------
    truth
        (Y, X), the section before it was damaged.
    polarity
        Of the stack's membranes.
    """

    def __init__(self, truth: AnyImage, polarity: Polarity) -> None:
        self._truth = truth
        self._span = data_range(truth)
        self._features = FsimFeatures(truth, self._span)
        self._segmentation = Segmentation(truth, polarity)

    def score(self, filled: AnyImage, mask: BoolImage) -> BenchmarkScores:
        """Score a section; its pixels outside the mask are taken from the true one.

        Parameters
        ----------
        filled
            (Y, X), the stack's dtype.
        mask
            (Y, X) bool, at least one True.
        """
        repaired = np.where(mask, filled, self._truth)
        voi, rand_error = self._segmentation.compare(repaired, mask)
        basic = score(repaired, self._truth, mask, self._span)
        return BenchmarkScores(
            **asdict(basic),
            ms_ssim=ms_ssim(repaired, self._truth, mask, self._span),
            fsim=FsimFeatures(repaired, self._span).fsim(self._features, mask),
            voi=voi,
            rand_error=rand_error,
        )
