"""What a batch is going to do: which sections, windows, neighbours, method, how long; and what not.

Planning computes nothing. Of the mask it reads what is stored, of the stack the few pixels that
tell whether a neighbour shows anything, so a stack of thousands of sections is planned in seconds.
Every damaged section is looked at, also those that are not to be repaired: damage does not guide.
So the sections of a run of damaged ones are all guided by the nearest intact ones on each side,
each at its own alpha, and a run that is longer than ``max_gap`` allows is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import InputError, LinkFound, RepairRefused, StoreError, counted
from ..masks.stack_mask import StackMask
from ..methods import Method
from ..methods.choice import describe_methods
from ..methods.flowinpaint import MUCH
from ..reference.gap_geometry import is_isotropic
from ..refusal import Refusal, describe_refused, reason_of
from ..repair.gap_windows import GAP, REACH
from ..repair.quality import PLACES
from ..repair.repair_section import WindowPlan, plan_windows
from ..repair_options import RepairOptions
from ..types import AnyImage, Box, Progress, no_progress

if TYPE_CHECKING:
    from ..io.stack import Stack
    from ..masks.sparse_mask import SparseMask

#: What a section's plan may say.
PLANNED, REFUSED, FAILED = "planned", "refused", "failed"


#: How many times as long as ``flowinpaint`` other methods take for a window of the same size.
_LONGER = {"unfold": 3.0, "one_neighbour": 3.0, "single_section": 6.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """How long repairs take: so much per window, and so much per million pixels in it.

    The default was measured with the methods ``flow`` and ``flowinpaint`` on one thread. While a
    batch runs, the estimate is multiplied by what the finished sections took over what was
    expected of them.

    Parameters
    ----------
    window
        Seconds per window.
    megapixel
        Seconds per million pixels of the windows, halos included.
    missing
        How many times as long a window takes of which much is missing: the network looks at it
        several times.
    """

    window: float = 0.1
    megapixel: float = 2.5
    missing: float = 4.0

    def seconds(self, windows: Iterable[WindowPlan]) -> float:
        """Return the seconds that windows are going to take, on one worker."""
        return sum(self.window + self.megapixel * self._effort(window) / 1e6 for window in windows)

    def _effort(self, window: WindowPlan) -> float:
        """Return the pixels of a window, as often as they are looked at."""
        area = window.box.shape[0] * window.box.shape[1]
        often = window.method == "flowinpaint" and window.pixels > MUCH * area
        return area * (self.missing if often else _LONGER.get(window.method, 1.0))

    def corrected(self, factor: float) -> Rate:
        """Return the rate of a machine that takes ``factor`` times as long."""
        return Rate(self.window * factor, self.megapixel * factor, self.missing)


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """What is going to happen to one section.

    Parameters
    ----------
    z
        Section number.
    status
        ``"planned"``; ``"refused"``, where a repair would have to be made up; ``"failed"``, where
        the stack or the mask cannot be read.
    windows
        What is repaired together; empty unless planned.
    pixels
        Damaged pixels that are going to be replaced.
    seconds
        Estimate, on one worker.
    reason
        Why it was refused or failed.
    refused
        Windows that are going to be left as they are, and why; empty unless planned.
    """

    z: int
    status: str
    windows: tuple[WindowPlan, ...] = ()
    pixels: int = 0
    seconds: float = 0.0
    reason: str = ""
    refused: tuple[Refusal, ...] = ()

    @property
    def most_pixels(self) -> int:
        """Pixels that are going to be replaced at most, with the tissue that folds displaced."""
        return sum(window.most_pixels for window in self.windows)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, each once."""
        return tuple(sorted({window.method for window in self.windows}))

    def __str__(self) -> str:
        if self.status != PLANNED:
            return f"section {self.z}: {self.status}: {reason_of(self.z, self.reason)}"
        guided = sorted({(w.neighbours, w.alpha) for w in self.windows}, key=str)
        flags = dict.fromkeys(flag for window in self.windows for flag in window.flags)
        return (
            f"section {self.z}: {_pixels(self.pixels, self.most_pixels)} in "
            f"{counted(len(self.windows), 'window')}, "
            f"guided by {'; '.join(_guides(*g) for g in guided)}, "
            f"by {describe_methods(self.windows)}, about {duration(self.seconds)}"
            + "".join(f"; {reason_of(self.z, flag)}" for flag in flags)
            + (f"; {describe_refused(self.refused)}" if self.refused else "")
        )


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """What a batch is going to do; printable, and plain JSON by :meth:`to_dict`.

    Parameters
    ----------
    stack, damage
        What is repaired, and where.
    sections
        One plan per section, ascending.
    boxes
        All damaged sections within reach, and a box around the damage of each.
    method, device, options, thickness
        As for :func:`~napari_flowinpaint.core.repair.repair_section.repair_section`.
    """

    stack: Stack
    damage: StackMask
    sections: tuple[SectionPlan, ...]
    boxes: Mapping[int, Box]
    method: str | Method
    device: str
    options: RepairOptions
    thickness: tuple[float, ...] | None = None

    @property
    def planned(self) -> tuple[SectionPlan, ...]:
        """Sections that are going to be repaired."""
        return tuple(section for section in self.sections if section.status == PLANNED)

    @property
    def unplanned(self) -> tuple[SectionPlan, ...]:
        """Sections that are not."""
        return tuple(section for section in self.sections if section.status != PLANNED)

    @property
    def incomplete(self) -> tuple[SectionPlan, ...]:
        """Sections that are going to be repaired, but not all windows of them."""
        return tuple(section for section in self.planned if section.refused)

    @property
    def pixels(self) -> int:
        """Damaged pixels that are going to be replaced."""
        return sum(section.pixels for section in self.planned)

    @property
    def most_pixels(self) -> int:
        """Pixels that are going to be replaced at most, with the tissue that folds displaced."""
        return sum(section.most_pixels for section in self.planned)

    @property
    def seconds(self) -> float:
        """Estimate, on one worker."""
        return sum(section.seconds for section in self.planned)

    @property
    def method_name(self) -> str:
        """Name of the method that was asked for."""
        return self.method if isinstance(self.method, str) else self.method.name

    def summary(self, workers: int = 1) -> str:
        """Return the plan in one line."""
        windows = sum(len(section.windows) for section in self.planned)
        refused = len(self.unplanned)
        left = sum(len(section.refused) for section in self.incomplete)
        return (
            f"{counted(len(self.planned), 'section')}, {counted(windows, 'window')}, "
            f"{_pixels(self.pixels, self.most_pixels)}, "
            f"about {duration(self.seconds / max(workers, 1))} with {counted(workers, 'worker')}"
            + (f"; {refused} not repaired" if refused else "")
            + (f"; {counted(left, 'window')} left in the others" if left else "")
        )

    def __str__(self) -> str:
        return "\n".join([*map(str, self.sections), self.summary()])

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON."""
        return {
            "shape": list(self.stack.shape),
            "dtype": str(self.stack.dtype),
            "method": self.method_name,
            "device": self.device,
            "options": asdict(self.options),
            "thickness": None if self.thickness is None else list(self.thickness),
            "seconds": round(self.seconds, 1),
            "sections": [_section_to_json(section) for section in self.sections],
        }


def plan_batch(
    stack: Stack,
    masks: StackMask | Stack | SparseMask | AnyImage | Mapping[int, AnyImage],
    sections: Iterable[int] | None = None,
    *,
    options: RepairOptions | None = None,
    method: str | Method = "auto",
    device: str = "auto",
    max_gap: int | None = None,
    thickness: Sequence[float] | None = None,
    rate: Rate | None = None,
    progress: Progress = no_progress,
) -> BatchPlan:
    """Plan the repair of many sections; nothing is computed and nothing is written.

    Parameters
    ----------
    stack
        An open stack. To be repaired by other processes it must have been opened from a path.
    masks
        The damage of the whole stack: from :func:`~napari_flowinpaint.core.open.open_mask`, a
        sparse mask, a (Z, Y, X) array, or masks of single sections by number. Only what is stored
        of a zarr or HDF5 mask is read.
    sections
        Sections to repair; None for all that are damaged.
    options, method, device, thickness
        As for :func:`~napari_flowinpaint.core.repair.repair_section.repair_section`.
    max_gap
        Overrides that of ``options``: largest distance to a guiding section.
    rate
        How long repairs take on this machine, where that is known.
    progress
        Called with (fraction, message); may raise ``Cancelled``.

    Returns
    -------
    BatchPlan

    Raises
    ------
    InputError
        If the mask does not fit, is empty, or a section that was asked for has no damage.
    StoreError
        If the mask cannot be read.

    Examples
    --------
    >>> from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack
    >>> import numpy as np
    >>> stack = Stack.from_array(synthetic_stack(SampleConfig(shape=(5, 96, 96))))
    >>> mask = np.zeros(stack.shape, bool)
    >>> mask[1:3, 20:40, 20:40] = True
    >>> [section.windows[0].neighbours for section in plan_batch(stack, mask).sections]
    [(0, 3), (0, 3)]
    """
    options = options or RepairOptions()
    if max_gap is not None:
        options = replace(options, max_gap=max_gap)
    damage = masks if isinstance(masks, StackMask) else StackMask(masks, stack.shape)
    progress(0.0, "looking at the masks")
    reach = reach_of(stack, method, options)
    chosen, boxes = _look(damage, sections, reach)
    given = None if thickness is None else tuple(float(t) for t in thickness)
    plan = BatchPlan(stack, damage, (), boxes, method, device, options, given)
    plans = []
    for number, z in enumerate(chosen):
        progress(number / len(chosen), f"planning section {z}")
        plans.append(plan_section(plan, z, rate or Rate()))
    progress(1.0, "planned")
    return replace(plan, sections=tuple(plans))


def reach_of(stack: Stack, method: str | Method, options: RepairOptions) -> int:
    """Return how many sections away damage matters to a repair."""
    name = method if isinstance(method, str) else method.name
    fills_gaps = name in ("auto", GAP) and is_isotropic(stack.voxel_size)
    return max(options.max_gap, REACH) if fills_gaps else options.max_gap


def _look(
    damage: StackMask, sections: Iterable[int] | None, reach: int
) -> tuple[list[int], dict[int, Box]]:
    """Return the sections to plan and the damage within reach of them, or refuse the request."""
    depth = damage.shape[0]
    chosen = None if sections is None else sorted({int(z) for z in sections})
    if chosen is None:
        boxes = damage.find()
        if not boxes:
            raise InputError("the mask is empty: no section has damage; paint it first.")
        return list(boxes), boxes
    if not chosen:
        raise InputError("the list of sections is empty; name some, or leave the list out for all.")
    for z in chosen:
        if not 0 <= z < depth:
            raise InputError(f"section {z} does not exist; the stack has sections 0 to {depth - 1}")
    near = {other for z in chosen for other in range(z - reach, z + reach + 1)}
    boxes = damage.find(z for z in near if 0 <= z < depth)
    for z in chosen:
        if z not in boxes:
            raise InputError(
                f"the mask of section {z} is empty; paint the damage or leave the section out."
            )
    return chosen, boxes


def plan_section(plan: BatchPlan, z: int, rate: Rate) -> SectionPlan:
    """Plan one section: the windows, or the reason why there are none."""
    try:
        mask = plan.damage.section(z, plan.boxes[z])
        windows, refused = plan_windows(
            plan.stack,
            z,
            mask,
            masks=plan.damage.read,
            kinds=plan.damage.section_kinds(z, plan.boxes[z]),
            thickness=plan.thickness,
            method=plan.method,
            options=plan.options,
        )
    except RepairRefused as error:
        return SectionPlan(z, REFUSED, reason=str(error))
    except LinkFound:  # every section would say the same
        raise
    except StoreError as error:
        return SectionPlan(z, FAILED, reason=str(error))
    pixels = sum(window.pixels for window in windows)
    if plan.options.quality:  # every window is repaired on other places as well
        rate = rate.corrected(1 + PLACES)
    return SectionPlan(z, PLANNED, windows, pixels, rate.seconds(windows), refused=refused)


def _section_to_json(section: SectionPlan) -> dict[str, Any]:
    """Return the plan of one section as plain JSON."""
    return {
        "section": section.z,
        "status": section.status,
        "reason": section.reason,
        "pixels": section.pixels,
        "most_pixels": section.most_pixels,
        "seconds": round(section.seconds, 1),
        "windows": [
            {
                "box_yxyx": [w.box.y0, w.box.x0, w.box.y1, w.box.x1],
                "pixels": w.pixels,
                "most_pixels": w.most_pixels,
                "previous": w.neighbours[0],
                "following": w.neighbours[1],
                "alpha": w.alpha,
                "method": w.method,
                "kind": w.kind,
                "why": w.why,
                "flags": list(w.flags),
            }
            for w in section.windows
        ],
        "refused_windows": [refusal.to_dict() for refusal in section.refused],
    }


def _guides(neighbours: tuple[int | None, int | None], alpha: float) -> str:
    """Return the neighbours of a window in words."""
    before, after = neighbours
    if before is None and after is None:
        return "what is around it"
    if before is None or after is None:
        return f"{before if after is None else after} alone"
    return f"{before} and {after} (alpha {alpha:.2f})"


def _pixels(masked: int, most: int) -> str:
    """Return how many pixels are replaced; how far folds reach shows when they are unfolded."""
    if most <= masked:
        return f"{masked:,} pixels"
    return f"{masked:,} pixels (up to {most:,} with the tissue that folds have displaced)"


def duration(seconds: float) -> str:
    """Return a time in words, as exact as an estimate is."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
