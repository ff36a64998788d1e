"""Similarity of two images as people see it, inside a mask: FSIM and MS-SSIM.

Both published metrics are means of a map over the whole image. Here the map is computed on whole
sections (what lies outside the mask is context, as for every filter) and the mean is taken over
the masked pixels. Where a metric reduces the images, the mask is reduced with them to the share of
masked pixels, and those shares are the weights of the mean. A mask that covers everything gives
the published metric.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..types import AnyImage, BoolImage

Doubles = npt.NDArray[np.float64]

# MS-SSIM: Wang et al. 2003, section 3, and the constants of SSIM.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SIGMA, _RADIUS = 1.5, 5
_K1, _K2 = 0.01, 0.03

# FSIM: Zhang et al. 2011, section III; the filters of Kovesi 1999 as the authors set them.
_FSIM_SIDE = 256
_T1, _T2 = 0.85, 160.0
_SCALES, _ORIENTATIONS = 4, 4
_SHORTEST, _RATIO = 6.0, 2.0
_RADIAL, _ANGULAR = 0.55, np.pi / _ORIENTATIONS / 1.2
_NOISE_K, _NOISE_DIVISOR = 2.0, 1.7
_EPSILON = 1e-4


def ms_ssim(a: AnyImage, b: AnyImage, mask: BoolImage, data_range: float) -> float:
    """Return the multi-scale structural similarity inside the mask.

    Wang, Simoncelli, Bovik 2003, eq. 7: the mean of contrast times structure at five scales and
    of luminance at the coarsest, each to the power of its weight, multiplied. Between scales the
    images are averaged over 2 x 2 pixels, the mask to the masked share of each; every mean is
    weighted by that share. Windows are Gaussian (sigma 1.5, 11 pixels), mirrored at the borders.
    Images under 176 pixels have fewer scales (the coarsest has 11 pixels at least), whose weights
    are scaled to the sum 1. A negative mean counts as 0, since it has no such power.

    Parameters
    ----------
    a, b
        (Y, X) grey values; finite.
    mask
        (Y, X) bool, at least one True.
    data_range
        Grey values between black and white.

    Returns
    -------
    float
        0..1; 1 for equal images.
    """
    first, second = a.astype(np.float64), b.astype(np.float64)
    share = mask.astype(np.float64)
    scales = scale_count(a.shape)
    weights = np.array(_SCALE_WEIGHTS[:scales]) / sum(_SCALE_WEIGHTS[:scales])
    product = 1.0
    for number, weight in enumerate(weights):
        luminance, structure = ssim_maps(first, second, data_range)
        if number == scales - 1:
            product *= max(float(np.average(luminance, weights=share)), 0.0) ** weight
        product *= max(float(np.average(structure, weights=share)), 0.0) ** weight
        first, second, share = (block_mean(image, 2) for image in (first, second, share))
    return float(product)


def scale_count(shape: tuple[int, ...]) -> int:
    """Return the number of scales of MS-SSIM an image is large enough for, 1 to 5."""
    possible = int(np.log2(max(min(shape) / (2 * _RADIUS + 1), 1)))
    return min(possible + 1, len(_SCALE_WEIGHTS))


def ssim_maps(a: Doubles, b: Doubles, data_range: float) -> tuple[Doubles, Doubles]:
    """Return the map of luminance and that of contrast times structure; SSIM is their product."""
    from scipy.ndimage import gaussian_filter

    def mean(image: Doubles) -> Doubles:
        return np.asarray(gaussian_filter(image, _SIGMA, radius=_RADIUS))

    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a * a + b * b) - mean_a**2 - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    return ratio(mean_a, mean_b, c1), (2 * covariance + c2) / (variances + c2)


def block_mean(image: Doubles, factor: int) -> Doubles:
    """Average blocks of ``factor`` x ``factor`` pixels; the last ones repeat the border."""
    padded = np.pad(image, [(0, -n % factor) for n in image.shape], mode="edge")
    height, width = (n // factor for n in padded.shape)
    return padded.reshape(height, factor, width, factor).mean(axis=(1, 3))


def ratio(a: Doubles, b: Doubles, constant: float) -> Doubles:
    """Return the similarity of two maps, ``(2ab + c) / (a^2 + b^2 + c)``: 1 where equal."""
    return (2 * a * b + constant) / (a**2 + b**2 + constant)


class FsimFeatures:
    """What FSIM compares of an image; kept where one image is compared with several.

    Parameters
    ----------
    image
        (Y, X) grey values; finite.
    data_range
        Grey values between black and white.

    Attributes
    ----------
    factor
        By how much the image was reduced first, so that its shorter side has about 256 pixels
        (block means), as the authors do.
    congruency
        Phase congruency of the reduced image, 0..1.
    gradient
        Gradient magnitude of the reduced image (Scharr), in grey values of 0..255.
    """

    def __init__(self, image: AnyImage, data_range: float) -> None:
        self.factor = max(1, round(min(image.shape) / _FSIM_SIDE))
        grey = block_mean(image.astype(np.float64), self.factor) * (255 / data_range)
        self.congruency = phase_congruency(grey)
        self.gradient = scharr(grey)

    def fsim(self, other: FsimFeatures, mask: BoolImage) -> float:
        """Return the feature similarity inside the mask.

        Zhang, Zhang, Mou, Zhang 2011, eq. 4-9, for grey images: similarity of phase congruency
        times similarity of gradients, averaged with the larger of the two phase congruencies as
        the weight, here times the masked share of each reduced pixel.

        Parameters
        ----------
        other
            Of an image of the same shape.
        mask
            (Y, X) bool, shape of the images, at least one True.

        Returns
        -------
        float
            0..1; 1 for equal images, also where the mask holds no feature at all.
        """
        share = block_mean(mask.astype(np.float64), self.factor)
        similar = ratio(self.congruency, other.congruency, _T1)
        similar *= ratio(self.gradient, other.gradient, _T2)
        weight = np.maximum(self.congruency, other.congruency) * share
        total = float(weight.sum())
        return float((similar * weight).sum() / total) if total > 0 else 1.0


def fsim(a: AnyImage, b: AnyImage, mask: BoolImage, data_range: float) -> float:
    """Return the feature similarity of two images inside the mask; see :class:`FsimFeatures`."""
    return FsimFeatures(a, data_range).fsim(FsimFeatures(b, data_range), mask)


def scharr(image: Doubles) -> Doubles:
    """Return the gradient magnitude, Scharr kernels over 16: twice the slope of a ramp."""
    from scipy.ndimage import correlate1d

    smooth, slope = np.array([3.0, 10.0, 3.0]) / 16, np.array([-1.0, 0.0, 1.0])
    y, x = (
        correlate1d(correlate1d(image, slope, axis), smooth, 1 - axis)  # mirrored at the borders
        for axis in (0, 1)
    )
    return np.hypot(y, x)


def phase_congruency(image: Doubles) -> Doubles:
    """Return how well the phases of all scales agree at each pixel (Kovesi 1999), 0..1.

    Log-Gabor filters at four scales (wavelengths 6 to 48 pixels) and four orientations. Per
    orientation the local energy, less what noise would give, is summed; divided by the sum of all
    amplitudes. The noise is estimated from the median response of the finest scale. As in FSIM's
    published form there is no weight for the spread of frequencies.

    Parameters
    ----------
    image
        (Y, X) grey values; periodic at the borders, as the Fourier transform takes it.
    """
    spectrum = np.fft.fft2(image)
    energy, amplitude = np.zeros(image.shape), np.zeros(image.shape)
    for bank, noise_gain in _filters(image.shape):
        responses = np.fft.ifft2(spectrum * bank)
        amplitudes = np.abs(responses)
        total = responses.sum(axis=0)
        phase = total / (np.abs(total) + _EPSILON)
        turned = responses * phase.conj()
        local = (turned.real - np.abs(turned.imag)).sum(axis=0)
        # Rayleigh statistics: the squared amplitude of noise has its mean at median / ln 2
        power = float(np.median(amplitudes[0] ** 2)) / np.log(2)
        tau = np.sqrt(power * noise_gain)
        threshold = tau * (np.sqrt(np.pi / 2) + _NOISE_K * np.sqrt(2 - np.pi / 2))
        energy += np.maximum(local - threshold / _NOISE_DIVISOR, 0)
        amplitude += amplitudes.sum(axis=0)
    return np.divide(energy, amplitude, out=np.zeros(image.shape), where=amplitude > 1e-12)


@lru_cache(maxsize=4)
def _filters(shape: tuple[int, int]) -> tuple[tuple[Doubles, float], ...]:
    """Return the filters of every orientation, (scale, Y, X), and how they pass noise.

    The second number times the power of the finest scale's noise is half the expected squared
    energy of the noise in all scales (the square of the sum over scales of the even filters).
    """
    v, u = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    radius, angle = np.hypot(u, v), np.arctan2(-v, u)
    radius[0, 0] = 1
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    bands = []
    for scale in range(_SCALES):
        wavelength = _SHORTEST * _RATIO**scale
        band = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(_RADIAL) ** 2)) * low_pass
        band[0, 0] = 0
        bands.append(band)
    found = []
    for number in range(_ORIENTATIONS):
        turn = angle - number * np.pi / _ORIENTATIONS
        away = np.abs(np.arctan2(np.sin(turn), np.cos(turn)))
        bank = np.stack(bands) * np.exp(-(away**2) / (2 * _ANGULAR**2))
        even = np.fft.ifft2(bank).real * np.sqrt(radius.size)
        gain = float((even.sum(axis=0) ** 2).sum()) / float((bank[0] ** 2).sum())
        found.append((bank, gain))
    return tuple(found)
