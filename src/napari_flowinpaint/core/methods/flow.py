"""``flow``: references from optical flow, no training, no weights."""

from __future__ import annotations

import numpy as np

from ..flow import estimate_flow, warp
from ..types import Box, Progress, RepairOptions, Window, WindowRepair


class FlowMethod:
    """Training-free repair from one or two neighbours."""

    name = "flow"
    description = "Training-free: neighbours registered by optical flow"
    neighbours = 1
    weights_sha256: str | None = None

    def halo(self, damage: Box) -> int:
        """Return the context around a damaged box, in pixels."""
        return int(np.clip(max(damage.shape) // 2, 64, 256))

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window."""
        progress(0.1, f"section {window.z}: optical flow")
        images = [n.image for n in (window.previous, window.following) if n is not None]
        if len(images) == 2:
            to_following = estimate_flow(images[0], images[1])
            to_previous = estimate_flow(images[1], images[0])
            a = window.alpha
            initial = (1 - a) * warp(images[0], a * to_previous) + a * warp(
                images[1], (1 - a) * to_following
            )
        else:
            initial = images[0]
        result = np.where(window.mask, initial, window.section).astype(np.float32)
        confidence = np.where(window.mask, 0.5, 1).astype(np.float32)
        progress(1.0, f"section {window.z}: done")
        return WindowRepair(initial, initial, result, confidence)
