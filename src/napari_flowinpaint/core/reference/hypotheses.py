"""Hypotheses: what a section may show under its mask, according to each guide.

All images are in working grey values
(:class:`~napari_flowinpaint.core.reference.guides.GreyMapping`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..parallel import Report, reporting, together
from ..types import BoolImage, FloatImage
from .guides import Guide
from .optical_flow import Flow, compose, estimate_flow
from .references import comparable, complete, interpolate, register, sample_all, seen_by_any

#: Share of a neighbour that shows damage only, beside one that does not.
_LITTLE = 1e-6


@dataclass(frozen=True)
class Hypothesis:
    """One idea of what the section shows: a guide sampled through a flow.

    Parameters
    ----------
    image
        (H, W) float32, working grey values.
    damaged
        (H, W) bool, where nothing but damage is sampled.
    leader
        Whether this is a finished repair already (a network's), which may weigh as much as all
        others together.
    follows
        Whether it was made with the leader's help.
    further
        Whether it is of a section beyond the neighbours, which shows how the tissue curves.
    """

    image: FloatImage
    damaged: BoolImage
    leader: bool = False
    follows: bool = False
    further: bool = False

    @classmethod
    def of(cls, guide: Guide, flow: Flow, *, follows: bool = False) -> Hypothesis:
        """Sample a guide through a flow."""
        return cls(guide.sample(flow), guide.damaged(flow), follows=follows)

    @classmethod
    def completed(cls, pair: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Return hypotheses from two guides; where only one shows tissue, both use that one.

        ``damaged`` stays: nothing can be learned about a guide where it shows nothing.
        """
        images = complete([h.image for h in pair], [h.damaged for h in pair])
        return [replace(h, image=image) for h, image in zip(pair, images, strict=True)]

    def crop(self, part: tuple[slice, slice]) -> Hypothesis:
        """Return the hypothesis about a part of the window."""
        image = np.ascontiguousarray(self.image[part])
        return replace(self, image=image, damaged=self.damaged[part])


def registered_average(hypotheses: Sequence[Hypothesis], alpha: float) -> FloatImage | None:
    """Return what the neighbours show, registered with the leader's help (eq. 3, 6).

    Parameters
    ----------
    hypotheses
        About a section; of those made with a leader's help the first is of the previous
        neighbour, the second of the following one; or there is one, of the only neighbour.
    alpha
        Axial position between them. Where one of them shows damage only, the other counts alone.

    Returns
    -------
    FloatImage or None
        (H, W) float32, working grey values; None where nothing was made with a leader's help.
    """
    pair = [hypothesis for hypothesis in hypotheses if hypothesis.follows]
    if len(pair) == 1:
        return pair[0].image
    if len(pair) != 2:
        return None
    shares = [
        np.where(h.damaged, _LITTLE, share).astype(np.float32)
        for h, share in zip(pair, (1 - alpha, alpha), strict=True)
    ]
    total = pair[0].image * shares[0] + pair[1].image * shares[1]
    return np.asarray(total / (shares[0] + shares[1]), dtype=np.float32)


#: Makes hypotheses about a section from it, the pixels it may look at, and a callback for its
#: progress.
Source = Callable[[FloatImage, BoolImage, Report], list[Hypothesis]]


def flow_source(guides: list[Guide], between: list[Flow]) -> Source:
    """Return what makes hypotheses by optical flow alone.

    Parameters
    ----------
    guides
        One or two, aligned.
    between
        See :func:`flows_between`.
    """
    return partial(hypothesise, guides, between)


def hypothesise(
    guides: list[Guide],
    between: list[Flow],
    section: FloatImage,
    known: BoolImage,
    report: Report,
) -> list[Hypothesis]:
    """Return every hypothesis about the section, looking only at its ``known`` pixels.

    Parameters
    ----------
    guides
        One or two, aligned.
    between
        See :func:`flows_between`.
    section
        (H, W) float32, working grey values.
    known
        (H, W) bool.
    report
        Called with the share that is done, 0..1.
    """

    def onto(guide: Guide, note: Report) -> Flow:
        flow = register(section, known & guide.shown, guide.aligned)
        note(1.0)
        return flow

    own = reporting([partial(onto, guide) for guide in guides], lambda share: report(0.5 * share))
    ways = [own]
    if len(guides) == 2:
        seen = seen_by_any(guides, between, known)
        middle = register(section, seen, interpolate(guides, between))
        ways += [between, [compose(middle, flow) for flow in between]]
    report(0.75)
    samples = [image for flows in ways for image in sample_all(guides, flows)]
    average = np.mean(samples, axis=0, dtype=np.float32)
    target = np.where(known, section, average)
    again = [
        partial(estimate_flow, comparable(target, guide, flow), guide.aligned, flow)
        for guide, flow in zip(guides, own, strict=True)
    ]
    hypotheses = [h for flows in ways for h in hypotheses_of(guides, flows)]
    hypotheses += hypotheses_of(guides, together(again))
    report(1.0)
    return hypotheses


def further_hypotheses(
    guides: Sequence[Guide], section: FloatImage, seen: BoolImage, fused: FloatImage
) -> list[Hypothesis]:
    """Return what sections beyond the neighbours show, registered to the section.

    Parameters
    ----------
    guides
        Aligned.
    section
        (H, W) float32, working grey values.
    seen
        (H, W) bool, its pixels that may be looked at.
    fused
        (H, W) float32, what the neighbours show: it stands for the others.
    """
    target = np.where(seen, section, fused)

    def made(guide: Guide) -> Hypothesis:
        flow = estimate_flow(np.where(guide.shown, target, guide.aligned), guide.aligned)
        return replace(Hypothesis.of(guide, flow), further=True)

    return Hypothesis.completed(together([partial(made, guide) for guide in guides]))


def hypotheses_of(guides: list[Guide], flows: Sequence[Flow]) -> list[Hypothesis]:
    """Return the hypotheses of guides, each sampled through its flow."""
    made = [Hypothesis.of(guide, flow) for guide, flow in zip(guides, flows, strict=True)]
    return Hypothesis.completed(made)
