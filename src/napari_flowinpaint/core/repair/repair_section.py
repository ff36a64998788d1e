"""One section, from the mask to the result.

Each connected component of the mask is repaired in a window of its own (components close to
each other share one), so the cost follows the damage and not the size of the section.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..._version import __version__
from ..errors import RepairRefused
from ..methods import Method
from ..refusal import Refusal
from ..repair_options import RepairOptions
from ..section_repair import Patch, Provenance, SectionRepair, flags_of, pixel_digest
from ..types import AnyImage, BoolImage, Box, IntImage, Progress, no_progress, to_dtype
from ..window import Displaced, WindowRepair
from .fitted_window import fit_window
from .gate import fit_scores
from .guided_window import GuidedWindow, each_window
from .job import RepairJob, make_job
from .lone_guide import copied_from
from .neighbours import Masks, Neighbours, axial_position
from .quality import PLACES, Quality, combine, is_expected, predict_window
from .read_window import check_window

if TYPE_CHECKING:
    from ..io.stack import Stack

__all__ = ["WindowPlan", "plan_windows", "repair_section"]


def repair_section(
    stack: Stack,
    z: int,
    mask: BoolImage,
    *,
    masks: Masks | None = None,
    kinds: AnyImage | None = None,
    thickness: Sequence[float] | None = None,
    method: str | Method = "auto",
    device: str = "auto",
    options: RepairOptions | None = None,
    progress: Progress = no_progress,
) -> SectionRepair:
    """Repair the damaged pixels of one section; nothing is written.

    A window that would have to be made up is left as it is and told in ``refused``; the others are
    repaired.

    Parameters
    ----------
    stack
        An open stack, axes zyx.
    z
        Section number, 0-based.
    mask
        (Y, X) bool, True = damaged, to be replaced.
    masks
        Tells the damage of *other* sections, so that damaged neighbours are passed over. Pixels
        that are marked as synthetic already guide nothing either, whatever the section.
    kinds
        (Y, X) of the labels of :data:`~napari_flowinpaint.core.kinds.KINDS`: the kind of damage,
        where it is known. "auto" unfolds what is a fold or a crack, with what lies near it.
    thickness
        Thickness of every section of the stack, any unit, where it is known; alpha is weighted
        by it. All alike by default.
    method
        Name of a method, ``"auto"``, or a method itself.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; training-free methods run on the CPU.
    options
        See :class:`~napari_flowinpaint.core.repair_options.RepairOptions`.
    progress
        Called with (fraction, message); may raise ``Cancelled``.

    Returns
    -------
    SectionRepair
        Patches in the stack's dtype; pixels outside the mask equal the section's. Windows that
        were refused have no patch.

    Raises
    ------
    InputError
        Wrong section number, mask shape, empty mask, unknown method, no grey values in the section.
    RepairRefused
        Every window was: no usable neighbour within ``options.max_gap`` sections, neighbours that
        do not fit the section (see ``options.gate``), or the method refused, or nothing was imaged
        under the mask. Or the repair of all
        windows together is expected to be worse than the mean of their neighbours.
    StoreError
        The stack could not be read.
    Cancelled
        ``progress`` asked for it.
    """
    job = make_job(stack, z, mask, masks, thickness, method, device, options, kinds)
    progress(0.0, f"section {z}: looking at the mask")
    repaired, refused = each_window(job, partial(_repair_window, job), progress)
    refused += tuple(refusal for one in repaired for refusal in one.left)
    repair = _put_together(job, repaired, refused)
    progress(1.0, f"section {z}: repaired")
    return repair


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What a repair is going to do to one window.

    Parameters
    ----------
    box
        The window, halo included.
    pixels
        Damaged pixels that are going to be replaced.
    neighbours
        Section numbers of previous and following; None where that side has no usable one.
    alpha
        Axial position between them.
    method
        Name of the method.
    kind
        Kind of the damage, where it is known and decides about the method.
    why
        Why ``auto`` took the method; "" where it was asked for.
    most_pixels
        So many pixels are replaced at most: an unfolding moves tissue around the damage.
    flags
        What is doubtful about the result already now, in words.
    """

    box: Box
    pixels: int
    neighbours: Neighbours
    alpha: float
    method: str
    kind: str | None = None
    why: str = ""
    most_pixels: int = 0
    flags: tuple[str, ...] = ()


