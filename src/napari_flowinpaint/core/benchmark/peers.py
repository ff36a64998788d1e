"""What a repair has to beat: what people do today, and the plain stages of the paper.

Each peer takes the section (masked pixels meaningless), its two neighbours and the mask, all
(Y, X), in grey values stretched to 0..255, and returns a section to take the masked pixels from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..reference.optical_flow import warp
from ..types import BoolImage, FloatImage

Peer = Callable[[FloatImage, FloatImage, FloatImage, BoolImage], FloatImage]


def copy_previous(
    section: FloatImage, previous: FloatImage, following: FloatImage, mask: BoolImage
) -> FloatImage:
    """Copy the previous section."""
    return previous


def mean_of_neighbours(
    section: FloatImage, previous: FloatImage, following: FloatImage, mask: BoolImage
) -> FloatImage:
    """Average the neighbours, without motion compensation (what MIB2 does)."""
    return np.asarray((previous + following) / 2, dtype=np.float32)


def farneback(
    section: FloatImage, previous: FloatImage, following: FloatImage, mask: BoolImage
) -> FloatImage:
    """Interpolate along Farneback flow, 3 levels, window 33 (FlowInpaint's first stage)."""
    import cv2

    def flow(target: FloatImage, source: FloatImage) -> npt.NDArray[np.float32]:
        # no flow to start from, which the type stubs do not provide for
        found = cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
            _to_uint8(target), _to_uint8(source), None, 0.5, 3, 33, 3, 7, 1.5, 0
        )
        return np.asarray(found, dtype=np.float32)

    return _interpolate(previous, following, flow)


def dis(
    section: FloatImage, previous: FloatImage, following: FloatImage, mask: BoolImage
) -> FloatImage:
    """Interpolate along DIS flow, OpenCV's "fast" preset."""
    import cv2

    # OpenCV's type stubs lack it
    estimator = cv2.DISOpticalFlow_create(  # type: ignore[attr-defined]
        cv2.DISOPTICAL_FLOW_PRESET_FAST
    )

    def flow(target: FloatImage, source: FloatImage) -> npt.NDArray[np.float32]:
        found = estimator.calc(_to_uint8(target), _to_uint8(source), None)
        return np.asarray(found, dtype=np.float32)

    return _interpolate(previous, following, flow)


def telea(
    section: FloatImage, previous: FloatImage, following: FloatImage, mask: BoolImage
) -> FloatImage:
    """Inpaint from the section alone (Telea 2004, radius 5)."""
    import cv2

    hole = mask.astype(np.uint8)
    return cv2.inpaint(_to_uint8(section), hole, 5, cv2.INPAINT_TELEA).astype(np.float32)


def kpn(
    section: FloatImage, previous: FloatImage, following: FloatImage, mask: BoolImage
) -> FloatImage:
    """Interpolate by the kernel prediction network of ``unfold-paper`` alone.

    Raises
    ------
    InputError
        If its weights are not installed.
    """
    from ..errors import InputError
    from ..networks.fold.restoration import interpolate_between
    from ..networks.released import FOLD, load_released, released

    path = released(FOLD)
    if path is None:
        raise InputError(f"the weights {FOLD} are not installed; leave out the peer 'kpn'")
    net, _ = load_released(path, "cpu", "fold")
    shown = section[~mask]
    like = (float(shown.mean()), float(shown.std())) if shown.size else (128.0, 50.0)
    return interpolate_between(net.interpolation, (previous, following), like)


PEERS: dict[str, Peer] = {
    "copy": copy_previous,
    "mean": mean_of_neighbours,
    "farneback": farneback,
    "dis": dis,
    "telea": telea,
}
#: Those that do something of their own with one neighbour.
OF_ONE = ("copy", "telea")
#: Peers that need weights; they run where they are asked for.
LEARNED_PEERS: dict[str, Peer] = {"kpn": kpn}


def _to_uint8(image: FloatImage) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _interpolate(
    previous: FloatImage,
    following: FloatImage,
    flow: Callable[[FloatImage, FloatImage], npt.NDArray[np.float32]],
) -> FloatImage:
    """Return the middle between two sections from OpenCV flows, order (dx, dy) last."""
    halves = []
    for source, target in ((previous, following), (following, previous)):
        xy = flow(target, source)
        halves.append(warp(source, 0.5 * np.stack([xy[..., 1], xy[..., 0]])))
    return np.asarray((halves[0] + halves[1]) / 2, dtype=np.float32)
