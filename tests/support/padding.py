"""Padding as aligned stacks have it; imported by the tests."""

from __future__ import annotations

import numpy as np


def outside(
    shape: tuple[int, int], degrees: float, shift: tuple[float, float], inset: float
) -> np.ndarray:
    """Return where a section that was turned and shifted does not reach, (Y, X) bool."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width].astype(float)
    y, x = rows - height / 2 - shift[0], columns - width / 2 - shift[1]
    angle = np.deg2rad(degrees)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (abs(u) > width / 2 - inset) | (abs(v) > height / 2 - inset)
