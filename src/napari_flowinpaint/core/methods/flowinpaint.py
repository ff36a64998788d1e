"""``flowinpaint``: a network registers both neighbours at once and fuses them.

The network (:mod:`napari_flowinpaint.core.networks.joint`) makes an image of the section, and
flows that say where the neighbours show it. Optical flow then registers each neighbour to the
section with its hole filled by that image, which is sharper, and the interpolation between the
neighbours to the section's intact pixels, which needs no network. How much all these are believed,
at each scale, is learned from the rehearsal on the section's own intact pixels, as in ``flow``.
Where the network alone does better there than all others together it leads: it weighs as much as
they do. Where it does worse than the hypotheses made without it, it knows nothing of such tissue,
and ``flow`` repairs the window.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..flow import Flow, compose, estimate_flow
from ..networks.registration import register_jointly
from ..networks.released import JOINT, load_any, load_released, released
from ..references import (
    Guide,
    Hypothesis,
    Source,
    flow_source,
    flows_between,
    interpolate,
    register,
)
from ..types import BoolImage, Box, FloatImage, Progress, RepairOptions, Window, WindowRepair
from .flow import FlowMethod, repair_by, runs_at_once

if TYPE_CHECKING:
    from ..networks.joint import JointNet


class FlowInpaintMethod:
    """Learned repair from two neighbours.

    Parameters
    ----------
    weights
        File of a joint network, with or without a card; None is the one that came with the
        package.
    """

    name = "flowinpaint"
    description = "Learned: a network registers both neighbours jointly; optical flow sharpens"
    neighbours = 2

    def __init__(self, weights: Path | None = None) -> None:
        self.weights = weights
        self.weights_sha256: str | None = None

    def ready(self) -> bool:
        """Return whether the weights are there."""
        return released() is not None if self.weights is None else self.weights.is_file()

    def halo(self, damage: Box) -> int:
        """Return the context around a damaged box: as for ``flow``."""
        return FlowMethod().halo(damage)

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.base.Method`.

        Raises
        ------
        InputError
            Where the weights are missing or not what their card describes.
        """
        from ..device import resolve_device, single_threaded

        device = resolve_device(device)
        chosen = Path(options.weights) if options.weights is not None else self.weights
        net = self._network(chosen, device)
        source_of = partial(_source_of, net, device, window.alpha, options.views)
        threads = single_threaded() if runs_at_once(window) else nullcontext()
        with threads:
            return repair_by(source_of, window, options, progress, otherwise=flow_source)

    def _network(self, weights: Path | None, device: str) -> JointNet:
        """Return the network; its checksum is remembered for the record."""
        path = weights or released()
        if path is None:
            raise InputError(
                f"the weights {JOINT} are not installed; reinstall the package, or choose "
                "method 'flow', which needs none"
            )
        load = load_released if weights is None else load_any
        net, self.weights_sha256 = load(path, device, "joint")
        return net


def _source_of(net: JointNet, device: str, alpha: float, views: int, guides: list[Guide]) -> Source:
    """Return what makes hypotheses with a network from two aligned guides.

    The network's image; the interpolation between the neighbours, registered to the section's
    known pixels, as two samples; and each neighbour registered to the section with its hole
    filled by the network's image, starting from the network's flow.
    """
    between = flows_between(guides)
    middle = interpolate(guides, between)

    def source(
        section: FloatImage, known: BoolImage, part: Box, report: Callable[[float], None]
    ) -> list[Hypothesis]:
        first, second = (guide.crop(part) for guide in guides)
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
        damaged = [g.damaged(flow) for g, flow in zip((first, second), found.flows, strict=True)]
        hypotheses = [Hypothesis(found.image, np.logical_and(*damaged), leader=True)]
        onto = register(section, known, np.ascontiguousarray(middle[part.slices]))
        report(0.8)
        for guide, flow in zip((first, second), between, strict=True):
            hypotheses.append(_sampled(guide, compose(onto, flow[:, *part.slices])))
        target = np.where(known, section, found.image)
        report(0.9)
        for guide, flow in zip((first, second), found.flows, strict=True):
            hypotheses.append(
                _sampled(guide, estimate_flow(target, guide.aligned, flow), follows=True)
            )
        return hypotheses

    return source


def _sampled(guide: Guide, flow: Flow, follows: bool = False) -> Hypothesis:
    return Hypothesis(guide.sample(flow), guide.damaged(flow), follows=follows)
