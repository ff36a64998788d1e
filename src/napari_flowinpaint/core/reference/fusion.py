"""Fuse several hypotheses about the hidden pixels, as well as the section itself can teach.

Registered neighbours never show exactly what the section shows: position, contrast and grain
differ, more at fine than at coarse scales. How much of each hypothesis to believe at each scale
is measured on the section itself: *rehearsal holes* are cut into its intact pixels, filled
by the same procedure, and compared with what is really there. The least-squares weights found
there are then used in the real hole. Where registration is poor, fine scales are given up (they
would only add errors); where it is good, they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..filters import blur, wide_blur
from ..types import BoolImage, Box, FloatImage

#: Widths, in pixels, of the Gaussians that separate the frequency bands.
BANDS = (1.0, 2.0, 4.0, 8.0)
#: What is left after this band can be sampled at every second pixel.
_SMOOTH = 2.0
#: Number of bands that are finer than structure.
_STRUCTURE = 2
#: Widths of the averages that carry the ring's residual into the hole.
_RING = (1.5, 3.0, 6.0, 12.0, 24.0)
#: Side of the part of a window that is rehearsed in, in depths of the damage and in pixels.
_PART = 8
_LEAST_PART, _MOST_PART = 1024, 1280
#: Share of the intact pixels that is cut out to rehearse on, at least and at most; in between, as
#: many pixels as this are.
_LEAST_SHARE, _MOST_SHARE, _ENOUGH = 0.1, 0.3, 10_000
#: The real holes are filled without them, so they are cut from this share of the intact pixels, the
#: ones that lie furthest from the damage.
_FAR = 0.5
#: They are at most about this deep, pixels, in windows with sides of at most so many; in larger
#: ones in proportion. Few large holes tell less than many small ones.
_DEEPEST, _DEEPEST_SIDE = 10.0, 512
#: More pixels than this teach the weights nothing new.
_MOST_SAMPLES = 20_000
#: Fewer than this teach them nothing at all.
FEWEST_SAMPLES = 1_000
#: Weight of the ridge, relative to the variance of a column.
_RIDGE = 1.0
#: The same where one hypothesis is weighed against the fusion of all: two columns, well told apart.
_LEADER_RIDGE = 0.01

Matrix = npt.NDArray[np.float64]


def rehearsal_part(mask: BoolImage, intact: BoolImage) -> Box:
    """Return the part of a window that is rehearsed in.

    The whole window, unless it is much larger than the damage is deep: a part tells as much, and
    costs less. At least half of the part is intact, if that can be; among such parts it is the one
    nearest to the damage.

    Parameters
    ----------
    mask
        (H, W) bool, the real damage.
    intact
        (H, W) bool, the pixels that may be cut.
    """
    if max(mask.shape) <= _LEAST_PART:
        return Box.whole(mask.shape)
    side = int(np.clip(_PART * depth(mask), _LEAST_PART, _MOST_PART)) // 32 * 32
    height, width = (min(side, n) for n in mask.shape)
    starts = [
        [*range(0, n - h, 32), n - h] for n, h in zip(mask.shape, (height, width), strict=True)
    ]
    sums = np.pad(np.cumsum(np.cumsum(intact, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    y, x = np.meshgrid(*starts, indexing="ij")
    shown = sums[y + height, x + width] - sums[y, x + width] - sums[y + height, x] + sums[y, x]
    enough = np.minimum(shown / (height * width), 0.5)
    middle = [float(np.mean(np.nonzero(mask.any(axis=1 - axis))[0])) for axis in (0, 1)]
    away = np.hypot(y + height / 2 - middle[0], x + width / 2 - middle[1])
    best = int(np.argmax(enough - 1e-6 * away))
    y0, x0 = int(y.flat[best]), int(x.flat[best])
    return Box(y0, x0, y0 + height, x0 + width)


def depth(mask: BoolImage) -> float:
    """Return how deep, in pixels, damage is."""
    return float(_inwards(mask).max())


def _inwards(where: BoolImage) -> FloatImage:
    """Return how far, in pixels, every pixel of ``where`` lies from the others."""
    import cv2

    distance = cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(distance, dtype=np.float32)


def rehearsal_holes(mask: BoolImage, intact: BoolImage, seed: int) -> BoolImage:
    """Cut holes to rehearse on into the intact pixels, away from the damage.

    Parameters
    ----------
    mask
        (H, W) bool, the real damage.
    intact
        (H, W) bool, the pixels that may be cut.
    seed
        The same seed gives the same holes.

    Returns
    -------
    holes
        (H, W) bool, inside ``intact``; empty where too little is intact.
    """
    share = float(np.clip(_ENOUGH / max(intact.sum(), 1), _LEAST_SHARE, _MOST_SHARE))
    if share * intact.sum() < FEWEST_SAMPLES:
        return np.zeros_like(intact)
    away = _inwards(~mask)
    far = intact & (away >= _quantile(away[intact], 1 - _FAR))
    deepest = _DEEPEST * max(min(mask.shape) / _DEEPEST_SIDE, 1.0)
    return cut_holes(min(depth(mask), deepest), far, share / _FAR, seed)


def cut_holes(deep: float, where: BoolImage, share: float, seed: int) -> BoolImage:
    """Cut holes of irregular shape.

    Parameters
    ----------
    deep
        About how deep they are, pixels.
    where
        (H, W) bool, the pixels that may be cut; some are.
    share
        Of these, 0..1.
    seed
        The same seed gives the same holes.

    Returns
    -------
    holes
        (H, W) bool, inside ``where``.
    """
    sigma = float(np.clip(0.8 * deep, 4, max(min(where.shape) / 10, 4)))
    noise = np.random.default_rng(seed).standard_normal(where.shape).astype(np.float32)
    noise = wide_blur(noise, sigma)
    return where & (noise > _quantile(noise[where], 1 - share))


def _quantile(values: npt.NDArray[np.float32], share: float) -> float:
    """Return a quantile, of a part of the values where there are many."""
    return float(np.quantile(values[:: max(len(values) // _MOST_SAMPLES, 1)], share))


@dataclass(frozen=True)
class Bands:
    """Samples of the truth and of the hypotheses in every frequency band, finest first.

    Parameters
    ----------
    truth
        Per band, (samples,).
    rows
        Per band, (hypotheses, samples).
    """

    truth: tuple[npt.NDArray[np.float32], ...]
    rows: tuple[npt.NDArray[np.float32], ...]

    @classmethod
    def of(cls, hypotheses: Sequence[FloatImage], truth: FloatImage, where: BoolImage) -> Bands:
        """Sample images at every second row and column of ``where``, thinned where it is large.

        Parameters
        ----------
        hypotheses
            (H, W) float32 each, made without looking at ``where``.
        truth
            (H, W) float32, the section; trusted at ``where``.
        where
            (H, W) bool, the rehearsal holes.
        """
        picked = sample(where[::2, ::2])
        y, *rows = (_band_values(image, picked) for image in (truth, *hypotheses))
        return cls(tuple(y), tuple(np.stack(band) for band in zip(*rows, strict=True)))

    def only(self, chosen: Sequence[int]) -> Bands:
        """Return the samples of some of the hypotheses."""
        return Bands(self.truth, tuple(band[list(chosen)] for band in self.rows))

    def error(self, fusion: FusionWeights) -> float:
        """Return the mean squared error of a fusion of the hypotheses, without the fine bands."""
        bands = zip(self.truth, self.rows, fusion.weights, fusion.offsets, strict=True)
        off = [y - weight @ x - offset for y, x, weight, offset in bands]
        return float(np.mean(np.sum(off[_STRUCTURE:], axis=0) ** 2))


def _band_values(
    image: FloatImage, picked: tuple[npt.NDArray[np.intp], ...]
) -> list[npt.NDArray[np.float32]]:
    """Split an image into bands; return the values at pixels of every second row and column.

    What is left after the finest bands is smooth, so every second pixel is enough for the rest.
    """
    values = []
    step = 2
    for sigma in BANDS:
        low = blur(image, sigma * step / 2)
        values.append((image[::step, ::step] - low[::step, ::step])[picked])
        image = low
        if sigma == _SMOOTH:
            image, step = np.ascontiguousarray(low[::2, ::2]), 1
    return [*values, image[picked]]


@dataclass(frozen=True)
class FusionWeights:
    """Least-squares weights of the hypotheses, one row per frequency band.

    Parameters
    ----------
    weights
        (bands, hypotheses).
    offsets
        (bands,) grey values.
    """

    weights: Matrix
    offsets: npt.NDArray[np.float64]

    @classmethod
    def learn(cls, bands: Bands, leader: int | None = None) -> FusionWeights:
        """Fit the weights on the rehearsal.

        Parameters
        ----------
        bands
            Samples of the rehearsal holes.
        leader
            Number of the hypothesis that is weighed against the fusion of all, as one against
            one; None if all are peers.
        """
        weights, offsets = [], []
        for y, x in zip(bands.truth, bands.rows, strict=True):
            means = x.mean(axis=1)
            about, wanted = x - means[:, None], y - y.mean()
            weight = ridge(about, wanted)
            if leader is not None:
                share = ridge(np.stack([weight @ about, about[leader]]), wanted, _LEADER_RIDGE)
                weight = share[0] * weight
                weight[leader] += share[1]
            weights.append(weight)
            offsets.append(float(y.mean() - means @ weight))
        return cls(np.stack(weights), np.array(offsets))

    def apply(self, hypotheses: Sequence[FloatImage]) -> FloatImage:
        """Return the fused image, (H, W) float32.

        The sum over the bands of every hypothesis, ordered so that each Gaussian is applied
        once: what is weighed alike in a band and in the next coarser one is not split at all.
        """
        import cv2

        steps = np.diff(self.weights, axis=0, prepend=0)
        total = np.zeros_like(hypotheses[0])
        for step, sigma in zip(steps[::-1], (*BANDS[::-1], None), strict=True):
            for weight, image in zip(step, hypotheses, strict=True):
                cv2.scaleAdd(image, float(weight), total, total)
            if sigma is not None:
                total = wide_blur(total, sigma)
        return total + np.float32(self.offsets.sum())


def ridge(x: npt.NDArray, y: npt.NDArray, strength: float = _RIDGE) -> npt.NDArray[np.float64]:
    """Solve least squares ``w @ x = y`` of rows ``x``, drawn towards equal weights.

    First one gain for the mean of all rows, then the rows' deviations from it, which the
    ridge holds down: rows are much alike, and a few thousand pixels of one place of the
    section do not tell which of them is better elsewhere unless the difference is plain.
    """
    count = len(x)
    mean = x.mean(axis=0)
    gain = float(mean @ y) / max(float(mean @ mean), 1e-12)
    gram = (x @ x.T).astype(np.float64)
    gram += strength * max(np.trace(gram) / count, 1e-12) * np.eye(count)
    deviations = np.linalg.solve(gram, (x @ (y - gain * mean)).astype(np.float64))
    return gain / count + deviations


def sample(where: BoolImage, most: int = _MOST_SAMPLES) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the indices of at most ``most`` True pixels, evenly drawn."""
    indices = np.nonzero(where)
    step = max(-(-len(indices[0]) // most), 1)
    return tuple(index[::step] for index in indices)


def ring_features(residual: FloatImage, known: BoolImage) -> Iterator[FloatImage]:
    """Carry the residual of the known pixels into the unknown, at several widths.

    Each is a Gaussian average over known pixels that fades to zero out of their reach. They come
    one at a time, to save memory.
    """
    shown = known.astype(np.float32)
    left = np.where(known, residual, 0).astype(np.float32, copy=False)
    for sigma in _RING:
        density, carried = wide_blur(shown, sigma), wide_blur(left, sigma)
        carried /= density + np.float32(0.05)
        carried *= np.minimum(2 * density, 1)
        yield carried


def learn_ring(
    features: Iterable[FloatImage], residual: FloatImage, where: BoolImage
) -> npt.NDArray[np.float64]:
    """Fit how far the residual at the rim of a hole says something about its inside."""
    picked = sample(where)
    return ridge(np.stack([feature[picked] for feature in features]), residual[picked])


def apply_ring(
    features: Iterable[FloatImage], weights: npt.NDArray[np.float64]
) -> FloatImage | float:
    """Return the correction to add inside the hole, (H, W) float32."""
    pairs = zip(weights, features, strict=True)
    return sum(np.float32(weight) * feature for weight, feature in pairs)


def close_seam(image: FloatImage, section: FloatImage, known: BoolImage) -> FloatImage:
    """Let the filled pixels meet the intact ones: no step at the rim, unchanged further in.

    The step that is left at the rim, averaged over 2 pixels so that grain does not count, is
    subtracted there and fades out over 4 pixels.
    """
    import cv2

    weight = known.astype(np.float32)
    step = np.where(known, section - image, 0).astype(np.float32)
    density = blur(weight, 2.0)
    carried = blur(step, 2.0) / np.maximum(density, 1e-3)
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
    # Beyond the reach of the average there is nothing to carry.
    fade = np.exp(-distance / 4) * (density > 1e-3)
    return image + carried * fade
