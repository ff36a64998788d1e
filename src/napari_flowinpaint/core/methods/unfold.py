"""``unfold``: move tissue back that a support film fold has displaced, then fill what it swallowed.

After "Learning to restore ssTEM images from deformation and corruption" (2020), without networks:

1. *interpolation*: the initial reference, between the neighbours;
2. *unfolding*: the displacement on both sides of the fold's line is found against that reference
   (:mod:`..reference.fold_displacement`), and the section's own pixels are moved back, interpolated
   once; the same for a crack, whose sides are moved together;
3. *fusion*: what the fold swallowed is repaired by the best method for holes, on the unfolded
   section, whose seam it closes.

The mask is the fold's line, as somebody has painted it; of several folds the largest is unfolded
first. Parts of the mask that are no lines are repaired like holes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import RepairRefused
from ..filters import blur
from ..reference.fold_curves import fold_bands
from ..reference.fold_displacement import Displacement, find_displacement
from ..reference.fold_search import local_correlation
from ..reference.optical_flow import Flow, compose, warp
from ..reference.references import (
    SMOOTH_PATCH,
    GreyMapping,
    flows_between,
    interpolate,
    unaligned_guides,
)
from ..types import (
    BoolImage,
    Box,
    Displaced,
    FloatImage,
    Progress,
    RepairOptions,
    Window,
    WindowRepair,
)
from .method import Method

#: Tissue that is displaced by less, in pixels, is left as it is.
LEAST_DISPLACEMENT = 0.25
#: An unfolded section has to correlate with the reference by this much, locally.
_LEAST_CORRELATION = 0.2
#: A crack is closed where its sides, so far from it, correlate better by this much then.
_BESIDE, _LEAST_GAIN = 48.0, 0.015
#: Context around a fold: what is displaced beyond is moved back less and less.
_HALO = 512
_FADE = 192
#: Share of an unfolded section that must be left to be compared.
_CERTAIN = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class _Unfolded:
    """A section as far as it is unfolded.

    Parameters
    ----------
    flow
        (2, H, W) float32, to the section as it was.
    hidden
        (H, W) bool, what cannot be seen in it.
    scores
        Numbers for the report.
    """

    flow: Flow
    hidden: BoolImage
    scores: dict[str, float]


class UnfoldMethod:
    """Training-free unfolding; see the module's description."""

    name = "unfold"
    neighbours = 1
    #: The gate compares the section as it is with its neighbours; this compares it unfolded.
    gates_itself = True
    #: What it replaces is more than the mask.
    moves_tissue = True

    def __init__(self) -> None:
        self._filler: Method | None = None

    @property
    def weights_sha256(self) -> str | None:
        """Checksum of the weights of the method that fills, None if it has none."""
        return None if self._filler is None else self._filler.weights_sha256

    def ready(self) -> bool:
        """Return True: nothing is needed."""
        return True

    def halo(self, damage: Box) -> int:
        """Return the context around a fold's line: displaced tissue, and some that is not."""
        return _HALO

    def repair(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair one window; see :class:`~napari_flowinpaint.core.methods.method.Method`."""
        report = lambda part, words: progress(part, f"section {window.z}: {words}")  # noqa: E731
        report(0.02, "interpolating between the neighbours")
        greys = GreyMapping.of(window)
        section = greys.to_working(np.where(window.intact, window.section, 0))
        guides = unaligned_guides(window, greys)
        reference = interpolate(guides, flows_between(guides, SMOOTH_PATCH))
        report(0.1, "unfolding")
        unfolded = _unfold(section, window, reference)
        if options.gate == "refuse":
            _check(unfolded, window)
        moved, zone, hidden = _apply(unfolded, window)
        report(0.4, "filling what was swallowed")
        seen = ~hidden & (zone | window.intact)
        hidden &= zone
        own = replace(window, section=moved, mask=hidden, intact=seen)
        part = lambda share, words: progress(0.4 + 0.6 * share, words)  # noqa: E731
        filled = self._fill(own, options, device, part)
        return replace(
            filled,
            result=np.where(hidden, filled.result, moved),
            confidence=np.where(zone & ~hidden, _CERTAIN, filled.confidence).astype(np.float32),
            scores=filled.scores | unfolded.scores,
            displaced=_displaced(zone, hidden, unfolded.flow),
        )

    def _fill(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair what the fold swallowed as a hole of the unfolded section."""
        from . import choose_method

        usable = sum(n is not None for n in (window.previous, window.following))
        self._filler = choose_method("auto", usable)
        assert self._filler is not None  # "flow" needs one neighbour only
        return self._filler.repair(window, options, device, progress)


def _unfold(section: FloatImage, window: Window, reference: FloatImage) -> _Unfolded:
    """Unfold one fold after the other, the largest first."""
    shape = section.shape
    flow = np.zeros((2, *shape), dtype=np.float32)
    hidden = ~window.intact
    fading = fade(window)
    scores = {"folds": 0.0}
    for band in fold_bands(window.mask):
        moving = warp(section, flow)
        here = _sampled(band.band, flow)
        if here.sum() < 0.5 * band.band.sum():  # another fold has swallowed it
            continue
        bands = fold_bands(here) if flow.any() else [band]
        if not bands:
            continue
        found = find_displacement(
            moving, ~(hidden | _sampled(~window.intact, flow)), reference, bands[0]
        )
        if found.beside < 0 and not _is_torn(moving, reference, hidden, found):
            scores["folds"] += 1
            continue  # a bright line over tissue that is where it belongs
        change = found.flow * fading
        flow = compose(change, flow)
        hidden = (warp(hidden.astype(np.float32), change) > 0.01) | found.swallowed
        scores["folds"] += 1
        scores["fold_displacement"] = max(
            scores.get("fold_displacement", 0.0), found.beside, key=abs
        )
        scores["fold_correlation"] = min(scores.get("fold_correlation", 1.0), found.correlation)
    return _Unfolded(flow, hidden, scores)


def _is_torn(
    section: FloatImage, reference: FloatImage, hidden: BoolImage, found: Displacement
) -> bool:
    """Return whether a section fits the reference better with the sides of a crack together.

    The search prefers to close a crack, since more is to be compared then.
    """
    known = ~hidden
    closed = warp(section, found.flow)
    seen = (warp(known.astype(np.float32), found.flow) > 0.99) & ~found.swallowed
    low = blur(reference, 2.0)
    gain = [
        local_correlation(blur(np.where(there, image, reference), 2.0), low, weight, 10.0)
        for image, there in ((section, known), (closed, seen))
        for weight in (there.astype(np.float32),)
    ]
    near = known & seen & _within(found.swallowed | hidden, _BESIDE)
    return bool(near.any() and (gain[1] - gain[0])[near].mean() > _LEAST_GAIN)


def _within(mask: BoolImage, distance: float) -> BoolImage:
    """Return where a mask is not further away than ``distance``."""
    import cv2

    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away <= distance)


