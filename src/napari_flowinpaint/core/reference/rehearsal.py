"""The rehearsal: fill holes whose content is known, and learn from the errors.

Everything a repair has to weigh up (how much to believe each hypothesis at each scale, how far
the residual at the rim reaches in, how large errors are) is learned here from the damaged
section itself, so that nothing needs to be tuned to a microscope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ..filters import blur
from ..metrics import psnr
from ..types import BoolImage, FloatImage
from ..window import Window
from .confidence import ErrorModel
from .fusion import Bands, FusionWeights, Matrix
from .guides import neighbours_of
from .hypotheses import Hypothesis
from .rehearsal_holes import FEWEST_SAMPLES, rehearsal_holes, rehearsal_part
from .ring import apply_ring, learn_ring, ring_features

#: Least share of the intact pixels that both neighbours have to show to be rehearsed on.
_ENOUGH_TOLD = 0.2


@dataclass(frozen=True)
class Reliability:
    """How far a repair can be relied on, judged by a rehearsal.

    Parameters
    ----------
    errors
        Expected error of a pixel.
    scores
        ``registration_correlation``: of the plain average of the hypotheses, without the
        leader, with the truth;
        ``rehearsal_correlation`` and ``rehearsal_psnr`` (dB over 255 working grey values): of
        the rehearsed result with it. All after a 2 px low-pass. Empty when nothing could be
        rehearsed.
    error
        Mean absolute error of the rehearsed result, after the same low-pass.
    """

    errors: ErrorModel
    scores: dict[str, float]
    error: float = 0.0

    @classmethod
    def default(cls, section: FloatImage, known: BoolImage) -> Reliability:
        """Return what is to be expected where nothing could be rehearsed."""
        return cls(ErrorModel.default(section, known), {})

    @classmethod
    def of(
        cls,
        images: Sequence[FloatImage],
        registered: FloatImage,
        filled: FloatImage,
        truth: FloatImage,
        seen: BoolImage,
        where: BoolImage,
    ) -> Reliability:
        """Compare what was rehearsed with the truth.

        Parameters
        ----------
        images
            The hypotheses, (H, W) float32 each.
        registered
            The neighbours, registered and averaged.
        filled
            The result.
        truth
            The section, true ``where`` it was hidden.
        seen, where
            (H, W) bool: the pixels that were looked at, and the rehearsal holes.
        """
        structure, off = blur(truth, 2.0), blur(filled - truth, 2.0)
        errors = ErrorModel.learn(images, np.abs(off), truth, seen, where)
        true, missed = structure[where], off[where]
        scores = {
            "registration_correlation": _correlation(blur(registered, 2.0)[where], true),
            "rehearsal_correlation": _correlation(true + missed, true),
            "rehearsal_psnr": psnr(structure + off, structure, where, 255.0),
        }
        return cls(errors, scores, float(np.abs(missed).mean()))

    @property
    def structure_error(self) -> float | None:
        """Mean squared error of the low-passed rehearsed result; None if nothing was rehearsed."""
        psnr = self.scores.get("rehearsal_psnr")
        return None if psnr is None else float(255.0**2 / 10 ** (psnr / 10))

    def confidence(self, images: Sequence[FloatImage], known: BoolImage) -> FloatImage:
        """Return 0 (guessed) to 1 (certain); see :meth:`.confidence.ErrorModel.confidence`."""
        return self.errors.confidence(images, known)

    def scores_at(self, confidence: FloatImage, mask: BoolImage) -> dict[str, float]:
        """Return the scores, with the PSNR that the confidence predicts for the real hole.

        That is deeper than those rehearsed on, and may lie where registration is worse. Half of
        the difference is believed: more was too much on the training sections.
        """
        expected = self.errors.mean_error(confidence, mask)
        if not self.scores or min(expected, self.error) <= 0:
            return self.scores
        psnr = self.scores["rehearsal_psnr"] - 10 * np.log10(expected / self.error)
        return self.scores | {"rehearsal_psnr": float(psnr)}


@dataclass(frozen=True)
class RehearsalResult:
    """What was learned from a rehearsal.

    Parameters
    ----------
    fusion
        Weights of the hypotheses; None believes all alike.
    ring
        Weights of the residual at the rim; None if it is better left alone.
    rely
        Measures how far the repair can be relied on: needed last.
    trusted
        Whether the leader, if there is one, did better than the hypotheses made without it.
    """

    fusion: FusionWeights | None
    ring: npt.NDArray[np.float64] | None
    rely: Callable[[], Reliability]
    trusted: bool = True

    @classmethod
    def default(cls, section: FloatImage, known: BoolImage) -> RehearsalResult:
        """Return the result for a window too small or too damaged to rehearse in."""
        return cls(None, None, partial(Reliability.default, section, known))

    @classmethod
    def learn(
        cls,
        hypotheses: Sequence[Hypothesis],
        section: FloatImage,
        known: BoolImage,
        holes: BoolImage,
        prior: Matrix | None = None,
    ) -> RehearsalResult:
        """Learn from hypotheses about ``holes`` made without looking at them.

        Parameters
        ----------
        hypotheses
            Made from ``known & ~holes``.
        section
            (H, W) float32, true where ``known``.
        known
            (H, W) bool, the intact pixels, rehearsal holes included.
        holes
            (H, W) bool, the rehearsal holes.
        prior
            See :meth:`.fusion.FusionWeights.learn`.
        """
        images = [hypothesis.image for hypothesis in hypotheses]
        further = sum(hypothesis.further for hypothesis in hypotheses)
        near = images[: len(images) - further]
        damaged = [hypothesis.damaged for hypothesis in hypotheses]
        where = holes & ~np.any(damaged, axis=0)
        if where.sum() < FEWEST_SAMPLES:  # no place that both neighbours show
            where = holes & ~np.all(damaged, axis=0)
        if where.sum() < FEWEST_SAMPLES:
            return cls.default(section, known)
        average = np.asarray(np.mean(near, axis=0), dtype=np.float32)
        # Band splitting reaches across the rim, so the real hole needs something plausible in it.
        truth = np.where(known, section, average)
        seen = known & ~holes
        bands = Bands.of(images, truth, where)
        leaders = [number for number, h in enumerate(hypotheses) if h.leader]
        others = [n for n, h in enumerate(hypotheses) if not (h.leader or h.further)]
        free = [number for number in others if not hypotheses[number].follows]
        trusted = not (leaders and free) or _better(bands, leaders, free)
        leads = bool(leaders and others) and _better(bands, leaders, others)
        if prior is not None:
            fusion = FusionWeights.learn(bands, prior=prior)
        else:
            close = bands.only(range(len(near)))
            fusion = FusionWeights.learn(close, leaders[0] if leads else None)
            fusion = fusion.with_further(bands, further) if further else fusion
        fused = fusion.apply(images)
        residual = truth - fused
        features = list(ring_features(residual, seen))
        ring = learn_ring(features, residual, where)

        def rely() -> Reliability:
            filled = fused + apply_ring(features, ring)
            filled = np.where(seen, truth, filled).astype(np.float32)
            sampled = [images[number] for number in others] or near
            registered = np.asarray(np.mean(sampled, axis=0), dtype=np.float32)
            return Reliability.of(near, registered, filled, truth, seen, where)

        return cls(fusion, ring, rely, trusted)

    def fuse(self, hypotheses: Sequence[Hypothesis]) -> FloatImage:
        """Return the fused image, (H, W) float32."""
        if self.fusion is None:
            near = [hypothesis.image for hypothesis in hypotheses if not hypothesis.further]
            return np.mean(near, axis=0, dtype=np.float32)
        return self.fusion.apply([hypothesis.image for hypothesis in hypotheses])

    def correct(self, fused: FloatImage, section: FloatImage, known: BoolImage) -> FloatImage:
        """Return the fused image with the residual at the rim carried into the hole."""
        if self.ring is None:
            return fused
        return fused + apply_ring(ring_features(section - fused, known), self.ring)


@dataclass(frozen=True)
class Rehearsal:
    """Holes whose content is known, filled in one go with the damage.

    They are small and lie away from the damage, so that they do not impair its filling; doing both
    in one go saves a third of the time of a repair.

    Parameters
    ----------
    known
        (H, W) bool, the intact pixels.
    seen
        The same without the holes: what may be looked at.
    part
        Of the window, where the holes are.
    holes
        In that part.
    """

    known: BoolImage
    seen: BoolImage
    part: tuple[slice, slice]
    holes: BoolImage

    @classmethod
    def of(cls, window: Window, seed: int) -> Rehearsal:
        """Cut holes into the intact pixels of a window, where its neighbours show something.

        Parameters
        ----------
        window
            The window.
        seed
            The same seed gives the same holes.
        """
        mask, known = window.mask, window.intact
        told = _told(window)
        part = rehearsal_part(mask, told).slices
        holes, seen = rehearsal_holes(mask[part], told[part], seed), known.copy()
        seen[part] &= ~holes
        return cls(known, seen, part, holes)

    def learn(
        self,
        hypotheses: Sequence[Hypothesis],
        section: FloatImage,
        prior: Matrix | None = None,
    ) -> RehearsalResult:
        """Learn from hypotheses, made from what is ``seen`` of the section, (H, W) float32.

        For ``prior`` see :meth:`.fusion.FusionWeights.learn`.
        """
        if self.holes.sum() < FEWEST_SAMPLES:
            return RehearsalResult.default(section, self.known)
        rehearsed = [hypothesis.crop(self.part) for hypothesis in hypotheses]
        return RehearsalResult.learn(
            rehearsed, section[self.part], self.known[self.part], self.holes, prior
        )


def _told(window: Window) -> BoolImage:
    """Return the intact pixels that all neighbours show; where these are few, that any shows."""
    shown = [neighbour.valid for neighbour in neighbours_of(window)]
    told = window.intact & np.logical_and.reduce(shown)
    if told.sum() >= _ENOUGH_TOLD * window.intact.sum():
        return np.asarray(told)
    return np.asarray(window.intact & np.logical_or.reduce(shown))


def _better(bands: Bands, some: list[int], others: list[int]) -> bool:
    """Return whether some hypotheses together fill the holes better than others together."""
    first, second = bands.only(some), bands.only(others)
    return first.error(FusionWeights.learn(first)) < second.error(FusionWeights.learn(second))


def _correlation(a: FloatImage, b: FloatImage) -> float:
    if float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
