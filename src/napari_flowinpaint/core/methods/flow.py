"""``flow``: both references from optical flow, no training, no weights.

The way of FlowInpaint (3.1 and 3.2) without its networks:

1. *initial reference*: the two neighbours, each warped part of the way along the flow between
   them, and averaged (eq. 1-3);
2. several *hypotheses* about the hidden pixels: each neighbour registered to the section's own
   intact pixels, its flow continued into the hole; the interpolation between the neighbours;
   that interpolation registered to the section (as eq. 4-6 do); each neighbour registered to
   the average of all these;
3. *refined reference*: their fusion, weighted per frequency band by what a rehearsal on the
   intact pixels of the same section teaches;
4. *result*: the residual at the rim carried into the hole, the seam closed, grain added.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import RepairRefused
from ..flow import Flow
from ..fusion import FEWEST_SAMPLES, close_seam, rehearsal_holes
from ..grain import add_grain
from ..references import (
    Greys,
    Guide,
    Hypothesis,
    Source,
    flows_between,
    hypothesise,
    interpolate,
    neighbours_of,
    unaligned_guides,
)
from ..rehearsal import Lesson
from ..types import Box, FloatImage, Progress, RepairOptions, Window, WindowRepair

#: Fewer intact pixels than this cannot be registered to.
FEWEST_INTACT = 256
#: Below this correlation of the registered neighbours with the section (2 px low-pass) they show
#: something else. Real series, aligned as badly as they come, stay above 0.32, also with one
#: neighbour only; unrelated neighbours reach 0.2 in the median.
_LEAST_CORRELATION = 0.25


class FlowMethod:
    """Training-free repair from one or two neighbours."""

    name = "flow"
    description = "Training-free: neighbours registered by optical flow and fused"
    neighbours = 1
    weights_sha256: str | None = None

    def ready(self) -> bool:
        """Return True: nothing is needed."""
        return True

    def halo(self, damage: Box) -> int:
        """Return the context around a damaged box: half as wide as the damage, 96 to 256 px."""
        return int(np.clip(max(damage.shape) // 2, 96, 256))

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.base.Method`."""
        return repair_by(hypothesise, window, options, progress)


def repair_by(
    source: Source, window: Window, options: RepairOptions, progress: Progress
) -> WindowRepair:
    """Repair one window with hypotheses from any source; all other steps are the same.

    Parameters
    ----------
    source
        Makes the hypotheses, as :func:`~napari_flowinpaint.core.references.hypothesise` does.
    window, options, progress
        See :class:`~napari_flowinpaint.core.methods.base.Method`.
    """
    greys = Greys.of(window)
    progress(0.02, f"section {window.z}: interpolating between the neighbours")
    guides = unaligned_guides(window, greys)
    between = flows_between(guides)
    initial = interpolate(guides, between)
    if window.intact.sum() < FEWEST_INTACT:
        return fall_back(window, greys.back(initial))
    progress(0.12, f"section {window.z}: aligning the neighbours")
    section = greys.work(np.where(window.intact, window.section, 0))
    aligned = [guide.align_to(section, window.intact) for guide in guides]
    if any((a.affine != g.affine).any() for a, g in zip(aligned, guides, strict=True)):
        between = flows_between(aligned)
    return _refine(source, window, greys, section, initial, aligned, between, options, progress)


def fall_back(window: Window, reference: FloatImage) -> WindowRepair:
    """Take the initial reference where no intact pixel can tell more (a missing section)."""
    confidence = np.where(window.mask, 0.5, 1).astype(np.float32)
    return WindowRepair(reference, reference, reference, confidence)


def _refine(
    source: Source,
    window: Window,
    greys: Greys,
    section: FloatImage,
    initial: FloatImage,
    guides: list[Guide],
    between: list[Flow],
    options: RepairOptions,
    progress: Progress,
) -> WindowRepair:
    """Rehearse, fill, correct at the rim, add grain."""

    def report(fraction: float, message: str) -> None:
        progress(fraction, f"section {window.z}: {message}")

    known = window.intact
    lesson = _rehearse(source, window, section, guides, between, options, report)
    hypotheses = source(
        section, known, guides, between, lambda s: report(0.5 + 0.35 * s, "registering")
    )
    report(0.85, "fusing")
    images = [hypothesis.image for hypothesis in hypotheses]
    fused = lesson.fuse(images)
    result = lesson.correct(fused, section, known)
    result = close_seam(result, section, known)
    if options.grain:
        report(0.95, "matching the grain")
        result = add_grain(result, _lender(window, hypotheses), section, window.mask, known)
    confidence = lesson.errors.confidence(images, known)
    return WindowRepair(
        initial_reference=greys.back(initial),
        refined_reference=greys.back(fused),
        result=greys.back(result),
        confidence=np.where(window.mask, confidence, 1).astype(np.float32),
        scores=lesson.scores,
    )


def _rehearse(
    source: Source,
    window: Window,
    section: FloatImage,
    guides: list[Guide],
    between: list[Flow],
    options: RepairOptions,
    report: Callable[[float, str], None],
) -> Lesson:
    """Learn from filling holes whose content is known; refuse if even that fails."""
    known = window.intact
    holes = rehearsal_holes(window.mask, known, options.seed)
    if holes.sum() < FEWEST_SAMPLES:
        return Lesson.untaught(section, known)
    rehearsed = source(
        section, known & ~holes, guides, between, lambda s: report(0.2 + 0.3 * s, "rehearsing")
    )
    lesson = Lesson.learn(rehearsed, section, known, holes)
    check_registration(window, lesson.scores.get("registration_correlation", 1.0))
    return lesson


def check_registration(window: Window, correlation: float) -> None:
    """Refuse neighbours that show something else than the section.

    Parameters
    ----------
    window
        The window.
    correlation
        Of the registered neighbours with the section where it is known but was not looked at,
        after a 2 px low-pass.

    Raises
    ------
    RepairRefused
        If that is too low.
    """
    if correlation < _LEAST_CORRELATION:
        neighbours = " and ".join(str(n.z) for n in neighbours_of(window))
        raise RepairRefused(
            f"section {window.z} cannot be registered to its neighbour(s) {neighbours}: "
            f"afterwards they correlate with its intact pixels by {correlation:.2f} only (at "
            f"least {_LEAST_CORRELATION} is needed); check the alignment of the stack, or mark "
            "the neighbours as damaged"
        )


def _lender(window: Window, hypotheses: list[Hypothesis]) -> FloatImage:
    """Return the image that lends its grain: the nearer neighbour, finally registered.

    The last hypotheses, one per neighbour, are each a single sample of a neighbour; averages
    have lost their grain.
    """
    both = window.previous is not None and window.following is not None
    return hypotheses[-2 if both and window.alpha <= 0.5 else -1].image
