"""How far a simple segmentation of the repaired section is from that of the true one.

Both sections are segmented by the same rule, membrane probability and then watershed, and the
labels are compared inside the mask. The rule does not segment EM well, but it is one that nothing
was trained for, and its constants were set by eye on undamaged sections that are not scored, so
that it favours no method. What counts is not how right it is but how far a repair changes it.
"""

from __future__ import annotations

import numpy as np

from ..io.polarity import Polarity
from ..types import AnyImage, BoolImage, FloatImage, IntImage

#: Width of the lines looked for, pixels: membranes of about 2 to 8 pixels.
_SIGMA = 2.0
#: Line strength, over the grey deviation of the true section, that counts as one half.
_HALF = 0.35
#: A pixel is inside a cell below this probability, and a cell has a seed where it is wider than
#: twice this many pixels.
_INSIDE, _RADIUS = 0.5, 5.0


class Segmentation:
    """The segmentation of a true section, and how far that of a repaired one is from it.

    Parameters
    ----------
    truth
        (Y, X) grey values; finite.
    polarity
        Whether membranes are dark or bright lines, of the whole stack: a repair that blurs must
        not change it.
    """

    def __init__(self, truth: AnyImage, polarity: Polarity) -> None:
        self._polarity = polarity
        # one scale for all: a faint repair must not be stretched
        self._scale = max(float(truth.std()), 1e-12)
        self.labels = self._segment(truth)

    def compare(self, repaired: AnyImage, mask: BoolImage) -> tuple[float, float]:
        """Return the variation of information and the adapted Rand error inside the mask.

        Parameters
        ----------
        repaired
            (Y, X) grey values.
        mask
            (Y, X) bool, at least one True; both sections are segmented as a whole, the labels of
            these pixels are compared.

        Returns
        -------
        voi : float
            Bits, split and merge errors together; 0 where the segmentations agree.
        rand_error : float
            0 (agree) to 1.
        """
        from skimage.metrics import adapted_rand_error, variation_of_information

        true, found = self.labels[mask], self._segment(repaired)[mask]
        error, _, _ = adapted_rand_error(true, found, ignore_labels=())
        # skimage lets a rounding error below 0 through
        return max(float(sum(variation_of_information(true, found))), 0.0), max(float(error), 0.0)

    def _segment(self, section: AnyImage) -> IntImage:
        return watershed_cells(membrane_probability(section, self._polarity, self._scale))


def membrane_probability(section: AnyImage, polarity: Polarity, scale: float) -> FloatImage:
    """Return how likely each pixel is on a membrane, 0..1: the strength of lines.

    The larger eigenvalue of the Hessian (the negative of the smaller for bright membranes), at
    sigma 2 pixels and scale-normalised, in units ``r`` of ``scale``; ``r^2 / (r^2 + 0.35^2)``,
    0 where it has the wrong sign.

    Parameters
    ----------
    section
        (Y, X) grey values.
    polarity
        Whether membranes are dark or bright lines.
    scale
        Grey deviation of the section.
    """
    from scipy.ndimage import gaussian_filter

    grey = section.astype(np.float32) * np.float32(1 if polarity == "dark membranes" else -1)
    yy, xx, xy = (gaussian_filter(grey, _SIGMA, order=o) for o in ((2, 0), (0, 2), (1, 1)))
    curvature = (yy + xx) / 2 + np.hypot((yy - xx) / 2, xy)
    strength = np.maximum(curvature, 0) * np.float32(_SIGMA**2 / scale)
    squared = strength**2
    return np.asarray(squared / (squared + np.float32(_HALF**2)), dtype=np.float32)


def watershed_cells(membranes: FloatImage) -> IntImage:
    """Return the cells between membranes, (Y, X) int32, numbered from 1; every pixel has one.

    Seeds are where the nearest pixel above 0.5 is more than 5 pixels away; the probability is
    flooded from there. Without any seed all is one cell.

    Parameters
    ----------
    membranes
        (Y, X) probabilities, 0..1.
    """
    import cv2
    from skimage.segmentation import watershed

    inside = (membranes < _INSIDE).astype(np.uint8)
    away = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    seeds = (away > _RADIUS).astype(np.uint8)
    count, markers = cv2.connectedComponents(seeds, connectivity=4)
    if count == 1:
        return np.ones(membranes.shape, dtype=np.int32)
    # in steps of 1/255: far faster, and finer than the probability deserves
    levels = np.rint(membranes * 255).astype(np.uint8)
    return np.asarray(watershed(levels, markers), dtype=np.int32)
