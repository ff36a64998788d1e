"""Masks of some sections only: images of single sections, or drawn outlines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from ..types import AnyImage, Box


class SectionMasks(ABC):
    """The masks of some sections of a stack; the others are intact.

    Attributes
    ----------
    shape
        (Y, X) of each.
    sections
        Their numbers, ascending.
    """

    shape: tuple[int, int]
    sections: tuple[int, ...]

    @abstractmethod
    def read(self, z: int, box: Box) -> AnyImage:
        """Return the values in a box of section ``z``, one of :attr:`sections`."""


class MaskImages(SectionMasks):
    """Arrays (Y, X) by section number.

    Parameters
    ----------
    images
        All of one shape.
    shape
        (Y, X), where there may be no image.
    """

    def __init__(self, images: Mapping[int, AnyImage], shape: tuple[int, int]) -> None:
        self.shape = shape
        self.sections = tuple(sorted(images))
        self._images = dict(images)

    def read(self, z: int, box: Box) -> AnyImage:
        """Return the values in a box of section ``z``."""
        return self._images[z][box.slices]
