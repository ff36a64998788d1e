"""Texture: what makes a predicted place look like the section around it.

A prediction is smooth. What cannot be predicted of an EM section, its noise and the scales below
some ten pixels, averages out, and so does part of the contrast of what can be. Here

1. the *contrast* of the prediction is raised as far as that costs next to nothing of its accuracy;
2. random *noise* is added that has, frequency by frequency and in every direction, the power by
   which the section's own spectrum exceeds that of the prediction, as strong at every grey value as
   the section's noise is there.

Both are measured in intact pixels of the section (of its nearer neighbour where the section is
missing as a whole). The noise is Gaussian: it has the right power at every scale and no structure
at all. No line, rim or membrane comes out of it that the prediction does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..filters import blur
from ..types import BoolImage, FloatImage

Spectrum = npt.NDArray[np.float64]

#: What may be asked for: the prediction alone; with contrast and noise; also with the coarser
#: scales that cannot be predicted.
TEXTURES = ("smooth", "noise", "natural")
#: Spectra are measured in tiles of this side, pixels.
_TILE = 32
#: Tiles that are looked at, at most.
_MOST_TILES = 400
#: Periods, in pixels, above which there is no noise and below which there is all of it. Coarser
#: noise costs structure: these cost less than 0.3 dB of it, the last ones about 0.6 dB.
_PERIODS = {"noise": (11.5, 7.6), "natural": (21.0, 12.8)}
#: Periods, in pixels, at which the missing contrast is measured, and the width of the Gaussian
#: below which it is raised.
_CONTRAST_PERIODS = (7.0, 24.0)
_CONTRAST_WIDTH = 5.0
#: Raising the contrast may cost this share of the error at these scales.
_CONTRAST_COST = 0.05
#: No contrast is raised by more than this, whatever was measured.
_MOST_CONTRAST = 0.35
#: Noise of periods below some 3 px tells how its strength depends on the grey value.
_FINE = 1.0
#: Number of grey values at which that is measured.
_GREYS = 12
#: Tiles with less than this share of pixels that are known are not measured if others are there.
_KNOWN = 0.97


@dataclass(frozen=True, eq=False)
class _Look:
    """How a section looks, as measured in its known pixels.

    Parameters
    ----------
    power
        (T, T), mean power per frequency, in the order of ``np.fft.fft2``.
    greys
        (G,) grey values.
    strength
        (G,) strength of its finest noise there, relative to its mean.
    """

    power: Spectrum
    greys: npt.NDArray[np.float64]
    strength: npt.NDArray[np.float64]


def check_texture(texture: str) -> None:
    """Raise :class:`InputError` unless ``texture`` is one of :data:`TEXTURES`."""
    if texture not in TEXTURES:
        raise InputError(f"unknown texture '{texture}'; choose one of: {', '.join(TEXTURES)}")


def add_texture(
    filled: FloatImage,
    section: FloatImage,
    mask: BoolImage,
    known: BoolImage,
    *,
    texture: str,
    seed: int | tuple[int, ...] = 0,
) -> FloatImage:
    """Return the prediction with texture under the mask.

    Parameters
    ----------
    filled
        (H, W) float32, the prediction, everywhere in the window; any grey values.
    section
        (H, W) float32, what it should look like, in the same grey values.
    mask
        (H, W) bool, pixels that get texture.
    known
        (H, W) bool, pixels of ``section`` that show how it looks.
    texture
        One of :data:`TEXTURES`.
    seed
        Of the noise; the same seed gives the same pixels.

    Returns
    -------
    FloatImage
        (H, W) float32; outside the mask, and where too little is known, the prediction as it is.

    Raises
    ------
    InputError
        If there is no such texture.
    """
    tile = min(_TILE, *filled.shape)
    check_texture(texture)
    if texture == "smooth" or tile < 8 or known.sum() < tile * tile:
        return filled
    there = np.where(known, section, filled)
    look = _look(there, known, tile)
    plain = _power(filled, mask, tile)
    sharp = _raise_contrast(filled, _contrast(look.power, plain))
    lack = np.maximum(look.power - _power(sharp, mask, tile), 0) * _ramp(tile, texture)
    noise = _noise(lack, filled.shape, seed)
    strength = np.interp(blur(sharp, _FINE), look.greys, look.strength).astype(np.float32)
    strength /= max(float(np.sqrt(np.mean(strength[mask] ** 2))), 1e-6)
    return np.where(mask, sharp + noise * strength, filled)


def _look(section: FloatImage, known: BoolImage, tile: int) -> _Look:
    """Measure a section in its known pixels."""
    import cv2

    share = cv2.blur(known.astype(np.float32), (tile, tile), borderType=cv2.BORDER_CONSTANT)
    inner = share >= min(_KNOWN, float(share.max()) - 1e-4)
    power = _power(section, inner, tile) / float(share[inner].mean())
    fine = (section - blur(section, _FINE))[inner] ** 2
    grey = blur(section, 2 * _FINE)[inner]
    edges = np.quantile(grey, np.linspace(0.02, 0.98, _GREYS + 1))
    bins = np.digitize(grey, edges[1:-1])
    count = np.bincount(bins, minlength=_GREYS)
    mean = np.bincount(bins, fine, minlength=_GREYS) / np.maximum(count, 1)
    used = count > 0
    overall = max(float(fine.mean()), 1e-12)
    centres = (edges[1:] + edges[:-1]) / 2
    return _Look(power, centres[used], np.sqrt(mean[used] / overall))


def _power(image: FloatImage, where: BoolImage, tile: int) -> Spectrum:
    """Return the mean power spectrum, (tile, tile), of tiles around some pixels."""
    rows, columns = np.nonzero(where)
    step = max(len(rows) // _MOST_TILES, 1)
    height, width = image.shape
    ys = np.clip(rows[::step] - tile // 2, 0, height - tile)
    xs = np.clip(columns[::step] - tile // 2, 0, width - tile)
    taper = np.hanning(tile + 2)[1:-1]
    window = np.outer(taper, taper)
    window /= np.sqrt(np.mean(window**2))
    total = np.zeros((tile, tile))
    for y, x in zip(ys, xs, strict=True):
        part = image[y : y + tile, x : x + tile]
        total += np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
    return total / (len(ys) * tile * tile)


def _frequency(tile: int) -> Spectrum:
    """Return the frequencies of a spectrum, cycles per pixel."""
    f = np.fft.fftfreq(tile)
    return np.hypot(f[:, None], f[None, :])


def _ramp(tile: int, texture: str) -> Spectrum:
    """Return the share of the missing power that noise gives back, per frequency."""
    longest, shortest = _PERIODS[texture]
    low, high = 1 / longest, 1 / shortest
    return np.clip((_frequency(tile) - low) / (high - low), 0, 1)


def _contrast(wanted: Spectrum, there: Spectrum) -> float:
    """Return how much to raise the contrast of a prediction.

    A prediction with the least squared error leaves the error ``wanted - there``. Raised by a
    factor of 1 + g it gains the error g^2 * there; that is held to a few hundredths.
    """
    frequency = _frequency(len(wanted))
    shortest, longest = _CONTRAST_PERIODS
    band = (frequency > 1 / longest) & (frequency < 1 / shortest)
    ratio = float(wanted[band].sum()) / max(float(there[band].sum()), 1e-12)
    if ratio <= 1:
        return 1.0
    return 1 + min(np.sqrt(_CONTRAST_COST * (ratio - 1)), np.sqrt(ratio) - 1, _MOST_CONTRAST)


def _raise_contrast(image: FloatImage, factor: float) -> FloatImage:
    """Raise the contrast of all but the coarse scales."""
    return image + np.float32(factor - 1) * (image - blur(image, _CONTRAST_WIDTH))


def _noise(power: Spectrum, shape: tuple[int, ...], seed: int | tuple[int, ...]) -> FloatImage:
    """Return Gaussian noise of a power spectrum."""
    import cv2

    kernel = np.fft.fftshift(np.fft.ifft2(np.sqrt(power)).real).astype(np.float32)
    white = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    # the kernel is symmetric but for its last row and column, so that correlating is convolving
    return np.asarray(cv2.filter2D(white, -1, kernel, borderType=cv2.BORDER_REFLECT))
