"""The joint network on windows of any size: normalise, pad, tile, and back.

A window is processed whole up to a certain size and in overlapping tiles above it, so that memory
stays bounded; tiles overlap and fade into each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..types import BoolImage, FloatImage

if TYPE_CHECKING:
    import torch

    from .joint import JointNet
    from .one.extend import ExtendNet

    Registering = JointNet | ExtendNet

#: Windows with sides up to this many pixels are processed whole.
WHOLE = 1280
#: Overlap of neighbouring tiles, pixels.
OVERLAP = 512
#: The ways in which a window can be rotated (by quarter turns), mirrored, and its neighbours
#: swapped: the network was trained equally on all of them. The first ``views`` of them are used.
_VIEWS = (
    (0, False, False),
    (2, True, True),
    (1, False, True),
    (3, True, False),
    (2, False, False),
    (0, True, True),
    (3, False, True),
    (1, True, False),
)


@dataclass(frozen=True)
class Registration:
    """What the network predicts for a window.

    Parameters
    ----------
    flows
        To the previous and to the following neighbour, (2, H, W) float32, pixels.
    image
        (H, W) float32, the fused section in the grey values that came in.
    """

    flows: tuple[FloatImage, FloatImage]
    image: FloatImage


def register_jointly(
    net: Registering,
    section: FloatImage,
    known: BoolImage,
    neighbours: tuple[FloatImage, FloatImage],
    valid: tuple[BoolImage, BoolImage],
    alpha: float,
    *,
    device: str = "cpu",
    report: Callable[[float], None] = lambda _: None,
    whole: int = WHOLE,
    overlap: int = OVERLAP,
    views: int = 1,
) -> Registration:
    """Run a joint network on a window.

    Parameters
    ----------
    net
        In evaluation mode, on ``device``.
    section
        (H, W), looked at where ``known`` only.
    known
        (H, W) bool; False everywhere if the section is missing: then brightness and contrast are
        those of the neighbours, and only they are used.
    neighbours
        Previous and following, (H, W), brightness and contrast as the section's.
    valid
        Where they show something.
    alpha
        Axial position of the section.
    device
        Where the network is.
    report
        Called with the share that is done, 0..1, after every prediction of a tile.
    whole, overlap
        Largest side of a tile, and overlap of tiles, in pixels.
    views
        1 to 8: how many rotated and mirrored copies of the window the image is averaged over. The
        flows are those of the first copy.
    """
    tissue = section[known]
    if not tissue.size:
        tissue = np.concatenate([n[v] for n, v in zip(neighbours, valid, strict=True)])
    mean, deviation = float(tissue.mean()), max(float(tissue.std()), 1e-3)

    def normal(image: FloatImage, where: BoolImage) -> FloatImage:
        return np.where(where, (image - mean) / deviation, 0).astype(np.float32)

    def layers(y: slice, x: slice) -> npt.NDArray[np.float32]:
        """Return what the network sees of a tile: made only now, to save memory."""
        shown = [v[y, x] for v in valid]
        return np.stack(
            [
                normal(section[y, x], known[y, x]),
                known[y, x],
                *(normal(n[y, x], v) for n, v in zip(neighbours, shown, strict=True)),
                *shown,
            ],
            dtype=np.float32,
        )

    height, width = known.shape
    rows, columns = (list(spans(n, whole, overlap)) for n in known.shape)
    tiles = [(y, x) for y in rows for x in columns]
    if len(tiles) == 1:
        total = _look(net, layers(slice(None), slice(None)), alpha, device, views, report)
    else:
        total = np.zeros((5, height, width), dtype=np.float32)
        weight = np.zeros((height, width), dtype=np.float32)
        for number, (y, x) in enumerate(tiles):
            here = (slice(*y), slice(*x))
            fade = np.outer(ramp(y, height, overlap), ramp(x, width, overlap))

            def note(share: float, number: int = number) -> None:
                report((number + share) / len(tiles))

            total[:, *here] += _look(net, layers(*here), alpha, device, views, note) * fade
            weight[here] += fade
        total /= weight
    return Registration(
        (np.ascontiguousarray(total[0:2]), np.ascontiguousarray(total[2:4])),
        total[4] * np.float32(deviation) + np.float32(mean),
    )


def spans(length: int, whole: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield overlapping spans of at most ``whole`` pixels that cover ``length``."""
    if length <= whole:
        yield 0, length
        return
    count = -(-(length - overlap) // (whole - overlap))
    # starts are multiples of 32, so that a tile's feature pyramid lies on the window's
    for start in np.linspace(0, length - whole, count):
        first = int(start) // 32 * 32
        yield first, first + whole if start < length - whole else length


def ramp(span: tuple[int, int], length: int, overlap: int) -> npt.NDArray[np.float32]:
    """Return the weight of a tile along one axis: rises within the overlap, where there is one.

    The outermost quarter of an overlap, where a tile sees least, counts next to nothing.
    """
    position = np.arange(span[1] - span[0], dtype=np.float32)

    def rise(distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.clip((distance - overlap / 4) / (overlap / 2), 1e-3, 1).astype(np.float32)

    weight = np.ones_like(position)
    if span[0] > 0:
        weight = np.minimum(weight, rise(position))
    if span[1] < length:
        weight = np.minimum(weight, rise(position[::-1]))
    return weight


def _look(
    net: Registering,
    layers: npt.NDArray[np.float32],
    alpha: float,
    device: str,
    views: int,
    report: Callable[[float], None],
) -> npt.NDArray[np.float32]:
    """Return flows and image, (5, H, W), of one tile, its image averaged over several views."""
    total: npt.NDArray[np.float32] = _run(net, layers, alpha, device)
    report(1 / views)
    for number, (turns, mirrored, exchanged) in enumerate(_VIEWS[1:views], start=2):
        view = layers[[0, 1, 3, 2, 5, 4]] if exchanged else layers
        view = view[..., ::-1] if mirrored else view
        view = np.ascontiguousarray(np.rot90(view, turns, (1, 2)))
        image = _run(net, view, 1 - alpha if exchanged else alpha, device)[4]
        image = np.rot90(image, -turns)
        total[4] += image[:, ::-1] if mirrored else image
        report(number / views)
    total[4] /= views
    return total


def _run(net: Registering, layers: npt.NDArray[np.float32], alpha: float, device: str) -> Any:
    """Return flows and image, (5, H, W), of one tile."""
    import torch

    from .blocks import pad_to

    height, width = layers.shape[1:]
    images = [_to_tensor(layer, device) for layer in layers]
    padded = [pad_to(image, net.config.multiple) for image in images]
    for known in (padded[1], padded[4], padded[5]):  # what was padded shows nothing
        known[..., height:, :] = 0
        known[..., width:] = 0
    position = torch.full((1,), alpha, device=device)
    with torch.inference_mode(), autocast(device):
        out = net(padded[0], padded[1], (padded[2], padded[3]), (padded[4], padded[5]), position)
    parts = torch.cat([*out.flows, out.image], dim=1)[0, :, :height, :width]
    return parts.float().cpu().numpy()


def _to_tensor(layer: npt.NDArray[np.float32], device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(layer)).to(device)[None, None]


def autocast(device: str) -> Any:
    """Return the context for half precision where the device is fast at it."""
    import torch

    kind = device.split(":")[0]
    fast = (kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)) or (
        kind == "cpu" and torch.cpu._is_avx512_bf16_supported()
    )
    return torch.autocast(kind if kind in ("cpu", "cuda") else "cpu", torch.bfloat16, enabled=fast)


__all__: Sequence[str] = (
    "OVERLAP",
    "WHOLE",
    "Registration",
    "autocast",
    "ramp",
    "register_jointly",
    "spans",
)
