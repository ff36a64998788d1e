"""Texture in a gap, and how much of the structure it may cost.

Noise is drawn for a whole window and cut to the gap. Cutting it to a narrow stripe gives it coarse
scales; and where nearly all of the structure was predicted, as in clean tissue, even little of them
costs as much as the prediction had gained over an interpolation. So the coarse part of the added
texture is removed again until it costs much less than was gained.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..filters import blur
from ..metrics import STRUCTURE_SIGMA
from ..repair_options import RepairOptions
from ..types import BoolImage, FloatImage
from ..window import Window
from .window_texture import with_texture

#: Squared error of the structure that texture may add: as a share of that error (less than 0.1 dB),
#: and as a share of the gain over an interpolation.
_MOST, _OF_GAIN = 0.015, 0.25
#: How often the coarse part is taken away at most; by then next to nothing is left of it.
_PASSES = 6


class Told(NamedTuple):
    """Result of the rehearsal of a gap: see :class:`~.gap_filling.FilledGap`.

    Parameters
    ----------
    certainty, gain
        0..1, means over the gap.
    """

    certainty: float
    gain: float


def gap_texture(
    filled: FloatImage,
    like: FloatImage,
    known: BoolImage,
    window: Window,
    options: RepairOptions,
    along: int | None,
    told: Told,
) -> FloatImage:
    """Return a filled gap with the requested texture.

    Parameters
    ----------
    filled
        (H, W) float32, the prediction.
    like, known
        (H, W) float32 and bool: what it should look like, and where.
    window, options
        What is repaired, and how.
    along
        The axis along a narrow stripe; None for missing sections.
    told
        Result of the rehearsal of the gap.
    """
    mask = window.mask
    # what is cut to a narrow stripe has less of its power in the structure
    kept = float(np.mean(blur(mask.astype(np.float32), STRUCTURE_SIGMA)[mask] ** 2))
    power = float(blur(like, STRUCTURE_SIGMA)[known].var()) * kept
    missed = (1 - told.certainty) * power
    result = with_texture(filled, like, known, window, options, along, error=missed)
    if options.texture != "noise":
        return result
    texture = np.where(mask, result - filled, 0)
    allowed = min(_MOST * missed, _OF_GAIN * told.gain * power)
    return filled + without_structure(texture, mask, allowed)


def without_structure(texture: FloatImage, mask: BoolImage, allowed: float) -> FloatImage:
    """Return texture under a mask with no more power in the structure than allowed.

    Parameters
    ----------
    texture
        (H, W) float32, 0 outside the mask.
    mask
        (H, W) bool.
    allowed
        Squared grey values, after the low-pass of the structure PSNR.
    """
    for _ in range(_PASSES):
        low = blur(texture, STRUCTURE_SIGMA)
        if np.mean(low[mask] ** 2) <= allowed:
            break
        texture = texture - np.where(mask, low, 0)
    return texture
