"""Progressive reconstruction (algorithm 1 of the paper): a hole is closed from its rim inwards.

The network paints the hole; of that a rim is then taken as known, the hole is smaller, and the
network paints the rest again, until the hole is less than a fifth of the image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .separation import SeparationNetwork
from .smooth_fill import smooth_fill

#: Side of the square by which the known pixels grow from round to round (section III D).
KERNEL = 15
#: The rounds end when less than this share of the image is a hole, or after this many.
LEAST_SHARE, MOST_ROUNDS = 0.2, 10


def grow_known(known: Tensor, kernel: int = KERNEL) -> Tensor:
    """Dilate known pixels (B, 1, H, W; 1 = known) by a square of ``kernel`` (odd) pixels."""
    return F.max_pool2d(known, kernel, 1, kernel // 2)


def reconstruct(
    net: SeparationNetwork, section: Tensor, known: Tensor, kernel: int = KERNEL
) -> tuple[Tensor, int]:
    """Fill the holes of a section, round by round.

    The paper's loop, which as printed would not begin where the hole is small, always runs once;
    and what a round keeps is what was known *in that round*: as printed, ``I_gt`` would be needed
    where it does not exist.

    Parameters
    ----------
    net
        In evaluation mode.
    section
        (1, 1, H, W), normalised by its known pixels; holes are not looked at.
    known
        (1, 1, H, W), 1 where known. Sides are multiples of ``net.config.multiple``.
    kernel
        See :data:`KERNEL`.

    Returns
    -------
    filled : Tensor
        (1, 1, H, W) float32, ``section`` where it was known.
    rounds : int
        How many there were.
    """
    known = (known > 0.5).float()
    filled = smooth_fill(section, known)
    rounds = 0
    while rounds < MOST_ROUNDS:
        rounds += 1
        painted = net(smooth_fill(filled, known), known).float()
        filled = torch.where(known > 0, filled, painted)
        known = grow_known(known, kernel)
        if float(1 - known.mean()) < LEAST_SHARE:
            break
    return filled, rounds
