"""What detectors look at: a section at the working resolution, and maps made of it once.

Everything here is at the *working level* (:mod:`.working_level`). Widths below are in its pixels
unless a comment says otherwise. *Grid* maps are four times smaller still: local statistics vary
slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ...filters import blur, enlarge_to, halve, shrink_to, wide_blur
from ...types import BoolImage, FloatImage
from .discs import DiscMaps, disc_maps
from .ridges import ByteImage, ridge_maps

_T = TypeVar("_T")

#: Pixels per pixel of the grid, before small sections are enlarged.
GRID = 4
#: Side of the window of :attr:`SectionMaps.local_std`.
FLAT_WINDOW = 10
#: Half the length of the straight pieces of which :attr:`SectionMaps.dark_lines` are made, pixels.
LINE_REACH = 16
_LINE_DIRECTIONS = 12
#: Longest side of the thumbnails that are registered.
_THUMB_SIDE = 128
#: Width of the window of the grid maps, in pixels of the grid.
_GRID_SIGMA = 3.0
#: The same of grain, which is told from fewer pixels.
_GRAIN_SIGMA = 2.0
#: Width, in pixels of a halved image, of the Gaussian that makes one of 2 pixels of one of 1 that
#: was halved, which is a low-pass as well.
_REST = ((2**2 - 1**2 - 0.25) / 4) ** 0.5
_TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class SectionMaps:
    """One section at the working level and its maps.

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
    local_std
        (H, W) standard deviation of ``smooth`` within windows of :data:`FLAT_WINDOW` pixels: of
        structure, since grain of single pixels is no longer in it.
    texture
        90th percentile of ``local_std``: near 0 where there is no section.
    spread
        Robust standard deviation of ``smooth``.
    limits
        The 0.1th and 99.9th percentile of ``smooth``: nearly all lies in between.
    dark_lines
        (ceil(H / 2), ceil(W / 2)) how dark straight lines are; all else is as bright as can be.
        That is the lowest grey value that is nowhere exceeded along a straight piece of
        2 * :data:`LINE_REACH` pixels about a pixel, in whatever direction.
    bright_lines
        The same of bright lines.
    dark_ridges, bright_ridges
        How far narrow straight ridges go on, by their width: :data:`~.ridges.CLASSES`.
    discs
        How dark, bright and flat discs of several sizes are.
    mean
        Grid map of the local mean.
    contrast
        Grid map of the logarithm of the local variance of structures of 2 to 16 pixels.
    sharpness
        Grid map of the logarithm of the variance of fine against middle structures.
    grain
        Grid map of how strong what is finer than ``smooth`` is, squared.
    thumb
        Small image without shading, mean 0, for registration.
    imaged
        (H, W) bool, False where nothing was imaged: there maps show mirrored tissue, and no
        statistic counts it. None where all of it was.
    memory
        Of :meth:`remembered`.
    """

    z: int
    zoom: int
    grey: FloatImage
    smooth: FloatImage
    small: FloatImage
    wide: FloatImage
    local_std: FloatImage
    texture: float
    spread: float
    limits: tuple[float, float]
    dark_lines: FloatImage
    bright_lines: FloatImage
    dark_ridges: tuple[ByteImage, ...]
    bright_ridges: tuple[ByteImage, ...]
    discs: tuple[DiscMaps, ...]
    mean: FloatImage
    contrast: FloatImage
    sharpness: FloatImage
    grain: FloatImage
    thumb: FloatImage
    imaged: BoolImage | None = None
    memory: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def remembered(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what follows from the maps alone; it is made when it is first asked for.

        Every section is compared with several others, which ask for the same.
        """
        if key not in self.memory:
            self.memory[key] = make()
        return cast(_T, self.memory[key])

    @property
    def step(self) -> int:
        """Pixels of the working level per pixel of the grid."""
        return GRID * self.zoom


def make_features(
    z: int, pixels: FloatImage, zoom: int = 1, imaged: BoolImage | None = None
) -> SectionMaps:
    """Compute the maps of a section.

    Parameters
    ----------
    z
        Section number.
    pixels
        (H, W) float32 as :func:`~.working_level.read_working` returns it.
    zoom
        From :func:`~.working_level.working_zoom`. Maps are enlarged, but for the statistics on the
        grid: these are of so many pixels as there are.
    imaged
        (H, W) bool, where ``pixels`` were imaged; None for everywhere.
    """
    # what is wider than a pixel loses nothing by being reduced
    bands = _bands(pixels)
    grain = _grain(pixels, bands[0])
    small, wide = bands[1:]
    quarter = halve(wide)
    contrast = _log_energy(wide - enlarge_to(blur(quarter, 4.0), wide.shape))
    middle = _log_energy(wide - _low_pass(wide, 3**0.5))
    sharpness = _log_energy(small - wide) - middle
    mean = blur(halve(small), _GRID_SIGMA)
    thumb = _thumbnail(wide, quarter)
    if imaged is not None:
        thumb = np.where(_resized(imaged, thumb.shape), thumb, 0)
        imaged = _resized(imaged, tuple(zoom * n for n in pixels.shape))
    grey = pixels
    if zoom > 1:
        grey = enlarge_to(pixels, tuple(zoom * n for n in pixels.shape))
        bands = _bands(grey)
    smooth, small, wide = bands
    variance = _local_variance(smooth, small)
    low, high = np.percentile(_shown(smooth, imaged, 4), (10, 90))
    darkest, brightest = np.percentile(_shown(smooth, imaged, 2).astype(float), (0.1, 99.9))
    limits, spread = (float(darkest), float(brightest)), float(high - low) / 2.563
    dark_lines, bright_lines = _along_lines(small, *limits)
    dark_ridges, bright_ridges = ridge_maps(small, limits, spread)
    return SectionMaps(
        z=z,
        zoom=zoom,
        grey=grey,
        smooth=smooth,
        small=small,
        wide=wide,
        local_std=enlarge_to(np.sqrt(variance), grey.shape),
        texture=_texture(variance, imaged),
        spread=spread,
        limits=limits,
        dark_lines=dark_lines,
        bright_lines=bright_lines,
        dark_ridges=dark_ridges,
        bright_ridges=bright_ridges,
        discs=disc_maps(grey, smooth),
        mean=mean,
        contrast=contrast,
        sharpness=sharpness,
        grain=grain,
        thumb=thumb,
        imaged=imaged,
    )


