"""What a method is given, a window, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .types import BoolImage, Box, FloatImage, VoxelSize


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """The part of a neighbouring section that lies under a window.

    Parameters
    ----------
    z
        Section number of the neighbour.
    image
        (H, W) float32 grey values.
    valid
        (H, W) bool, False where the neighbour itself is damaged or was not imaged.
    """

    z: int
    image: FloatImage
    valid: BoolImage


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """The volume that a window lies in, for methods that look at more than the neighbours.

    Parameters
    ----------
    shape
        (Z, Y, X).
    read
        ``read(z, box)`` returns grey values, (H, W) float32, and where they may be trusted, bool:
        neither damaged nor synthetic, and imaged.
    """

    shape: tuple[int, int, int]
    read: Callable[[int, Box], tuple[FloatImage, BoolImage]]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """All that a method gets to see: one damaged component with its context halo.

    Parameters
    ----------
    z
        Section number.
    box
        Where the window lies in the section, halo included.
    section
        (H, W) float32 grey values; meaningless where not ``intact``.
    mask
        (H, W) bool, True = damaged, to be replaced by this repair.
    intact
        (H, W) bool, True where the section's own pixels may be trusted. Not simply ``~mask``:
        other damage, and pixels where nothing was imaged, may lie in the halo.
    previous, following
        Neighbours before and after, or None where there is no usable one.
    alpha
        Axial position of the section between its neighbours.
    value_range
        Smallest and largest value the result may take.
    voxel_size
        z, y, x in nm, or None where unknown.
    imaged
        (H, W) bool, False where nothing was imaged (no data): neither intact nor damaged. None
        where all of it was.
    section_shape
        (Y, X) of the whole section, or None where the window is all of it.
    volume
        The volume around it; None where there is none to look at.
    further
        The sections next beyond both neighbours, previous first; empty where there are not both.
    """

    z: int
    box: Box
    section: FloatImage
    mask: BoolImage
    intact: BoolImage
    previous: Neighbour | None
    following: Neighbour | None
    alpha: float
    value_range: tuple[float, float]
    voxel_size: VoxelSize | None = None
    imaged: BoolImage | None = None
    section_shape: tuple[int, int] | None = None
    volume: Volume | None = None
    further: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Displaced:
    """The section's own pixels that an unfolding has moved.

    Parameters
    ----------
    mask
        (H, W) bool, True where the result has them.
    zone
        (H, W) bool, all that the unfolding changes: these, and what it filled.
    flow
        (2, H, W) float32: ``result(x) = section(x + flow(x))`` in the mask.
    """

    mask: BoolImage
    zone: BoolImage
    flow: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WindowRepair:
    """What a method returns; all arrays (H, W) float32 of the window's shape.

    Parameters
    ----------
    initial_reference
        Interpolated between the neighbours (FlowInpaint, eq. 1-3).
    refined_reference
        Warped onto the section's own intact pixels (FlowInpaint, eq. 4-6).
    result
        The section with the masked pixels replaced (FlowInpaint, eq. 12).
    confidence
        0 (guessed) to 1 (certain), inside the mask; 1 outside.
    scores
        Numbers the method measured on the way, for the report.
    displaced
        What was moved, where the method moves tissue; its zone is replaced, beyond the mask.
    flags
        Why the repair should be looked at, in words; alike for all windows of a section.
    """

    initial_reference: FloatImage
    refined_reference: FloatImage
    result: FloatImage
    confidence: FloatImage
    scores: dict[str, float] = field(default_factory=dict)
    displaced: Displaced | None = None
    flags: tuple[str, ...] = ()
