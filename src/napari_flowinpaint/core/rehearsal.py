"""The rehearsal: fill holes whose content is known, and learn from the errors.

Everything a repair has to weigh up (how much to believe each hypothesis at each scale, how far
the residual at the rim reaches in, how large errors are) is learned here from the damaged
section itself, so that nothing needs to be tuned to a microscope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .confidence import ErrorModel
from .filters import blur
from .fusion import FEWEST_SAMPLES, Bands, Fusion, apply_ring, learn_ring, ring_features
from .metrics import psnr
from .parallel import together
from .references import Hypothesis
from .types import BoolImage, FloatImage


@dataclass(frozen=True)
class Lesson:
    """What a rehearsal taught.

    Parameters
    ----------
    fusion
        Weights of the hypotheses; None believes all alike.
    ring
        Weights of the residual at the rim; None if it is better left alone.
    errors
        Expected error of a pixel.
    trusted
        Whether the leader, if there is one, did better than the hypotheses made without it.
    scores
        ``registration_correlation``: of the plain average of the hypotheses, without the
        leader, with the truth;
        ``rehearsal_correlation`` and ``rehearsal_psnr`` (dB over 255 working grey values): of
        the rehearsed result with it. All after a 2 px low-pass. Empty when nothing could be
        rehearsed.
    error
        Mean absolute error of the rehearsed result, after the same low-pass.
    """

    fusion: Fusion | None
    ring: npt.NDArray[np.float64] | None
    errors: ErrorModel
    scores: dict[str, float]
    trusted: bool = True
    error: float = 0.0

    @classmethod
    def untaught(cls, section: FloatImage, known: BoolImage) -> Lesson:
        """Return the lesson for a window too small or too damaged to rehearse in."""
        return cls(None, None, ErrorModel.untaught(section, known), {})

    @classmethod
    def learn(
        cls,
        hypotheses: Sequence[Hypothesis],
        section: FloatImage,
        known: BoolImage,
        holes: BoolImage,
    ) -> Lesson:
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
        """
        images = [hypothesis.image for hypothesis in hypotheses]
        spoilt = np.any([hypothesis.damaged for hypothesis in hypotheses], axis=0)
        where = holes & ~spoilt
        if where.sum() < FEWEST_SAMPLES:
            return cls.untaught(section, known)
        average = np.asarray(np.mean(images, axis=0), dtype=np.float32)
        # Band splitting reaches across the rim, so the real hole needs something plausible in it.
        truth = np.where(known, section, average)
        seen = known & ~holes
        bands = Bands.of(images, truth, where)
        leaders = [number for number, h in enumerate(hypotheses) if h.leader]
        others = [number for number, h in enumerate(hypotheses) if not h.leader]
        free = [number for number in others if not hypotheses[number].follows]
        trusted = not (leaders and free) or _better(bands, leaders, free)
        leads = bool(leaders and others) and _better(bands, leaders, others)
        fusion = Fusion.learn(bands, leaders[0] if leads else None)
        fused = fusion.apply(images)
        residual = truth - fused
        features = list(ring_features(residual, seen))
        ring = learn_ring(features, residual, where)
        filled = fused + apply_ring(features, ring)
        filled = np.where(seen, truth, filled).astype(np.float32)
        sampled = [h.image for h in hypotheses if not h.leader] or images
        registered = np.asarray(np.mean(sampled, axis=0), dtype=np.float32)
        jobs: list[Callable[[], Any]] = [
            partial(ErrorModel.learn, images, filled, truth, seen, where),
            partial(_scores, registered, filled, truth, where),
        ]
        errors, scores = together(jobs)
        error = float(np.abs(blur(filled - truth, 2.0))[where].mean())
        return cls(fusion, ring, errors, scores, trusted, error)

    def scores_at(self, confidence: FloatImage, mask: BoolImage) -> dict[str, float]:
        """Return the scores, the PSNR as the confidence lets expect it of the real hole.

        That is deeper than those rehearsed on, and may lie where registration is worse. Half of
        the difference is believed: more was too much on the training sections.
        """
        expected = self.errors.mean_error(confidence, mask)
        if not self.scores or min(expected, self.error) <= 0:
            return self.scores
        psnr = self.scores["rehearsal_psnr"] - 10 * np.log10(expected / self.error)
        return self.scores | {"rehearsal_psnr": float(psnr)}

    def fuse(self, images: Sequence[FloatImage]) -> FloatImage:
        """Return the fused image, (H, W) float32."""
        if self.fusion is None:
            return np.mean(images, axis=0, dtype=np.float32)
        return self.fusion.apply(images)

    def correct(self, fused: FloatImage, section: FloatImage, known: BoolImage) -> FloatImage:
        """Return the fused image with the residual at the rim carried into the hole."""
        if self.ring is None:
            return fused
        return fused + apply_ring(ring_features(section - fused, known), self.ring)


def _scores(
    registered: FloatImage, filled: FloatImage, truth: FloatImage, where: BoolImage
) -> dict[str, float]:
    """Return :attr:`Lesson.scores`."""
    registered, filled, truth = (blur(image, 2.0) for image in (registered, filled, truth))
    return {
        "registration_correlation": _correlation(registered[where], truth[where]),
        "rehearsal_correlation": _correlation(filled[where], truth[where]),
        "rehearsal_psnr": psnr(filled, truth, where, 255.0),
    }


def _better(bands: Bands, some: list[int], others: list[int]) -> bool:
    """Return whether some hypotheses together fill the holes better than others together."""
    first, second = bands.only(some), bands.only(others)
    return first.error(Fusion.learn(first)) < second.error(Fusion.learn(second))


def structure_correlation(image: FloatImage, truth: FloatImage, where: BoolImage) -> float:
    """Return the correlation of the structure (2 px low-pass) of two images; 0 if constant."""
    return _correlation(blur(image, 2.0)[where], blur(truth, 2.0)[where])


def _correlation(a: FloatImage, b: FloatImage) -> float:
    if float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
