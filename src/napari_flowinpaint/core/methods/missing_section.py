"""A section that is missing as a whole: it is made from its neighbours alone.

Nothing can be registered to it and nothing rehearsed on it. It is interpolated between the
neighbours, or predicted by a network where they differ; trends from section to section continue
through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..filters import blur
from ..parallel import Report
from ..reference.guides import (
    GreyMapping,
    Guide,
    further_guides,
    is_consecutive,
    nearer,
    unaligned_guides,
)
from ..reference.hypotheses import further_hypotheses
from ..reference.optical_flow import Flow
from ..reference.references import SMOOTH_PATCH, flows_between, interpolate
from ..repair_options import RepairOptions
from ..types import FloatImage, Progress
from ..window import Window, WindowRepair
from .window_texture import with_texture

#: Fewer intact pixels than this cannot be registered to.
FEWEST_INTACT = 256
#: Differences of registered neighbours, relative to their variance, at which a network's image of a
#: section halfway between them is as good as their interpolation. Found on training sections: slabs
#: of 1 to 9 sections of FIB-SEM at 10 and 40 nm, one or two missing serial sections.
_EQUAL_TRUST = 0.12
#: Squared error of a missing section, relative to that of its registered neighbours; on training
#: sections 0.18 (FIB-SEM at 40 nm) to 0.44 (ssTEM).
_ERROR = 0.3
#: Largest weight of the curvature of a missing section, the disagreement of its neighbours above
#: which it is zero, the decrease below that which gives it all, and the width, in pixels, of the
#: Gaussian below which there is no steady trend. Found on training sections: ssTEM (no gain),
#: FIB-SEM at 40 nm, SBEM.
_MOST_BEND, _NO_BEND, _LESS_BEND, _BEND_WIDTH = 0.22, 0.9, 0.3, 2.0

#: Makes a missing section from two guides; reports its progress.
Blind = Callable[[list[Guide], Report], FloatImage]


def is_missing(window: Window) -> bool:
    """Return whether hardly any pixel of a window is intact."""
    return bool(window.intact.sum() < FEWEST_INTACT)


def replace_missing(
    window: Window, options: RepairOptions, progress: Progress, blind: Blind | None = None
) -> WindowRepair:
    """Make a section without intact pixels: nothing can be rehearsed on it.

    Parameters
    ----------
    window, options, progress
        See :class:`~napari_flowinpaint.core.methods.method.Method`.
    blind
        Makes the section from both neighbours; None: it is interpolated between them.
    """
    greys = GreyMapping.of(window)
    report = partial(report_section, progress, window.z)
    report(0.02, "interpolating between the neighbours")
    guides = unaligned_guides(window, greys)
    flows = flows_between(guides, SMOOTH_PATCH)
    initial = reference = interpolate(guides, flows)
    error = None
    if len(guides) == 2:
        squared, variance = disagreement(guides, flows)
        error = _ERROR * squared
        if blind is not None:
            note = lambda share: report(0.2 + 0.6 * share, "registering the neighbours")  # noqa: E731
            differ = squared / variance
            image = blind(guides, note)
            trust = trust_in_network(guides, differ)
            reference = np.asarray(initial + trust * (image - initial), dtype=np.float32)
            report(0.8, "registering the sections beyond")
            reference = _bent(reference, window, greys, differ)
    report(0.95, "adding texture")
    return fall_back(window, greys, initial, reference, nearer(guides), options, error)


def disagreement(guides: list[Guide], flows: Sequence[Flow]) -> tuple[float, float]:
    """Return the mean squared difference of two registered neighbours, and their variance.

    Both are of the structure: after a Gaussian low-pass of 2 px.
    """
    first, second = (
        blur(guide.sample(flow), 2.0) for guide, flow in zip(guides, flows, strict=True)
    )
    variance = float(first.var() + second.var()) / 2
    return float(np.mean((first - second) ** 2)), max(variance, 1e-12)


def trust_in_network(guides: list[Guide], differ: float) -> np.float32:
    """Return the weight, 0..1, of a network's image of a missing section against interpolation.

    The network's image is a little blurred however near the neighbours are; the error of an
    interpolation grows with the difference that is left between the registered neighbours, and with
    the distance to the nearer one. So next to a neighbour, and in slabs of an isotropic volume, the
    interpolation counts; in the middle between sections that differ, the network does.

    Parameters
    ----------
    guides
        Both.
    differ
        The ratio of the two numbers of :func:`disagreement`.
    """
    nearness = 2 * min(guide.share for guide in guides)
    error = nearness**2 * differ
    return np.float32(error**2 / (error**2 + _EQUAL_TRUST**2))


def _bent(reference: FloatImage, window: Window, greys: GreyMapping, differ: float) -> FloatImage:
    """Return an image of a missing section with the curvature of the tissue through it.

    What changes steadily from section to section continues beyond the neighbours. A cubic through
    four sections gives the outer ones a third of negative weight; where registration is sure some
    of it gains, and where neighbours differ nothing does.
    """
    share = _MOST_BEND * float(np.clip((_NO_BEND - differ) / _LESS_BEND, 0, 1))
    guides = further_guides(window, greys)
    if share == 0 or not guides or not is_consecutive(window):
        return reference
    nothing, everything = np.zeros_like(window.mask), np.ones_like(window.mask)
    aligned = [guide.align_to(reference, everything) for guide in guides]
    beyond = further_hypotheses(aligned, reference, nothing, reference)
    bend = reference - np.mean([h.image for h in beyond], axis=0, dtype=np.float32)
    for hypothesis in beyond:
        bend[hypothesis.damaged] = 0
    return reference + np.float32(share) * blur(bend, _BEND_WIDTH)


def fall_back(
    window: Window,
    greys: GreyMapping,
    initial: FloatImage,
    reference: FloatImage,
    like: Guide,
    options: RepairOptions,
    error: float | None = None,
) -> WindowRepair:
    """Take a reference as the result where no intact pixel can improve it (a missing section).

    Its texture is that of the nearer neighbour, as there is no section to take it from.

    Parameters
    ----------
    window, greys, options
        The window, its working grey values, and how it is repaired.
    initial, reference
        Initial reference, and what is taken, (H, W) float32, working grey values.
    like
        The nearer neighbour.
    error
        Expected mean squared error of the structure; None if unknown.
    """
    result = with_texture(reference, like.image, like.valid, window, options, error=error)
    return WindowRepair(
        initial_reference=greys.to_stack(initial),
        refined_reference=greys.to_stack(reference),
        result=greys.to_stack(result),
        confidence=np.where(window.mask, 0.5, 1).astype(np.float32),
    )


def report_section(progress: Progress, z: int, fraction: float, message: str) -> None:
    """Report the progress of a section."""
    progress(fraction, f"section {z}: {message}")
