"""The network on windows of any size: normalise, pad, cut into tiles, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from ...types import BoolImage, FloatImage
from ..blocks import pad_to
from ..registration import autocast, ramp, spans
from .progressive import reconstruct
from .separation import SeparationNetwork

#: Windows with sides up to this many pixels are painted whole; overlap of the tiles of larger ones,
#: pixels.
_WHOLE, _OVERLAP = 768, 256
#: How a window can be rotated (by quarter turns) and mirrored: trained equally on all of them.
_VIEWS = (
    (0, False),
    (2, True),
    (1, True),
    (3, False),
    (2, False),
    (0, True),
    (3, True),
    (1, False),
)


def paint_section(
    net: SeparationNetwork,
    section: FloatImage,
    known: BoolImage,
    *,
    device: str = "cpu",
    views: int = 1,
    report: Callable[[float], None] = lambda _: None,
    whole: int = _WHOLE,
    overlap: int = _OVERLAP,
) -> tuple[FloatImage, int]:
    """Paint what is not known of a section.

    Parameters
    ----------
    net
        In evaluation mode, on ``device``.
    section
        (H, W), looked at where ``known`` only; some of it is.
    known
        (H, W).
    device
        Where the network is.
    views
        1 to 8: how many rotated and mirrored copies are painted and averaged.
    report
        Called with the share that is done, after every look at a tile.
    whole, overlap
        Largest side of a tile, and overlap of tiles, in pixels.

    Returns
    -------
    painted : FloatImage
        (H, W) float32, in the grey values that came in; ``section`` where known.
    rounds : int
        Rounds of the progressive reconstruction, at most of any tile.
    """
    tissue = section[known]
    mean, deviation = float(tissue.mean()), max(float(tissue.std()), 1e-3)
    normal = np.where(known, (section - mean) / deviation, 0).astype(np.float32)
    height, width = known.shape
    rows, columns = (list(spans(n, whole, overlap)) for n in known.shape)
    tiles = [(y, x) for y in rows for x in columns if not known[slice(*y), slice(*x)].all()]
    total, weight = np.zeros((2, height, width), dtype=np.float32)
    most = 0
    for number, (y, x) in enumerate(tiles):
        here = (slice(*y), slice(*x))
        fade = np.outer(ramp(y, height, overlap), ramp(x, width, overlap))
        for turns, mirrored in _VIEWS[:views]:
            view = _turned(np.stack([normal[here], known[here]]), turns, mirrored)
            image, rounds = _paint(net, view, device)
            total[here] += _turned_back(image, turns, mirrored) * (fade / views)
            most = max(most, rounds)
        weight[here] += fade
        report((number + 1) / len(tiles))
    painted = total / np.maximum(weight, 1e-6) * np.float32(deviation) + np.float32(mean)
    return np.where(known, section, painted).astype(np.float32), most


def _turned(layers: npt.NDArray[np.float32], turns: int, mirrored: bool) -> npt.NDArray[np.float32]:
    view = layers[..., ::-1] if mirrored else layers
    return np.ascontiguousarray(np.rot90(view, turns, (-2, -1)))


def _turned_back(image: FloatImage, turns: int, mirrored: bool) -> FloatImage:
    back = np.rot90(image, -turns)
    return back[:, ::-1] if mirrored else back


def _paint(
    net: SeparationNetwork, layers: npt.NDArray[np.float32], device: str
) -> tuple[FloatImage, int]:
    """Paint one tile, (2, H, W): the section, normalised, and 1 where it is known."""
    height, width = layers.shape[1:]
    section, known = (
        pad_to(torch.from_numpy(layer)[None, None].to(device), net.config.multiple)
        for layer in layers
    )
    known[..., height:, :] = 0  # what was padded shows nothing
    known[..., width:] = 0
    with torch.inference_mode(), autocast(device):
        filled, rounds = reconstruct(net, section, known)
    return filled[0, 0, :height, :width].float().cpu().numpy(), rounds
