"""Dark membranes are told from bright ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_flowinpaint.core.io.polarity import contrast_polarity
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack


def cells(depth: int = 3, edge: int = 200) -> np.ndarray:
    """Dark membranes around cells of random brightness."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(4)
    tree = cKDTree(rng.uniform(0, edge, (40, 2)))
    distance, owner = tree.query(np.indices((edge, edge)).reshape(2, -1).T, k=2)
    membrane = np.diff(distance, axis=1)[:, 0].reshape(edge, edge) < 4
    grey = rng.uniform(90, 220, 40)[owner[:, 0]].reshape(edge, edge)
    grey[membrane] = 60
    return np.stack([grey + rng.normal(0, 15, grey.shape) for _ in range(depth)])


def test_polarity() -> None:
    grey = cells().clip(0, 255)
    assert contrast_polarity(Stack.from_array(grey.astype("uint8"))) == "dark membranes"
    assert contrast_polarity(Stack.from_array((255 - grey).astype("uint8"))) == "bright membranes"
    signed = ((128 - grey) * 100).astype("int16")
    assert contrast_polarity(Stack.from_array(signed)) == "bright membranes"
    holed = grey.astype("float32") * 1e-3
    holed[:, :50] = np.nan
    assert contrast_polarity(Stack.from_array(holed)) == "dark membranes"
    assert contrast_polarity(Stack.from_array(np.zeros((2, 9, 9), "uint8"))) == "dark membranes"


def test_polarity_of_real_stacks(real_stack: Path) -> None:
    for path in sorted(real_stack.parent.glob("*.tif")):
        stack = open_stack(path)
        assert contrast_polarity(stack) == "dark membranes", path.name
        sample = np.stack([stack.read(z) for z in range(0, stack.shape[0], 6)])
        inverted = Stack.from_array(255 - sample)
        assert contrast_polarity(inverted) == "bright membranes", path.name
