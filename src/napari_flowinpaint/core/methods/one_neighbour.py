"""``one_neighbour``: a network repairs a section from its only usable neighbour.

The first and the last section of a stack, and those beside a long gap, have one usable neighbour.
The network (:mod:`napari_flowinpaint.core.networks.one.extend`, after Extend-GAN) registers it to
the section, and completes the section over that reference. Optical flow then registers the
neighbour once to the section's intact pixels alone, as ``flow`` does, and once to the section with
its hole filled by the network's image. How much each of the three counts at each scale is learned
from the rehearsal on the section's own intact pixels, as in ``flow`` and ``flowinpaint``; where the
network does worse there than the plain registration, it does not know such tissue, and ``flow``
repairs the window.

With two usable neighbours the method takes the one that shows more of the damage; if both show as
much, the nearer one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..networks.registration import register_jointly
from ..networks.released import ONE
from ..parallel import Report, together
from ..reference.guides import Guide
from ..reference.hypotheses import Hypothesis, Source, flow_source
from ..reference.optical_flow import Flow, estimate_flow
from ..reference.references import comparable, register
from ..repair_options import RepairOptions
from ..types import BoolImage, FloatImage, Progress
from ..window import Window, WindowRepair
from .flow import repair_by
from .learned import LearnedMethod

if TYPE_CHECKING:
    from ..networks.one.extend import ExtendNet

#: How many rotated and mirrored copies of a window the network predicts: 0.05 to 0.2 dB better on
#: the training sections, at three times the cost. Sections with one neighbour are few.
_VIEWS = 4


class OneNeighbourMethod(LearnedMethod):
    """Learned repair from one neighbour; see the module's description."""

    name = "one_neighbour"
    neighbours = 1
    most_neighbours = 1
    architecture = "one-neighbour"
    shipped = ONE

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
        net: ExtendNet = self.network(options, device)
        source_of = partial(_source_of, net, device, options.views or _VIEWS)
        return repair_by(source_of, _with_one(window), options, progress, flow_source)


def _with_one(window: Window) -> Window:
    """Return a window with only the nearer of two neighbours; of two as near, the previous."""
    if window.previous is None or window.following is None:
        return window
    if window.alpha <= 0.5:
        return replace(window, following=None)
    return replace(window, previous=None)


def _source_of(
    net: ExtendNet, device: str, views: int, guides: list[Guide], between: list[Flow]
) -> Source:
    """Return what makes hypotheses with a network from one aligned guide; ``between`` is empty."""
    (guide,) = guides

    def source(section: FloatImage, known: BoolImage, report: Report) -> list[Hypothesis]:
        nothing = np.zeros_like(guide.shown)
        found = register_jointly(
            net,
            section,
            known,
            (guide.aligned, guide.aligned),
            (guide.shown, nothing),
            0.5,
            device=device,
            views=views,
            report=lambda share: report(0.8 * share),
        )
        target = np.where(known, section, found.image)
        own, again = together(
            [
                partial(register, section, known & guide.shown, guide.aligned),
                partial(
                    estimate_flow,
                    comparable(target, guide, found.flows[0]),
                    guide.aligned,
                    found.flows[0],
                ),
            ]
        )
        report(1.0)
        return [
            Hypothesis(found.image, guide.damaged(found.flows[0]), leader=True),
            Hypothesis.of(guide, own),
            Hypothesis.of(guide, again, follows=True),
        ]

    return source
