"""Where gaps lie: which pixels of a section are a gap across x or y, and how wide it is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import RepairRefused
from ..filters import run_lengths
from ..types import BoolImage, Box, VoxelSize

#: Gaps are filled up to this width, in voxels.
WIDEST = 14
#: Voxels whose sides differ by more than this factor are not isotropic.
_ISOTROPIC = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class Bar:
    """A straight part of a gap, as it shows in a section.

    Parameters
    ----------
    axis
        Across it: 1 is y, 2 is x.
    box
        Where it lies in the image that was looked at.
    where
        (H, W) bool over ``box``.
    """

    axis: int
    box: Box
    where: BoolImage


def is_isotropic(voxel_size: VoxelSize | None) -> bool:
    """Return whether voxels are known to be about as long in all directions."""
    return voxel_size is not None and max(voxel_size) <= _ISOTROPIC * min(voxel_size)


def not_isotropic(voxel_size: VoxelSize) -> str:
    """Return the message that voxels are not isotropic."""
    size = " x ".join(f"{side:g}" for side in voxel_size)
    return f"voxels of {size} nm (z, y, x) are not isotropic"


def check_isotropic(voxel_size: VoxelSize | None) -> None:
    """Raise :class:`RepairRefused` where voxels are known not to be isotropic.

    An unknown voxel size is taken to be isotropic, as the user chose to fill a gap.
    """
    if voxel_size is not None and not is_isotropic(voxel_size):
        raise RepairRefused(
            f"{not_isotropic(voxel_size)}, and method 'gap_patches' fills gaps of isotropic "
            "volumes only; choose method 'auto', which repairs what a neighbouring section shows"
        )


def bars_of(
    mask: BoolImage, intact: BoolImage, widest: int = WIDEST
) -> tuple[list[Bar], BoolImage]:
    """Return the bars of a mask, across x or y and not too wide, and the rest of the mask.

    Where bars cross, and where one side of a bar was not imaged, the mask belongs to a bar in line
    with it.

    Parameters
    ----------
    mask
        (H, W) bool, True = damaged.
    intact
        (H, W) bool, True where the section may be trusted.
    widest
        Widest bar, pixels.
    """
    across_y, across_x = (run_lengths(~intact, axis) for axis in (0, 1))
    narrow_x = mask & (across_x <= np.minimum(across_y, widest))
    narrow_y = mask & ~narrow_x & (across_y <= widest)
    rest = mask & ~narrow_x & ~narrow_y
    columns = np.asarray(narrow_x.any(axis=0))[None, :]
    in_line = rest & columns & _beside(rest, narrow_x)
    narrow_x, rest = narrow_x | in_line, rest & ~in_line
    rows = np.asarray(narrow_y.any(axis=1))[:, None]
    in_line = rest & rows & _beside(rest, narrow_y)
    narrow_y, rest = narrow_y | in_line, rest & ~in_line
    return [*_bars(narrow_x, 2), *_bars(narrow_y, 1)], rest


def _beside(rest: BoolImage, bars: BoolImage) -> BoolImage:
    """Return which connected parts of ``rest`` touch a bar."""
    import cv2

    if not rest.any():
        return rest
    count, labels = cv2.connectedComponents(rest.view(np.uint8), connectivity=8)
    near = cv2.dilate(bars.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    touching = np.zeros(count, dtype=bool)
    touching[np.unique(labels[near & rest])] = True
    touching[0] = False
    return np.asarray(touching[labels])


def _bars(mask: BoolImage, axis: int) -> list[Bar]:
    """Return the connected parts of a mask."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8
    )
    found = []
    for number in range(1, count):
        left, top, width, height = (int(v) for v in stats[number, :4])
        box = Box(top, left, top + height, left + width)
        found.append(Bar(axis, box, labels[box.slices] == number))
    return found
