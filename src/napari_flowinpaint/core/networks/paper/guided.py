"""The paper's networks on windows of any size: normalise, pad, tile, and back.

Like :mod:`..registration` for the joint network, whose tiles it uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...types import BoolImage, FloatImage
from ..registration import OVERLAP, WHOLE, autocast, ramp, spans

if TYPE_CHECKING:
    from .inpainting import PaperNetwork


@dataclass(frozen=True)
class GuidedOutput:
    """Output of the paper's networks for a window, in the grey values that came in.

    Parameters
    ----------
    image
        (H, W) float32, eq. 12: intact pixels as they were, bit for bit.
    refined
        (H, W) float32, the refined reference, eq. 6; the initial one where the network has no
        refinement.
    """

    image: FloatImage
    refined: FloatImage


def inpaint_guided(
    net: PaperNetwork,
    section: FloatImage,
    mask: BoolImage,
    neighbours: tuple[FloatImage, FloatImage],
    alpha: float,
    initial: FloatImage,
    valid: tuple[BoolImage, BoolImage] | None = None,
    *,
    device: str = "cpu",
    report: Callable[[float], None] | None = None,
    whole: int = WHOLE,
    overlap: int = OVERLAP,
) -> GuidedOutput:
    """Fill a window.

    Parameters
    ----------
    net
        In evaluation mode, on ``device``.
    section
        (H, W) float32; what is under the mask is never looked at.
    mask
        (H, W), True = damaged.
    neighbours
        Previous and following, (H, W), brightness and contrast as the section's.
    alpha
        Axial position of the section between them.
    initial
        (H, W), the initial reference (eq. 3).
    valid
        (H, W) each, where previous and following show something; None is everywhere.
    device
        Where the network is.
    report
        Called with the share that is done.
    whole, overlap
        Largest side of a tile, and overlap of tiles, in pixels: memory stays bounded.
    """
    import torch

    from ..blocks import intact_statistics

    def tensor(image: FloatImage | BoolImage) -> torch.Tensor:
        return torch.from_numpy(np.array(image, dtype=np.float32))[None, None]

    own, hole = tensor(section), tensor(mask)
    mean, deviation = (float(value) for value in intact_statistics(own, hole))
    layers = [own, *(tensor(image) for image in (*neighbours, initial))]
    shown = [tensor(np.ones_like(mask) if valid is None else valid[i]) for i in (0, 1)]
    meaningful = [torch.ones_like(hole), *shown, torch.maximum(*shown)]
    layers = [
        torch.where(where > 0.5, (layer - mean) / deviation, 0.0)
        for layer, where in zip(layers, meaningful, strict=True)
    ]
    stacked = torch.cat([*layers, hole, *shown])
    total = np.zeros((2, *mask.shape), dtype=np.float32)
    weight = np.zeros(mask.shape, dtype=np.float32)
    rows, columns = (list(spans(side, whole, overlap)) for side in mask.shape)
    position = torch.full((1,), alpha, device=device)
    for number, (y, x) in enumerate((y, x) for y in rows for x in columns):
        tile = stacked[:, :, y[0] : y[1], x[0] : x[1]].to(device)
        ours, previous, following, reference, damaged, *valid_here = tile.split(1)
        with torch.inference_mode(), autocast(device):
            out, found = net(
                ours,
                damaged,
                (previous, following),
                position,
                reference,
                (valid_here[0], valid_here[1]),
            )
        refined = reference if found is None else found.image
        fade = np.outer(ramp(y, mask.shape[0], overlap), ramp(x, mask.shape[1], overlap))
        drawn = torch.cat([out.drawn, refined])[:, 0].float().cpu().numpy()
        total[:, y[0] : y[1], x[0] : x[1]] += drawn * fade
        weight[y[0] : y[1], x[0] : x[1]] += fade
        if report is not None:
            report((number + 1) / (len(rows) * len(columns)))
    total = total / weight * np.float32(deviation) + np.float32(mean)
    return GuidedOutput(np.where(mask, total[0], section).astype(np.float32), total[1])