def plan_windows(
    stack: Stack,
    z: int,
    mask: BoolImage,
    *,
    masks: Masks | None = None,
    kinds: AnyImage | None = None,
    thickness: Sequence[float] | None = None,
    method: str | Method = "auto",
    options: RepairOptions | None = None,
) -> tuple[tuple[WindowPlan, ...], tuple[Refusal, ...]]:
    """Return the windows :func:`repair_section` would repair, and those it would leave.

    Nothing is computed; of the stack only the pixels around the damage are read, there and in
    possible neighbours, to see whether they show anything. So what is told to be left is left, and
    what shows when it is computed may be left as well.

    Parameters
    ----------
    stack, z, mask, masks, kinds, thickness, method, options
        As for :func:`repair_section`.

    Returns
    -------
    plans
        At least one.
    refused
        Windows that no section can guide, or that the method is going to refuse for their shape.

    Raises
    ------
    InputError, RepairRefused, StoreError
        As :func:`repair_section`, for every reason that shows before anything is computed.
    """
    job = make_job(stack, z, mask, masks, thickness, method, "auto", options, kinds)

    def plan(found: GuidedWindow, _progress: Progress) -> WindowPlan:
        box = job.with_halo(found.damage, found.method)
        check_window(job, found, box)
        alpha = axial_position(z, *found.neighbours, thickness)
        name, kind, why = found.method.name, found.kind, found.why
        moves = getattr(found.method, "moves_tissue", False)
        most = box.shape[0] * box.shape[1] if moves else found.pixels
        flags = copied_from(job, found)
        return WindowPlan(box, found.pixels, found.neighbours, alpha, name, kind, why, most, flags)

    plans, refused = each_window(job, plan)
    return tuple(plans), refused


@dataclass(frozen=True, slots=True, eq=False)
class _Repaired:
    """A repaired window.

    Parameters
    ----------
    patch
        The repair.
    weights
        Checksum of the weights; None without.
    kind
        Kind of its damage, where it decided about the method.
    left
        What of the damage only a neighbour shows that does not fit.
    adapted
        Name of the weights that were adapted to the stack, where it was made with such.
    """

    patch: Patch
    weights: str | None
    kind: str | None
    left: tuple[Refusal, ...]
    adapted: str | None = None


def _repair_window(job: RepairJob, found: GuidedWindow, progress: Progress) -> _Repaired:
    """Repair one window."""
    started = time.perf_counter()
    fitted = fit_window(job, found)
    left = () if fitted.found is found else fitted.found.left
    found, window, raw = fitted.found, fitted.window, fitted.raw
    method = found.method
    places = PLACES if job.options.quality else 0
    share = 1 / (1 + places)
    repair = method.repair(window, job.options, job.device, partial(_part, progress, 0.0, share))
    scores = dict(repair.scores) | fit_scores(fitted.fits)
    report = partial(_part, progress, share, 1 - share)
    quality = predict_window(job, found, window, scores, places, report)
    if quality is not None:
        scores |= quality.scores()
    patch = Patch(
        box=window.box,
        components=_spread(fitted.components, repair.displaced),
        initial_reference=to_dtype(repair.initial_reference, raw.dtype),
        refined_reference=to_dtype(repair.refined_reference, raw.dtype),
        result=_paste(raw, repair, _zone(window.mask, repair.displaced)),
        confidence=repair.confidence.astype(np.float32, copy=False),
        neighbours=found.neighbours,
        alpha=window.alpha,
        method=method.name,
        why=found.why,
        seconds=time.perf_counter() - started,
        scores=scores,
        source_digest=pixel_digest(raw),
        flags=found.notes + copied_from(job, found) + fitted.flags + repair.flags,
        displaced=repair.displaced,
    )
    adapted = getattr(method, "weights", None) if isinstance(job.method, str) else None
    name = None if adapted is None else adapted.name
    return _Repaired(patch, method.weights_sha256, found.kind, left, name)


def _zone(mask: BoolImage, displaced: Displaced | None) -> BoolImage:
    """Return which pixels a repair replaces: those of the mask, and of the zone of an unfolding."""
    return mask if displaced is None else mask | displaced.zone


