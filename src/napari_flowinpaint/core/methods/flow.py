"""``flow``: both references from optical flow, no training, no weights.

FlowInpaint (3.1 and 3.2) without its networks:

1. *initial reference*: the two neighbours, each warped part of the way along the flow between
   them, and averaged (eq. 1-3);
2. several *hypotheses* about the hidden pixels: each neighbour registered to the section's own
   intact pixels, its flow continued into the hole; the interpolation between the neighbours;
   that interpolation registered to the section (as eq. 4-6 do); each neighbour registered to
   the average of all these;
3. *refined reference*: their fusion, weighted per frequency band by what a rehearsal on the
   intact pixels of the same section teaches;
4. *result*: the residual at the rim carried into the hole, the seam closed, texture added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ..parallel import Start, beside, together, workers_for
from ..reference.fusion import Matrix
from ..reference.guides import (
    GreyMapping,
    Guide,
    further_guides,
    is_consecutive,
    unaligned_guides,
)
from ..reference.hypotheses import (
    Hypothesis,
    Source,
    flow_source,
    further_hypotheses,
    registered_average,
)
from ..reference.optical_flow import Flow
from ..reference.references import flows_between, initial_reference
from ..reference.rehearsal import Rehearsal, RehearsalResult
from ..reference.ring import close_seam
from ..repair_options import RepairOptions
from ..types import Box, FloatImage, Progress
from ..window import Window, WindowRepair
from .missing_section import is_missing, replace_missing, report_section
from .window_texture import with_texture

#: Makes a source of hypotheses from aligned guides and the flows between them.
SourceOf = Callable[[list[Guide], list[Flow]], Source]
#: Weights of the hypotheses, (bands, hypotheses), by the number of hypotheses.
Priors = Mapping[int, Matrix]


class FlowMethod:
    """Training-free repair from one or two neighbours."""

    name = "flow"
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
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.method.Method`."""
        return repair_by(flow_source, window, options, progress)


def repair_by(
    source_of: SourceOf,
    window: Window,
    options: RepairOptions,
    progress: Progress,
    otherwise: SourceOf | None = None,
    priors: Priors | None = None,
    reach: float = 0,
) -> WindowRepair:
    """Repair one window with hypotheses from any source; all other steps are the same.

    Parameters
    ----------
    source_of
        Returns, for aligned guides and the flows between them, the source of hypotheses, as
        :func:`~napari_flowinpaint.core.reference.hypotheses.flow_source` does.
    window, options, progress
        See :class:`~napari_flowinpaint.core.methods.method.Method`.
    otherwise
        The same, used instead where the rehearsal shows that the leader does not know such
        sections.
    priors
        Weights of the hypotheses that were learned on other sections of the stack.
    reach
        Largest displacement, in pixels, that the source finds without a coarse alignment.
    """
    if is_missing(window):
        return replace_missing(window, options, progress)
    greys = GreyMapping.of(window)
    report = partial(report_section, progress, window.z)
    section = greys.to_working(np.where(window.intact, window.section, 0))
    with beside(workers_for(window.mask.size) > 1) as start:
        sources = (source_of, otherwise)
        learned, hypotheses, initial = _register(
            sources, window, greys, section, options, report, start, priors or {}, reach
        )
        return _finish(learned, hypotheses, window, greys, section, initial, options, report, start)


