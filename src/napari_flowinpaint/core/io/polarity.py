"""Tell dark membranes from bright ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ..types import AnyImage, Box
from .no_data import mirror_tissue

if TYPE_CHECKING:
    from .stack import Stack

Polarity = Literal["dark membranes", "bright membranes"]

_TILE = 256
_SIGMAS = (1.5, 2.0, 3.0)


def contrast_polarity(stack: Stack, *, sections: int = 3) -> Polarity:
    """Tell whether membranes are dark lines on bright cytoplasm or the other way round.

    Membranes are the lines of an EM image. The histogram does not tell (stained organelles fill
    any part of it), the strength of dark against bright lines does: eigenvalues of the Hessian.

    Parameters
    ----------
    stack
        The stack.
    sections
        How many sections to sample, spread over the depth; nine tiles of each, spread over it
        too: one tile may lie in a nucleus or in empty resin.

    Returns
    -------
    str
        ``"dark membranes"`` or ``"bright membranes"``; the former, which is by far the more
        common, also where there are no lines at all.
    """
    depth, height, width = stack.shape
    votes = [
        _dark_against_bright(_tissue(stack, z, tile))
        for z in _spread(depth - 1, sections)
        for y in _spread(max(height - _TILE, 0), 3)
        for x in _spread(max(width - _TILE, 0), 3)
        for tile in [Box(y, x, min(y + _TILE, height), min(x + _TILE, width))]
    ]
    return "bright membranes" if np.mean(votes) < 0 else "dark membranes"


def _tissue(stack: Stack, z: int, tile: Box) -> AnyImage:
    """Return the pixels of a tile, with tissue mirrored into where nothing was imaged."""
    pixels = stack.read(z, tile)
    return mirror_tissue(pixels, stack.imaged(z, tile, pixels))


def _spread(last: int, count: int) -> list[int]:
    """Return at most ``count`` different numbers, evenly from 0 to ``last``."""
    return sorted({int(n) for n in np.linspace(0, last, count).round()})


def _dark_against_bright(image: AnyImage) -> float:
    """Return the balance of dark and bright lines, -1 (all bright) to 1 (all dark)."""
    from scipy.ndimage import gaussian_filter

    grey = image.astype(np.float64)
    finite = np.isfinite(grey)
    if not finite.any():
        return 0.0
    grey[~finite] = np.median(grey[finite])
    dark = bright = 0.0
    for sigma in _SIGMAS:
        yy = gaussian_filter(grey, sigma, order=(2, 0))
        xx = gaussian_filter(grey, sigma, order=(0, 2))
        xy = gaussian_filter(grey, sigma, order=(1, 1))
        mean, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
        high, low = mean + spread, mean - spread
        # Curved across and flat along: a line, not a spot. Scale-normalised by sigma squared.
        weight = sigma**4
        dark += weight * float((np.clip(high - np.abs(low), 0, None) ** 2).mean())
        bright += weight * float((np.clip(-low - np.abs(high), 0, None) ** 2).mean())
    total = dark + bright
    return (dark - bright) / total if total > 1e-12 * max(float(grey.var()), 1.0) else 0.0