def _spread(components: IntImage, displaced: Displaced | None) -> IntImage:
    """Give an unfolding's zone the number of the component that it belongs to.

    Folds whose zones touch are one component: with one of them alone there would be a step.
    """
    import cv2

    if displaced is None:
        return components
    changed = displaced.zone | (components > 0)
    count, labels = cv2.connectedComponents(changed.astype(np.uint8), connectivity=8)
    pieces = np.asarray(labels, dtype=np.int64)
    _, nearest = cv2.distanceTransformWithLabels(
        (components == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number_of = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    number_of[nearest[components > 0]] = components[components > 0]
    lowest = np.full(count, components.max(), dtype=np.int32)
    np.minimum.at(lowest, pieces, np.where(components > 0, components, number_of.max()))
    # a piece without a line is that of the nearest
    holds = np.bincount(pieces.ravel(), components.ravel(), count) > 0
    return np.where(holds[pieces], lowest[pieces] * changed, number_of[nearest] * changed)


def _put_together(
    job: RepairJob, repaired: list[_Repaired], refused: tuple[Refusal, ...]
) -> SectionRepair:
    """Return the repair of a section, or refuse what is expected to be a bad one."""
    patches = [one.patch for one in repaired]
    quality = _quality(patches)
    flags = _judge(job, quality.fault if quality else "")
    patches = [replace(patch, flags=patch.flags + flags) for patch in patches]
    return SectionRepair(
        z=job.z,
        shape=(job.stack.shape[1], job.stack.shape[2]),
        dtype=np.dtype(job.stack.dtype),
        patches=tuple(patches),
        provenance=_provenance(job, patches, repaired),
        refused=refused,
    )


def _judge(job: RepairJob, fault: str) -> tuple[str, ...]:
    """Refuse a section with a fault, or return what to flag it with, as the gate is."""
    if not fault or job.options.gate == "off":
        return ()
    message = f"section {job.z} {fault}"
    if job.options.gate == "refuse":
        raise RepairRefused(message)
    return (message,)


def _part(progress: Progress, start: float, share: float, fraction: float, message: str) -> None:
    """Report the progress of one part of the work."""
    progress(start + share * fraction, message)


def _paste(raw: AnyImage, repair: WindowRepair, mask: BoolImage) -> AnyImage:
    """Return the section with the masked pixels replaced, all others bit-identical (eq. 12)."""
    if not np.isfinite(repair.result[mask]).all():
        raise RepairRefused("the repair produced NaN and was dropped; try another method")
    out = raw.copy()
    out[mask] = to_dtype(repair.result[mask], raw.dtype)
    return out


def _quality(patches: list[Patch]) -> Quality | None:
    """Return what all windows together are expected to score: of a few pixels nobody can tell.

    None where tissue was moved: that nobody can tell of, and it may be most of what changes.
    """
    if any(patch.displaced is not None for patch in patches):
        return None
    told = [(Quality.from_scores(patch.scores), int(patch.mask.sum())) for patch in patches]
    return combine([(found, pixels) for found, pixels in told if found is not None])


def _provenance(job: RepairJob, patches: list[Patch], repaired: list[_Repaired]) -> Provenance:
    """Return the record that goes with the pixels."""
    weights = {one.weights for one in repaired}
    kinds = sorted({one.kind for one in repaired if one.kind is not None})
    options = asdict(job.options) | {"kind": "+".join(kinds) or None}
    adapted = {one.adapted for one in repaired if one.adapted is not None}
    if adapted:
        options["adapted_weights"] = "+".join(sorted(adapted))
    if job.stack.no_data is not None:
        options["no_data"] = job.stack.no_data
    names = sorted({key for patch in patches for key in patch.scores if not is_expected(key)})
    scores = {
        name: float(np.mean([p.scores[name] for p in patches if name in p.scores]))
        for name in names
    }
    quality = _quality(patches)
    if quality is not None:
        scores |= quality.scores()
    return Provenance(
        method="+".join(sorted({patch.method for patch in patches})),
        weights_sha256="+".join(sorted(filter(None, weights))) or None,
        neighbours=tuple(sorted({n for p in patches for n in p.neighbours if n is not None})),
        alpha=tuple(patch.alpha for patch in patches),
        mask_pixels=sum(int(patch.mask.sum()) for patch in patches),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        options=options,
        scores=scores,
        flags=flags_of(patches),
    )
