"""References: the section interpolated between its guides, and registration to what it shows.

All images are in working grey values
(:class:`~napari_flowinpaint.core.reference.guides.GreyMapping`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..parallel import together
from ..types import BoolImage, FloatImage
from .guides import Guide
from .optical_flow import Flow, estimate_flow, extrapolate, warp

#: Patches for the flow between neighbours where that is all there is.
SMOOTH_PATCH = 16


def initial_reference(guides: list[Guide]) -> FloatImage:
    """Return the initial reference: the section interpolated between its guides (3.1).

    Nothing else is known of the section here, so the flow is a smooth one: single places where it
    goes wrong cost more than detail gains.
    """
    return interpolate(guides, flows_between(guides, SMOOTH_PATCH))


def flows_between(guides: list[Guide], patch: int = 8) -> list[Flow]:
    """Return, for each of two guides, the flow that samples it *part* of the way to the other.

    The section lies ``share`` of the way from a guide, so the guide is sampled at ``share``
    times the flow from the other one to it (FlowInpaint eq. 1 and 2 with any alpha; a flow is
    taken to be the same along its short path). One guide alone gets no flow. For ``patch`` see
    :func:`~napari_flowinpaint.core.reference.optical_flow.estimate_flow`.
    """
    if len(guides) == 1:
        return [np.zeros((2, *guides[0].aligned.shape), dtype=np.float32)]
    first, second = (guide.aligned for guide in guides)
    both = guides[0].shown & guides[1].shown
    if not both.all():
        # where only one shows tissue nothing pulls the flow: it follows its surroundings
        first = np.where(guides[0].shown, first, second)
        second = np.where(guides[1].shown, second, first)
    ways = [
        partial(estimate_flow, second, first, patch=patch),
        partial(estimate_flow, first, second, patch=patch),
    ]
    flows = together(ways)
    if not both.all():
        flows = [extrapolate(flow, both) for flow in flows]
    return [guide.share * flow for guide, flow in zip(guides, flows, strict=True)]


def sample_all(guides: list[Guide], flows: Sequence[Flow]) -> list[FloatImage]:
    """Sample every guide through its flow; where only one of two shows tissue, both get it."""
    pairs = list(zip(guides, flows, strict=True))
    samples = [guide.sample(flow) for guide, flow in pairs]
    return complete(samples, [guide.damaged(flow) for guide, flow in pairs])


def complete(samples: list[FloatImage], damaged: Sequence[BoolImage]) -> list[FloatImage]:
    """Return two images of the same, the gaps of each filled from the other.

    Parameters
    ----------
    samples
        One or two, (H, W) float32.
    damaged
        (H, W) bool each, where they show nothing.
    """
    if len(samples) < 2 or not (damaged[0].any() or damaged[1].any()):
        return samples
    first, second = samples
    alone = damaged[0] & ~damaged[1], damaged[1] & ~damaged[0]
    return [np.where(alone[0], second, first), np.where(alone[1], first, second)]


def interpolate(guides: list[Guide], flows: list[Flow]) -> FloatImage:
    """Return the section interpolated between its guides (FlowInpaint eq. 3).

    The nearer guide weighs more. Equation 3 gives the previous section the weight alpha, which
    is the same for alpha = 0.5, the paper's only case; at alpha = 0, where the section *is* the
    previous one, it has to be 1 - alpha. Where one of them shows nothing, the other is all there
    is.
    """
    samples = sample_all(guides, flows)
    if len(samples) == 1:
        return samples[0]
    first, second = guides
    total = first.share + second.share
    mixed = (second.share * samples[0] + first.share * samples[1]) / total
    return np.asarray(mixed, dtype=np.float32)


def seen_by_any(guides: list[Guide], flows: Sequence[Flow], known: BoolImage) -> BoolImage:
    """Return which known pixels at least one guide shows, (H, W) bool."""
    if all(guide.valid.all() for guide in guides):
        return known
    gone = [guide.damaged(flow) for guide, flow in zip(guides, flows, strict=True)]
    return known & ~np.logical_and.reduce(gone)


def comparable(target: FloatImage, guide: Guide, flow: Flow) -> FloatImage:
    """Return the target, made to agree with a guide where this shows nothing: no pull there."""
    if guide.shown.all():
        return target
    gone = warp(guide.shown.astype(np.float32), flow) < 0.99
    return np.where(gone, warp(guide.aligned, flow), target)


def register(target: FloatImage, known: BoolImage, source: FloatImage, rounds: int = 2) -> Flow:
    """Register a source to the known pixels of a target; the flow is continued into the rest.

    The hidden pixels are filled with the source itself, so they pull nowhere, and the flow
    found there is thrown away: what lies under the mask never leaks into the estimate.

    Parameters
    ----------
    target, source
        (H, W) float32, working grey values.
    known
        (H, W) bool, the pixels of the target that are looked at.
    rounds
        How often it is done, each time with the hole filled by what the last flow says. A
        neighbour gains from the second round, nothing from a third; what is nearly in place
        already, as the interpolation between aligned neighbours is, gains nothing from either.
    """
    flow: Flow | None = None
    for _ in range(rounds):
        stand_in = source if flow is None else warp(source, flow)
        found = estimate_flow(np.where(known, target, stand_in), source, flow)
        flow = extrapolate(found, known)
    assert flow is not None
    return flow
