"""The first estimate of a gap: what lies between its two faces.

A block is ``(D, H, W)`` float32: ``D`` layers across the gap, each ``(H, W)`` along it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..filters import blur
from ..types import BoolImage, FloatImage
from .optical_flow import Flow, warp

#: Gaussian that smooths the grain before motion is estimated, voxels (standard deviation).
_SMOOTH = 1.5
#: Grey values of motion estimation: mean, and what a standard deviation becomes.
_MIDDLE, _SPREAD = 128.0, 40.0
#: Where nothing is known across the gap, a Gaussian average of the surroundings is taken: its
#: standard deviation, voxels, and the weight below which it counts as unknown.
_AROUND, _LEAST_WEIGHT = 4.0, 0.01
#: Least side that DIS accepts, voxels; smaller faces are padded with their edges.
_LEAST = 24


def between(before: FloatImage, after: FloatImage, width: int) -> tuple[FloatImage, FloatImage]:
    """Move the faces of a gap into its layers, along the motion from one to the other.

    Parameters
    ----------
    before, after
        (H, W) float32, the last layer before the gap and the first one after it, normalised.
    width
        Layers that are missing.

    Returns
    -------
    from_before, from_after
        (width, H, W) float32, every layer as predicted from one face and from the other.
    """
    dis, images = _dis(), [_ready(face) for face in (before, after)]
    height, breadth = before.shape
    here = (slice(None), slice(height), slice(breadth))
    to_before = _flow(dis.calc(images[1], images[0], None))[here]
    to_after = _flow(dis.calc(images[0], images[1], None))[here]
    steps = [(np.float32(t), np.float32(1 - t)) for t in shares(width)]
    return (
        np.stack([warp(before, t * to_before) for t, _ in steps]),
        np.stack([warp(after, rest * to_after) for _, rest in steps]),
    )


def shares(width: int) -> FloatImage:
    """Return where the layers of a gap lie between its faces, 0..1."""
    return (np.arange(1, width + 1) / (width + 1)).astype(np.float32)


def _dis() -> Any:
    import cv2

    # OpenCV's type stubs lack it
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]


def _ready(face: FloatImage) -> np.ndarray[Any, np.dtype[np.uint8]]:
    smooth = blur(face, _SMOOTH) * _SPREAD + _MIDDLE
    padding = [(0, max(_LEAST - side, 0)) for side in face.shape]
    return np.pad(np.clip(np.rint(smooth), 0, 255).astype(np.uint8), padding, mode="edge")


def _flow(xy: Any) -> Flow:
    return np.ascontiguousarray(xy[..., ::-1].transpose(2, 0, 1), dtype=np.float32)


def fill_columns(block: FloatImage, missing: BoolImage) -> FloatImage:
    """Interpolate missing voxels linearly across the layers, between the nearest known ones.

    Where only one side is known, its value is taken; columns of which nothing is known get the
    mean of their surroundings in the same layer, or 0.

    Parameters
    ----------
    block
        (D, H, W) float32.
    missing
        (D, H, W) bool.
    """
    if not missing.any():
        return block
    depth = len(block)
    number = np.arange(depth, dtype=np.int32)[:, None, None]
    below = np.maximum.accumulate(np.where(missing, -1, number), axis=0)
    above = np.minimum.accumulate(np.where(missing, depth, number)[::-1], axis=0)[::-1]
    lower = np.take_along_axis(block, np.clip(below, 0, None), axis=0)
    upper = np.take_along_axis(block, np.clip(above, None, depth - 1), axis=0)
    lower, upper = np.where(below < 0, upper, lower), np.where(above == depth, lower, upper)
    share = (number - below) / np.maximum(above - below, 1)
    filled = lower + np.clip(share, 0, 1).astype(np.float32) * (upper - lower)
    nothing = (below < 0) & (above == depth)
    filled = np.where(missing, filled, block).astype(np.float32)
    if nothing.any():
        around = (~nothing[0]).astype(np.float32)
        weight = blur(around, _AROUND)
        for layer in filled:
            mean = blur(layer * around, _AROUND) / np.maximum(weight, _LEAST_WEIGHT)
            layer[nothing[0]] = mean[nothing[0]]
    return filled


def fill_gap(
    block: FloatImage, missing: BoolImage, first: int, width: int
) -> tuple[FloatImage, FloatImage]:
    """Fill everything in a block: its gap along the motion, the rest linearly.

    Parameters
    ----------
    block
        (D, H, W) float32, normalised.
    missing
        (D, H, W) bool, the gap included.
    first, width
        First missing layer of the gap, and how many there are; a layer is left on both sides.

    Returns
    -------
    filled
        (D, H, W), in the gap the mean of both faces' predictions, weighted by their distances.
    doubt
        (D, H, W), half of the difference between the two; 0 outside the gap.
    """
    filled, doubt = fill_columns(block, missing).copy(), np.zeros_like(block)
    inside = slice(first, first + width)
    by_before, by_after = between(filled[first - 1], filled[first + width], width)
    t = shares(width)[:, None, None]
    mean = (1 - t) * by_before + t * by_after
    filled[inside] = np.where(missing[inside], mean, filled[inside])
    doubt[inside] = np.where(missing[inside], (by_after - by_before) / 2, 0)
    return filled, doubt
