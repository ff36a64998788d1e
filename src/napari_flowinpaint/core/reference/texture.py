"""Texture: what makes a predicted place look like the section around it.

A prediction is smooth. What cannot be predicted of an EM section, its noise and the scales below
some ten pixels, averages out, and so does part of the contrast of what can be. Scale by scale,

1. the *contrast* of the prediction is raised: its own edges become steeper;
2. random *noise* is added where that is not enough.

How much of either is the solution of a small problem, :func:`_plan`: the spectrum nearest to the
section's for a bounded loss of accuracy. Spectra are measured in intact pixels of the section
(of its nearer neighbour where the section is missing as a whole). The noise is Gaussian and, but
for the finest scales, alike in all directions: no line, rim or membrane comes out of it that the
prediction does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..filters import blur
from ..metrics import STRUCTURE_SIGMA
from ..types import BoolImage, FloatImage

Spectrum = npt.NDArray[np.float64]

#: What may be asked for: the prediction alone; with contrast and noise; also with the coarser
#: scales that cannot be predicted.
TEXTURES = ("smooth", "noise", "natural")
#: Spectra are measured in tiles of this side, pixels.
_TILE = 32
#: Tiles that are looked at, at most.
_MOST_TILES = 400
#: Fewer pieces of lines than this are too few to measure a stripe.
_FEWEST_PIECES = 8
#: Squared error that texture may add, as a share of the structure's expected one: 0.15 to
#: 0.4 dB and about 0.6 dB of real holes. Found on training sections.
_COST = {"noise": 0.075, "natural": 0.25}
#: Least gain, in squared natural logarithms summed over a tile's frequencies, for which the whole
#: expected error would be added: where nearly everything was predicted there is less to gain, and
#: less is spent. On training sections, serial ones gain 200 to 1500 at the bound of "noise",
#: FIB-SEM at 40 nm hardly ever more than 100.
_LEAST_GAIN = {"noise": 100.0, "natural": 10.0}
#: No contrast is raised by more than this factor, whatever was measured.
_MOST_CONTRAST = 1.8
#: Periods, in pixels, above which noise is alike in all directions, since a section's membranes
#: give its spectrum a direction there, and below which it has the section's: scan lines have one.
_ROUND, _DIRECTED = 6.0, 4.0
#: Steps between a prediction's power and the section's that are tried.
_STEPS = 65
#: Noise of periods below about 3 px shows how its strength depends on the grey value.
_FINE = 1.0
#: Number of grey values at which that is measured.
_GREYS = 12
#: Tiles with less than this share of pixels that are known are not measured if others are there.
_KNOWN = 0.97


@dataclass(frozen=True, eq=False)
class _Power:
    """How much an image varies at each scale.

    Parameters
    ----------
    mean
        (T, T), mean power per frequency, in the order of ``np.fft.fft2``.
    typical
        (K,), power of each ring of frequencies in a typical place, relative to that mean.
    """

    mean: Spectrum
    typical: Spectrum

    @classmethod
    def of(cls, tiles: Spectrum) -> _Power:
        """Return it from the spectra of tiles, (N, T, T).

        Typical is the geometric mean, but for what chance takes off it: half the inverse of the
        number of independent frequencies, a quarter of a ring's, by symmetry and the taper.
        """
        rings = _rings(tiles.shape[1]).ravel()
        count = np.bincount(rings)
        power = np.stack([np.bincount(rings, tile.ravel()) for tile in tiles]) / count + 1e-12
        typical = np.exp(np.log(power).mean(axis=0) + 2 / count)
        return cls(tiles.mean(axis=0), np.minimum(typical / power.mean(axis=0), 1))


@dataclass(frozen=True, eq=False)
class _Look:
    """How a section looks, as measured in its known pixels.

    Parameters
    ----------
    power
        Of the section.
    greys
        (G,) grey values.
    strength
        (G,) strength of its finest noise there, relative to its mean.
    """

    power: _Power
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
    along: int | None = None,
    error: float | None = None,
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
    along
        The axis along which the mask is long, where it is a narrow stripe and nothing is predicted
        beside it: spectra are compared along it only. None where the prediction is everywhere.
    error
        Expected squared error of the prediction after the low-pass of the structure PSNR, in
        squared grey values, to which texture adds little; None where the spectra alone tell.

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
    look = _look(np.where(known, section, filled), known, tile)
    share = None if along is None else _share(filled, section, mask, known, along, tile)
    if share is None:
        there = _Power.of(_powers(filled, _inner(mask, tile), tile))
    else:
        there = _Power(look.power.mean * share, look.power.typical)
    gain, power = _plan(look.power, there, texture, error)
    sharp = filled + _filtered(filled, gain - 1)
    white = np.random.default_rng(seed).standard_normal(filled.shape, dtype=np.float32)
    noise = _filtered(white, np.sqrt(power))
    strength = np.interp(blur(sharp, _FINE), look.greys, look.strength).astype(np.float32)
    strength /= max(float(np.sqrt(np.mean(strength[mask] ** 2))), 1e-6)
    return np.where(mask, sharp + noise * strength, filled)


def _look(section: FloatImage, known: BoolImage, tile: int) -> _Look:
    """Measure a section in its known pixels."""
    inner = _inner(known, tile)
    tiles = _powers(section, inner, tile) / float(_shares(known, tile)[inner].mean())
    fine = (section - blur(section, _FINE))[inner] ** 2
    grey = blur(section, 2 * _FINE)[inner]
    edges = np.quantile(grey, np.linspace(0.02, 0.98, _GREYS + 1))
    bins = np.digitize(grey, edges[1:-1])
    count = np.bincount(bins, minlength=_GREYS)
    mean = np.bincount(bins, fine, minlength=_GREYS) / np.maximum(count, 1)
    used = count > 0
    overall = max(float(fine.mean()), 1e-12)
    centres = (edges[1:] + edges[:-1]) / 2
    return _Look(_Power.of(tiles), centres[used], np.sqrt(mean[used] / overall))


def _shares(where: BoolImage, tile: int) -> FloatImage:
    """Return which share of the tile around every pixel is in a mask."""
    import cv2

    whole = where.astype(np.float32)
    return np.asarray(cv2.blur(whole, (tile, tile), borderType=cv2.BORDER_CONSTANT))


def _inner(where: BoolImage, tile: int) -> BoolImage:
    """Return the pixels whose tiles lie in a mask; those that lie in it most if none does."""
    share = np.where(where, _shares(where, tile), 0)
    return np.asarray(share >= min(_KNOWN, float(share.max()) - 1e-4))


def _powers(image: FloatImage, where: BoolImage, tile: int) -> Spectrum:
    """Return the power spectra, (N, tile, tile), of tiles around some pixels."""
    rows, columns = np.nonzero(where)
    step = max(len(rows) // _MOST_TILES, 1)
    height, width = image.shape
    ys = np.clip(rows[::step] - tile // 2, 0, height - tile)
    xs = np.clip(columns[::step] - tile // 2, 0, width - tile)
    taper = np.hanning(tile + 2)[1:-1]
    window = np.outer(taper, taper)
    window /= tile * np.sqrt(np.mean(window**2))
    parts = np.stack([image[y : y + tile, x : x + tile] for y, x in zip(ys, xs, strict=True)])
    parts = (parts - parts.mean(axis=(1, 2), keepdims=True)) * window
    return np.asarray(np.abs(np.fft.fft2(parts)) ** 2)


def _share(
    filled: FloatImage,
    section: FloatImage,
    mask: BoolImage,
    known: BoolImage,
    axis: int,
    tile: int,
) -> Spectrum | None:
    """Return how much of a section's power a prediction has, per frequency, along one axis.

    None where the mask is too short.
    """
    there, wanted = (
        _power_along(image, where, axis, tile)
        for image, where in ((filled, mask), (section, known))
    )
    if there is None or wanted is None:
        return None
    share = np.clip(there / np.maximum(wanted, 1e-12), 0, 1)
    return np.interp(_frequency(tile), np.fft.rfftfreq(tile), share)


def _power_along(image: FloatImage, where: BoolImage, axis: int, tile: int) -> Spectrum | None:
    """Return the mean power spectrum of pieces of lines along an axis, all of them in a mask."""
    lines, inside = np.moveaxis(image, axis, -1), np.moveaxis(where, axis, -1)
    starts = range(0, lines.shape[1] - tile + 1, tile // 2)
    pieces = [lines[inside[:, s : s + tile].all(axis=1), s : s + tile] for s in starts]
    found = np.concatenate(pieces) if pieces else np.empty((0, tile))
    if len(found) < _FEWEST_PIECES:
        return None
    found = found[:: max(len(found) // _MOST_TILES, 1)]
    taper = np.hanning(tile + 2)[1:-1]
    found = (found - found.mean(axis=1, keepdims=True)) * taper
    return np.asarray(np.mean(np.abs(np.fft.rfft(found)) ** 2, axis=0))


def _frequency(tile: int) -> Spectrum:
    """Return the frequencies of a spectrum, cycles per pixel."""
    f = np.fft.fftfreq(tile)
    return np.hypot(f[:, None], f[None, :])


def _rings(tile: int) -> npt.NDArray[np.int64]:
    """Return the ring, a cycle per tile wide, that each frequency of a spectrum is in."""
    return np.rint(_frequency(tile) * tile).astype(np.int64)


def _plan(
    wanted: _Power, there: _Power, texture: str, error: float | None
) -> tuple[Spectrum, Spectrum]:
    """Return the gain of a prediction and the power of the noise, (T, T), per frequency.

    Where a prediction of power P has the least squared error, raising it by a factor g adds
    ``(g - 1)^2 P`` to that error and noise adds its power N, both times the response R of the
    low-pass of the structure PSNR. They make up the power ``T = g^2 P + N``. The log spectral
    distance to the section (Gray and Markel, IEEE Trans. ASSP 24, 1976), the sum of the squares of
    ``log(T / W)`` over all frequencies, is made as small as a bound on the sum of the errors allows
    (Lagrange). Contrast costs less than noise of the same power and so comes first.

    Parameters
    ----------
    wanted, there
        Power of the section and of the prediction. What is compared is the typical one, since noise
        is as strong everywhere; what it costs depends on the mean.
    texture
        It bounds the errors, in shares of the error that is expected.
    error
        That error, where it is known from anything but the spectra.
    """
    tile = len(wanted.mean)
    rings = _rings(tile)
    count = np.bincount(rings.ravel())
    section, predicted = (
        np.bincount(rings.ravel(), p.mean.ravel()) / count for p in (wanted, there)
    )
    cycles = 2 * np.pi * STRUCTURE_SIGMA * np.arange(len(count)) / tile
    counted = count / count.sum() * np.exp(-(cycles**2))  # of the low-passed power
    missed = float(np.sum(counted * np.maximum(section - predicted, 0)))
    # spectra tell too much where small holes hide little, and rehearsals where little was missed
    expected = missed if error is None else np.sqrt(min(missed, error) * error)
    tiny = 1e-9 * float(section.max()) + 1e-12
    aim, start = (
        np.maximum(power * of.typical, tiny)
        for power, of in ((section, wanted), (predicted, there))
    )
    rise = np.maximum(aim / start, 1) ** np.linspace(0, 1, _STEPS)[:, None]
    gains = np.minimum(np.sqrt(rise), _MOST_CONTRAST)
    noises = np.maximum(rise - gains**2, 0) * start
    costs = counted * ((gains - 1) ** 2 * predicted + noises)
    distance = count * np.log(aim / (rise * start)) ** 2
    chosen = _cheapest(distance, costs / max(expected, tiny), _COST[texture], _LEAST_GAIN[texture])
    gain, noise = (np.take_along_axis(of, chosen, axis=0)[0] for of in (gains, noises))
    gain[0], noise[0] = 1, 0  # the brightness is predicted
    at, ring = _frequency(tile) * tile, np.arange(len(count))
    return np.interp(at, ring, gain), np.interp(at, ring, noise) * _direction(wanted.mean)


def _cheapest(
    distance: Spectrum, costs: Spectrum, bound: float, least: float
) -> npt.NDArray[np.int64]:
    """Return the step, (1, K), of each of K rings that leaves least distance within a bound.

    No step is taken that gains less than ``least`` times what it costs.
    """
    low, high = least, 1e9
    for _ in range(60):
        price = np.sqrt(low * high)
        chosen = np.argmin(distance + price * costs, axis=0, keepdims=True)
        within = float(np.take_along_axis(costs, chosen, axis=0).sum()) <= bound
        low, high = (low, price) if within else (price, high)
    return np.argmin(distance + high * costs, axis=0, keepdims=True)


def _direction(power: Spectrum) -> Spectrum:
    """Return by how much each frequency exceeds its ring, of the fine scales alone."""
    rings, frequency = _rings(len(power)), _frequency(len(power))
    mean = np.bincount(rings.ravel(), power.ravel()) / np.bincount(rings.ravel())
    fine = np.clip((frequency - 1 / _ROUND) / (1 / _DIRECTED - 1 / _ROUND), 0, 1)
    return np.asarray(1 + fine * (power / np.maximum(mean, 1e-12)[rings] - 1))


def _filtered(image: FloatImage, response: Spectrum) -> FloatImage:
    """Return an image after a filter of some response, (T, T), in the order of ``np.fft.fft2``."""
    import cv2

    kernel = np.fft.fftshift(np.fft.ifft2(response).real).astype(np.float32)
    # the kernel is symmetric but for its last row and column, so that correlating is convolving
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT))