def _register(
    sources: tuple[SourceOf, SourceOf | None],
    window: Window,
    greys: GreyMapping,
    section: FloatImage,
    options: RepairOptions,
    report: Callable[[float, str], None],
    start: Start,
    priors: Priors,
    reach: float,
) -> tuple[RehearsalResult, list[Hypothesis], Callable[[], FloatImage]]:
    """Return the result of the rehearsal, the hypotheses, and a callable for the initial reference.

    Hypotheses for the damage and for the holes of the rehearsal are made in one go.
    """
    rehearse = start(partial(Rehearsal.of, window, options.seed))
    guides = unaligned_guides(window, greys)
    report(0.02, "aligning the neighbours")
    aligned = together([partial(guide.align_to, section, window.intact, reach) for guide in guides])
    report(0.08, "interpolating between the neighbours")
    between = flows_between(aligned)
    report(0.16, "registering the neighbours")
    rehearsal = rehearse()
    source_of, otherwise = sources
    note = lambda share: report(0.2 + 0.5 * share, "registering")  # noqa: E731
    hypotheses = source_of(aligned, between)(section, rehearsal.seen, note)
    report(0.75, "learning from the rehearsal")
    initial = start(partial(initial_reference, guides))
    learned = rehearsal.learn(hypotheses, section)
    if not learned.trusted and otherwise is not None:
        note = lambda _: report(0.82, "registering")  # noqa: E731
        hypotheses = otherwise(aligned, between)(section, rehearsal.seen, note)
        report(0.82, "learning from the rehearsal")
        learned = rehearsal.learn(hypotheses, section)
    report(0.83, "registering the sections beyond")
    further = _beyond(learned, hypotheses, rehearsal, window, greys, section, reach)
    if further:
        hypotheses += further
        learned = rehearsal.learn(hypotheses, section, _prior(priors, window, len(hypotheses)))
    return learned, hypotheses, initial


def _beyond(
    learned: RehearsalResult,
    hypotheses: list[Hypothesis],
    rehearsal: Rehearsal,
    window: Window,
    greys: GreyMapping,
    section: FloatImage,
    reach: float,
) -> list[Hypothesis]:
    """Return hypotheses from the sections beyond the neighbours; none if nothing can be learned."""
    guides = further_guides(window, greys)
    if not guides or learned.fusion is None:
        return []
    aligned = together([partial(guide.align_to, section, window.intact, reach) for guide in guides])
    return further_hypotheses(aligned, section, rehearsal.seen, learned.fuse(hypotheses))


def hypotheses_of_window(
    source_of: SourceOf, window: Window, seed: int, reach: float = 0
) -> tuple[list[Hypothesis], GreyMapping]:
    """Return all hypotheses about a window as :func:`repair_by` makes them, and its grey values.

    Parameters
    ----------
    source_of
        As for :func:`repair_by`.
    window
        The window; of its section only the intact pixels are looked at.
    seed
        Of the rehearsal.
    reach
        As for :func:`repair_by`.
    """
    greys = GreyMapping.of(window)
    section = greys.to_working(np.where(window.intact, window.section, 0))
    rehearsal = Rehearsal.of(window, seed)
    guides = unaligned_guides(window, greys)
    aligned = [guide.align_to(section, window.intact, reach) for guide in guides]
    source = source_of(aligned, flows_between(aligned))
    hypotheses = source(section, rehearsal.seen, lambda _: None)
    learned = rehearsal.learn(hypotheses, section)
    further = _beyond(learned, hypotheses, rehearsal, window, greys, section, reach)
    return hypotheses + further, greys


def _prior(priors: Priors, window: Window, count: int) -> Matrix | None:
    """Return the prior weights of this many hypotheses: only for consecutive sections."""
    return priors.get(count) if is_consecutive(window) else None


def _finish(
    learned: RehearsalResult,
    hypotheses: list[Hypothesis],
    window: Window,
    greys: GreyMapping,
    section: FloatImage,
    initial: Callable[[], FloatImage],
    options: RepairOptions,
    report: Callable[[float, str], None],
    start: Start,
) -> WindowRepair:
    """Fuse, correct at the rim, add texture."""
    known = window.intact
    report(0.85, "fusing")
    images = [hypothesis.image for hypothesis in hypotheses if not hypothesis.further]
    relied = start(learned.rely)
    confident = start(lambda: relied().confidence(images, known))
    averaged = start(partial(registered_average, hypotheses, window.alpha))
    fused = learned.fuse(hypotheses)
    result = close_seam(learned.correct(fused, section, known), section, known)
    result = with_texture(result, section, known, window, options, error=relied().structure_error)
    confidence, registered = confident(), averaged()
    return WindowRepair(
        initial_reference=greys.to_stack(initial()),
        refined_reference=greys.to_stack(fused if registered is None else registered),
        result=greys.to_stack(result),
        confidence=np.where(window.mask, confidence, 1).astype(np.float32),
        scores=relied().scores_at(confidence, window.mask),
    )
