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
4. *result*: the residual at the rim carried into the hole, the seam closed, texture added.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..filters import blur
from ..parallel import Report, Start, beside, together, workers_for
from ..reference.fusion import close_seam
from ..reference.optical_flow import Flow
from ..reference.references import (
    SMOOTH_PATCH,
    GreyMapping,
    Guide,
    Hypothesis,
    Source,
    flow_source,
    flows_between,
    initial_reference,
    interpolate,
    nearer,
    registered_average,
    unaligned_guides,
)
from ..reference.rehearsal import Rehearsal, RehearsalResult
from ..reference.texture import add_texture
from ..types import BoolImage, Box, FloatImage, Progress, RepairOptions, Window, WindowRepair

#: Fewer intact pixels than this cannot be registered to.
FEWEST_INTACT = 256
#: Differences of registered neighbours, relative to their variance, at which a network's image of a
#: section halfway between them is as good as their interpolation. Found on training sections: slabs
#: of 1 to 9 sections of FIB-SEM at 10 and 40 nm, one or two missing serial sections.
_EQUAL_TRUST = 0.35


#: Makes a source of hypotheses from aligned guides and the flows between them.
SourceOf = Callable[[list[Guide], list[Flow]], Source]
#: Makes a section of which nothing is known from two guides, telling how far it is.
Blind = Callable[[list[Guide], Report], FloatImage]


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
    blind: Blind | None = None,
) -> WindowRepair:
    """Repair one window with hypotheses from any source; all other steps are the same.

    Parameters
    ----------
    source_of
        Returns, for aligned guides and the flows between them, what makes the hypotheses, as
        :func:`~napari_flowinpaint.core.reference.references.flow_source` does.
    window, options, progress
        See :class:`~napari_flowinpaint.core.methods.method.Method`.
    otherwise
        The same, used instead where the rehearsal shows that the leader knows nothing of such
        sections.
    blind
        Makes the section where it is missing as a whole, from both neighbours; None: it is
        interpolated between them.
    """
    greys = GreyMapping.of(window)
    report = partial(_report_section, progress, window.z)
    if window.intact.sum() < FEWEST_INTACT:
        return _replace_missing(window, greys, options, report, blind)
    section = greys.to_working(np.where(window.intact, window.section, 0))
    with beside(workers_for(window.mask.size) > 1) as start:
        sources = (source_of, otherwise)
        learned, hypotheses, initial = _register(
            sources, window, greys, section, options, report, start
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
) -> tuple[RehearsalResult, list[Hypothesis], Callable[[], FloatImage]]:
    """Return what the rehearsal taught, the hypotheses, and what makes the initial reference.

    Hypotheses for the damage and for the holes of the rehearsal are made in one go.
    """
    rehearse = start(partial(Rehearsal.of, window, options.seed))
    guides = unaligned_guides(window, greys)
    report(0.02, "aligning the neighbours")
    aligned = together([partial(guide.align_to, section, window.intact) for guide in guides])
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
    return learned, hypotheses, initial


def _report_section(progress: Progress, z: int, fraction: float, message: str) -> None:
    """Report the progress of a section."""
    progress(fraction, f"section {z}: {message}")


def _replace_missing(
    window: Window,
    greys: GreyMapping,
    options: RepairOptions,
    report: Callable[[float, str], None],
    blind: Blind | None,
) -> WindowRepair:
    """Make a section of which no intact pixel is left: nothing can be rehearsed on it."""
    report(0.02, "interpolating between the neighbours")
    guides = unaligned_guides(window, greys)
    flows = flows_between(guides, SMOOTH_PATCH)
    initial = reference = interpolate(guides, flows)
    if blind is not None and len(guides) == 2:
        note = lambda share: report(0.2 + 0.7 * share, "registering the neighbours")  # noqa: E731
        trust = trust_in_network(guides, flows)
        image = blind(guides, note)
        reference = np.asarray(initial + trust * (image - initial), dtype=np.float32)
    report(0.95, "adding texture")
    return fall_back(window, greys, initial, reference, nearer(guides), options)


def trust_in_network(guides: list[Guide], flows: Sequence[Flow]) -> np.float32:
    """Return the weight, 0..1, of a network's image of a missing section against interpolation.

    The network's image is a little blurred however near the neighbours are; the error of an
    interpolation grows with what they differ by once they are registered to each other, and with
    the distance to the nearer one. So next to a neighbour, and in slabs of an isotropic volume,
    the interpolation counts; in the middle between sections that differ the network does.
    """
    first, second = (
        blur(guide.sample(flow), 2.0) for guide, flow in zip(guides, flows, strict=True)
    )
    variance = float(first.var() + second.var()) / 2
    nearness = 2 * min(guide.share for guide in guides)
    error = nearness**2 * float(np.mean((first - second) ** 2)) / max(variance, 1e-12)
    return np.float32(error**2 / (error**2 + _EQUAL_TRUST**2))


def fall_back(
    window: Window,
    greys: GreyMapping,
    initial: FloatImage,
    reference: FloatImage,
    like: Guide,
    options: RepairOptions,
) -> WindowRepair:
    """Take a reference where no intact pixel can tell more (a missing section).

    There is no section to be like either: its texture is that of the nearer neighbour.

    Parameters
    ----------
    window, greys, options
        The window, its working grey values, and how it is repaired.
    initial, reference
        Initial reference, and what is taken, (H, W) float32, working grey values.
    like
        The nearer neighbour.
    """
    result = with_texture(reference, like.image, like.valid, window, options)
    return WindowRepair(
        initial_reference=greys.to_stack(initial),
        refined_reference=greys.to_stack(reference),
        result=greys.to_stack(result),
        confidence=np.where(window.mask, 0.5, 1).astype(np.float32),
    )


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
    images = [hypothesis.image for hypothesis in hypotheses]
    relied = start(learned.rely)
    confident = start(lambda: relied().confidence(images, known))
    averaged = start(partial(registered_average, hypotheses, window.alpha))
    fused = learned.fuse(images)
    result = close_seam(learned.correct(fused, section, known), section, known)
    result = with_texture(result, section, known, window, options)
    confidence, registered = confident(), averaged()
    return WindowRepair(
        initial_reference=greys.to_stack(initial()),
        refined_reference=greys.to_stack(fused if registered is None else registered),
        result=greys.to_stack(result),
        confidence=np.where(window.mask, confidence, 1).astype(np.float32),
        scores=relied().scores_at(confidence, window.mask),
    )


def with_texture(
    filled: FloatImage,
    like: FloatImage,
    known: BoolImage,
    window: Window,
    options: RepairOptions,
) -> FloatImage:
    """Return a prediction with the texture that was asked for; every window has its own noise."""
    # another noise in every window; where the window lies says how much padding there is
    seed = (options.seed, window.z, zlib.crc32(np.packbits(window.mask).tobytes()))
    return add_texture(filled, like, window.mask, known, texture=options.texture, seed=seed)
