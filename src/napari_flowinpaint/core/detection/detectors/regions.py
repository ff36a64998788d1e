"""Regions of smooth maps, found by hysteresis."""

from __future__ import annotations

import numpy as np

from ...types import BoolImage, FloatImage
from ..features.morphology import reached


def large_regions(
    edge: FloatImage,
    core: FloatImage,
    level: float,
    smallest: float,
    border: float = 0.5,
    inner_share: float = 0.15,
) -> tuple[float, BoolImage] | None:
    """Return the connected regions that are high and large enough.

    Parameters
    ----------
    edge
        (H, W) the map that decides on the border.
    core
        (H, W) the map that decides whether there is anything.
    level
        What ``core`` has to reach.
    smallest
        Least area, as a share of the section.
    border
        Share of ``level`` that ``edge`` has at the border.
    inner_share
        Least area where ``core`` is high, in units of the least area of the region.

    Returns
    -------
    tuple or None
        Strength (90th percentile of ``core`` in units of ``level``) and mask.
    """
    from scipy.ndimage import binary_fill_holes, label

    if not (core > level).any():
        return None
    mask = reached(edge > border * level, core > level)
    names, count = label(mask)
    if count == 0:
        return None
    sizes = np.bincount(names.ravel())
    inner = np.bincount(names[core > level], minlength=sizes.size)
    kept = (sizes >= smallest * mask.size) & (inner >= inner_share * smallest * mask.size)
    kept[0] = False
    if not kept.any():
        return None
    mask = np.asarray(binary_fill_holes(kept[names]))
    return float(np.percentile(core[kept[names]], 90)) / level, mask
