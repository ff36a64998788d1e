"""``flowinpaint``: the training-free method, with a network's repair beside its hypotheses.

The network (:mod:`napari_flowinpaint.core.networks.joint`) registers both neighbours to the
damaged section at once and fuses them. Its image joins the hypotheses of ``flow``; how much each
is believed, at each scale, is learned from the rehearsal on the section's own intact pixels, as
ever. Where the network alone does better there than all others together it leads: it weighs as
much as they do. So a network that has never seen such tissue is outvoted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ..flow import Flow, warp_affine
from ..networks.registration import register_jointly
from ..networks.released import JOINT, load_released, released
from ..references import Guide, Hypothesis, hypothesise
from ..types import BoolImage, Box, FloatImage, Progress, RepairOptions, Window, WindowRepair
from .flow import FlowMethod, repair_by


class FlowInpaintMethod:
    """Learned repair from two neighbours."""

    name = "flowinpaint"
    description = (
        "Learned: a network registers both neighbours jointly; fused with flow's hypotheses"
    )
    neighbours = 2

    def __init__(self) -> None:
        self.weights_sha256: str | None = None

    def ready(self) -> bool:
        """Return whether the weights are installed."""
        return released() is not None

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
        from ..device import resolve_device

        path = released()
        if path is None:
            raise InputError(
                f"the weights {JOINT} are not installed; reinstall the package, or choose "
                "method 'flow', which needs none"
            )
        device = resolve_device(device)
        net, self.weights_sha256 = load_released(path, device)

        def source(
            section: FloatImage,
            known: BoolImage,
            guides: list[Guide],
            between: list[Flow],
            report: Callable[[float], None],
        ) -> list[Hypothesis]:
            own = hypothesise(section, known, guides, between, lambda s: report(0.5 * s))
            shown = [_shown(guide) for guide in guides]
            found = register_jointly(
                net,
                section,
                known,
                (guides[0].aligned, guides[1].aligned),
                (shown[0], shown[1]),
                window.alpha,
                device=device,
                report=lambda s: report(0.5 + 0.5 * s),
            )
            damaged = [g.damaged(flow) for g, flow in zip(guides, found.flows, strict=True)]
            return [Hypothesis(found.image, np.logical_and(*damaged), leader=True), *own]

        return repair_by(source, window, options, progress)


def _shown(guide: Guide) -> BoolImage:
    """Return where an aligned guide shows tissue."""
    if guide.valid.all():
        return guide.valid
    return warp_affine(guide.valid.astype(np.float32), guide.affine) > 0.99
