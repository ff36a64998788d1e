"""Grain: the finest scales of a repaired place, so that it looks like the section around it.

What fusion keeps is what can be predicted, and the finest scales of an EM section cannot: the
filled pixels are smooth. Here they get the finest scales of the best registered neighbour,
band by band as strong as in the section's own intact pixels. That grain is real, and lies where
the neighbour's membranes lie, but it is the neighbour's: it makes the picture right and costs
plain PSNR. Coarser scales stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..filters import blur, fine_scales
from ..types import BoolImage, FloatImage

_BANDS = (0.7, 1.0, 1.5, 2.0)
#: Grain is what a Gaussian of this width, in pixels, removes.
_COARSEST = 2.0
#: How often what is left of the coarser scales is taken off: grain then says nothing about
#: structure, inside the mask and across its rim. Once leaves enough to cost 0.15 dB of it, four
#: times 0.02 dB; eight times cost 0.006 dB, but leave waves so short that they look like a raster.
_ROUNDS = 4
#: A neighbour that shows less than a third of the grain has none to lend.
_MOST_GAIN = 3.0
#: Filters reach this far; pixels closer to damage are not measured.
_REACH = 6


def add_grain(
    filled: FloatImage,
    source: FloatImage,
    section: FloatImage,
    mask: BoolImage,
    intact: BoolImage,
) -> FloatImage:
    """Return ``filled`` with the grain of ``source``, as strong as in the section.

    Parameters
    ----------
    filled
        (H, W) float32, the repaired section without grain.
    source
        (H, W) float32, the registered neighbour that lends its grain.
    section
        (H, W) float32, the damaged section.
    mask
        (H, W) bool, pixels that get grain.
    intact
        (H, W) bool, pixels of the section that show how strong it is.
    """
    import cv2

    kernel = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    measured = cv2.erode(intact.astype(np.uint8), kernel) > 0
    if measured.sum() < 100:  # no place to learn the section's grain from: the neighbour's own
        section, measured = source, np.ones_like(mask)
    grain = np.zeros_like(filled)
    wanted, there = _variances(section, measured), _variances(filled, mask)
    for own, present, lent in zip(wanted, there, _split(source), strict=True):
        gain = np.sqrt(max(own - present, 0.0) / max(float(lent.var()), 1e-12))
        grain += lent * np.float32(min(gain, _MOST_GAIN))
    inside = mask.astype(np.float32)
    for _ in range(_ROUNDS):
        grain -= blur(grain, _COARSEST)
        grain *= inside
    return filled + grain * _strength(grain, filled, section, mask, measured)


def _variances(image: FloatImage, where: BoolImage) -> list[float]:
    return [float(band[where].var()) for band in _split(image)]


def _split(image: FloatImage) -> Iterator[FloatImage]:
    """Yield the fine bands, one at a time to save memory."""
    for sigma in _BANDS:
        low = blur(image, sigma)
        yield image - low
        image = low


def _strength(
    grain: FloatImage, filled: FloatImage, section: FloatImage, mask: BoolImage, where: BoolImage
) -> np.float32:
    """Return the factor that makes the fine energy in the mask equal that of the section."""
    wanted = float(np.mean(fine_scales(section)[where] ** 2))
    g, f = fine_scales(grain)[mask], fine_scales(filled)[mask]
    a, b, c = float(np.mean(g * g)), float(np.mean(g * f)), float(np.mean(f * f)) - wanted
    if a <= 0 or c >= 0:
        return np.float32(0)
    return np.float32(min((-b + np.sqrt(b * b - a * c)) / a, _MOST_GAIN))
