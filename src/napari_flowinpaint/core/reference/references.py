"""References: what the neighbours say about the hidden pixels of a section.

Everything here works in *working grey values*: tissue stretched to about 16..239 whatever the
dtype, each neighbour brought to the section's brightness and contrast (:class:`GreyMapping`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..parallel import Report, reporting, together
from ..types import BoolImage, Box, FloatImage, Neighbour, Window
from .optical_flow import (
    IDENTITY,
    Affine,
    Flow,
    align,
    apply_affine,
    compose,
    estimate_flow,
    extrapolate,
    warp,
    warp_affine,
)

_LOW, _HIGH = 16.0, 239.0
#: Smaller differences of grey values are none: float32 cannot bring them to working ones.
_SMALLEST = 1e-30
#: Share of a neighbour that shows damage only, beside one that does not.
_LITTLE = 1e-6
#: Patches for the flow between neighbours where that is all there is.
SMOOTH_PATCH = 16


@dataclass(frozen=True)
class GreyMapping:
    """The map between a stack's grey values and working grey values.

    Parameters
    ----------
    gain, offset
        ``working = grey * gain + offset``.
    mean, deviation
        Of the section's intact pixels, in the stack's grey values; None where nothing is
        intact.
    """

    gain: float
    offset: float
    mean: float | None
    deviation: float | None

    @classmethod
    def of(cls, window: Window) -> GreyMapping:
        """Measure a window: on its intact pixels, or on its neighbours where it has none."""
        own = window.section[window.intact]
        shown = (
            own if own.size else np.concatenate([n.image[n.valid] for n in neighbours_of(window)])
        )
        low, high = (float(v) for v in np.percentile(shown, (0.5, 99.5)))
        gain = (_HIGH - _LOW) / (high - low) if high - low > _SMALLEST else 1.0
        if own.size == 0 or float(own.std()) <= _SMALLEST:
            return cls(gain, _LOW - low * gain, None, None)
        return cls(gain, _LOW - low * gain, float(own.mean()), float(own.std()))

    def to_working(self, image: FloatImage) -> FloatImage:
        """Turn the stack's grey values into working ones."""
        return (image * np.float32(self.gain) + np.float32(self.offset)).astype(np.float32)

    def match(self, neighbour: Neighbour) -> FloatImage:
        """Bring a neighbour to the section's mean and contrast, in working grey values."""
        shown = neighbour.image[neighbour.valid]
        if self.mean is None or self.deviation is None or float(shown.std()) <= _SMALLEST:
            return self.to_working(neighbour.image)
        scale = self.deviation / float(shown.std())
        return self.to_working((neighbour.image - float(shown.mean())) * scale + self.mean)

    def to_stack(self, image: FloatImage) -> FloatImage:
        """Turn working grey values into the stack's."""
        return ((image - np.float32(self.offset)) / np.float32(self.gain)).astype(np.float32)


def neighbours_of(window: Window) -> list[Neighbour]:
    """Return the neighbours of a window that are there, previous first."""
    return [n for n in (window.previous, window.following) if n is not None]


@dataclass(frozen=True)
class Guide:
    """A neighbour that guides a repair.

    Parameters
    ----------
    image
        (H, W) float32, working grey values.
    valid
        (H, W) bool, False where the neighbour itself is damaged or was not imaged.
    share
        How far the section lies from this neighbour on the way to the other one, 0..1.
    affine
        Coarse alignment with the section.
    aligned
        The image sampled through it, in the part of the window that is looked at.
    shown
        The same of ``valid``.
    """

    image: FloatImage
    valid: BoolImage
    share: float
    affine: Affine
    aligned: FloatImage
    shown: BoolImage

    def sample(self, flow: Flow) -> FloatImage:
        """Sample the original image through a flow into the aligned one (interpolates once)."""
        return warp(self.image, apply_affine(self.affine, flow))

    def damaged(self, flow: Flow) -> BoolImage:
        """Return where the sampled pixels are damaged ones of the neighbour."""
        if self.valid.all():
            return np.zeros(flow.shape[1:], dtype=bool)
        shown = warp(self.valid.astype(np.float32), apply_affine(self.affine, flow))
        return shown < 0.99

    def align_to(self, section: FloatImage, known: BoolImage) -> Guide:
        """Return the guide coarsely aligned to the known pixels of a section."""
        affine = align(section, self.image, known, self.valid)
        if np.array_equal(affine, self.affine):
            return self
        shown = self.valid
        if not shown.all():
            shown = warp_affine(shown.astype(np.float32), affine) > 0.99
        return replace(self, affine=affine, aligned=warp_affine(self.image, affine), shown=shown)

    def crop(self, part: Box) -> Guide:
        """Return the guide of a part of the window; it samples the same, whole image."""
        affine = self.affine.copy()
        affine[:, 2] += affine[:, :2] @ np.array([part.x0, part.y0], dtype=np.float32)
        aligned = np.ascontiguousarray(self.aligned[part.slices])
        shown = np.ascontiguousarray(self.shown[part.slices])
        return replace(self, affine=affine, aligned=aligned, shown=shown)