def texture_of(pixels: FloatImage, zoom: int = 1, imaged: BoolImage | None = None) -> float:
    """Return :attr:`SectionMaps.texture` alone; parameters as for :func:`make_features`."""
    shape = tuple(zoom * n for n in pixels.shape)
    grey = pixels if zoom == 1 else enlarge_to(pixels, shape)
    smooth = _low_pass(grey, 1.0)
    seen = None if imaged is None else _resized(imaged, shape)
    return _texture(_local_variance(smooth, halve(smooth)), seen)


def _texture(local_variance: FloatImage, imaged: BoolImage | None) -> float:
    seen = None if imaged is None else _resized(imaged, local_variance.shape)
    return float(np.sqrt(np.percentile(_shown(local_variance, seen, 2), 90)))


def _shown(image: FloatImage, imaged: BoolImage | None, step: int) -> npt.NDArray[np.float32]:
    """Return every so many pixels of an image in both directions, of those that were imaged."""
    values = image[::step, ::step]
    if imaged is None:
        return values
    some = values[imaged[::step, ::step]]
    return some if some.size else values


def _resized(imaged: BoolImage, shape: tuple[int, int]) -> BoolImage:
    """Return where a map of another size shows nothing but imaged pixels."""
    if imaged.shape == shape:
        return imaged
    resize = enlarge_to if shape[0] > imaged.shape[0] else shrink_to
    return resize(imaged.astype(np.float32), shape) > 0.999


def _along_lines(image: FloatImage, low: float, high: float) -> tuple[FloatImage, FloatImage]:
    """Return extremes, over directions, of the extremes along a straight piece.

    That is the lowest of the highest values, and the highest of the lowest, in 255 steps from
    ``low`` to ``high``: 8 bits tell enough, and grain is no straight line.
    """
    import cv2

    grey_per_step = max(high - low, _TINY) / 255
    steps = np.clip(np.rint((image - np.float32(low)) / np.float32(grey_per_step)), 0, 255)
    steps = steps.astype(np.uint8)
    dark, bright = np.full(steps.shape, 255, np.uint8), np.zeros(steps.shape, np.uint8)
    for piece in straight_pieces():
        np.minimum(dark, cv2.dilate(steps, piece), out=dark)
        np.maximum(bright, cv2.erode(steps, piece), out=bright)
    dark_lines, bright_lines = (
        lines.astype(np.float32) * np.float32(grey_per_step) + np.float32(low)
        for lines in (dark, bright)
    )
    return dark_lines, bright_lines


def straight_pieces() -> list[npt.NDArray[np.uint8]]:
    """Return every second pixel of straight pieces in :data:`_LINE_DIRECTIONS` directions."""
    reach = LINE_REACH // 2
    pieces = []
    for angle in np.pi / _LINE_DIRECTIONS * np.arange(_LINE_DIRECTIONS):
        piece = np.zeros((2 * reach + 1,) * 2, np.uint8)
        along = np.arange(-reach, reach + 1, 2)
        rows, columns = (np.rint(reach + along * f(angle)).astype(int) for f in (np.sin, np.cos))
        piece[rows, columns] = 1
        pieces.append(piece)
    return pieces


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


def _grain(pixels: FloatImage, smooth: FloatImage) -> FloatImage:
    """Grid map of the local mean size of what a low-pass removed, squared, at every second pixel.

    The mean of squares would be large where few pixels are, at a sharp border.
    """
    fine = pixels[::2, ::2] - smooth[::2, ::2]
    return blur(halve(np.abs(fine, out=fine)), _GRAIN_SIGMA) ** 2


def _thumbnail(half: FloatImage, quarter: FloatImage) -> FloatImage:
    """Return a small image without shading and with outliers cut: one blob must not decide."""
    shrink = max(1, -(-max(half.shape) // _THUMB_SIDE))
    if shrink == 2:
        small = quarter
    else:
        small = shrink_to(half, (half.shape[0] // shrink, half.shape[1] // shrink))
    small = small - wide_blur(small, 12.0)
    spread = 2.5 * float(np.median(np.abs(small[::2, ::2]))) * 1.4826 + _TINY
    return np.clip(small, -spread, spread).astype(np.float32)


def to_working(grid: npt.NDArray, shape: tuple[int, int]) -> FloatImage:
    """Enlarge a grid map to the working level."""
    return enlarge_to(np.ascontiguousarray(grid, dtype=np.float32), shape)
