"""Optical flow between sections: align coarsely, estimate, extrapolate, compose, warp.

A flow is ``(2, H, W)`` float32 in pixels, order ``(dy, dx)``, on the grid of the *target*:
``target(x) = source(x + flow(x))``. Images are float32 and, where flow is estimated, stretched
so that tissue fills 0..255 (see :func:`estimate_flow`).

An alignment is a ``(2, 3)`` float32 affine matrix in OpenCV's order ``(x, y)``, with the same
meaning: it maps a pixel of the target to where the source is sampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..filters import blur, enlarge_to, shrink_to, wide_blur
from ..types import BoolImage, FloatImage

Flow = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float32]

#: Above this many pixels a flow is estimated on a reduced image and enlarged: deformation of
#: sections is smooth, and the search would dominate the cost of large windows.
_MOST_FLOW_PIXELS = 1536 * 1536
#: Smaller images are enlarged: DIS needs a few patches at a quarter of the resolution.
_LEAST_SIDE = 64
#: Longest side of the image on which sections are aligned coarsely.
_COARSE_SIDE = 256
#: A coarse alignment must raise the correlation by this much to be believed.
_TRANSLATION_GAIN = 0.02
_AFFINE_GAIN = 0.01
#: Largest plausible displacement of neighbouring sections, in pixels and in sides of the window,
#: and their largest stretch or shear. An alignment beyond that is taken for a coincidence unless it
#: correlates this much better than the best one nearby.
FARTHEST, _FARTHEST_SIDES, _MOST_STRETCH = 100.0, 1 / 3, 0.35
_FAR_GAIN = 0.15
#: Least overlap of section and neighbour, as a share; and the same in the search nearby.
_OVERLAP, _NEAR_OVERLAP = 0.5, 0.75
IDENTITY: Affine = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)


def estimate_flow(
    target: FloatImage, source: FloatImage, initial: Flow | None = None, patch: int = 8
) -> Flow:
    """Estimate dense optical flow with DIS (dense inverse search).

    Parameters
    ----------
    target, source
        (H, W) float32, grey values 0..255 (clipped).
    initial
        Flow to start from.
    patch
        Side of the patches that are compared, in pixels of a quarter of the resolution: large
        ones give a smoother flow. 8 is the fastest: OpenCV compares such patches many pixels at a
        time.

    Returns
    -------
    flow
        (2, H, W) float32: ``target(x) = source(x + flow(x))``.
    """
    import cv2

    shape = target.shape
    shrink = max(1.0, float(np.sqrt(target.size / _MOST_FLOW_PIXELS)))
    size = (max(int(shape[1] / shrink), _LEAST_SIDE), max(int(shape[0] / shrink), _LEAST_SIDE))
    images = [_to_uint8(image, size) for image in (target, source)]
    start = None
    if initial is not None:
        dy, dx = _resize_flow(initial, size)
        start = np.asarray(cv2.merge([dx, dy]))
    xy = _dis(patch).calc(images[0], images[1], start)
    return _resize_flow(xy[..., ::-1].transpose(2, 0, 1), (shape[1], shape[0]))


def _dis(patch: int) -> Any:
    """Return DIS at a quarter of the resolution.

    Finer levels follow grain, not tissue: they cost four times as much and register worse.
    """
    import cv2

    # OpenCV's type stubs lack it
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # type: ignore[attr-defined]
    dis.setFinestScale(2)
    dis.setPatchSize(patch)
    dis.setPatchStride(3 * patch // 8)
    dis.setGradientDescentIterations(25)
    dis.setVariationalRefinementIterations(5)
    return dis


def _to_uint8(image: FloatImage, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Clip to 0..255 and resize to ``size`` (width, height)."""
    grey = _rounded(image)
    if (grey.shape[1], grey.shape[0]) != size:
        grey = _rounded(shrink_to(grey.astype(np.float32), (size[1], size[0])))
    return grey


def _rounded(image: FloatImage) -> npt.NDArray[np.uint8]:
    """Round and clip to 0..255, in one pass."""
    import cv2

    return np.asarray(cv2.addWeighted(image, 1, image, 0, 0, dtype=cv2.CV_8U), dtype=np.uint8)


def _resize_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """Resize a flow to ``size`` (width, height); displacements scale with it."""
    height, width = flow.shape[1:]
    if (width, height) == size:
        return np.ascontiguousarray(flow, dtype=np.float32)
    scale = (size[1] / height, size[0] / width)
    parts = [
        enlarge_to(np.ascontiguousarray(f), (size[1], size[0])) * s
        for f, s in zip(flow, scale, strict=True)
    ]
    return np.stack(parts).astype(np.float32)


def _grid(shape: tuple[int, ...]) -> tuple[FloatImage, FloatImage]:
    """Return row and column numbers that broadcast to ``shape``."""
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    columns = np.arange(shape[1], dtype=np.float32)[None, :]
    return rows, columns


