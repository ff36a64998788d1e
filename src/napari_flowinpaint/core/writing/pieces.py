"""What an entry of the journal consists of: its header, and the pieces that it changed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..io.axes import Axes
from ..io.pyramid import DownsamplingRule, block_factors
from ..section_repair import Provenance
from ..types import AnyImage, BoolImage, Box
from ..window import Displaced


@dataclass(frozen=True, slots=True)
class LevelRecord:
    """One level of the pyramid as the journal knows it.

    Parameters
    ----------
    path
        Where the array lies within the group of the pyramid; "" for an array of its own.
    shape
        (Z, Y, X).
    scale
        Size of a voxel in voxels of the full resolution, (z, y, x).
    rule
        How the level is made of the next finer one; without meaning for the first level.
    """

    path: str
    shape: tuple[int, int, int]
    scale: tuple[float, float, float]
    rule: DownsamplingRule


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays a repair was written to.

    Parameters
    ----------
    axes
        Where z, y and x are in the stored arrays, and the chosen channel and time.
    dtype
        Name of the type of the pixels.
    levels
        The pyramid, full resolution first.
    """

    axes: Axes
    dtype: str
    levels: tuple[LevelRecord, ...]

    @property
    def thickness(self) -> int:
        """How many sections share one section of the most reduced level."""
        thickness = 1
        for fine, coarse in pairwise(self.levels):
            ratio = [b / a for a, b in zip(fine.scale, coarse.scale, strict=True)]
            thickness *= block_factors(fine.shape, coarse.shape, ratio)[0]
        return thickness


@dataclass(frozen=True, slots=True)
class SectionRegion:
    """A box of one section of one level."""

    z: int
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class ChangedPixels:
    """The pixels of one level that a piece changes.

    Parameters
    ----------
    region
        Section and box, in pixels of the level.
    mask
        (H, W) bool, True where a pixel is changed.
    original
        (H, W), the stack's dtype: the pixels before any repair.
    marks
        (H, W) uint32: their marks by repairs that the journal does not know; None for none.
    """

    region: SectionRegion
    mask: BoolImage
    original: AnyImage
    marks: AnyImage | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MovedPixels:
    """Pixels of a piece that an unfolding has moved.

    Parameters
    ----------
    mask
        (H, W) bool, over the box of the full resolution.
    flow
        (2, H, W) float16, (dy, dx): ``new(x) = original(x + flow(x))`` in the mask, the original
        beyond the box being that of the section; 0 elsewhere.
    """

    mask: BoolImage
    flow: AnyImage


def displaced_by(moved: MovedPixels | None, zone: BoolImage) -> Displaced | None:
    """Return moved pixels as a patch has them, whose zone is all that it replaces."""
    return None if moved is None else Displaced(moved.mask, zone, moved.flow.astype("float32"))


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One repaired window in the journal.

    Parameters
    ----------
    changed_pixels
        One per level; None where no pixel of the level depends on the piece.
    new
        (H, W) repaired pixels over the box of the first changed.
    moved
        Where they are the section's own, moved; None where nothing was moved.
    """

    changed_pixels: tuple[ChangedPixels | None, ...]
    new: AnyImage
    moved: MovedPixels | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """The content of ``entry.json``; see the module.

    Parameters
    ----------
    digests
        Of the two files, by their names; empty in an entry of an older version.
    """

    id: int
    z: int
    time: str
    provenance: Provenance
    layout: Layout
    regions: tuple[tuple[SectionRegion | None, ...], ...]
    digests: tuple[tuple[str, str], ...] = ()
