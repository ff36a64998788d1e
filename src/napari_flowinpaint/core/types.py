"""Words and types shared by everything in :mod:`napari_flowinpaint.core`.

Conventions, valid throughout the package:

* a *stack* has axes ``zyx``; a *section* is one z plane, ``(Y, X)``;
* a *mask* is bool and **True means damaged, to be replaced**;
* coordinates are pixels of the full-resolution level, order ``(y, x)``;
* grey values inside the engine are float32 in the stack's own units (0..255 for a uint8
  stack), never rescaled to 0..1 behind the caller's back;
* ``alpha`` is the axial position of the section between its neighbours,
  ``(z - z_previous) / (z_following - z_previous)``: 0 at the previous, 1 at the following;
* a *flow* is ``(2, H, W)`` float32 in pixels, order ``(dy, dx)``, "sample the source at
  ``x + flow(x)``"; NaN means unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .box import BoolImage as BoolImage
from .box import Box as Box

FloatImage = npt.NDArray[np.float32]
IntImage = npt.NDArray[np.int32]
AnyImage = npt.NDArray[Any]
VoxelSize = tuple[float, float, float]

#: ``progress(fraction, message)`` with ``0 <= fraction <= 1``. A job is cancelled by raising
#: :class:`~napari_flowinpaint.core.errors.Cancelled` from this callback.
Progress = Callable[[float, str], None]


def no_progress(fraction: float, message: str) -> None:
    """Report to nobody (the default of every ``progress`` argument)."""


def to_dtype(image: FloatImage, dtype: np.dtype) -> AnyImage:
    """Round and clip grey values into ``dtype``; float32 stays as it is."""
    if dtype.kind == "f":
        return image.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(image), limits.min, limits.max).astype(dtype)
