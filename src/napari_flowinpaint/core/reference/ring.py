"""The rim of a hole: its residual says something about the inside, and no step is left at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ..filters import blur, wide_blur
from ..types import BoolImage, FloatImage
from .fusion import ridge, sample

#: Widths of the averages that carry the ring's residual into the hole.
_RING = (1.5, 3.0, 6.0, 12.0, 24.0)


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
    """Fit how much the residual at the rim of a hole tells about its inside."""
    picked = sample(where)
    return ridge(np.stack([feature[picked] for feature in features]), residual[picked])


def apply_ring(
    features: Iterable[FloatImage], weights: npt.NDArray[np.float64]
) -> FloatImage | float:
    """Return the correction to add inside the hole, (H, W) float32."""
    pairs = zip(weights, features, strict=True)
    return sum(np.float32(weight) * feature for weight, feature in pairs)


def close_seam(image: FloatImage, section: FloatImage, known: BoolImage) -> FloatImage:
    """Remove the step between filled and intact pixels at the rim; unchanged further in.

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