def nearer(guides: list[Guide]) -> Guide:
    """Return the guide that the section lies nearer to; the previous one of two as near."""
    return min(guides, key=lambda guide: guide.share)


def unaligned_guides(window: Window, greys: GreyMapping) -> list[Guide]:
    """Return the neighbours of a window as guides, where they lie in the stack."""
    shares = (window.alpha, 1 - window.alpha)
    guides = []
    for neighbour, share in zip((window.previous, window.following), shares, strict=True):
        if neighbour is not None:
            image = greys.match(neighbour)
            valid = neighbour.valid
            guides.append(Guide(image, valid, share, IDENTITY.copy(), image, valid))
    return guides


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
        # what only one shows pulls nowhere, and gets the flow of what is around it
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
    """Sample every guide through its flow; what only one of two shows, it shows for both."""
    pairs = list(zip(guides, flows, strict=True))
    samples = [guide.sample(flow) for guide, flow in pairs]
    return complete(samples, [guide.damaged(flow) for guide, flow in pairs])


def complete(samples: list[FloatImage], damaged: Sequence[BoolImage]) -> list[FloatImage]:
    """Return two images of the same with what one of them lacks taken from the other.

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
    """Return a target that agrees with what a guide does not show: that pulls its flow nowhere."""
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
    """

    image: FloatImage
    damaged: BoolImage
    leader: bool = False
    follows: bool = False

    @classmethod
    def of(cls, guide: Guide, flow: Flow, *, follows: bool = False) -> Hypothesis:
        """Sample a guide through a flow."""
        return cls(guide.sample(flow), guide.damaged(flow), follows=follows)

    @classmethod
    def completed(cls, pair: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Return hypotheses from two guides: what only one of these shows, it shows for both.

        ``damaged`` stays: nothing is to be learned about a guide where it shows nothing.
        """
        images = complete([h.image for h in pair], [h.damaged for h in pair])
        return [replace(h, image=image) for h, image in zip(pair, images, strict=True)]

    def crop(self, part: tuple[slice, slice]) -> Hypothesis:
        """Return what it says of a part of the window."""
        image = np.ascontiguousarray(self.image[part])
        return replace(self, image=image, damaged=self.damaged[part])


def registered_average(hypotheses: Sequence[Hypothesis], alpha: float) -> FloatImage | None:
    """Return what both neighbours show, registered with the leader's help (eq. 3, 6).

    Parameters
    ----------
    hypotheses
        About a section; of those made with a leader's help the first is of the previous
        neighbour, the second of the following one.
    alpha
        Axial position between them. Where one of them shows damage only, the other counts alone.

    Returns
    -------
    FloatImage or None
        (H, W) float32, working grey values; None where nothing was made with a leader's help.
    """
    pair = [hypothesis for hypothesis in hypotheses if hypothesis.follows]
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
        Called with the share that is done.
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


def hypotheses_of(guides: list[Guide], flows: Sequence[Flow]) -> list[Hypothesis]:
    """Return what guides say, each sampled through its flow."""
    made = [Hypothesis.of(guide, flow) for guide, flow in zip(guides, flows, strict=True)]
    return Hypothesis.completed(made)
