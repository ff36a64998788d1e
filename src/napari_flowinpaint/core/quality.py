"""Predict how good a repair is, where nobody knows the truth.

The same damage is put onto intact places and repaired there, with the same method and options, each
place guided by sections as far away as those that guide the real repair (:mod:`._places`). What is
really there tells the scores to expect. One thing about the real place is known as well: how well
its rehearsal went. Half of what it went better or worse than the rehearsals of the trials is added,
to the repair and to the mean of the neighbours alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from ._places import Place, damage_of, places_of
from ._reading import Job, check_job, find_both, make_job, method_for, read_window, to_dtype
from ._windows import windows_of
from .errors import RepairRefused
from .filters import blur
from .methods import Method
from .metrics import STRUCTURE_SIGMA, data_range, psnr, score
from .neighbours import Masks, axial_position, is_grey, read_neighbour
from .references import Greys, neighbours_of
from .refusal import Refusal, tell_reasons
from .types import (
    AnyImage,
    BoolImage,
    Box,
    FloatImage,
    Progress,
    RepairOptions,
    SectionRepair,
    Window,
    no_progress,
)

if TYPE_CHECKING:
    from .stack import Stack

__all__ = ["Quality", "combine", "predict_quality", "predict_window"]

#: Places that are tried for every window. Each costs what the repair costs.
PLACES = 3
#: How much of the difference between rehearsals is believed (chosen on the training sections, as
#: everything here).
_BELIEF = 0.5
#: Places differ by this, in dB, even where the few that were tried happen to be alike.
_LEAST_SPREAD = 0.5
#: No PSNR is higher than this, so that it can be averaged.
_HIGHEST = 99.0
_PREFIX = "expected_"


@dataclass(frozen=True, slots=True)
class Quality:
    """What a repair is expected to score, see :class:`~napari_flowinpaint.core.metrics.Scores`.

    Parameters
    ----------
    structure
        Structure PSNR inside the mask, dB.
    ssim
        SSIM inside the mask; like ``mean_ssim``, ``spread`` and ``share`` NaN where ``places`` is
        0.
    mean_structure, mean_ssim
        The same of the mean of the neighbours.
    spread
        Standard deviation of the structure PSNR over the places that were tried, dB; 0 where
        fewer than two were.
    places
        How many places were tried. 0: none was intact, and all is from the rehearsal.
    share
        Share of the mask's pixels that lay on intact pixels there, 0..1. Below 1, part of the mask
        had to be left out.
    """

    structure: float
    ssim: float
    mean_structure: float
    mean_ssim: float
    spread: float
    places: int
    share: float

    @property
    def fault(self) -> str:
        """What is wrong with the repair; "" if nothing is, or not clearly.

        Clearly means by more than the standard error of the expectation.
        """
        if self.places == 0:
            return ""
        error = max(self.spread, _LEAST_SPREAD) / np.sqrt(self.places)
        if self.structure >= self.mean_structure - error:
            return ""
        return (
            f"is expected to be repaired worse ({self.structure:.1f} dB) than by the mean of its "
            f"neighbours ({self.mean_structure:.1f} dB), measured on "
            f"{self.places} intact place(s); check the alignment of the stack, or choose another "
            "method"
        )

    def scores(self) -> dict[str, float]:
        """Return the numbers by the names they have in a report; those not known are left out."""
        values = {field.name: float(getattr(self, field.name)) for field in fields(self)}
        return {_PREFIX + name: value for name, value in values.items() if np.isfinite(value)}

    @classmethod
    def from_scores(cls, scores: dict[str, float]) -> Quality | None:
        """Return the quality a report tells of, or None if it tells of none."""
        if _PREFIX + "structure" not in scores:
            return None
        names = [field.name for field in fields(cls) if field.name != "places"]
        values = {name: scores.get(_PREFIX + name, float("nan")) for name in names}
        return cls(**values, places=round(scores[_PREFIX + "places"]))


def combine(found: Sequence[tuple[Quality, int]]) -> Quality | None:
    """Return the quality of several windows together, or None of none.

    Parameters
    ----------
    found
        Quality and number of damaged pixels of every window. PSNR is averaged as squared errors
        are, so the result is that of all pixels.
    """
    if not found:
        return None
    weights = np.array([pixels for _, pixels in found], dtype=np.float64)
    weights /= weights.sum()

    def mean(name: str) -> float:
        return float(weights @ np.array([getattr(quality, name) for quality, _ in found]))

    def decibels(name: str) -> float:
        values = np.array([getattr(quality, name) for quality, _ in found])
        return float(-10 * np.log10(weights @ 10 ** (-values / 10)))

    return Quality(
        structure=decibels("structure"),
        ssim=mean("ssim"),
        mean_structure=decibels("mean_structure"),
        mean_ssim=mean("mean_ssim"),
        spread=mean("spread"),
        places=min(quality.places for quality, _ in found),
        share=mean("share"),
    )


def predict_quality(
    stack: Stack,
    z: int,
    mask: BoolImage,
    *,
    masks: Masks | None = None,
    thickness: Sequence[float] | None = None,
    method: str | Method = "auto",
    device: str = "auto",
    options: RepairOptions | None = None,
    repair: SectionRepair | None = None,
    places: int = PLACES,
    progress: Progress = no_progress,
) -> Quality:
    """Predict how good the repair of a section is, without knowing the truth.

    ``repair_section`` does the same for every window where ``options.quality`` asks for it.

    Parameters
    ----------
    stack, z, mask, masks, thickness, method, device, options, progress
        As for :func:`~napari_flowinpaint.core.repair.repair_section`.
    repair
        The repair, where it has been made: its rehearsal makes the prediction better.
    places
        Intact places to try for every window, at most 6; each costs what the repair costs.

    Returns
    -------
    Quality
        Of all damaged pixels together, without those of windows that are refused.

    Raises
    ------
    InputError, RepairRefused, StoreError, Cancelled
        As ``repair_section``; ``RepairRefused`` also where there is neither an intact place nor a
        rehearsal.
    """
    job = make_job(stack, z, mask, masks, thickness, method, device, options)
    check_job(job)
    groups = list(windows_of(mask))
    left = set() if repair is None else {refusal.box for refusal in repair.refused}
    found, refused = [], []
    for number, (damage, components) in enumerate(groups):
        if damage in left:
            continue

        def report(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(groups), message)

        neighbours = find_both(job, damage, components > 0)
        try:
            chosen = method_for(job, neighbours)
        except RepairRefused as error:
            refused.append(Refusal(damage, int(np.count_nonzero(components)), str(error)))
            continue
        window, _, _ = read_window(job, damage, components, chosen, neighbours)
        scores = _scores_of(repair, window.box)
        quality = predict_window(job, damage, window, chosen, scores, places, report)
        if quality is None:
            raise RepairRefused(
                f"section {z} has no intact place to try its repair on, nor has its neighbourhood; "
                "its quality cannot be predicted"
            )
        found.append((quality, int(window.mask.sum())))
    if not found:
        raise RepairRefused(tell_reasons(refused))
    total = combine(found)
    assert total is not None
    return total


def _scores_of(repair: SectionRepair | None, box: Box) -> dict[str, float]:
    """Return what a repair measured in a window."""
    patches = () if repair is None else repair.patches
    return next((patch.scores for patch in patches if patch.box == box), {})


def predict_window(
    job: Job,
    damage: Box,
    window: Window,
    method: Method,
    scores: dict[str, float],
    places: int = PLACES,
    progress: Progress = no_progress,
) -> Quality | None:
    """Predict how good the repair of one window is.

    Parameters
    ----------
    job
        The request.
    damage
        The damaged box.
    window
        What is repaired.
    method
        What repairs it.
    scores
        What the real repair measured on the way; may be empty.
    places
        How many places to try; 0 takes the rehearsal's word.
    progress
        Called with (fraction, message); may raise ``Cancelled``.

    Returns
    -------
    quality
        None where there is no intact place and nothing could be rehearsed.
    """
    hole = window.mask[damage.within(window.box)]
    before, after = window.previous, window.following
    neighbours = (None if before is None else before.z, None if after is None else after.z)
    trials: list[_Trial] = []
    for place in places_of(job, damage, hole, neighbours):
        if len(trials) >= places:
            break
        done = len(trials)

        def report(fraction: float, message: str, done: int = done) -> None:
            progress((done + fraction) / places, f"section {job.z}: trying it on intact pixels")

        trial = _try(job, place, int(window.mask.sum()), method, report)
        if trial is not None:
            trials.append(trial)
    return _expect(trials, scores) if trials else _from_rehearsal(job, window, scores)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Scores of a repair at a place where the truth is known; ``rehearsal`` in dB, or None."""

    structure: float
    ssim: float
    mean_structure: float
    mean_ssim: float
    share: float
    rehearsal: float | None


