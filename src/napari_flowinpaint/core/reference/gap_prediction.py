"""Linear prediction across a gap, fitted to the volume that the gap lies in.

Every layer of a gap is a weighted sum of the known layers beside it, as they are and low-passed,
and of its two faces moved along the motion between them. The weights are those with the least
squared error in gaps of the same width that are made where the volume is known. So they suit the
volume's own scale, noise and motion, whatever a network was trained on.

A block is ``(D, H, W)`` float32: ``D`` layers across the gap, each ``(H, W)`` along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import blur
from ..types import BoolImage, FloatImage
from .gap_interpolation import between, fill_columns

Matrix = npt.NDArray[np.float64]

#: Layers on either side that are summed: the most that leave enough gaps to fit the weights to.
_LAYERS = (6, 3)
#: Width of the low-pass of what is summed, voxels.
_LOW_PASS = 1.5
#: Least known share of a layer, and of a column that the weights are fitted to.
_MOSTLY = 0.5
#: Spacing of the gaps that are made, in layers, and of the voxels of each that are used.
_STEP, _SPARSE = 2, 3
#: Fewest gaps that weights are fitted to.
_FEWEST = 2
#: What is added to the diagonal of the normal equations, relative to its mean.
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """The normal equations of a gap that was made where the volume is known.

    Parameters
    ----------
    first
        Its first layer.
    square
        (width, F, F).
    towards
        (width, F).
    """

    first: int
    square: Matrix
    towards: Matrix


class GapPrediction:
    """Predicts gaps of one width in a block, by weights fitted to what is known of the block.

    Parameters
    ----------
    block
        (D, H, W) float32, normalised; what is missing of it is not looked at.
    missing
        (D, H, W) bool.
    width
        Of the gaps, in layers.
    """

    def __init__(self, block: FloatImage, missing: BoolImage, width: int) -> None:
        self.width = width
        self._layers = 0
        self._places: list[_Place] = []
        filled = fill_columns(block, missing)
        low = _low(filled)
        for self._layers in _LAYERS:
            for first, columns in self._known(missing):
                self._places.append(self._place(filled, low, first, columns))
            if len(self._places) >= _FEWEST:
                break
            self._places.clear()

    def fill(self, block: FloatImage, missing: BoolImage, first: int) -> FloatImage | None:
        """Return the layers of a gap, (width, H, W); None where too little is known to fit weights.

        Parameters
        ----------
        block, missing
            As above; the gap is missing.
        first
            Its first layer. Nothing that was fitted near it is used.
        """
        reach = self.width + self._layers
        places = [place for place in self._places if abs(place.first - first) >= reach]
        if not places or len(self._places) < _FEWEST:
            return None
        square = np.sum([place.square for place in places], axis=0)
        towards = np.sum([place.towards for place in places], axis=0)
        size = square.shape[1]
        scale = np.trace(square, axis1=1, axis2=2) / size
        square += _RIDGE * scale[:, None, None] * np.eye(size)
        weights = np.linalg.solve(square, towards[..., None])[..., 0].astype(np.float32)
        filled = fill_columns(block, missing)
        seen = self._seen(filled, _low(filled), first)
        return np.einsum("kf,kfhw->khw", weights, seen)

    def _known(self, missing: BoolImage) -> list[tuple[int, BoolImage]]:
        """Return where gaps can be made: their first layers, and the known columns, (H, W)."""
        reach, found = self._layers, []
        for first in range(reach, len(missing) - self.width - reach + 1, _STEP):
            columns = ~missing[first - reach : first + self.width + reach].any(axis=0)
            if columns.mean() > _MOSTLY:
                found.append((first, np.asarray(columns)))
        return found

    def _place(self, filled: FloatImage, low: FloatImage, first: int, columns: BoolImage) -> _Place:
        seen = self._seen(filled, low, first)[:, :, columns][:, :, ::_SPARSE].astype(np.float64)
        truth = filled[first : first + self.width][:, columns][:, ::_SPARSE]
        square = seen @ seen.transpose(0, 2, 1)
        return _Place(first, square, np.einsum("kfn,kn->kf", seen, truth))

    def _seen(self, filled: FloatImage, low: FloatImage, first: int) -> FloatImage:
        """Return what is summed for every layer of a gap, (width, F, H, W)."""
        last = first + self.width
        numbers = [*range(first - self._layers, first), *range(last, last + self._layers)]
        numbers = [min(max(number, 0), len(filled) - 1) for number in numbers]
        moved = between(filled[first - 1], filled[last], self.width)
        beside = np.concatenate([filled[numbers], low[numbers]])
        beside = np.broadcast_to(beside, (self.width, *beside.shape))
        faces = np.stack([*moved, *(_low(image) for image in moved)], axis=1)
        return np.concatenate([beside, faces], axis=1)


def _low(image: FloatImage) -> FloatImage:
    """Return layers low-passed along the gap."""
    return np.stack([blur(layer, _LOW_PASS) for layer in image])
