"""Optical flow: estimate, extrapolate, warp.

A flow is ``(2, H, W)`` float32 in pixels, order ``(dy, dx)``, on the grid of the *target*:
``target(x) = source(x + flow(x))``.
"""

from __future__ import annotations

import numpy as np

from .types import FloatImage


def to_uint8(image: FloatImage, low: float, high: float) -> np.ndarray:
    """Stretch grey values ``low..high`` to 0..255."""
    scale = 255.0 / max(high - low, 1e-12)
    return np.clip((image - low) * scale, 0, 255).astype(np.uint8)


def estimate_flow(target: FloatImage, source: FloatImage) -> FloatImage:
    """Return the flow on the target's grid, ``target(x) = source(x + flow(x))`` (DIS)."""
    import cv2

    low, high = np.percentile(target, (0.5, 99.5))
    low_s, high_s = np.percentile(source, (0.5, 99.5))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    xy = dis.calc(to_uint8(target, low, high), to_uint8(source, low_s, high_s), None)
    return np.ascontiguousarray(xy[..., ::-1].transpose(2, 0, 1))


def warp(source: FloatImage, flow: FloatImage) -> FloatImage:
    """Return ``source(x + flow(x))``, bilinear, edges replicated."""
    import cv2

    rows, columns = np.indices(source.shape, dtype=np.float32)
    return cv2.remap(
        source, columns + flow[1], rows + flow[0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