def _try(job: Job, place: Place, pixels: int, method: Method, progress: Progress) -> _Trial | None:
    """Repair an intact place; None where that is refused or nothing of it is intact."""
    box = place.box.expand(
        method.halo(place.box) if job.options.halo is None else job.options.halo, job.mask.shape
    )
    raw = job.stack.read(place.z, box)
    known = is_grey(raw) & ~damage_of(job)(place.z, box)
    hole = np.zeros(box.shape, dtype=bool)
    hole[place.box.within(box)] = place.hole
    hole &= known
    if not hole.any():
        return None
    window = _window(job, place, box, raw, hole, known & ~hole)
    try:
        repair = method.repair(window, job.options, job.device, progress)
    except RepairRefused:
        return None
    filled = to_dtype(repair.result, raw.dtype)
    truth = np.where(known, raw, filled)
    span = data_range(raw[known])
    own = score(np.where(hole, filled, truth), truth, hole, span)
    mean = _mean(window)
    plain = score(np.where(hole, mean, truth), truth, hole, span)
    return _Trial(
        min(own.structure_psnr, _HIGHEST),
        own.ssim,
        min(plain.structure_psnr, _HIGHEST),
        plain.ssim,
        float(hole.sum()) / pixels,
        repair.scores.get("rehearsal_psnr"),
    )


