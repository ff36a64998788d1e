"""``flowinpaint``: a network registers both neighbours at once and fuses them.

The network (:mod:`napari_flowinpaint.core.networks.joint`) predicts an image of the section, and
the flows from it to the neighbours. Optical flow then registers each neighbour to the
section with its hole filled by that image, which is sharper, and the interpolation between the
neighbours to the section's intact pixels, which needs no network. How much each of them counts at
each scale is learned from the rehearsal on the section's own intact pixels, as in ``flow``.
Where the network alone does better there than all others together, it leads: it weighs as much as
they do. Where it does worse than the hypotheses made without it, it does not know such tissue, and
``flow`` repairs the window. Where a section is missing as a whole, there is nothing to rehearse on:
it is predicted from the two neighbours, registered to each other, by the same network with weights
trained for that.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..networks.registration import register_jointly
from ..networks.released import JOINT, MISSING, load_priors
from ..parallel import Report, together, workers_for
from ..reference.guides import Guide
from ..reference.hypotheses import Hypothesis, Source, flow_source
from ..reference.optical_flow import Flow, compose, estimate_flow
from ..reference.references import comparable, interpolate, register, seen_by_any
from ..repair_options import RepairOptions
from ..types import BoolImage, FloatImage, Progress
from ..window import Window, WindowRepair
from .flow import SourceOf, repair_by
from .learned import LearnedMethod
from .missing_section import is_missing, replace_missing

if TYPE_CHECKING:
    from ..networks.joint import JointNet

#: Where more than this share of a window is missing, the repair relies mainly on the network: it
#: then averages this many rotated and mirrored copies. That takes four to five times as long, and
#: gains about 0.1 dB where half of a window is missing, less where less is.
MUCH = 0.4
_VIEWS = 8
#: The same where nothing is left of the section. Missing sections are large.
_VIEWS_BLIND = 4
#: Largest displacement, in pixels, that the network finds by itself. Without the resampling of a
#: coarse alignment, 30 % holes in the training sections gain 0.01 (ssTEM) to 0.14 dB (FIB-SEM).
#: With 16 they gained more, but other sections lost.
REACH = 8.0


class FlowInpaintMethod(LearnedMethod):
    """Learned repair from two neighbours; see the module's description."""

    name = "flowinpaint"
    architecture = "joint"
    shipped = JOINT

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.method.Method`.

        Raises
        ------
        InputError
            Where the weights are missing or not what their card describes.
        """
        from ..device import resolve_device

        device = resolve_device(device)
        missing = is_missing(window)
        net: JointNet = self.network(options, device, MISSING if missing else None)
        given = (net, device, window.alpha, _views(window, options))
        if missing:
            return replace_missing(window, options, progress, partial(_made_blind, *given))
        chosen = self.file(options)
        priors = {} if chosen is None else load_priors(chosen)
        source_of = partial(_source_of, *given)
        return repair_by(source_of, window, options, progress, flow_source, priors, REACH)


def _views(window: Window, options: RepairOptions) -> int:
    """Return how many rotated and mirrored copies of a window the network predicts."""
    if options.views is not None:
        return options.views
    if is_missing(window):
        return _VIEWS_BLIND
    return _VIEWS if window.mask.mean() > MUCH else 1


def source_of_network(net: JointNet, device: str, alpha: float) -> SourceOf:
    """Return what makes hypotheses with a network; see :func:`.flow.repair_by`."""
    return partial(_source_of, net, device, alpha, 1)


def _source_of(
    net: JointNet, device: str, alpha: float, views: int, guides: list[Guide], between: list[Flow]
) -> Source:
    """Return what makes hypotheses with a network from two aligned guides, and the flows between.

    The network's image; the interpolation between the neighbours, registered to the section's
    known pixels, as two samples; and each neighbour registered to the section with its hole
    filled by the network's image, starting from the network's flow.
    """
    first, second = guides
    middle = interpolate(guides, between)

    def source(section: FloatImage, known: BoolImage, report: Report) -> list[Hypothesis]:
        found = register_jointly(
            net,
            section,
            known,
            (first.aligned, second.aligned),
            (first.shown, second.shown),
            alpha,
            device=device,
            views=views,
            report=lambda share: report(0.7 * share),
        )
        damaged = [g.damaged(flow) for g, flow in zip(guides, found.flows, strict=True)]
        hypotheses = [Hypothesis(found.image, np.logical_and(*damaged), leader=True)]
        target = np.where(known, section, found.image)
        onto, *flows = together(
            [
                partial(register, section, seen_by_any(guides, between, known), middle, rounds=1),
                *(
                    partial(estimate_flow, comparable(target, guide, flow), guide.aligned, flow)
                    for guide, flow in zip(guides, found.flows, strict=True)
                ),
            ]
        )
        report(0.9)
        samples = [
            *(partial(_interpolated, g, onto, f) for g, f in zip(guides, between, strict=True)),
            *(
                partial(Hypothesis.of, g, f, follows=True)
                for g, f in zip(guides, flows, strict=True)
            ),
        ]
        made = together(samples, workers_for(known.size))
        return [*hypotheses, *Hypothesis.completed(made[:2]), *Hypothesis.completed(made[2:])]

    return source


def _made_blind(
    net: JointNet, device: str, alpha: float, views: int, guides: list[Guide], report: Report
) -> FloatImage:
    """Return the network's image of a section that is missing as a whole."""
    first, second = guides
    found = register_jointly(
        net,
        first.aligned,
        np.zeros(first.shown.shape, dtype=bool),
        (first.aligned, second.aligned),
        (first.shown, second.shown),
        alpha,
        device=device,
        report=report,
        views=views,
    )
    return found.image


def _interpolated(guide: Guide, onto: Flow, flow: Flow) -> Hypothesis:
    return Hypothesis.of(guide, compose(onto, flow))
