"""Grow and shrink masks, extremes within squares, hysteresis."""

from __future__ import annotations

import numpy as np

from ...types import BoolImage, Box, FloatImage


def grow(mask: BoolImage, radius: int) -> BoolImage:
    """Return a mask grown by ``radius`` pixels, round; shrunk where it is negative."""
    import cv2

    found = Box.of_mask(mask)
    if radius == 0 or found is None:
        return mask
    size = 2 * abs(radius) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if radius > 0 else cv2.erode
    # outside of the section there is nothing that would shrink a mask
    border = 0 if radius > 0 else 1
    near = found.expand(abs(radius), (mask.shape[0], mask.shape[1])).slices
    done = change(
        mask[near].astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=float(border)
    )
    out = np.zeros_like(mask)
    out[near] = done > 0
    return out


def parts_deeper_than(mask: BoolImage, depth: float) -> list[BoolImage]:
    """Return the connected parts of a mask that hold a circle of ``depth`` pixels across.

    Outside of the section there is nothing that ends a part.
    """
    import cv2

    distance = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 3)
    if not mask.any() or 2 * float(distance.max()) < depth:
        return []
    _, names = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    deep = np.unique(names[2 * distance >= depth])
    return [names == name for name in deep[deep > 0]]


def lowest(image: FloatImage, radius: int) -> FloatImage:
    """Return the smallest value within a square of ``radius`` pixels."""
    import cv2

    if radius == 0:
        return image
    return np.asarray(cv2.erode(image, np.ones((2 * radius + 1,) * 2, np.uint8)))


def highest(image: FloatImage, radius: int) -> FloatImage:
    """Return the largest value within a square of ``radius`` pixels."""
    import cv2

    if radius == 0:
        return image
    return np.asarray(cv2.dilate(image, np.ones((2 * radius + 1,) * 2, np.uint8)))


def reached(low: BoolImage, high: BoolImage) -> BoolImage:
    """Return the connected components of ``low`` that hold a pixel of ``high`` (hysteresis)."""
    return ConnectedComponents(low | high, high).mask() if high.any() else np.zeros_like(high)


class ConnectedComponents:
    """The connected components of a mask, stored sparsely: few pixels are damaged.

    Parameters
    ----------
    mask
        The mask; pixels that touch at a corner are connected.
    certain
        Components without one of these pixels do not count; all do by default.

    Attributes
    ----------
    indices
        Pixels of components that count, in the flat mask, ascending.
    numbers
        The number of the component there.
    areas
        Pixels of every component, by its number; 0 where it does not count.
    """

    def __init__(self, mask: BoolImage, certain: BoolImage | None = None) -> None:
        import cv2

        self.shape = mask.shape
        count, names = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        self.indices = np.flatnonzero(mask)
        self.numbers = names.ravel()[self.indices]
        self.areas = np.bincount(self.numbers, minlength=count)
        if certain is not None:
            kept = self.holding(certain)
            some = kept[self.numbers]
            self.indices, self.numbers = self.indices[some], self.numbers[some]
            self.areas *= kept

    def holding(self, pixels: BoolImage) -> BoolImage:
        """Return which components hold one of some pixels."""
        kept = np.zeros(self.areas.size, dtype=bool)
        kept[self.numbers[pixels.ravel()[self.indices]]] = True
        return kept

    def mask(self, which: BoolImage | None = None) -> BoolImage:
        """Return the pixels of some components; of all that count by default."""
        found = np.zeros(self.shape, dtype=bool)
        found.ravel()[self.indices if which is None else self.indices[which[self.numbers]]] = True
        return found

    def sums(self, image: FloatImage) -> FloatImage:
        """Return the sum of the values of an image in every component."""
        values = image.ravel()[self.indices]
        return np.bincount(self.numbers, values, self.areas.size).astype(np.float32)
