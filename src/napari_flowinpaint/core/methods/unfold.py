"""``unfold``: move tissue back that a support film fold has displaced, then fill what it swallowed.

After "Learning to restore ssTEM images from deformation and corruption" (2020), without networks:

1. *interpolation*: the initial reference, between the neighbours;
2. *unfolding*: the displacement on both sides of the fold's line is found against that reference
   (:mod:`..reference.fold_displacement`), and the section's own pixels are moved back, interpolated
   once; the same for a crack, whose sides are moved together;
3. *fusion*: what the fold swallowed is repaired by the best method for holes, on the unfolded
   section, whose seam it closes.

The mask is the fold's line, as somebody has painted it; of several folds the largest is unfolded
first. Parts of the mask that are not lines are repaired like holes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import RepairRefused
from ..filters import blur
from ..reference.fold_curves import fold_bands
from ..reference.fold_displacement import Displacement
from ..reference.fold_search import local_correlation
from ..reference.fold_several import SeveralFolds, leaves
from ..reference.fold_trust import untrusted
from ..reference.guides import GreyMapping, unaligned_guides
from ..reference.optical_flow import Flow, warp
from ..reference.references import SMOOTH_PATCH, flows_between, interpolate
from ..repair_options import RepairOptions
from ..types import BoolImage, Box, FloatImage, Progress
from ..window import Displaced, Window, WindowRepair
from .method import Method

#: Tissue that is displaced by less, in pixels, is left as it is.
LEAST_DISPLACEMENT = 0.25
#: An unfolded section has to correlate with the reference by this much, locally.
_LEAST_CORRELATION = 0.2
#: A crack is closed if its sides, up to this distance from it (pixels), then correlate this much
#: better.
_BESIDE, _LEAST_GAIN = 48.0, 0.015
#: Context around a fold, pixels; beyond it displaced tissue is moved back less and less.
_HALO = 512
_FADE = 192
#: A repair is flagged where less than this share of the displaced tissue is trusted.
_MOST_TRUSTED = 0.98
_INTERPOLATED = (
    "part of what a fold has displaced is interpolated: unfolded, it would not fit the neighbours"
)
#: Share of an unfolded section that must be left to be compared.
_CERTAIN = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class _Unfolded:
    """A section, unfolded so far.

    Parameters
    ----------
    flow
        (2, H, W) float32, to the section as it was.
    hidden
        (H, W) bool, what cannot be seen in the unfolded section.
    scores
        Numbers for the report.
    flags
        Why the repair should be looked at.
    """

    flow: Flow
    hidden: BoolImage
    scores: dict[str, float]
    flags: tuple[str, ...] = ()


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
        flows = flows_between(guides, SMOOTH_PATCH)
        reference = interpolate(guides, flows)
        report(0.1, "unfolding")
        unfolded = _unfold(section, window, reference)
        if len(guides) > 1 and unfolded.scores["folds"]:
            unfolded = _trusted(unfolded, section, reference, flows[0] - flows[1])
        if options.gate == "refuse":
            _check(unfolded, window)
        moved, zone, hidden = _apply(unfolded, window)
        report(0.4, "filling what the fold hid")
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
            flags=filled.flags + unfolded.flags,
            displaced=_displaced(zone, hidden, unfolded.flow, window.mask),
        )

    def _fill(
        self, window: Window, options: RepairOptions, device: str, progress: Progress
    ) -> WindowRepair:
        """Repair what the fold swallowed, as a hole in the unfolded section."""
        from .choice import AUTO, Situation, choose_method

        usable = sum(n is not None for n in (window.previous, window.following))
        choice = choose_method(AUTO, Situation(usable))
        assert choice is not None  # "flow" needs one neighbour only
        self._filler = choice.method
        return self._filler.repair(window, options, device, progress)


def _unfold(section: FloatImage, window: Window, reference: FloatImage) -> _Unfolded:
    """Unfold one fold after the other, the largest first."""
    unseen = ~(window.intact | window.mask)
    bands = fold_bands(window.mask, unseen)
    folded = SeveralFolds(section, reference, window.intact, unseen, fade(window))
    unfolding = folded.unfold(bands, _is_believed)
    scores = {"folds": float(len(unfolding.found))}
    if unfolding.found:
        scores["fold_displacement"] = max((one.beside for one in unfolding.found), key=abs)
        scores["fold_correlation"] = min(one.correlation for one in unfolding.found)
    return _Unfolded(unfolding.flow, unfolding.hidden, scores)


def _trusted(
    unfolded: _Unfolded, section: FloatImage, reference: FloatImage, between: Flow
) -> _Unfolded:
    """Drop the displaced tissue where an interpolation is better."""
    far = np.hypot(*unfolded.flow) > LEAST_DISPLACEMENT
    seen = ~(unfolded.hidden | leaves(unfolded.flow))
    wrong = untrusted(warp(section, unfolded.flow), seen, reference, between, far)
    share = 1 - float(wrong.sum() / max((far | wrong).sum(), 1))
    scores = unfolded.scores | {"fold_trusted": share}
    flags = (_INTERPOLATED,) if share < _MOST_TRUSTED else ()
    return replace(unfolded, hidden=unfolded.hidden | wrong, scores=scores, flags=flags)


def _is_believed(
    section: FloatImage, reference: FloatImage, hidden: BoolImage, found: Displacement
) -> bool:
    """Return whether tissue is displaced; if not, a crack is a bright line over tissue."""
    return found.beside >= 0 or _is_torn(section, reference, hidden, found)


def _is_torn(
    section: FloatImage, reference: FloatImage, hidden: BoolImage, found: Displacement
) -> bool:
    """Return whether a section fits the reference better with the sides of a crack together.

    The search prefers to close a crack, since more tissue is compared then.
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
    """Return the pixels within ``distance`` of a mask, (H, W) bool."""
    import cv2

    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away <= distance)


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


def _displaced(zone: BoolImage, hidden: BoolImage, flow: Flow, mask: BoolImage) -> Displaced | None:
    """Return what was moved; None if nothing was moved or interpolated beyond the mask."""
    if not (zone & ~mask).any():
        return None
    moved = zone & ~hidden
    return Displaced(moved, zone, np.where(moved, flow, 0))


def _apply(unfolded: _Unfolded, window: Window) -> tuple[FloatImage, BoolImage, BoolImage]:
    """Return the section with its tissue moved back, the changed zone, and what is hidden there.

    Pixels outside the zone are the section's.
    """
    import cv2

    flow = unfolded.flow
    far = np.hypot(*flow) > LEAST_DISPLACEMENT
    hidden = unfolded.hidden | (far & leaves(flow))
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
