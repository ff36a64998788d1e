"""Where unfolded tissue can be trusted to be nearer to the truth than an interpolation.

Unfolded tissue is registered to the reference. A section may be shifted as a whole; any further
displacement is either its own deformation, or the tissue was moved to a wrong place, and is then
wrong by as much as the reference changes over that distance. An interpolation lacks the section's
own deformation too (a fraction of the deformation between the neighbours), and whatever no
registration explains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..filters import blur
from ..types import BoolImage, FloatImage
from .optical_flow import Flow, estimate_flow, warp

#: Squared error of interpolated tissue: shares of the squared change over the flow between the
#: neighbours, and of what registration does not explain.
_OWN, _UNEXPLAINED = 0.3, 0.4
#: If less than this share of the moved tissue is trusted, none is. These and the extent
#: were chosen on 128 simulated folds (arcs, winding ones, cut corners, straight ones) in the
#: training sections of larval VNC, ISBI 2012, mouse brain SBEM and FIB-SEM at 40 nm.
_LEAST = 0.8
#: Where the fold is not known to have moved anything, tissue counts as wrong only if its squared
#: error is this many times larger: in true sections that is 0 to 1 % of it.
_SURER = 2.0
#: Standard deviation of the Gaussian that both are averaged in, pixels.
_EXTENT = 48.0
#: They are averaged at a resolution reduced by this factor.
_SHRINK = 8


def untrusted(
    unfolded: FloatImage, seen: BoolImage, reference: FloatImage, between: Flow, moved: BoolImage
) -> BoolImage:
    """Return where tissue is worse than an interpolation.

    Where most of what was moved is, all of it counts as such, and so does tissue that was left in
    its place although the fold has displaced it.

    Parameters
    ----------
    unfolded, reference
        (H, W) float32, working grey values.
    seen
        (H, W) bool, where the unfolded section shows tissue.
    between
        (2, H, W) float32, pixels, from one neighbour to the other.
    moved
        (H, W) bool, the tissue that was moved.
    """
    image = np.where(seen, unfolded, reference).astype(np.float32)
    off = estimate_flow(reference, image, patch=16)
    shift = np.median(off[:, seen], axis=1) if seen.any() else np.zeros(2)
    bent = off - shift.astype(np.float32)[:, None, None]
    low = blur(reference, 2.0)
    wrong, bent_wrong, own = (
        (low - blur(warp(reference, flow), 2.0)) ** 2 for flow in (off, bent, between)
    )
    wrong = np.minimum(wrong, bent_wrong)  # whether or not the whole section is shifted
    allowed = _OWN * own + _UNEXPLAINED * (low - blur(warp(image, off), 2.0)) ** 2
    right = _averaged(np.where(seen & moved, wrong - allowed, 0)) < 0
    if moved.any() and right[moved].mean() >= _LEAST:
        return np.asarray(moved & ~right)
    doubt = 1.0 if moved.any() else _SURER
    left = _averaged(np.where(seen & ~moved, wrong - doubt * allowed, 0)) > 0
    return np.asarray(moved | left)


def _averaged(image: npt.NDArray[np.floating[Any]]) -> FloatImage:
    """Return an image averaged in a wide Gaussian."""
    import cv2

    height, width = image.shape
    size = (max(width // _SHRINK, 1), max(height // _SHRINK, 1))
    small = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    border = cv2.BORDER_CONSTANT
    small = cv2.GaussianBlur(small, (0, 0), _EXTENT / _SHRINK, borderType=border)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
