"""The rehearsal: fill holes whose content is known, and learn from the errors.

Everything a repair has to weigh up (how much to believe each hypothesis at each scale, how far
the residual at the rim reaches in, how large errors are) is learned here from the damaged
section itself, so that nothing needs to be tuned to a microscope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .confidence import ErrorModel
from .filters import blur
from .fusion import FEWEST_SAMPLES, Fusion, apply_ring, learn_ring
from .metrics import psnr
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
    scores
        ``registration_correlation``: of the plain average of the hypotheses with the truth;
        ``rehearsal_correlation`` and ``rehearsal_psnr`` (dB over 255 working grey values): of
        the rehearsed result with it. All after a 2 px low-pass. Empty when nothing could be
        rehearsed.
    """

    fusion: Fusion | None
    ring: npt.NDArray[np.float64] | None
    errors: ErrorModel
    scores: dict[str, float]

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
        leaders = [number for number, h in enumerate(hypotheses) if h.leader]
        leader = leaders[0] if leaders and _leads(images, leaders[0], truth, seen, where) else None
        fusion = Fusion.learn(images, truth, where, leader)
        fused = fusion.apply(images)
        residual = truth - fused
        ring = learn_ring(residual, seen, where)
        filled = fused + apply_ring(residual, seen, ring)
        filled = np.where(seen, truth, filled).astype(np.float32)
        errors = ErrorModel.learn(images, filled, truth, seen, where)
        scores = {
            "registration_correlation": structure_correlation(average, truth, where),
            "rehearsal_correlation": structure_correlation(filled, truth, where),
            "rehearsal_psnr": psnr(blur(filled, 2.0), blur(truth, 2.0), where, 255.0),
        }
        return cls(fusion, ring, errors, scores)

    def fuse(self, images: Sequence[FloatImage]) -> FloatImage:
        """Return the fused image, (H, W) float32."""
        if self.fusion is None:
            return np.mean(images, axis=0, dtype=np.float32)
        return self.fusion.apply(images)

    def correct(self, fused: FloatImage, section: FloatImage, known: BoolImage) -> FloatImage:
        """Return the fused image with the residual at the rim carried into the hole."""
        if self.ring is None:
            return fused
        residual = np.where(known, section - fused, 0).astype(np.float32)
        return fused + apply_ring(residual, known, self.ring)


def _leads(
    images: Sequence[FloatImage],
    leader: int,
    truth: FloatImage,
    seen: BoolImage,
    where: BoolImage,
) -> bool:
    """Return whether one hypothesis alone fills the holes better than all others together.

    Both with the residual at the rim carried in, which gains little for one that has looked at
    the rim already.
    """
    errors = []
    for chosen in ([images[leader]], [*images[:leader], *images[leader + 1 :]]):
        fused = Fusion.learn(chosen, truth, where).apply(chosen)
        residual = truth - fused
        filled = fused + apply_ring(residual, seen, learn_ring(residual, seen, where))
        off = blur(np.where(seen, 0, filled - truth).astype(np.float32), 2.0)
        errors.append(float(np.mean(off[where] ** 2)))
    return errors[0] < errors[1]


def structure_correlation(image: FloatImage, truth: FloatImage, where: BoolImage) -> float:
    """Return the correlation of the structure (2 px low-pass) of two images; 0 if constant."""
    a, b = blur(image, 2.0)[where], blur(truth, 2.0)[where]
    if float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
