"""Low-passes and resizing, thin and typed covers of OpenCV's for float32 images; and runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .types import BoolImage, FloatImage, IntImage

#: What a run of pixels without an end has for its length.
ENDLESS = 1 << 30


def blur(image: FloatImage, sigma: float) -> FloatImage:
    """Gaussian low-pass of ``sigma`` pixels."""
    import cv2

    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)


def wide_blur(image: FloatImage, sigma: float) -> FloatImage:
    """Gaussian low-pass; a wide one on a reduced image, which is all it can resolve.

    Averaging blocks of ``s`` pixels and interpolating between them low-pass by a variance of
    ``s**2 / 4`` by themselves; the Gaussian in between has the rest.
    """
    shrink = int(sigma // 2)
    height, width = image.shape
    if shrink < 2 or min(image.shape) < 4 * shrink:
        return blur(image, sigma)
    reduced = shrink_to(image, (-(-height // shrink), -(-width // shrink)))
    rest = float(np.sqrt((sigma / shrink) ** 2 - 0.25))
    return enlarge_to(blur(reduced, rest), (height, width))


def shrink_to(image: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """Reduce an image to ``shape`` (height, width), at least a pixel, by averaging areas."""
    import cv2

    size = (max(shape[1], 1), max(shape[0], 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def enlarge_to(image: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """Resize an image to ``shape`` (height, width) by linear interpolation."""
    import cv2

    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def halve(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Average blocks of 2 x 2 pixels; of what there is of them at the far border."""
    import cv2

    rest = [n % 2 for n in image.shape]
    if any(rest):
        # OpenCV is slow where blocks do not fit
        image = cv2.copyMakeBorder(image, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE)
    size = (image.shape[1] // 2, image.shape[0] // 2)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def fine_scales(image: FloatImage, sigma: float = 2.0) -> FloatImage:
    """Return what a Gaussian of ``sigma`` pixels removes."""
    return image - blur(image, sigma)


def run_lengths(gone: BoolImage, axis: int) -> IntImage:
    """Return how many pixels side by side are gone along an axis; 0 where none is.

    Runs that reach the border of the image are :data:`ENDLESS`: it is not known what is beyond.

    Parameters
    ----------
    gone
        (H, W) bool.
    axis
        0 is along y, 1 along x.
    """
    length = gone.shape[axis]
    number = np.arange(length, dtype=np.int32)
    number = number[:, None] if axis == 0 else number[None, :]
    below = np.maximum.accumulate(np.where(gone, -1, number), axis=axis)
    flipped = np.flip(np.where(gone, length, number), axis=axis)
    above = np.flip(np.minimum.accumulate(flipped, axis=axis), axis=axis)
    runs = np.where((below < 0) | (above == length), ENDLESS, above - below - 1)
    return np.where(gone, runs, 0).astype(np.int32)
