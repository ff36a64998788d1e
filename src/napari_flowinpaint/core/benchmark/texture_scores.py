"""Does a repair look like tissue? Energy per band, and whether a machine can tell it from tissue.

Patches of repaired pixels are compared with those of the same places of the true section. Of each
patch ten numbers are taken: the energy in seven bands, its dependence on direction, contrast and
skewness. A linear discriminant (Fisher 1936), trained on all other
sections, tries to tell repaired from true ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..types import AnyImage, BoolImage

Doubles = npt.NDArray[np.float64]

#: Side of a patch, and of the grid on which patches lie, pixels.
PATCH, STEP = 32, 16
#: Edges of the bands, in periods per patch: periods of 32 to 2 pixels.
_EDGES = (1, 2, 3, 4.5, 6.5, 9, 12, 16)
#: Range of bands in which the dependence on direction is measured.
_DIRECTED = (6, 16)
#: Ridge of the discriminant, in variances of the standardised numbers.
_RIDGE = 1e-2


@dataclass(frozen=True)
class TextureScores:
    """Comparison of the texture of repaired and true pixels.

    Parameters
    ----------
    bands
        Natural logarithm of the energy, repaired minus true, in seven bands from periods of
        32 pixels to 2: 0 is right, below is blur.
    auc
        Area under the ROC curve of the discriminant: 0.5 if it cannot tell repaired patches from
        true ones, 1 if it always can. NaN if all patches are of one section.
    patches
        Number of repaired patches, and of true ones.
    """

    bands: tuple[float, ...]
    auc: float
    patches: int


def patch_numbers(patch: AnyImage) -> Doubles:
    """Return ten numbers that describe a patch (32, 32): seven log energies and three more."""
    image = patch.astype(np.float64)
    off = image - image.mean()
    taper = np.hanning(PATCH)
    power = np.abs(np.fft.fft2(off * np.outer(taper, taper))) ** 2
    periods = np.fft.fftfreq(PATCH) * PATCH
    radius = np.hypot(periods[:, None], periods[None, :])
    angle = np.arctan2(periods[:, None], periods[None, :])
    energy = [power[(radius >= low) & (radius < high)].mean() for low, high in pairwise(_EDGES)]
    fine = (radius > _DIRECTED[0]) & (radius < _DIRECTED[1])
    ways = [
        power[fine & (np.abs((angle - way + np.pi / 2) % np.pi - np.pi / 2) < np.pi / 8)].mean()
        for way in (0, np.pi / 4, np.pi / 2, -np.pi / 4)
    ]
    skewness = float(((off / (off.std() + 1e-6)) ** 3).mean())
    directed = np.log((max(ways) + 1e-6) / (min(ways) + 1e-6))
    return np.array([*np.log(np.array(energy) + 1e-3), directed, image.std(), skewness])


def patch_pairs(repaired: AnyImage, truth: AnyImage, mask: BoolImage) -> tuple[Doubles, Doubles]:
    """Return the numbers of all patches inside a mask, (N, 10): repaired and true."""
    rows: tuple[list[Doubles], list[Doubles]] = ([], [])
    for y in range(0, mask.shape[0] - PATCH + 1, STEP):
        for x in range(0, mask.shape[1] - PATCH + 1, STEP):
            place = (slice(y, y + PATCH), slice(x, x + PATCH))
            if mask[place].all():
                for numbers, image in zip(rows, (repaired, truth), strict=True):
                    numbers.append(patch_numbers(image[place]))
    first, second = (np.array(found).reshape(-1, len(_EDGES) + 2) for found in rows)
    return first, second


def texture_scores(pairs: Sequence[tuple[Doubles, Doubles]]) -> TextureScores | None:
    """Return the scores of repairs of several sections; None if no patch fits into the masks.

    Parameters
    ----------
    pairs
        For every section, the result of :func:`patch_pairs`.
    """
    pairs = [pair for pair in pairs if len(pair[0])]
    if not pairs:
        return None
    made, true = (np.concatenate(side) for side in zip(*pairs, strict=True))
    bands = (made - true)[:, : len(_EDGES) - 1].mean(axis=0)
    return TextureScores(tuple(map(float, bands)), _auc(pairs), len(made))


def _auc(pairs: Sequence[tuple[Doubles, Doubles]]) -> float:
    """Return how well repaired and true patches are told apart, each section held out in turn."""
    if len(pairs) < 2:
        return float("nan")
    told: tuple[list[Doubles], list[Doubles]] = ([], [])
    for number in range(len(pairs)):
        others = [pair for n, pair in enumerate(pairs) if n != number]
        made, true = (np.concatenate(side) for side in zip(*others, strict=True))
        both = np.concatenate([made, true])
        mean, deviation = both.mean(axis=0), both.std(axis=0) + 1e-6
        first, second = ((rows - mean) / deviation for rows in (made, true))
        spread = _covariance(first) + _covariance(second) + _RIDGE * np.eye(len(mean))
        weights = np.linalg.solve(spread, first.mean(axis=0) - second.mean(axis=0))
        for side, rows in zip(told, pairs[number], strict=True):
            side.append(((rows - mean) / deviation) @ weights)
    return area_under_curve(*(np.concatenate(side) for side in told))


def _covariance(rows: Doubles) -> Doubles:
    if len(rows) < 2:
        return np.zeros((rows.shape[1], rows.shape[1]))
    return np.asarray(np.cov(rows.T), dtype=np.float64)


def area_under_curve(high: Doubles, low: Doubles) -> float:
    """Return the share of pairs in which ``high`` is above ``low``, 0..1; ties count half."""
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")
    return float(below.mean() / (2 * len(low)))
