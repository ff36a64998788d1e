"""Smooth random images; imported by the tests."""

from __future__ import annotations

import cv2
import numpy as np


def texture(shape: tuple[int, int] = (256, 256), seed: int = 0, sigma: float = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return (128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.float32)
