"""What guides each window of a section, and by what method it is repaired.

Planning a repair, making it and predicting its quality go the same way: :func:`each_window` goes
through the windows of a :class:`~.job.RepairJob`, finds the neighbours that can guide each and the
method for them, and keeps the windows that are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from ..errors import RepairRefused, counted
from ..io.no_data import enclosed
from ..methods import Method, get_method, most_neighbours
from ..methods.choice import AUTO, Choice, Situation, choose_method
from ..methods.flowinpaint import FlowInpaintMethod
from ..reference.gap_geometry import check_isotropic
from ..refusal import Refusal, describe_reasons
from ..types import BoolImage, Box, IntImage, Progress, no_progress
from .adapted import adapted_weights
from .fold_kinds import join_folds, kind_of, overruled_kind
from .gap_windows import GAP, advice_for_gap, apart_from_gap, gap_kind, goes_on, why_no_gap
from .job import RepairJob
from .neighbours import Neighbours, find_neighbours, what_shows
from .unimaged import describe_unimaged, imaged_damages

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class GuidedWindow:
    """A window of which it is known what guides it and what repairs it; its pixels are not read.

    Parameters
    ----------
    damage
        The damaged box, without context.
    components
        (H, W) int32 over ``damage``: number of the connected component, 0 outside all.
    neighbours
        What guides it.
    method
        What repairs it.
    notes
        What should be known of it, in words.
    left
        Damage in it that no neighbour shows: it is left.
    kind
        Kind of its damage, where it is known and decides about the method.
    why
        Why ``auto`` took the method; "" where it was asked for.
    """

    damage: Box
    components: IntImage
    neighbours: Neighbours
    method: Method
    notes: tuple[str, ...] = ()
    left: tuple[Refusal, ...] = ()
    kind: str | None = None
    why: str = ""

    @property
    def hole(self) -> BoolImage:
        """(H, W) bool over ``damage``, True where pixels are to be replaced."""
        return self.components > 0

    @property
    def pixels(self) -> int:
        """How many pixels are to be replaced."""
        return int(np.count_nonzero(self.components))


def each_window(
    job: RepairJob,
    use: Callable[[GuidedWindow, Progress], T],
    progress: Progress = no_progress,
) -> tuple[list[T], tuple[Refusal, ...]]:
    """Do something with every window of a request that can be guided.

    Parameters
    ----------
    job
        The request.
    use
        Called with a window and a progress of its own; may refuse it by ``RepairRefused``.
    progress
        Called with (fraction, message); may raise ``Cancelled``.

    Returns
    -------
    found
        What ``use`` returned; at least one.
    refused
        Windows that nothing can guide, or that ``use`` refused.

    Raises
    ------
    RepairRefused
        If every window was refused.
    """
    damages, unimaged = imaged_damages(job.stack, job.z, job.mask)
    notes = (describe_unimaged(job.z, unimaged),) if unimaged else ()
    if not damages:
        raise RepairRefused(*notes)
    damages = join_folds(job, damages)
    found: list[T] = []
    refused: list[Refusal] = []
    for number, (damage, components) in enumerate(damages):
        report = partial(report_part, progress, number, len(damages))
        report(0.0, f"section {job.z}: reading the neighbours")
        windows, left = _guided(job, damage, components)
        refused += left
        for part, window in enumerate(windows):
            share = partial(report_part, report, part, len(windows))
            try:
                found.append(use(replace(window, notes=notes + window.notes), share))
                refused += window.left
            except RepairRefused as error:
                pixels = window.pixels + sum(one.pixels for one in window.left)
                refused.append(Refusal(window.damage, pixels, str(error)))
    if not found:
        raise RepairRefused(describe_reasons(refused))
    return found, tuple(refused)


def report_part(progress: Progress, number: int, count: int, fraction: float, message: str) -> None:
    """Report the progress of one of several parts that are alike."""
    progress((number + fraction) / count, message)


def _guided(
    job: RepairJob, damage: Box, components: IntImage
) -> tuple[list[GuidedWindow], list[Refusal]]:
    """Return the damage of a window with what guides it, and what is refused of it.

    What goes through all sections, and hides them for the rest, is taken apart from it.
    """
    try:
        window = _guide(job, damage, components)
        alone = window.method.name == GAP and not window.why and window.neighbours == (None, None)
        parts = apart_from_gap(job, damage, components) if alone else []
        if not parts:
            return [window], []
    except RepairRefused as error:
        parts = apart_from_gap(job, damage, components)
        if not parts:
            return [], [Refusal(damage, int(np.count_nonzero(components)), str(error))]
    windows, refused = [], []
    for part in parts:
        try:
            windows.append(_guide(job, *part))
        except RepairRefused as error:
            refused.append(Refusal(part[0], int(np.count_nonzero(part[1])), str(error)))
    return windows, refused


def _guide(job: RepairJob, damage: Box, components: IntImage) -> GuidedWindow:
    """Find neighbours and method for the damage of one window, or refuse with the reason."""
    neighbours: Neighbours = (None, None)
    if not _is_alone(job.method):
        neighbours = find_neighbours(
            job.stack, job.z, damage, components > 0, job.options.max_gap, job.masks
        )
    return guide_by(job, damage, components, neighbours)


def _is_alone(method: str | Method) -> bool:
    """Return whether a method repairs a section from itself: what lies beside it is not read."""
    if method == "auto":
        return False
    return most_neighbours(get_method(method) if isinstance(method, str) else method) == 0


def guide_by(
    job: RepairJob, damage: Box, components: IntImage, neighbours: Neighbours
) -> GuidedWindow:
    """Choose the method for the damage of one window with its neighbours.

    What none of the neighbours shows is left.

    Raises
    ------
    RepairRefused
        If they are too few.
    """
    usable = sum(n is not None for n in neighbours)
    kind = kind_of(job, damage, components)
    hole = components > 0
    gap = gap_kind(job, damage, hole, neighbours) if job.method == AUTO else ""
    no_gap = "" if gap else why_no_gap(job, damage, hole, neighbours)
    choice = _choose(job.method, Situation(usable, kind, gap, no_gap))
    if choice is None:
        name = job.method if isinstance(job.method, str) else job.method.name
        found = "no usable neighbour" if usable == 0 else "only one usable neighbour"
        raise RepairRefused(
            f"section {job.z} has {found} within {counted(job.options.max_gap, 'section')}, too "
            f"few for method '{name}'{_advice(job, damage, hole, usable)}"
        )
    if choice.method.name == GAP:
        check_isotropic(job.stack.voxel_size)
    notes = _use_adapted(job, choice.method)
    why, other = choice.why, overruled_kind(job, damage, components) if choice.why else ""
    if other:
        why += f"; the mask says {other}, but you asked for {kind}"
    window = GuidedWindow(damage, components, neighbours, choice.method, notes, kind=kind, why=why)
    if usable > most_neighbours(choice.method):
        window = replace(window, neighbours=_best_neighbour(job, window))
    return _without_unseen(job, window)


def _without_unseen(job: RepairJob, window: GuidedWindow) -> GuidedWindow:
    """Leave the damage of a window that none of its neighbours shows, and say so."""
    damage, components = window.damage, window.components
    guides = [n for n in window.neighbours if n is not None]
    unseen = window.hole & ~_shown(job, window)
    if not guides or not unseen.any():
        return window
    window = replace(window, components=np.where(unseen, 0, components).astype(np.int32))
    if components.all() and components.shape == job.stack.shape[1:]:
        # A lost section does not tell where its own padding was; its neighbours do.
        padding = unseen & ~enclosed(~unseen)
        unseen &= ~padding
        if padding.any():
            told = describe_unimaged(job.z, int(padding.sum()))
            window = replace(window, notes=(*window.notes, told))
        if not unseen.any():
            return window
    where = f"section {guides[0]} was not"
    if len(guides) > 1:
        where = f"neither {guides[0]} nor {guides[1]} was"
    reason = (
        f"section {job.z} has damage where {where} imaged (padding); {_larger_gap(job)}leave it "
        "out of the mask"
    )
    return replace(window, left=(Refusal(damage, int(unseen.sum()), reason),))


def _advice(job: RepairJob, damage: Box, hole: BoolImage, usable: int) -> str:
    """Return what can be done where too few neighbours are usable; what cannot help is left out."""
    other = ", for small damage --method single_section" if usable == 0 else ""
    usual = f"; {_larger_gap(job)}choose another method{other}"
    gap = advice_for_gap(job, damage, hole)
    if not gap:
        return usual
    return gap if goes_on(job, damage, hole) else gap + usual


def _larger_gap(job: RepairJob) -> str:
    """Return the beginning of an advice; "" where there are no sections farther away."""
    farthest = max(job.z, job.stack.shape[0] - 1 - job.z)
    return "permit a larger gap (--max-gap) or " if job.options.max_gap < farthest else ""


def _choose(method: str | Method, situation: Situation) -> Choice | None:
    """Return the method that was asked for, by name or itself, where it has what it needs."""
    if isinstance(method, str):
        return choose_method(method, situation)
    return Choice(method) if method.neighbours <= situation.neighbours else None


def _use_adapted(job: RepairJob, method: Method) -> tuple[str, ...]:
    """Let a method take the weights that were adapted to the stack, if it takes such.

    Weights that the user chose come first. Returns what the user should be told.
    """
    asked = job.options.weights is not None or not isinstance(job.method, str)
    if asked or not isinstance(method, FlowInpaintMethod):
        return ()
    found = adapted_weights(job.stack)
    method.weights = found.path
    return (found.note,) if found.note else ()


def _best_neighbour(job: RepairJob, window: GuidedWindow) -> Neighbours:
    """Return the one of two neighbours that shows more of the damage, or else the nearer one."""

    def worth(neighbours: Neighbours) -> tuple[int, int]:
        (z,) = (n for n in neighbours if n is not None)
        shown = _shown(job, replace(window, neighbours=neighbours))
        return int(np.count_nonzero(shown & window.hole)), -abs(z - job.z)

    previous, following = window.neighbours
    return max((previous, None), (None, following), key=worth)


def _shown(job: RepairJob, window: GuidedWindow) -> BoolImage:
    """Return where one of the neighbours of a window shows the damage, (H, W) bool."""
    shown = np.zeros(window.components.shape, dtype=bool)
    for z in window.neighbours:
        if z is not None:
            found = what_shows(job.stack, z, window.damage, window.hole, job.masks)
            if found is not None:
                shown |= found
    return shown
