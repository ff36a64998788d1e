"""Predict how good a repair is, where nobody knows the truth.

The same damage is put onto intact places and repaired there, with the same method and options, each
place guided by sections as far away as those that guide the real repair (:mod:`.trials`). What is
really there tells the scores to expect. One thing about the real place is known as well: how well
its rehearsal went. Half of what it went better or worse than the rehearsals of the trials is added,
to the repair and to the mean of the neighbours alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RepairRefused, counted
from ..filters import blur
from ..methods import Method
from ..metrics import STRUCTURE_SIGMA, data_range, psnr
from ..reference.guides import GreyMapping
from ..refusal import ANYWAY
from ..repair_options import RepairOptions
from ..section_repair import SectionRepair
from ..types import AnyImage, BoolImage, Box, Progress, no_progress
from ..window import Window
from .fitted_window import fit_window
from .guided_window import GuidedWindow, each_window, report_part
from .job import RepairJob, make_job
from .neighbours import Masks
from .trials import HIGHEST_PSNR, TrialScores, find_trials, neighbours_mean, run_trial

if TYPE_CHECKING:
    from ..io.stack import Stack

__all__ = ["Quality", "combine", "predict_quality", "predict_window"]

#: Places that are tried for every window. Each costs what the repair costs.
PLACES = 3
#: How much of the difference between rehearsals is believed (chosen on the training sections, as
#: everything here).
_BELIEF = 0.5
#: Places differ by this, in dB, even where the few that were tried happen to be alike.
_LEAST_SPREAD = 0.5
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
            f"{counted(self.places, 'intact place')}; align the stack there, choose another "
            f"method, {ANYWAY}"
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


def is_expected(name: str) -> bool:
    """Return whether a score in a report is of a :class:`Quality`, and not measured."""
    return name.startswith(_PREFIX)


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
    kinds: AnyImage | None = None,
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
    stack, z, mask, masks, kinds, thickness, method, device, options, progress
        As for :func:`~napari_flowinpaint.core.repair.repair_section.repair_section`.
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
    job = make_job(stack, z, mask, masks, thickness, method, device, options, kinds)
    methods: list[Method] = []
    left = {} if repair is None else {refusal.box: refusal.reason for refusal in repair.refused}

    def predict(found: GuidedWindow, report: Progress) -> tuple[Quality | None, int]:
        if found.damage in left:
            raise RepairRefused(left[found.damage])
        methods.append(found.method)
        fitted = fit_window(job, found)
        scores = _scores_of(repair, fitted.window.box)
        predicted = predict_window(job, fitted.found, fitted.window, scores, places, report)
        return predicted, found.pixels

    predicted, _ = each_window(job, predict, progress)
    known = [(quality, pixels) for quality, pixels in predicted if quality is not None]
    total = combine(known)
    if any(getattr(found, "moves_tissue", False) for found in methods):
        raise RepairRefused(
            f"section {z} is unfolded; how good that is cannot be predicted: there is no fold on "
            "intact places to try it on"
        )
    if any(getattr(found, "untried", False) for found in methods):
        raise RepairRefused(
            f"section {z} is part of a gap; how well that is filled cannot be predicted: there is "
            "no other gap with a known truth to try it on"
        )
    if any(found.neighbours == 0 for found in methods):
        raise RepairRefused(
            f"section {z} is repaired from itself; its quality cannot be compared with the mean of "
            "its neighbours, so none is predicted: see the confidence"
        )
    if total is None or len(known) < len(predicted):
        raise RepairRefused(
            f"section {z} has no intact place to try its repair on, nor has its neighbourhood; "
            "its quality cannot be predicted"
        )
    return total


def _scores_of(repair: SectionRepair | None, box: Box) -> dict[str, float]:
    """Return what a repair measured in a window."""
    patches = () if repair is None else repair.patches
    return next((patch.scores for patch in patches if patch.box == box), {})


def predict_window(
    job: RepairJob,
    found: GuidedWindow,
    window: Window,
    scores: dict[str, float],
    places: int = PLACES,
    progress: Progress = no_progress,
) -> Quality | None:
    """Predict how good the repair of one window is.

    Parameters
    ----------
    job
        The request.
    found
        What is repaired, and by what.
    window
        The same, read.
    scores
        What the real repair measured on the way; may be empty.
    places
        How many places to try; 0 relies on the rehearsal alone.
    progress
        Called with (fraction, message); may raise ``Cancelled``.

    Returns
    -------
    quality
        None where there is no intact place and nothing could be rehearsed; where no neighbour
        guides, whose mean a repair is held against; of gaps, which have no like; and of repairs
        that move tissue: on intact places there is no fold to try them on, and what can be
        rehearsed is the line alone, not the zone.
    """
    untried = any(getattr(found.method, name, False) for name in ("moves_tissue", "untried"))
    if untried or found.neighbours == (None, None):
        return None
    scored: list[TrialScores] = []
    for trial in find_trials(job, found.damage, found.hole, found.neighbours):
        if len(scored) >= places:
            break
        report = partial(_report_trial, progress, job.z, len(scored), places)
        score = run_trial(job, trial, found.pixels, found.method, report)
        if score is not None:
            scored.append(score)
    return _expect(scored, scores) if scored else _from_rehearsal(job, window, scores)


def _report_trial(
    progress: Progress, z: int, number: int, count: int, fraction: float, _message: str
) -> None:
    """Report the progress of a trial; what the method says of the section holds for the place."""
    report_part(progress, number, count, fraction, f"section {z}: trying it on intact pixels")


def _expect(trials: Sequence[TrialScores], scores: dict[str, float]) -> Quality:
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


def _from_rehearsal(job: RepairJob, window: Window, scores: dict[str, float]) -> Quality | None:
    """Return what the rehearsal alone lets expect; None without one."""
    rehearsed = scores.get("rehearsal_psnr")
    if rehearsed is None:
        return None
    known = window.intact
    raw = job.stack.read(job.z, window.box)
    span = data_range(raw[known])
    # the rehearsal is in working grey values, over 255 of them
    change = 20 * np.log10(span * GreyMapping.of(window).gain / 255)
    mean = neighbours_mean(window)
    section = np.where(known, window.section, mean).astype(np.float32)
    plain = psnr(blur(mean, STRUCTURE_SIGMA), blur(section, STRUCTURE_SIGMA), known, span)
    unknown = float("nan")
    return Quality(
        structure=min(rehearsed + float(change), HIGHEST_PSNR),
        ssim=unknown,
        mean_structure=min(plain, HIGHEST_PSNR),
        mean_ssim=unknown,
        spread=unknown,
        places=0,
        share=unknown,
    )
