"""What detectors look at: a section at the working resolution, and maps made of it once.

Everything here is at the *working level* (:mod:`.working`). Widths below are in its pixels unless a
comment says otherwise. *Grid* maps are four times smaller still: local statistics vary slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..filters import blur, enlarge_to, halve, shrink_to, wide_blur
from ..types import FloatImage
from ._lazy import lazy
from .quantiles import quantile, quantiles
from .tiles import Tiled, Tiles, halved, make_tiles, padded_to

#: Pixels per pixel of the grid, before small sections are enlarged.
GRID = 4
#: Side of the window of :attr:`Features.local_std`.
FLAT_WINDOW = 10
#: Half the length of the straight pieces of which :attr:`Features.dark_lines` are made, pixels.
LINE_REACH = 16
_LINE_DIRECTIONS = 12
#: Maps of grey values of which there are extremes over tiles; lines are darkest and brightest.
MAPS = ("wide", "smooth", "lines")
#: Longest side of the thumbnails that are registered.
_THUMB_SIDE = 128
#: Width of the window of the grid maps, in pixels of the grid.
_GRID_SIGMA = 3.0
#: Tiles whose log-variance is so far below that of the strongest have no structure.
_NO_STRUCTURE = 4.0
#: Sections are matched by this many pixels of the grid per side, about.
_VOTES = 32
#: Width, in pixels of a halved image, of the Gaussian that makes one of 2 pixels of one of 1 that
#: was halved, which is a low-pass as well.
_REST = ((2**2 - 1**2 - 0.25) / 4) ** 0.5
_TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Features:
    """One section at the working level and its maps.

    What is a number, and what few sections need, is computed when it is asked for first.

    Parameters
    ----------
    z
        Section number.
    zoom
        How many times the section is enlarged.
    grey
        (H, W) float32, grey values; those that are no numbers are replaced by the median.
    smooth
        ``grey`` without its finest grain (Gaussian of 1 pixel).
    small
        (ceil(H / 2), ceil(W / 2)) ``smooth``, halved.
    wide
        (ceil(H / 2), ceil(W / 2)) ``grey`` without membranes, for the most part (Gaussian of 2
        pixels).
    local_variance
        (ceil(H / 2), ceil(W / 2)) variance of ``smooth`` within windows of :data:`FLAT_WINDOW`
        pixels: of structure, since grain of single pixels is no longer in it.
    mean
        Grid map of the local mean.
    contrast
        Grid map of the logarithm of the local variance of structures of 2 to 16 pixels.
    sharpness
        Grid map of the logarithm of the variance of fine against middle structures.
    thumb
        Small image without shading, mean 0, for registration.
    tiles
        Extremes of ``smooth`` and ``local_std`` over tiles, for bounds.
    """

    z: int
    zoom: int
    grey: FloatImage
    smooth: FloatImage
    small: FloatImage
    wide: FloatImage
    local_variance: FloatImage
    mean: FloatImage
    contrast: FloatImage
    sharpness: FloatImage
    thumb: FloatImage
    tiles: Tiles

    @property
    def step(self) -> int:
        """Pixels of the working level per pixel of the grid."""
        return GRID * self.zoom

    @lazy
    def local_std(self) -> FloatImage:
        """Return the root of :attr:`local_variance`, (H, W)."""
        return enlarge_to(np.sqrt(self.local_variance), self.grey.shape)

    @lazy
    def texture(self) -> float:
        """Return the 90th percentile of :attr:`local_std`: near 0 where there is no section."""
        return _texture(self.local_variance)

    @lazy
    def spread(self) -> float:
        """Return a robust standard deviation of :attr:`smooth`."""
        low, high = quantiles(self.smooth[::4, ::4], 10, 90)
        return (high - low) / 2.563

    @lazy
    def limits(self) -> tuple[float, float]:
        """Return the 0.1th and 99.9th percentile of :attr:`smooth`: nearly all lies in between."""
        values = self.smooth[::2, ::2].flatten()
        # only the few values beyond a guess are put in order, which costs less
        sample = np.sort(values[::16])
        few = sample.size // 200
        darkest = values[values <= sample[few]]
        brightest = values[values >= sample[-1 - few]]
        return quantile(values, 0.1, darkest), quantile(values, 99.9, brightest)

    @lazy
    def dark_lines(self) -> FloatImage:
        """Return how dark straight lines are; all else is as bright as can be.

        That is the lowest grey value that is nowhere exceeded along a straight piece of
        2 * :data:`LINE_REACH` pixels about a pixel, in whatever direction; of every second pixel,
        (ceil(H / 2), ceil(W / 2)).
        """
        return self._grey(self._lines[0])

    @lazy
    def bright_lines(self) -> FloatImage:
        """Return how bright straight lines are; see :attr:`dark_lines`."""
        return self._grey(self._lines[1])

    def fine_tiles(self, what: str, sign: int) -> Tiled:
        """Return the extremes of one map over tiles of 2 pixels.

        Parameters
        ----------
        what
            One of :data:`MAPS`.
        sign
            +1 for the largest, of which ``lines`` are bright ones, -1 for the smallest. The other
            may not be in it.
        """
        if what == "smooth":
            return self.tiles.smooth
        if what == "wide":
            return self._wide_tiles
        if sign not in self._line_tiles:
            grey = self._grey(self._line_steps[sign > 0])
            self._line_tiles[sign] = Tiled(2, grey, grey)
        return self._line_tiles[sign]

    @lazy
    def _wide_tiles(self) -> Tiled:
        wide = padded_to(self.wide, self.tiles.smooth.low.shape)
        return Tiled(2, wide, wide)

    @lazy
    def coarse_tiles(self) -> Tiled:
        """Return the extremes of all :data:`MAPS` over tiles of 4 pixels, (3, H / 4, W / 4)."""
        height, width = (n // 2 for n in self.tiles.smooth.low.shape)
        low, high = (np.empty((len(MAPS), height, width), np.float32) for _ in range(2))
        for sign, out in ((-1, low), (1, high)):
            lines = halved(self._line_steps[sign > 0], sign)
            for n, what in enumerate(MAPS):
                out[n] = (
                    self._grey(lines)
                    if what == "lines"
                    else halved(self.fine_tiles(what, sign).at(sign), sign)
                )
        return Tiled(4, low, high)

    @lazy
    def _line_tiles(self) -> dict[int, Tiled]:
        return {}

    @lazy
    def _line_steps(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        dark, bright = (padded_to(steps, self.tiles.smooth.low.shape) for steps in self._lines)
        return dark, bright

    @lazy
    def _lines(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return dark and bright lines in 255 steps between the limits."""
        return _along_lines(self.small, *self.limits)

    def _grey(self, steps: npt.NDArray[np.uint8]) -> FloatImage:
        low, high = self.limits
        return steps.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)

    @lazy
    def faded_thumb(self) -> FloatImage:
        """Return :attr:`thumb` faded out towards the border, which is no structure."""
        return self.thumb * _window(self.thumb.shape)

    @lazy
    def votes(self) -> Votes:
        """Return the grid maps where they are compared with those of other sections."""
        thin = max(min(self.mean.shape) // _VOTES, 1)  # the maps are smooth
        some = (slice(None, None, thin),) * 2
        contrast = np.ascontiguousarray(self.contrast[some])
        # against the strongest in the section
        places = np.flatnonzero(contrast > quantiles(self.contrast, 95)[0] - _NO_STRUCTURE)
        return Votes(some, contrast, np.ascontiguousarray(self.mean[some]), places)


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Tiles by which brightness and contrast of two sections are matched.

    Parameters
    ----------
    some
        Which pixels of the grid these are.
    contrast, mean
        The grid maps of :class:`Features` there, (n, m).
    places
        Where there is structure, in the flat maps.
    """

    some: tuple[slice, slice]
    contrast: FloatImage
    mean: FloatImage
    places: npt.NDArray[np.intp]


def make_features(z: int, pixels: FloatImage, zoom: int = 1) -> Features:
    """Compute the maps of a section.

    Parameters
    ----------
    z
        Section number.
    pixels
        (H, W) float32 as :func:`~.working.read_working` returns it.
    zoom
        From :func:`~.working.working_zoom`. Maps are enlarged, but for the statistics on the grid:
        these are of so many pixels as there are.
    """
    # what is wider than a pixel loses nothing by being reduced
    bands = _bands(pixels)
    small, wide = bands[1:]
    quarter = halve(wide)
    contrast = _log_energy(wide - enlarge_to(blur(quarter, 4.0), wide.shape))
    middle = _log_energy(wide - _low_pass(wide, 3**0.5))
    sharpness = _log_energy(small - wide) - middle
    mean = blur(halve(small), _GRID_SIGMA)
    grey = pixels
    if zoom > 1:
        grey = enlarge_to(pixels, tuple(zoom * n for n in pixels.shape))
        bands = _bands(grey)
    local_variance = _local_variance(*bands[:2])
    return Features(
        z=z,
        zoom=zoom,
        grey=grey,
        smooth=bands[0],
        small=bands[1],
        wide=bands[2],
        local_variance=local_variance,
        mean=mean,
        contrast=contrast,
        sharpness=sharpness,
        thumb=_thumbnail(wide, quarter),
        tiles=make_tiles(bands[0], local_variance),
    )


def texture_of(pixels: FloatImage, zoom: int = 1) -> float:
    """Return :attr:`Features.texture` alone; parameters as for :func:`make_features`."""
    grey = pixels if zoom == 1 else enlarge_to(pixels, tuple(zoom * n for n in pixels.shape))
    smooth = _low_pass(grey, 1.0)
    return _texture(_local_variance(smooth, halve(smooth)))


def _texture(local_variance: FloatImage) -> float:
    return float(np.sqrt(quantiles(local_variance[::2, ::2], 90)[0]))


def _along_lines(
    image: FloatImage, low: float, high: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return extremes, over directions, of the extremes along a straight piece.

    That is the lowest of the highest values, and the highest of the lowest, in 255 steps from
    ``low`` to ``high``: 8 bits tell enough, and are much faster.
    """
    import cv2

    steps_per_grey = 255 / max(high - low, _TINY)
    # the way to 8 bits that rounds, and cuts off what lies beyond
    steps: npt.NDArray[Any] = cv2.addWeighted(
        image, steps_per_grey, image, 0.0, -low * steps_per_grey, dtype=cv2.CV_8U
    )
    dark, bright = np.full(steps.shape, 255, np.uint8), np.zeros(steps.shape, np.uint8)
    for piece in _straight_pieces():
        np.minimum(dark, cv2.dilate(steps, piece), out=dark)
        np.maximum(bright, cv2.erode(steps, piece), out=bright)
    return dark, bright


@lru_cache(maxsize=1)
def _straight_pieces() -> tuple[npt.NDArray[np.uint8], ...]:
    """Return every second pixel of straight pieces in :data:`_LINE_DIRECTIONS` directions."""
    reach = LINE_REACH // 2
    pieces = []
    for angle in np.pi / _LINE_DIRECTIONS * np.arange(_LINE_DIRECTIONS):
        piece = np.zeros((2 * reach + 1,) * 2, np.uint8)
        along = np.arange(-reach, reach + 1, 2)
        rows, columns = (np.rint(reach + along * f(angle)).astype(int) for f in (np.sin, np.cos))
        piece[rows, columns] = 1
        pieces.append(piece)
    return tuple(pieces)


def _bands(image: FloatImage) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Return a Gaussian low-pass of 1 pixel, the same halved, and one of 2 pixels, halved."""
    smooth = _low_pass(image, 1.0)
    small = halve(smooth)
    return smooth, small, _low_pass(small, _REST)


def _low_pass(image: FloatImage, sigma: float) -> FloatImage:
    """Gaussian low-pass that is cut off at three times its width."""
    import cv2

    size = 2 * round(3 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma), dtype=np.float32)


def _local_variance(smooth: FloatImage, small: FloatImage) -> FloatImage:
    """Return the variance within windows, at every second pixel; ``small`` is half ``smooth``."""
    import cv2

    # about the mean grey value, so that the difference of squares keeps its digits
    centre = np.float32(cv2.mean(small)[0])
    centred = smooth - centre
    np.multiply(centred, centred, out=centred)
    size = (FLAT_WINDOW // 2, FLAT_WINDOW // 2)
    mean, square = (
        cv2.boxFilter(image, -1, size, borderType=cv2.BORDER_REFLECT)
        for image in (small - centre, halve(centred))
    )
    return np.asarray(np.maximum(square - mean * mean, 0), dtype=np.float32)


def _log_energy(band: FloatImage) -> FloatImage:
    """Grid map of the logarithm of the local mean square of a halved band; it is overwritten."""
    energy = blur(halve(np.multiply(band, band, out=band)), _GRID_SIGMA)
    floor = max(float(energy.max()), _TINY) * 1e-6
    return np.log(np.maximum(energy, floor)).astype(np.float32)


def _thumbnail(half: FloatImage, quarter: FloatImage) -> FloatImage:
    """Return a small image without shading and with outliers cut: one blob must not decide."""
    shrink = max(1, -(-max(half.shape) // _THUMB_SIDE))
    if shrink == 2:
        small = quarter
    else:
        small = shrink_to(half, (half.shape[0] // shrink, half.shape[1] // shrink))
    small = small - wide_blur(small, 12.0)
    spread = 2.5 * quantiles(np.abs(small[::2, ::2]), 50)[0] * 1.4826 + _TINY
    return np.clip(small, -spread, spread).astype(np.float32)


@lru_cache(maxsize=4)
def _window(shape: tuple[int, int]) -> FloatImage:
    return np.outer(*(np.hanning(n + 2)[1:-1] ** 0.5 for n in shape)).astype(np.float32)


def to_working(grid: npt.NDArray, shape: tuple[int, int]) -> FloatImage:
    """Enlarge a grid map to the working level."""
    return enlarge_to(np.ascontiguousarray(grid, dtype=np.float32), shape)
