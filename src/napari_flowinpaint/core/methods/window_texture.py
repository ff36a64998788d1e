"""The texture of one window, as requested."""

from __future__ import annotations

import zlib

import numpy as np

from ..reference.texture import add_texture
from ..repair_options import RepairOptions
from ..types import BoolImage, FloatImage
from ..window import Window


def with_texture(
    filled: FloatImage,
    like: FloatImage,
    known: BoolImage,
    window: Window,
    options: RepairOptions,
    along: int | None = None,
    error: float | None = None,
) -> FloatImage:
    """Return a prediction with the requested texture; every window has its own noise.

    ``along`` and ``error`` are as for
    :func:`~napari_flowinpaint.core.reference.texture.add_texture`.
    """
    # noise differs from window to window, but not with their place, which depends on padding
    seed = (options.seed, window.z, zlib.crc32(np.packbits(window.mask).tobytes()))
    return add_texture(
        filled,
        like,
        window.mask,
        known,
        texture=options.texture,
        seed=seed,
        along=along,
        error=error,
    )