def _sampled(mask: BoolImage, flow: Flow) -> BoolImage:
    """Return a mask sampled through a flow, where any of it is."""
    return np.asarray(warp(mask.astype(np.float32), flow) > 0.01)


def fade(window: Window) -> FloatImage:
    """Return 1, falling to 0 towards edges of the window that are inside the section."""
    height, width = window.mask.shape
    rows, columns = np.ones(height), np.ones(width)
    whole = window.box.shape if window.section_shape is None else window.section_shape
    for ramp, first, last in (
        (rows, window.box.y0 > 0, window.box.y1 < whole[0]),
        (columns, window.box.x0 > 0, window.box.x1 < whole[1]),
    ):
        reach = max(min(_FADE, ramp.size // 4), 1)
        rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(reach) / reach)
        if first:
            ramp[:reach] *= rise
        if last:
            ramp[-reach:] *= rise[::-1]
    return (rows[:, None] * columns[None, :]).astype(np.float32)


def _check(unfolded: _Unfolded, window: Window) -> None:
    """Refuse a section whose neighbours show something else, also when it is unfolded."""
    correlation = unfolded.scores.get("fold_correlation", 1.0)
    if correlation < _LEAST_CORRELATION:
        raise RepairRefused(
            f"section {window.z} cannot be unfolded: afterwards it agrees with its neighbours by "
            f"{correlation:.2f} only (at least {_LEAST_CORRELATION} is needed); check the "
            "alignment of the stack, or mark the neighbours as damaged"
        )


def _displaced(zone: BoolImage, hidden: BoolImage, flow: Flow) -> Displaced | None:
    """Return what was moved; None where nothing was."""
    moved = zone & ~hidden
    return Displaced(moved, zone, flow) if moved.any() else None


def _apply(unfolded: _Unfolded, window: Window) -> tuple[FloatImage, BoolImage, BoolImage]:
    """Return the section with its tissue moved back, the zone that changes, what is hidden there.

    Pixels outside the zone are the section's.
    """
    import cv2

    flow = unfolded.flow
    far = np.hypot(*flow) > LEAST_DISPLACEMENT
    hidden = unfolded.hidden | (far & _outside(flow))
    # other damage in the window is not this repair's to replace, unless tissue moves there
    zone = far | window.mask | (hidden & window.intact)
    rows, columns = (np.arange(n, dtype=np.float32) for n in window.mask.shape)
    source = np.where(window.intact, window.section, window.section[window.intact].mean())
    moved = np.asarray(
        cv2.remap(
            source.astype(np.float32),
            columns[None, :] + flow[1],
            rows[:, None] + flow[0],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )
    lowest, highest = window.value_range
    result = np.clip(np.where(zone, moved, source), lowest, highest).astype(np.float32)
    return result, np.asarray(zone), np.asarray(hidden)


def _outside(flow: Flow) -> BoolImage:
    """Return where a flow samples beyond the borders."""
    height, width = flow.shape[1:]
    y = np.arange(height)[:, None] + flow[0]
    x = np.arange(width)[None, :] + flow[1]
    return np.asarray((y < -0.5) | (x < -0.5) | (y > height - 0.5) | (x > width - 0.5))
