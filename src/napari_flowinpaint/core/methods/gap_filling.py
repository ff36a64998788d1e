"""Fill a gap of any extent by a network: overlapping patches, averaged.

Masto, section 4.4: the volume is cut into overlapping patches, each is filled by itself, and
voxels that several patches predict are averaged.

How far the network can be trusted is measured for every patch: on either side of the gap another
gap of the same width is made in known layers, and filled. The patch is then filled by the weighted
mean that came nearest to the truth there: of the network's image, two interpolations and a linear
prediction fitted to the volume (:mod:`..reference.gap_prediction`).

Brightness may vary at random from section to section. The sums of layers that the network starts
from carry such steps into the gap, enlarged, and two rehearsed gaps are too few to notice. So the
more the brightness of the known layers jumps (:func:`jumps`), the more of that of the filled layers
is taken from the faces of the gap.

Filled patches are cached: the sections of a gap are requested one after the other, and each patch
covers many of them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..filters import blur
from ..reference.gap_interpolation import fill_columns, fill_gap
from ..reference.gap_prediction import GapPrediction, Matrix
from ..types import BoolImage, FloatImage

#: Sections and pixels of a patch along the gap, and how far apart patches begin.
SECTIONS, PIXELS = (64, 32), (128, 96)
#: Size of the cache of filled patches, bytes.
_KEPT = 192 * 2**20

#: Layers on either side of a gap that a patch is filled and rehearsed from.
AROUND = 32
#: Fewest known layers on both sides of a rehearsed gap.
_LEAST_LAYERS = 2
#: Fewest second differences that the jumps of brightness are measured on.
_LEAST_STEPS = 4
#: Least known share of a layer that counts as known.
_MOSTLY = 0.5
#: Errors are compared after this low-pass, voxels; and how firmly all images are believed alike.
_COMPARED, _BELIEF = 2.0, 0.05
#: How far a patch can be relied on where nothing could be rehearsed.
_UNREHEARSED = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FilledGap:
    """The gap of a patch, filled.

    Parameters
    ----------
    images
        (2, width, H, W) float16, normalised: the interpolation between the faces, and the result.
    certainty
        0 (guessed) to 1, the share of the structure that was right in the rehearsal.
    share
        0..1, weight of the network's image.
    gain
        0..1, by how much that share exceeds the one of the better interpolation.
    """

    images: npt.NDArray[np.float16]
    certainty: float
    share: float
    gain: float


class _Kept:
    """The patches that were filled last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patches: OrderedDict[bytes, FilledGap] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> FilledGap | None:
        """Return a patch, or None."""
        with self._lock:
            found = self._patches.get(key)
            if found is not None:
                self._patches.move_to_end(key)
            return found

    def put(self, key: bytes, patch: FilledGap) -> None:
        """Keep a patch, and give up the oldest."""
        with self._lock:
            if key not in self._patches:
                self._patches[key] = patch
                self._bytes += patch.images.nbytes
            while self._bytes > _KEPT:
                _, gone = self._patches.popitem(last=False)
                self._bytes -= gone.images.nbytes


_kept = _Kept()


