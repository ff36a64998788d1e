"""A small stack with a real fold, and a hole, for several tests."""

from __future__ import annotations

import numpy as np

from napari_flowinpaint.core.filters import blur
from napari_flowinpaint.core.kinds import KINDS
from napari_flowinpaint.core.simulation.fold import Fold, fold_section

#: The section with the fold, and the one with the hole.
FOLDED, HOLED = 2, 4


def tissue(seed: int = 0, size: int = 192, depth: int = 3) -> np.ndarray:
    """Return sections that change slowly, (Z, Y, X) uint8."""
    rng = np.random.default_rng(seed)
    fields = [blur(rng.standard_normal((size, size)).astype(np.float32), 3) for _ in range(2)]
    steps = np.arange(depth) - depth // 2
    mixed = np.stack([fields[0] + 0.15 * k * fields[1] for k in steps])
    return np.clip(128 + 45 * mixed / mixed.std(), 0, 255).astype(np.uint8)


def folded_stack() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the truth, the stack, and the labels of its damage, (7, 192, 192) uint8."""
    truth = tissue(depth=7)
    stack, labels = truth.copy(), np.zeros_like(truth)
    made = fold_section(truth[FOLDED], Fold(8, 36, 0.15), seed=0)
    stack[FOLDED] = made.image
    labels[FOLDED][made.line] = KINDS["fold"].label
    stack[HOLED, 60:90, 60:90] = 0
    labels[HOLED, 60:90, 60:90] = KINDS["hole"].label
    return truth, stack, labels
