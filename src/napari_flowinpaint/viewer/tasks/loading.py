"""Open a stack, from a file or from a layer that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.types import Box, Progress, VoxelSize

if TYPE_CHECKING:
    from ...core.io.metadata import Metadata
    from ...core.io.stack import Stack

#: What a file may hold several of, by the option that chooses one, and what several are called.
CHOICES = {"dataset": "datasets", "channel": "channels", "time": "time points"}
#: Edge of the tiles from which the grey values of a stack are estimated.
_TILE = 256


@dataclass(frozen=True, eq=False)
class LoadedStack:
    """An opened stack and what a viewer needs to know to show it."""

    stack: Stack
    limits: tuple[float, float]
    polarity: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerSource:
    """Where the pixels of a layer come from: its file, if there is one, and its array."""

    path: str | None
    data: Any
    voxel_size: VoxelSize | None
    name: str
    metadata: Metadata | None = None


def load(
    path: str,
    *,
    dataset: str | None = None,
    channel: int | None = None,
    time: int | None = None,
    no_data: float | None = None,
    progress: Progress,
) -> LoadedStack:
    """Open a stack and look at a few tiles of it."""
    from ...core.io.polarity import contrast_polarity
    from ...core.open import open_stack

    progress(0.0, f"opening {path}")
    stack = open_stack(path, dataset=dataset, channel=channel, time=time, no_data=no_data)
    progress(0.5, "measuring grey values")
    return LoadedStack(stack, contrast_limits(stack), contrast_polarity(stack))


def contrast_limits(stack: Stack) -> tuple[float, float]:
    """Return sensible display limits from nine tiles in the first, middle and last section.

    Blank tiles and padding are left out, where there is anything else.
    """
    depth, height, width = stack.shape
    low, high = [], []
    for z in sorted({0, depth // 2, depth - 1}):
        for part in (1, 2, 3):
            y, x = (max(n * part // 4 - _TILE // 2, 0) for n in (height, width))
            box = Box(y, x, min(y + _TILE, height), min(x + _TILE, width))
            tile = stack.read(z, box)
            values = tile[stack.imaged(z, box, tile)]
            if values.size and values.min() < values.max():
                low.append(float(np.percentile(values, 0.2)))
                high.append(float(np.percentile(values, 99.8)))
    if not low or min(low) >= max(high):
        smallest, largest = stack.value_range
        return (smallest, largest) if np.isfinite(smallest) else (0.0, 1.0)
    return (min(low), max(high))


def open_layer(source: LayerSource, *, progress: Progress) -> Stack:
    """Return the stack behind a layer that some other reader opened.

    The file itself where it is a supported one and shows the same pixels, since that can be
    written to; else the layer's array.
    """
    from ...core.errors import FlowInpaintError
    from ...core.io.stack import Stack
    from ...core.open import open_stack

    progress(0.0, f"opening {source.name}")
    array = Stack.from_array(
        source.data,
        voxel_size=source.voxel_size,
        name=source.name,
        path=source.path,
        metadata=source.metadata,
    )
    if source.path is None:
        return array
    try:
        stack = open_stack(source.path, kept=False)
    except FlowInpaintError:
        return array  # the layer holds pixels all the same; they cannot be written in place
    if stack.shape == array.shape and stack.dtype == array.dtype and _same_pixels(stack, array):
        return open_stack(source.path)
    return array


def _same_pixels(first: Stack, second: Stack) -> bool:
    """Compare one tile in the middle: a file may hold several stacks of one shape."""
    depth, height, width = first.shape
    y, x = max((height - _TILE) // 2, 0), max((width - _TILE) // 2, 0)
    box = Box(y, x, min(y + _TILE, height), min(x + _TILE, width))
    a, b = (stack.read(depth // 2, box) for stack in (first, second))
    return bool(np.array_equal(a, b, equal_nan=first.dtype.kind == "f"))
