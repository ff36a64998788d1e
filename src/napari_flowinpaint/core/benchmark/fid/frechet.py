"""The Fréchet inception distance (FID) of repaired from true tiles.

Heusel et al. 2017. The distance compares sets of images, here square tiles that lie over the
masks: 128 pixels, on a grid of 64, at least a quarter of each masked. The true tiles are those of
the same sections at the same places. Few tiles make the distance too large (its bias falls with
their number), the same for all methods in a run: compare rows, not publications.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...types import AnyImage, BoolImage, FloatImage

Doubles = npt.NDArray[np.float64]

#: Pixels of a side; step of the grid; least masked share.
TILE, _STEP, _SHARE = 128, 64, 0.25
#: Tiles of one section; spread evenly where there are more.
_MOST = 64


def tile_corners(mask: BoolImage) -> list[tuple[int, int]]:
    """Return the upper left corners (y, x) of the tiles over a mask; at most 64.

    Sections that are smaller than a tile have one, of their size.
    """
    height, width = mask.shape
    corners = [
        (y, x)
        for y in range(0, max(height - TILE, 0) + 1, _STEP)
        for x in range(0, max(width - TILE, 0) + 1, _STEP)
        if mask[y : y + TILE, x : x + TILE].mean() >= _SHARE
    ]
    picked = np.linspace(0, len(corners) - 1, min(_MOST, len(corners))).round().astype(int)
    return [corners[i] for i in picked]


def cut_tiles(
    section: AnyImage, corners: list[tuple[int, int]], black: float, span: float
) -> FloatImage:
    """Return tiles of a section, (N, H, W) float32, black 0 to white 1.

    Parameters
    ----------
    section
        (Y, X) grey values.
    corners
        As :func:`tile_corners` returns them.
    black, span
        The grey value that becomes 0, and the span of grey values from 0 to 1.
    """
    side = (min(TILE, section.shape[0]), min(TILE, section.shape[1]))
    tiles = [section[y : y + side[0], x : x + side[1]] for y, x in corners]
    stacked = np.stack(tiles) if tiles else np.zeros((0, *side))
    return np.clip((stacked.astype(np.float32) - black) / span, 0, 1).astype(np.float32)


def frechet_distance(a: Doubles, b: Doubles) -> float:
    """Return the Fréchet distance of two sets of features, taken as normal distributions.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``. The trace of the root is the sum of the
    singular values of ``A B^T``, with ``C_a = A^T A`` from the centred features: exact, and no
    root of a singular matrix is needed where there are fewer samples than features.

    Parameters
    ----------
    a, b
        (N, features), (M, features).

    Returns
    -------
    float
        At least 0; NaN with fewer than two samples in either.
    """
    if min(len(a), len(b)) < 2:
        return float("nan")
    centred = [(x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    shift = float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum())
    spread = sum(float((x**2).sum()) for x in centred)
    root = float(np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum())
    return max(shift + spread - 2 * root, 0.0)