def warp(source: FloatImage, flow: Flow) -> FloatImage:
    """Return ``source(x + flow(x))``: ``W(i, f)`` of FlowInpaint, bilinear, edges replicated.

    The source may be larger than the flow, whose grid begins at the source's first pixel.
    """
    return _sample([source], flow)[0]


def _sample(sources: Iterable[FloatImage], flow: Flow) -> list[FloatImage]:
    """Return every source sampled through one flow."""
    import cv2

    rows, columns = _grid(flow.shape[1:])
    x, y = columns + flow[1], rows + flow[0]
    return [
        np.asarray(
            cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            dtype=np.float32,
        )
        for source in sources
    ]


def compose(first: Flow, second: Flow) -> Flow:
    """Return the flow that samples through ``first`` and then through ``second``.

    ``warp(image, compose(first, second)) == warp(warp(image, second), first)``, but the image
    is interpolated only once.
    """
    out = np.stack(_sample(np.ascontiguousarray(second), first))
    out += first
    return out


def apply_affine(affine: Affine, flow: Flow) -> Flow:
    """Return the flow into the original image from a flow into its aligned version."""
    rows, columns = _grid(flow.shape[1:])
    y, x = rows + flow[0], columns + flow[1]
    out = np.empty_like(flow)
    for part, (to_x, to_y, shift), start in zip(out, affine[::-1], (rows, columns), strict=True):
        np.multiply(x, to_x, out=part)
        part += to_y * y
        part += shift - start
    return out


