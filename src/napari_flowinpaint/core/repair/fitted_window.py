"""Which of the usable neighbours guide a window: those that fit its section.

On each side the nearest usable section guides, unless the gate finds that it shows something else,
is out of focus or lies elsewhere. Then the next one on that side does, within the permitted gap, or
the other side alone. Only where nothing fits, the window is refused. So a larger gap never repairs
less.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, RepairRefused, counted
from ..reference.guides import neighbours_of
from ..refusal import ANYWAY
from ..types import AnyImage, IntImage
from ..window import Window
from .gate import NeighbourFit, describe_faults, measure_fit
from .guided_window import GuidedWindow, guide_by
from .job import RepairJob
from .neighbours import find_neighbour
from .read_window import read_window

#: Where fewer pixels of a window are intact, more context is looked at to tell neighbours apart.
_ENOUGH = 100_000
#: This much around the damage, in pixels.
_WIDE_HALO = 192


@dataclass(frozen=True, slots=True, eq=False)
class FittedWindow:
    """A window that was read, with the neighbours that fit it.

    Parameters
    ----------
    found
        What guides and repairs it.
    window, raw, components
        See :func:`~.read_window.read_window`.
    fits
        How well its neighbours fit; of those that can be judged.
    flags
        What is wrong with sections that would have guided it, one sentence; empty where nothing is.
    """

    found: GuidedWindow
    window: Window
    raw: AnyImage
    components: IntImage
    fits: tuple[NeighbourFit, ...] = ()
    flags: tuple[str, ...] = ()


def fit_window(job: RepairJob, found: GuidedWindow) -> FittedWindow:
    """Read a window, guided by neighbours that fit its section.

    Raises
    ------
    RepairRefused
        Where none does, and the gate is to refuse.
    InputError, StoreError
        As :func:`~.read_window.read_window`.
    """
    window = read_window(job, found)
    if job.options.gate == "off" or getattr(found.method, "gates_itself", False):
        return FittedWindow(found, *window)
    fits = _measure(job, found, window[0])
    if not any(fit.fault for fit in fits):
        return FittedWindow(found, *window, fits)
    tried = {fit.z: fit for fit in fits}
    chosen = [
        _first_fitting(job, found, step, first, tried)
        for step, first in zip((-1, 1), found.neighbours, strict=True)
    ]
    faults = describe_faults(job.z, tried.values())
    try:
        if chosen == [None, None]:
            raise RepairRefused("no other section guides it")
        better = guide_by(job, found.damage, found.components, (chosen[0], chosen[1]))
        better = replace(better, notes=found.notes + better.notes)
    except RepairRefused as error:
        if job.options.gate == "refuse":
            raise RepairRefused(_refusal(job, faults, chosen)) from error
        return FittedWindow(found, *window, fits, (f"{faults}; it was repaired anyway",))
    guides = " and ".join(str(n) for n in chosen if n is not None)
    flag = f"{faults}; section {job.z} was repaired with section{'s' * (' ' in guides)} {guides}"
    used = tuple(tried[n] for n in chosen if n in tried)
    return FittedWindow(better, *read_window(job, better), used, (flag,))


def _measure(job: RepairJob, found: GuidedWindow, window: Window) -> tuple[NeighbourFit, ...]:
    """Measure how well the neighbours fit; in doubt, where little is intact, in a wider window."""
    fits = measure_fit(window)
    doubt = any(fit.in_doubt for fit in fits) or len(fits) < len(neighbours_of(window))
    if doubt and np.count_nonzero(window.intact) < _ENOUGH:
        wide = replace(job, options=replace(job.options, halo=_WIDE_HALO))
        box = wide.with_halo(found.damage, found.method)
        if box.union(window.box) != window.box:
            with suppress(InputError):  # NaN there is no matter of this window
                return measure_fit(read_window(wide, found)[0]) or fits
    return fits


def _refusal(job: RepairJob, faults: str, chosen: list[int | None]) -> str:
    """Return why a window is refused."""
    missing = f"no other within {counted(job.options.max_gap, 'section')} fits"
    for left in (n for n in chosen if n is not None):
        name = job.method if isinstance(job.method, str) else job.method.name
        missing = f"section {left} alone is too few for method '{name}'"
    return f"{faults}; {missing}: align the stack there, {ANYWAY}"


def _first_fitting(
    job: RepairJob,
    found: GuidedWindow,
    step: int,
    first: int | None,
    tried: dict[int, NeighbourFit],
) -> int | None:
    """Return the nearest section on one side that fits; what is measured is added to ``tried``.

    One that cannot be judged guides only if no nearer one was passed over.
    """
    z = first
    while z is not None:
        if z != first:
            sides = (z, None) if step < 0 else (None, z)
            farther = replace(found, neighbours=sides)
            tried |= {fit.z: fit for fit in _measure(job, farther, read_window(job, farther)[0])}
        fit = tried.get(z)
        if not fit.fault if fit is not None else z == first:
            return z
        z = find_neighbour(
            job.stack,
            job.z,
            found.damage,
            found.hole,
            step,
            job.options.max_gap,
            job.masks,
            beyond=abs(z - job.z),
        )
    return None
