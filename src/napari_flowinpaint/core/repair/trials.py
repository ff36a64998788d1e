"""Trials: intact places that are repaired as if they had the same damage, and what that scores.

The truth is known there, and what guides the repair is as far away as for the real damage:

* the mask moved (or mirrored) to another place of the damaged section, guided by the same
  neighbours;
* the same mask at the same place of a section nearby, guided by sections at the same distances,
  so at the same ``alpha``;
* near the ends of a stack, the same mask on a neighbour, guided by the nearest sections it has, at
  whatever ``alpha`` that makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..errors import RepairRefused
from ..methods import Method
from ..metrics import data_range, score
from ..reference.guides import neighbours_of
from ..types import AnyImage, BoolImage, Box, FloatImage, Progress, to_dtype
from ..window import Window
from .gate import measure_fit
from .job import RepairJob
from .neighbours import Neighbours, find_neighbours, is_grey, shows
from .read_window import guide_window

#: Moved masks lie at least this far from where they were, in pixels and in their own sizes.
_LEAST_MOVE = 64
_MOVES = (2.0, 3.0)
_DIRECTIONS = 8
#: A moved mask of which more than this share lies on damage is not used.
_MOST_LOST = 0.5
#: How much of a mask lies on damage is sampled in about so many rows and columns.
_SAMPLES = 256
#: No PSNR is higher than this, so that it can be averaged.
HIGHEST_PSNR = 99.0


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """An intact place to be repaired as if it were damaged.

    Parameters
    ----------
    z
        Section number.
    box
        The damaged box, moved.
    hole
        (H, W) bool over ``box``; some of it may lie on real damage, where no truth is known.
    neighbours
        Section numbers of what guides there.
    """

    z: int
    box: Box
    hole: BoolImage
    neighbours: Neighbours


def find_trials(
    job: RepairJob, damage: Box, hole: BoolImage, neighbours: Neighbours
) -> Iterator[Trial]:
    """Yield trials for the damage of one window, the best first; at most six, perhaps none.

    Parameters
    ----------
    job
        The request.
    damage
        The damaged box.
    hole
        (H, W) bool over ``damage``.
    neighbours
        What guides the real repair; no trial has fewer.
    """
    own = _moved(job, damage, hole, neighbours)
    before, after = (_beside(job, damage, hole, neighbours, step) for step in (-1, 1))
    for source in (own, before, after) * 2:
        trial = next(source, None)
        if trial is not None:
            yield trial


def _moved(job: RepairJob, damage: Box, hole: BoolImage, neighbours: Neighbours) -> Iterator[Trial]:
    """Yield the mask moved within its section: where it meets least damage, the nearest first."""
    found: list[tuple[int, int, Box, BoolImage]] = []
    for box, moved in _moves(job, damage, hole):
        step = max(1, max(box.shape) // _SAMPLES)
        thin = moved[::step, ::step]
        hit = thin & job.mask[box.slices][::step, ::step]
        lost = float(hit.sum()) / max(float(thin.sum()), 1.0)
        if lost <= _MOST_LOST:
            found.append((round(10 * lost), len(found), box, moved))
    for _, _, box, moved in sorted(found, key=lambda entry: entry[:2]):
        guides = [n for n in neighbours if n is not None]
        _, imaged = job.stack.read_imaged(job.z, box)
        if np.count_nonzero(moved & ~imaged) > _MOST_LOST * np.count_nonzero(moved):
            continue
        if all(shows(job.stack, n, box, moved, job.damage) for n in guides):
            yield Trial(job.z, box, moved, neighbours)


def _moves(job: RepairJob, damage: Box, hole: BoolImage) -> Iterator[tuple[Box, BoolImage]]:
    """Yield boxes in the section with the hole in them: shifted all around, then mirrored."""
    height, width = damage.shape
    rng = np.random.default_rng((job.options.seed, job.z, damage.y0, damage.x0))
    first = rng.uniform(0, 2 * np.pi)
    for sizes in _MOVES:
        reach = max(sizes * max(height, width), _LEAST_MOVE)
        for angle in first + 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS:
            y = damage.y0 + round(reach * float(np.sin(angle)))
            x = damage.x0 + round(reach * float(np.cos(angle)))
            yield _box_at(job, y, x, damage.shape), hole
    rows, columns = job.mask.shape
    for flip_y, flip_x in ((True, True), (True, False), (False, True)):
        y = rows - damage.y1 if flip_y else damage.y0
        x = columns - damage.x1 if flip_x else damage.x0
        moved = hole[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
        yield _box_at(job, y, x, damage.shape), moved


def _box_at(job: RepairJob, y: int, x: int, shape: tuple[int, int]) -> Box:
    """Return a box of a shape at, or as near as the section permits to, a position."""
    y = min(max(y, 0), job.mask.shape[0] - shape[0])
    x = min(max(x, 0), job.mask.shape[1] - shape[1])
    return Box(y, x, y + shape[0], x + shape[1])


def _beside(
    job: RepairJob, damage: Box, hole: BoolImage, neighbours: Neighbours, step: int
) -> Iterator[Trial]:
    """Yield the mask where it is on sections of one side: guided alike, then guided otherwise."""
    gaps = [None if n is None else n - job.z for n in neighbours]
    reach = job.options.max_gap + sum(abs(gap) for gap in gaps if gap is not None)
    tried = set()
    for distance in range(1, reach + 1):
        z = job.z + step * distance
        before, after = (None if gap is None else z + gap for gap in gaps)
        needed = [n for n in (z, before, after) if n is not None]
        if all(shows(job.stack, n, damage, hole, job.damage) for n in needed):
            tried.add(z)
            yield Trial(z, damage, hole, (before, after))
    target = neighbours[0] if step < 0 else neighbours[1]
    if target is None or target in tried:
        return
    guides = find_neighbours(job.stack, target, damage, hole, job.options.max_gap, job.damage)
    if sum(n is not None for n in guides) >= sum(gap is not None for gap in gaps):
        yield Trial(target, damage, hole, guides)


@dataclass(frozen=True, slots=True)
class TrialScores:
    """What a repair scores at a place where the truth is known.

    Parameters
    ----------
    structure, ssim
        Structure PSNR, dB, and SSIM in the hole.
    mean_structure, mean_ssim
        The same of the mean of the neighbours.
    share
        Share of the damaged pixels whose truth is known there.
    rehearsal
        PSNR of the rehearsal, dB, or None where the method has none.
    """

    structure: float
    ssim: float
    mean_structure: float
    mean_ssim: float
    share: float
    rehearsal: float | None


def run_trial(
    job: RepairJob, trial: Trial, pixels: int, method: Method, progress: Progress
) -> TrialScores | None:
    """Repair an intact place in place of so many damaged pixels.

    None where that is refused, nothing there is intact, or its neighbours do not fit.
    """
    box = job.with_halo(trial.box, method)
    raw, imaged = job.stack.read_imaged(trial.z, box)
    known = imaged & is_grey(raw) & ~job.damage(trial.z, box)
    hole = np.zeros(box.shape, dtype=bool)
    hole[trial.box.within(box)] = trial.hole
    hole &= known
    if not hole.any():
        return None
    window = replace(_window(job, trial, box, raw, hole, known & ~hole), imaged=imaged)
    if job.options.gate == "refuse" and any(fit.fault for fit in measure_fit(window)):
        return None
    try:
        repair = method.repair(window, job.options, job.device, progress)
    except RepairRefused:
        return None
    filled = to_dtype(repair.result, raw.dtype)
    truth = np.where(known, raw, filled)
    span = data_range(raw[known])
    own = score(np.where(hole, filled, truth), truth, hole, span)
    plain = score(np.where(hole, neighbours_mean(window), truth), truth, hole, span)
    return TrialScores(
        structure=min(own.structure_psnr, HIGHEST_PSNR),
        ssim=own.ssim,
        mean_structure=min(plain.structure_psnr, HIGHEST_PSNR),
        mean_ssim=plain.ssim,
        share=float(hole.sum()) / pixels,
        rehearsal=repair.scores.get("rehearsal_psnr"),
    )


def _window(
    job: RepairJob, trial: Trial, box: Box, raw: AnyImage, hole: BoolImage, intact: BoolImage
) -> Window:
    """Return the window of a trial; what is in the hole is hidden."""
    section = raw.astype(np.float32)
    section[~intact] = section[intact].mean() if intact.any() else 0
    return guide_window(job, trial.z, box, section, hole, intact, trial.neighbours, job.damage)


def neighbours_mean(window: Window) -> FloatImage:
    """Return the mean of what the neighbours of a window show, (H, W) float32."""
    neighbours = neighbours_of(window)
    images = [neighbour.image for neighbour in neighbours]
    mean = np.asarray(np.mean(images, axis=0), dtype=np.float32)
    for shown, other in zip(neighbours, reversed(neighbours), strict=True):
        alone = shown.valid & ~other.valid
        if alone.any():
            mean = np.where(alone, shown.image, mean)
    return mean
