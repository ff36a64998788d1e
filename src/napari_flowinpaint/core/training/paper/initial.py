"""Initial references of training batches (FlowInpaint, eq. 1-3).

Farneback's flow with the paper's settings where OpenCV is at hand, else the iterative
Lucas-Kanade of scikit-image: a machine that only trains may have no OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...networks.blocks import warp
from ..data import TrainingBatch

#: (target, source), both uint8 (H, W) -> (2, H, W), order (dy, dx).
_Flow = Callable[[Any, Any], Any]


def initial_references(batch: TrainingBatch, flow: _Flow | None = None) -> Tensor:
    """Return the sections interpolated between their neighbours, (B, 1, H, W).

    Both neighbours are moved along the flow between them by their share of the way, and weighted
    by how near they are. (Eq. 3 gives each the other's weight; at its alpha of 0.5 that is the
    same.) Where one of them shows nothing, the other one is all there is.

    Parameters
    ----------
    batch
        Normalised images.
    flow
        Of two images; None is the best at hand.
    """
    flow = flow or _best_at_hand()
    previous, following = batch.neighbours
    grey = [_to_uint8(image) for image in batch.neighbours]
    back, forth = [], []
    for before, after in zip(*grey, strict=True):
        back.append(flow(after, before))  # following(x) = previous(x + back)
        forth.append(flow(before, after))
    alpha = batch.alpha.view(-1, 1, 1, 1)
    to_previous, to_following = (
        torch.from_numpy(np.stack(f)).float().to(alpha.device) for f in (back, forth)
    )
    flows = alpha * to_previous, (1 - alpha) * to_following
    first, second = warp(previous, flows[0]), warp(following, flows[1])  # eq. 1, 2
    mixed = (1 - alpha) * first + alpha * second  # eq. 3
    shown = [warp(valid, flow) > 0.99 for valid, flow in zip(batch.valid, flows, strict=True)]
    mixed = torch.where(shown[0] & ~shown[1], first, mixed)
    return torch.where(shown[1] & ~shown[0], second, mixed)


def _to_uint8(images: Tensor) -> Any:
    """Return (B, H, W) grey values of normalised images, for flow estimators that want them."""
    grey = (images[:, 0].float() * 40 + 128).clamp(0, 255)
    return grey.round().to(torch.uint8).cpu().numpy()


def _best_at_hand() -> _Flow:
    try:
        import cv2  # noqa: F401
    except ImportError:
        return lucas_kanade
    return farneback


def farneback(target: Any, source: Any) -> Any:
    """Return Farneback's flow, 3 levels, window 33."""
    import cv2

    xy = cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
        target, source, None, 0.5, 3, 33, 3, 7, 1.5, 0
    )
    return np.stack([xy[..., 1], xy[..., 0]])


def lucas_kanade(target: Any, source: Any) -> Any:
    """Return the iterative Lucas-Kanade flow of scikit-image, window 33."""
    from skimage.registration import optical_flow_ilk

    return np.asarray(optical_flow_ilk(target, source, radius=16))