def tiles(first: int, last: int, length: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the patches along one axis that show any of ``first`` to ``last`` (exclusive).

    They lie where they would lie for the whole axis, ``length`` long, so that every request for
    part of it gets the same patches.
    """
    side, step = size
    if length <= side:
        yield 0, length
        return
    starts = [*range(0, length - side, step), length - side]
    for start in starts:
        if start < last and start + side > first:
            yield start, start + side


def weights(length: int, overlap: int) -> FloatImage:
    """Return what the voxels of a patch weigh along one axis: little at its ends."""
    place = np.arange(length) + 0.5
    return np.clip(np.minimum(place, length - place) / overlap, 0.02, 1).astype(np.float32)


def fill_patch(
    net: Any,
    sha256: str | None,
    block: FloatImage,
    missing: BoolImage,
    width: int,
    device: str,
    views: int,
) -> FilledGap:
    """Fill the gap in the middle of a block.

    Parameters
    ----------
    net
        A :class:`~napari_flowinpaint.core.networks.gap.gap_network.GapNetwork`.
    sha256
        Of its weights.
    block
        (AROUND + width + AROUND, H, W) float32, normalised.
    missing
        Of the same shape, bool, the gap included.
    width
        How many layers the gap has.
    device
        Where the network is.
    views
        How many rotated and mirrored copies the network predicts and averages, 1 to 8.
    """
    content = np.where(missing, 0, block).astype(np.float16)
    digest = hashlib.blake2b(f"{sha256} {width} {views} {block.shape}".encode())
    digest.update(content.tobytes())
    digest.update(np.packbits(missing).tobytes())
    key = digest.digest()
    found = _kept.get(key)
    if found is None:
        faces = jumps(block, missing)
        predictions = {
            layers: GapPrediction(block, missing, layers)
            for layers in {width, *(layers for _, layers in rehearsed_gaps(missing, width))}
        }
        fill = partial(_fill, net, device=device, views=views, faces=faces, predictions=predictions)
        found = _as_rehearsed(fill, block, missing, width)
        _kept.put(key, found)
    return found


#: Fills a gap of a block: (block, missing, first, width) to (N, width, H, W), the network's image,
#: and what it competes with: moved between the faces, linear, and fitted where that is possible.
_Fill = Callable[[FloatImage, BoolImage, int, int], FloatImage]


def _as_rehearsed(fill: _Fill, block: FloatImage, missing: BoolImage, width: int) -> FilledGap:
    """Fill the gap by the weighted mean that does best in rehearsed gaps beside it."""
    images = fill(block, missing, AROUND, width)
    sides = []
    for first, layers in rehearsed_gaps(missing, width):
        gap = slice(first, first + layers)
        truth, known = block[gap], ~missing[gap]
        hidden = missing.copy()
        hidden[gap] = True
        sides.append(_compare(fill(block, hidden, first, layers), truth, known))
    if not sides:
        return FilledGap(images[[1, 0]].astype(np.float16), _UNREHEARSED, 1.0, 0.0)
    count = min(len(images), *(len(square) for square, _ in sides))  # what all of them have
    square = np.sum([square[:count, :count] for square, _ in sides], axis=0)
    power = max(sum(power for _, power in sides), 1e-9)
    shares = best_shares(square)
    error = float(shares @ square @ shares)
    interpolation = float(min(square[1, 1], square[2, 2]))
    taken = np.tensordot(shares.astype(np.float32), images[:count], 1)
    return FilledGap(
        np.stack([images[1], taken]).astype(np.float16),
        certainty=float(np.clip(1 - error / power, 0, 1)),
        share=float(shares[0]),
        gain=float(np.clip((interpolation - error) / power, 0, 1)),
    )


def rehearsed_gaps(missing: BoolImage, width: int) -> list[tuple[int, int]]:
    """Return gaps to rehearse in a block, one on either side of its own: first layer, and width.

    They are as wide as its own, or narrower where too few layers are known.
    """
    shown = ~missing.reshape(len(missing), -1)
    known = shown.mean(axis=1) > _MOSTLY
    found = []
    for step, beside in ((-1, known[:AROUND][::-1]), (1, known[-AROUND:])):
        layers = AROUND if beside.all() else int(np.argmin(beside))
        gap = min(width, layers - 2 * _LEAST_LAYERS)
        context = (layers - gap) // 2
        if gap >= 1:
            first = AROUND + width + context if step > 0 else AROUND - context - gap
            found.append((first, gap))
    return found


def _compare(images: FloatImage, truth: FloatImage, known: BoolImage) -> tuple[Matrix, float]:
    """Return how images of a rehearsed gap err, low-passed, and the truth's power.

    The errors are a matrix, (N, N): the sums of the products of the errors of any two images.
    """
    wrong = [np.where(known, image - truth, 0) for image in images]
    low = np.stack([[blur(layer, _COMPARED) for layer in image] for image in wrong])
    level = np.stack([blur(layer, _COMPARED) for layer in np.where(known, truth, 0)])
    errors = low[:, known].astype(np.float64)
    return errors @ errors.T, float(np.sum((level[known] - level[known].mean()) ** 2))


def best_shares(square: Matrix) -> Matrix:
    """Return the weights of images, 0..1 with sum 1, whose weighted mean errs least.

    Least squares, with a slight preference for equal weights: two rehearsed gaps are few.

    Parameters
    ----------
    square
        (N, N): the sums of the products of their errors.
    """
    count = len(square)
    firm = _BELIEF * max(float(np.trace(square)), 1e-9) / count
    best, least = np.full(count, 1 / count), np.inf
    for number in range(1, 2**count):
        used = [n for n in range(count) if number >> n & 1]
        # equal weights add the same to all that sum to one: so they drop out of the equations
        inverse = np.linalg.inv(square[np.ix_(used, used)] + firm * np.eye(len(used)))
        weights = np.zeros(count)
        weights[used] = inverse.sum(axis=1) / inverse.sum()
        left = float(weights @ square @ weights + firm * weights @ weights)
        if weights.min() >= 0 and left < least:
            best, least = weights, left
    return best


def _part(image: Any, first: int, layers: int, fill: Any) -> Any:
    """Return layers of a block; those beyond its ends are ``fill``."""
    start, stop = max(first, 0), min(first + layers, len(image))
    padding = ((start - first, first + layers - stop), (0, 0), (0, 0))
    return np.pad(image[start:stop], padding, constant_values=fill)


def _fill(
    net: Any,
    block: FloatImage,
    missing: BoolImage,
    first: int,
    width: int,
    device: str,
    views: int,
    faces: float,
    predictions: Mapping[int, GapPrediction],
) -> FloatImage:
    """Return a gap of a block as :data:`_Fill` says.

    ``faces``, 0..1, is how much of the brightness of the layers comes from those that were moved.
    """
    import torch

    from ..networks.registration import autocast

    config = net.config
    fitted = predictions[width].fill(block, missing, first)
    place = config.place(width)
    block, missing = (
        _part(image, first - place, config.depth, fill)
        for image, fill in ((block, 0.0), (missing, True))
    )
    height, breadth = block.shape[1:]
    values, doubt = fill_gap(block, missing, place, width)
    inside = slice(place, place + width)
    linear = fill_columns(block, missing)[inside]
    padding = [(0, 0), *((0, -n % config.multiple) for n in (height, breadth))]
    images = [np.pad(image, padding, mode="edge") for image in (values, doubt, missing)]
    tensors = [torch.from_numpy(image).to(device)[None].float() for image in images]
    gap = torch.tensor([width], device=device)
    core = config.core
    total = torch.zeros_like(tensors[0][:, core])
    with torch.inference_mode(), autocast(device):
        for view in range(views):
            turn, mirror = view % 4, view >= 4
            seen = [torch.rot90(image, turn, (2, 3)) for image in tensors]
            if mirror:
                seen = [image.flip(3) for image in seen]
            out = net(*seen, gap).float()
            total += torch.rot90(out.flip(3) if mirror else out, -turn, (2, 3))
    layers = (total / views)[0, place - core.start : place - core.start + width]
    moved, drawn = values[inside], layers[:, :height, :breadth].cpu().numpy()
    found = [image for image in (drawn, fitted) if image is not None]
    found = [i + np.float32(faces) * (moved - i).mean(axis=(1, 2), keepdims=True) for i in found]
    return np.stack([found[0], moved, linear, *found[1:]])


def jumps(block: FloatImage, missing: BoolImage) -> float:
    """Return how much the brightness of layers jumps: 0 if it is smooth across them, 1 by chance.

    Taken from the means of known layers: the mean square of their second differences over that of
    their first ones is 0 for a trend, 2 for a random walk (so that nothing beyond the faces tells
    more about the gap), 3 if every layer is random. Half of it is returned, at most 1; with too few
    layers 1.

    Parameters
    ----------
    block
        (D, H, W) float32.
    missing
        (D, H, W) bool.
    """
    known = ~missing.reshape(len(missing), -1)
    values = np.where(known, block.reshape(len(block), -1), 0)
    count = known.sum(axis=1)
    means = values.sum(axis=1, dtype=np.float64) / np.maximum(count, 1)
    means[count <= _MOSTLY * known.shape[1]] = np.nan
    first, second = (np.diff(means, order) ** 2 for order in (1, 2))
    if np.isfinite(second).sum() < _LEAST_STEPS:
        return 1.0
    return float(min(np.nanmean(second) / max(2 * np.nanmean(first), 1e-12), 1))
