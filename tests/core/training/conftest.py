"""Small stacks and networks that tests of training share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from textures import texture

from napari_flowinpaint.core.networks.joint import SIZES, JointConfig

Shape = tuple[int, int]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower with several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny_joint(monkeypatch: pytest.MonkeyPatch) -> JointConfig:
    """The joint network of the size "tiny", which a plan may ask for."""
    config = JointConfig(channels=(8, 16, 16), radii=(2, 2), hidden=16, fusion=(16, 16), deep=16)
    monkeypatch.setitem(SIZES, "tiny", config)
    return config


@pytest.fixture
def drifting(tmp_path: Path) -> Callable[[int, int, Shape, Shape], str]:
    """Write sections of a texture that drifts by some pixels a section; return the path."""

    def write(depth: int, step: int, shape: Shape, base: Shape) -> str:
        image = texture(base, sigma=3)
        rows, columns = shape
        sections = [image[:rows, step * z : step * z + columns] for z in range(depth)]
        path = tmp_path / "drift.tif"
        tifffile.imwrite(path, np.stack(sections).astype(np.uint8))
        return str(path)

    return write


@pytest.fixture
def unrelated(tmp_path: Path) -> Callable[..., str]:
    """Write sections that have nothing in common; return the path."""

    def write(depth: int, shape: Shape, sigma: float = 3, dtype: str = "float32") -> str:
        sections = [texture(shape, seed=z, sigma=sigma) for z in range(depth)]
        path = tmp_path / "stack.tif"
        tifffile.imwrite(path, np.stack(sections).astype(dtype))
        return str(path)

    return write
