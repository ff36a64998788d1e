"""Guides: the neighbours of a section, in its grey values and in its place.

*Working grey values*, in which all references are made: tissue stretched to about 16..239 whatever
the dtype, each neighbour brought to the section's brightness and contrast (:class:`GreyMapping`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..types import BoolImage, Box, FloatImage
from ..window import Neighbour, Window
from .optical_flow import (
    IDENTITY,
    Affine,
    Flow,
    align,
    apply_affine,
    moves_most,
    warp,
    warp_affine,
)

_LOW, _HIGH = 16.0, 239.0
#: Smaller ranges of grey values count as zero: float32 cannot scale them to working ones.
_SMALLEST = 1e-30


@dataclass(frozen=True)
class GreyMapping:
    """The map between a stack's grey values and working grey values.

    Parameters
    ----------
    gain, offset
        ``working = grey * gain + offset``.
    mean, deviation
        Of the section's intact pixels, in the stack's grey values; None where nothing is
        intact.
    """

    gain: float
    offset: float
    mean: float | None
    deviation: float | None

    @classmethod
    def of(cls, window: Window) -> GreyMapping:
        """Measure a window: on its intact pixels, or on its neighbours where it has none."""
        own = window.section[window.intact]
        shown = (
            own if own.size else np.concatenate([n.image[n.valid] for n in neighbours_of(window)])
        )
        low, high = (float(v) for v in np.percentile(shown, (0.5, 99.5)))
        gain = (_HIGH - _LOW) / (high - low) if high - low > _SMALLEST else 1.0
        if own.size == 0 or float(own.std()) <= _SMALLEST:
            return cls(gain, _LOW - low * gain, None, None)
        return cls(gain, _LOW - low * gain, float(own.mean()), float(own.std()))

    def to_working(self, image: FloatImage) -> FloatImage:
        """Turn the stack's grey values into working ones."""
        return (image * np.float32(self.gain) + np.float32(self.offset)).astype(np.float32)

    def match(self, neighbour: Neighbour) -> FloatImage:
        """Bring a neighbour to the section's mean and contrast, in working grey values."""
        shown = neighbour.image[neighbour.valid]
        if self.mean is None or self.deviation is None or float(shown.std()) <= _SMALLEST:
            return self.to_working(neighbour.image)
        scale = self.deviation / float(shown.std())
        return self.to_working((neighbour.image - float(shown.mean())) * scale + self.mean)

    def to_stack(self, image: FloatImage) -> FloatImage:
        """Turn working grey values into the stack's."""
        return ((image - np.float32(self.offset)) / np.float32(self.gain)).astype(np.float32)


def neighbours_of(window: Window) -> list[Neighbour]:
    """Return the neighbours of a window that are there, previous first."""
    return [n for n in (window.previous, window.following) if n is not None]


@dataclass(frozen=True)
class Guide:
    """A neighbour that guides a repair.

    Parameters
    ----------
    image
        (H, W) float32, working grey values.
    valid
        (H, W) bool, False where the neighbour itself is damaged or was not imaged.
    share
        How far the section lies from this neighbour on the way to the other one, 0..1.
    affine
        Coarse alignment with the section.
    aligned
        The image sampled through it, in the part of the window that is looked at.
    shown
        The same of ``valid``.
    """

    image: FloatImage
    valid: BoolImage
    share: float
    affine: Affine
    aligned: FloatImage
    shown: BoolImage

    def sample(self, flow: Flow) -> FloatImage:
        """Sample the original image through a flow into the aligned one (interpolates once)."""
        return warp(self.image, apply_affine(self.affine, flow))

    def damaged(self, flow: Flow) -> BoolImage:
        """Return where the sampled pixels are damaged ones of the neighbour."""
        if self.valid.all():
            return np.zeros(flow.shape[1:], dtype=bool)
        shown = warp(self.valid.astype(np.float32), apply_affine(self.affine, flow))
        return shown < 0.99

    def align_to(self, section: FloatImage, known: BoolImage, reach: float = 0) -> Guide:
        """Return the guide coarsely aligned to the known pixels of a section.

        An alignment that moves no pixel further than ``reach`` pixels is left out: what follows
        finds such displacements by itself, and pixels that are not resampled stay sharp.
        """
        affine = align(section, self.image, known, self.valid)
        near = np.array_equal(self.affine, IDENTITY) and moves_most(affine, section.shape) <= reach
        if near or np.array_equal(affine, self.affine):
            return self
        shown = self.valid
        if not shown.all():
            shown = warp_affine(shown.astype(np.float32), affine) > 0.99
        return replace(self, affine=affine, aligned=warp_affine(self.image, affine), shown=shown)

    def crop(self, part: Box) -> Guide:
        """Return the guide of a part of the window; it samples the same, whole image."""
        affine = self.affine.copy()
        affine[:, 2] += affine[:, :2] @ np.array([part.x0, part.y0], dtype=np.float32)
        aligned = np.ascontiguousarray(self.aligned[part.slices])
        shown = np.ascontiguousarray(self.shown[part.slices])
        return replace(self, affine=affine, aligned=aligned, shown=shown)


def nearer(guides: list[Guide]) -> Guide:
    """Return the guide that the section lies nearer to; the previous one if both are as near."""
    return min(guides, key=lambda guide: guide.share)


def unaligned_guides(window: Window, greys: GreyMapping) -> list[Guide]:
    """Return the neighbours of a window as guides, where they lie in the stack."""
    shares = (window.alpha, 1 - window.alpha)
    return [
        _unaligned(neighbour, share, greys)
        for neighbour, share in zip((window.previous, window.following), shares, strict=True)
        if neighbour is not None
    ]


def further_guides(window: Window, greys: GreyMapping) -> list[Guide]:
    """Return the sections beyond the neighbours as guides, where they lie in the stack.

    Empty where one of them does not show all of the damage.
    """
    if not all((n.valid | ~window.mask).all() for n in window.further):
        return []
    return [_unaligned(neighbour, 0.5, greys) for neighbour in window.further]


def is_consecutive(window: Window) -> bool:
    """Return whether a window's neighbours and the sections beyond lie next to each other."""
    told = [n.z for n in (*neighbours_of(window), *window.further)]
    return sorted(told) == [window.z + step for step in (-2, -1, 1, 2)]


def _unaligned(neighbour: Neighbour, share: float, greys: GreyMapping) -> Guide:
    image, valid = greys.match(neighbour), neighbour.valid
    return Guide(image, valid, share, IDENTITY.copy(), image, valid)