def _window(
    job: Job, place: Place, box: Box, raw: AnyImage, hole: BoolImage, intact: BoolImage
) -> Window:
    """Return the window of a place; what is in the hole is nobody's to see."""
    section = raw.astype(np.float32)
    section[~intact] = section[intact].mean() if intact.any() else 0
    previous, following = (
        read_neighbour(job.stack, n, box, damage_of(job)) for n in place.neighbours
    )
    return Window(
        z=place.z,
        box=box,
        section=section,
        mask=hole,
        intact=intact,
        previous=previous,
        following=following,
        alpha=axial_position(place.z, *place.neighbours, job.thickness),
        value_range=job.stack.value_range,
        voxel_size=job.stack.voxel_size,
    )


def _expect(trials: Sequence[_Trial], scores: dict[str, float]) -> Quality:
    """Return what the trials let expect, corrected by how the real rehearsal went."""
    real = scores.get("rehearsal_psnr")
    tried = [trial.rehearsal for trial in trials if trial.rehearsal is not None]
    correction = _BELIEF * (real - float(np.mean(tried))) if real is not None and tried else 0.0
    structure = [trial.structure for trial in trials]
    return Quality(
        structure=float(np.mean(structure)) + correction,
        ssim=float(np.mean([trial.ssim for trial in trials])),
        mean_structure=float(np.mean([trial.mean_structure for trial in trials])) + correction,
        mean_ssim=float(np.mean([trial.mean_ssim for trial in trials])),
        spread=float(np.std(structure)),
        places=len(trials),
        share=float(np.mean([trial.share for trial in trials])),
    )


def _from_rehearsal(job: Job, window: Window, scores: dict[str, float]) -> Quality | None:
    """Return what the rehearsal alone lets expect; None without one."""
    rehearsed = scores.get("rehearsal_psnr")
    if rehearsed is None:
        return None
    known = window.intact
    raw = job.stack.read(job.z, window.box)
    span = data_range(raw[known])
    # the rehearsal is in working grey values, over 255 of them
    change = 20 * np.log10(span * Greys.of(window).gain / 255)
    mean = _mean(window)
    section = np.where(known, window.section, mean).astype(np.float32)
    plain = psnr(blur(mean, STRUCTURE_SIGMA), blur(section, STRUCTURE_SIGMA), known, span)
    unknown = float("nan")
    return Quality(
        structure=min(rehearsed + float(change), _HIGHEST),
        ssim=unknown,
        mean_structure=min(plain, _HIGHEST),
        mean_ssim=unknown,
        spread=unknown,
        places=0,
        share=unknown,
    )


def _mean(window: Window) -> FloatImage:
    """Return the mean of the neighbours of a window."""
    images = [neighbour.image for neighbour in neighbours_of(window)]
    return np.asarray(np.mean(images, axis=0), dtype=np.float32)
