"""``unfold-paper``: undo a support film fold by the networks of its paper.

"Learning to restore ssTEM images from deformation and corruption" (2020), section 4.2:

1. *interpolation*: a kernel prediction network makes the section from its neighbours;
2. *unfolding*: a U-Net finds the flow that moves the section's own tissue back against that
   reference, the dark line covered (the paper's regularisation);
3. *fusion*: another one joins both.

For comparison with ``unfold``, which finds the displacement without training and leaves the grey
values of the tissue it moves as they are. Here everything that is written went through the fusion
network, so none of it is marked as displaced tissue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import RepairRefused
from ..filters import blur
from ..networks.released import FOLD
from ..reference.fold_distance import line_distance
from ..repair_options import RepairOptions
from ..types import BoolImage, Box, FloatImage, Progress
from ..window import Displaced, Window, WindowRepair
from .learned import LearnedMethod
from .unfold import LEAST_DISPLACEMENT, UnfoldMethod, fade

if TYPE_CHECKING:
    from ..networks.fold.restoration import FoldNetwork, Restored

#: The unfolded section has to correlate with the interpolated one by this much (2 px low-pass).
_LEAST_CORRELATION = 0.2
#: Confidence of moved tissue, and of what was swallowed.
_MOVED, _LOST = 0.9, 0.5


class PaperUnfoldMethod(LearnedMethod):
    """Learned unfolding; see the module's description."""

    name = "unfold-paper"
    architecture = "fold"
    shipped = FOLD
    gates_itself = True
    moves_tissue = True

    def halo(self, damage: Box) -> int:
        """Return the context around a fold's line: as for ``unfold``."""
        return UnfoldMethod().halo(damage)

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.method.Method`.

        Raises
        ------
        InputError
            Where the weights are missing, not what their card describes, or of another network.
        """
        from ..device import resolve_device
        from ..networks.fold.restoration import restore_fold

        device = resolve_device(device)
        net: FoldNetwork = self.network(options, device)
        assert window.previous is not None
        assert window.following is not None
        progress(0.1, f"section {window.z}: unfolding")
        restored = restore_fold(
            net,
            window.section,
            line_distance(window.mask),
            (window.previous.image, window.following.image),
            (window.previous.valid, window.following.valid),
            known=window.intact,
            fade=fade(window),
            device=device,
        )
        correlation = _correlation(restored)
        if options.gate == "refuse" and correlation < _LEAST_CORRELATION:
            raise RepairRefused(
                f"section {window.z} cannot be unfolded: afterwards it agrees with its neighbours "
                f"by {correlation:.2f} only (at least {_LEAST_CORRELATION} is needed); check the "
                "alignment of the stack, or mark the neighbours as damaged"
            )
        return _repair(restored, window, correlation)


def _repair(restored: Restored, window: Window, correlation: float) -> WindowRepair:
    """Return the repair: the networks' output within the zone."""
    moved = np.hypot(*restored.flow)
    zone = (moved > LEAST_DISPLACEMENT) | restored.lost | window.mask
    zone &= window.intact | window.mask  # where nothing was imaged, nothing is repaired
    fused = np.clip(restored.fused, *window.value_range).astype(np.float32)
    stitched = np.where(restored.lost, restored.reference, restored.unfolded)
    confidence = np.where(zone, np.where(restored.lost, _LOST, _MOVED), 1)
    return WindowRepair(
        initial_reference=restored.reference,
        refined_reference=stitched.astype(np.float32),
        result=np.where(zone, fused, window.section).astype(np.float32),
        confidence=confidence.astype(np.float32),
        scores={
            "fold_displacement": float(moved[~restored.lost].max(initial=0.0)),
            "fold_correlation": correlation,
        },
        displaced=Displaced(np.zeros_like(zone), zone, restored.flow),
    )


def _correlation(restored: Restored) -> float:
    """Return how much the unfolded section correlates with the interpolated one."""
    kept: BoolImage = ~restored.lost
    if kept.sum() < 2:
        return 0.0
    images: list[FloatImage] = [
        blur(image, 2.0)[kept] for image in (restored.unfolded, restored.reference)
    ]
    spread = [float(image.std()) for image in images]
    if min(spread) <= 0:
        return 0.0
    return float(np.mean(np.prod([i - i.mean() for i in images], axis=0)) / np.prod(spread))