def extrapolate(flow: Flow, known: BoolImage) -> Flow:
    """Continue a flow smoothly into the pixels where it is not ``known``.

    Normalised convolution with Gaussians of growing width, at a quarter of the resolution:
    each unknown pixel takes the narrowest average that reaches enough known ones.

    Parameters
    ----------
    flow
        (2, H, W) float32; values where not ``known`` are ignored.
    known
        (H, W) bool. Without any known pixel the flow is zero.
    """
    height, width = known.shape
    size = (max(height // 4, 1), max(width // 4, 1))
    weight = shrink_to(known.astype(np.float32), size)
    parts = [shrink_to(np.where(known, part, 0).astype(np.float32), size) for part in flow]
    filled = [np.zeros_like(weight) for _ in parts]
    todo = np.ones(weight.shape, dtype=bool)
    sigma = 1.0
    while todo.any() and sigma <= 2 * max(size):
        density = wide_blur(weight, sigma)
        reached = todo & (density > 0.05)
        for out, part in zip(filled, parts, strict=True):
            out[reached] = wide_blur(part, sigma)[reached] / density[reached]
        todo &= ~reached
        sigma *= 2
    smooth = [enlarge_to(wide_blur(part, 1.5), (height, width)) for part in filled]
    return np.where(known, flow, np.stack(smooth)).astype(np.float32)


def align(
    target: FloatImage, source: FloatImage, known: BoolImage, shown: BoolImage | None = None
) -> Affine:
    """Align a neighbour coarsely: masked phase correlation, then an affine refinement (ECC).

    Sections of a series can be off by tens of pixels, more than dense flow finds by itself.

    Parameters
    ----------
    target
        (H, W) float32, the damaged section.
    source
        (H, W) float32, the neighbour.
    known
        (H, W) bool, the pixels of the target that may be looked at.
    shown
        The same of the source; all of it by default.

    Returns
    -------
    affine
        (2, 3); the identity when nothing correlates better.
    """
    import cv2

    shrink = max(2, -(-max(target.shape) // _COARSE_SIDE))
    if min(target.shape) < 16 * shrink or known.mean() < 0.05:
        return IDENTITY.copy()
    coarse = _reduce(np.where(known, target, target[known].mean()), shrink)
    moving = _reduce(source, shrink)
    weight = _reduce(known.astype(np.float32), shrink, smooth=False) > 0.99
    weight = cv2.erode(weight.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    there = np.ones_like(weight)
    if shown is not None and not shown.all():
        there = _reduce(shown.astype(np.float32), shrink, smooth=False) > 0.99
        there = cv2.erode(there.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if weight.sum() < 256 or there.sum() < 256:
        return IDENTITY.copy()
    best = _align_reduced(coarse, moving, weight, there, _OVERLAP)
    if _is_plausible(_enlarge(best, shrink), target.shape):
        return _enlarge(best, shrink)
    near = _align_reduced(coarse, moving, weight, there, _NEAR_OVERLAP)
    if not _is_plausible(_enlarge(near, shrink), target.shape):
        near = _refine_affine(coarse, moving, weight, there, IDENTITY)
    if not _is_plausible(_enlarge(near, shrink), target.shape):
        near = IDENTITY
    near_by = _correlation(coarse, moving, near, weight, there)
    far_away = _correlation(coarse, moving, best, weight, there)
    return _enlarge(best if far_away >= near_by + _FAR_GAIN else near, shrink)


def moved_by(affine: Affine, shape: tuple[int, ...]) -> float:
    """Return how far, in pixels, an alignment moves the middle of an image."""
    centre = np.array([(side - 1) / 2 for side in shape[::-1]])
    return float(np.hypot(*(affine @ np.append(centre, 1) - centre)))


def moves_most(affine: Affine, shape: tuple[int, ...]) -> float:
    """Return how far, in pixels, an alignment moves the corner of an image that it moves most."""
    height, width = shape
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    return float(np.hypot(*(affine @ corners - corners[:2])).max())


def _is_plausible(affine: Affine, shape: tuple[int, ...]) -> bool:
    """Return whether neighbours of a series may lie like this."""
    farthest = min(FARTHEST, _FARTHEST_SIDES * min(shape))
    stretch = float(np.abs(affine[:, :2] - IDENTITY[:, :2]).max())
    return moved_by(affine, shape) <= farthest and stretch <= _MOST_STRETCH


def _align_reduced(
    target: FloatImage, source: FloatImage, weight: BoolImage, there: BoolImage, overlap: float
) -> Affine:
    """Align reduced images that overlap by at least this share."""
    moved = _translate(target, source, weight, there, overlap)
    return _refine_affine(target, source, weight, there, moved)


def _reduce(image: FloatImage, shrink: int, smooth: bool = True) -> FloatImage:
    height, width = (side // shrink for side in image.shape)
    whole = image[: height * shrink, : width * shrink].astype(np.float32)
    reduced = shrink_to(whole, (height, width))
    return blur(reduced, 1.5) if smooth else reduced


def _correlation(
    target: FloatImage, source: FloatImage, affine: Affine, w: BoolImage, there: BoolImage
) -> float:
    """Return how well a target correlates, where ``w``, with what a source shows (``there``)."""
    if not there.all():
        w = w & (warp_affine(there.astype(np.float32), affine) > 0.99)
        if not w.any():
            return 0.0
    a, b = target[w], warp_affine(source, affine)[w]
    if min(a.std(), b.std()) < 1e-3:  # flat, but for rounding
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def warp_affine(source: FloatImage, affine: Affine) -> FloatImage:
    """Return the source sampled through an alignment, edges replicated."""
    import cv2

    warped = cv2.warpAffine(
        source,
        affine,
        (source.shape[1], source.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, dtype=np.float32)


def _translate(
    target: FloatImage, source: FloatImage, weight: BoolImage, there: BoolImage, overlap: float
) -> Affine:
    """Masked normalised cross-correlation (Padfield 2012), believed only if it helps."""
    from skimage.registration import phase_cross_correlation

    # the affine refinement that follows finds single pixels: look at every second one, fast
    step = 2 if min(target.shape) >= 64 else 1
    few = [image[::step, ::step] for image in (target, source, weight, there)]
    shift, _, _ = phase_cross_correlation(
        few[0],
        few[1],
        reference_mask=few[2],
        moving_mask=few[3],
        overlap_ratio=overlap,
    )
    moved = IDENTITY.copy()
    moved[:, 2] = (-step * shift[1], -step * shift[0])
    before = _correlation(target, source, IDENTITY, weight, there)
    after = _correlation(target, source, moved, weight, there)
    return moved if after > before + _TRANSLATION_GAIN else IDENTITY.copy()


def _refine_affine(
    target: FloatImage, source: FloatImage, weight: BoolImage, there: BoolImage, start: Affine
) -> Affine:
    """Refine by enhanced correlation coefficient maximisation (Evangelidis & Psarakis 2008)."""
    import cv2

    # dense flow follows: waiting for the correlation to change by less takes three times as long
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-3)
    try:
        _, found = cv2.findTransformECC(
            target,
            source,
            start.copy(),
            cv2.MOTION_AFFINE,
            criteria,
            (weight & there).astype(np.uint8),
            3,
        )
    except cv2.error:  # it did not converge: keep the translation
        return start
    refined = np.asarray(found, dtype=np.float32)
    before = _correlation(target, source, start, weight, there)
    after = _correlation(target, source, refined, weight, there)
    return refined if after > before + _AFFINE_GAIN else start


def _enlarge(affine: Affine, shrink: int) -> Affine:
    """Express an alignment of reduced images in full-resolution pixels.

    Pixel centres of the reduced image lie ``(shrink - 1) / 2`` inside the first block.
    """
    centre = np.full(2, (shrink - 1) / 2, dtype=np.float32)
    out = affine.copy()
    out[:, 2] = affine[:, 2] * shrink + centre - affine[:, :2] @ centre
    return out
