"""Find the damage of one section.

The sections are looked at on a coarse level of the pyramid, each between its neighbours
(:mod:`.features.view`), by typed detectors (:mod:`.detectors`); what they find is carried to full
resolution (:mod:`.refine`). :mod:`..detection` does it for many sections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..filters import shrink_to
from ..io.no_data import padding_of
from ..kinds import KINDS
from ..types import BoolImage, Box, Progress, no_progress
from ..writing.marks import marks_of
from .detectors import Detector, default_detectors
from .features.sections import Sections
from .features.working_level import WORKING_SIDE
from .refine import refine
from .search import search

if TYPE_CHECKING:
    from ..io.stack import Stack

#: Pixels around damage by which a hole of NaN is told from padding.
_MARGIN = 16
#: Sections that an estimate looks at.
_ESTIMATE_FROM = 12


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """What the user may choose about detection.

    Parameters
    ----------
    sensitivity
        0 (only what is beyond doubt) to 1 (also what may well be tissue); each step of 0.5
        changes all thresholds by a factor of two.
    kinds
        Kinds that are wanted, names of :data:`~.kinds.KINDS`.
    scales
        Factor on the thresholds of kinds, as :func:`estimate_parameters` finds it.
    side
        Longer side of the level at which sections are compared, about, in pixels. Damage smaller
        than a few of its pixels is not seen.
    """

    sensitivity: float = 0.5
    kinds: tuple[str, ...] = tuple(KINDS)
    scales: Mapping[str, float] = field(default_factory=dict)
    side: int = WORKING_SIDE

    def __post_init__(self) -> None:
        if not 0 <= self.sensitivity <= 1:
            raise InputError(
                f"the sensitivity is {self.sensitivity:g}; it must be between 0 and 1."
            )
        unknown = [kind for kind in (*self.kinds, *self.scales) if kind not in KINDS]
        if unknown:
            raise InputError(f"unknown kind {unknown[0]!r}; choose from: {', '.join(KINDS)}.")
        if not self.kinds:
            raise InputError(f"name at least one kind of {', '.join(KINDS)}.")
        if self.side < 64:
            raise InputError(f"sections are compared at 64 pixels or more, not at {self.side}.")

    @property
    def strictness(self) -> float:
        """Factor on all thresholds: 2 at a sensitivity of 0, 1 at 0.5, 0.5 at 1."""
        return float(2 ** (1 - 2 * self.sensitivity))


@dataclass(frozen=True, slots=True, eq=False)
class KindDamage:
    """Damage of one kind in a section.

    Parameters
    ----------
    kind
        A name of :data:`~.kinds.KINDS`.
    score
        Strength in units of the threshold: 1 is just enough at a sensitivity of 0.5.
    mask
        (Y, X) bool at full resolution.
    """

    kind: str
    score: float
    mask: BoolImage


def detect_section(
    sections: Sections,
    z: int,
    options: DetectionOptions,
    detectors: Sequence[Detector] | None = None,
) -> tuple[KindDamage, ...]:
    """Find the damage of one section.

    Parameters
    ----------
    sections
        Views of the stack.
    z
        Section number.
    options
        See :class:`DetectionOptions`.
    detectors
        Those that look; all by default.

    Returns
    -------
    tuple of KindDamage
        One per kind, masks disjoint, in the order of :data:`~.kinds.KINDS`; empty where all is
        well.
    """
    view = sections.view(z, options.strictness)
    used = default_detectors() if detectors is None else detectors
    found = search(view, used, kinds=options.kinds, scales=options.scales)
    if not found:
        return ()
    repaired = _repaired(sections.stack, z)
    out: list[KindDamage] = []
    taken = np.zeros(sections.stack.shape[1:], dtype=bool)
    for kind in KINDS:
        mine = [f for f in found if f.kind == kind]
        if not mine:
            continue
        mask = np.zeros_like(taken)
        for finding in mine:
            if sections.zoom > 1:
                small = shrink_to(finding.mask.astype(np.float32), taken.shape) >= 0.5
                finding = replace(finding, mask=small)
            mask |= refine(sections.stack, z, finding, sections.factor)
        mask &= ~taken
        _leave_no_data(mask, sections.stack, z)
        if repaired is not None:
            mask = _fresh(mask, repaired)
        if mask.any():
            taken |= mask
            out.append(KindDamage(kind, round(max(f.score for f in mine), 3), mask))
    return tuple(out)


def _repaired(stack: Stack, z: int) -> BoolImage | None:
    """Return the pixels of a section that a repair has put there, None where there are none."""
    marks = marks_of(stack)
    return None if marks is None else marks(z, Box.whole(stack.shape[1:]))


def _leave_no_data(mask: BoolImage, stack: Stack, z: int) -> None:
    """Take what was not imaged out of a mask of a section."""
    box = Box.of_mask(mask)
    if box is not None:
        seen = box.expand(_MARGIN, mask.shape)
        imaged = stack.imaged(z, seen, stack.read(z, seen))
        mask[seen.slices] &= ~padding_of(imaged, mask[seen.slices])


def _fresh(mask: BoolImage, repaired: BoolImage) -> BoolImage:
    """Return what is damaged and not repaired; nothing where the damage is mostly repaired.

    A repair is smoother than tissue, and would be found as blur.
    """
    fresh = mask & ~repaired
    return fresh if 2 * fresh.sum() > mask.sum() else np.zeros_like(mask)


def detect_damage(
    stack: Stack, z: int, options: DetectionOptions = DetectionOptions()
) -> BoolImage:
    """Return the damage of one section, of any kind.

    Parameters
    ----------
    stack
        The stack.
    z
        Section number.
    options
        See :class:`DetectionOptions`.

    Returns
    -------
    BoolImage
        (Y, X) bool, True = damaged.

    Raises
    ------
    InputError
        If there is no such section.
    StoreError
        If it, or a neighbour, cannot be read.
    """
    if not 0 <= z < stack.shape[0]:
        raise InputError(
            f"section {z} does not exist: {stack.name} has sections 0 to {stack.shape[0] - 1}."
        )
    out = np.zeros(stack.shape[1:], dtype=bool)
    for damage in detect_section(Sections(stack, options.side), z, options):
        out |= damage.mask
    return out


def estimate_parameters(
    stack: Stack,
    options: DetectionOptions = DetectionOptions(),
    *,
    progress: Progress = no_progress,
) -> DetectionOptions:
    """Fit the thresholds to a stack: what most of its sections show is not damage.

    Sections spread over the stack are looked at with low thresholds. For every kind, the score
    that four fifths of them stay below, and a quarter more, becomes the threshold, within 0.7 and
    4 times the default: damage of a few per cent of the sections does not count.

    Parameters
    ----------
    stack
        The stack.
    options
        Options to start from.
    progress
        Told after every section.

    Returns
    -------
    DetectionOptions
        The same with ``scales`` set.
    """
    sections = Sections(stack, options.side)
    depth = stack.shape[0]
    chosen = np.unique(np.linspace(0, depth - 1, min(depth, _ESTIMATE_FROM)).round().astype(int))
    scores: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for n, z in enumerate(chosen.tolist()):
        found = search(sections.view(z, 0.5), default_detectors())
        for kind, values in scores.items():
            values.append(max((f.score for f in found if f.kind == kind), default=0.0))
        progress((n + 1) / chosen.size, f"looked at section {z}")
    scales = {
        kind: round(float(np.clip(1.25 * np.percentile(values, 80), 0.7, 4.0)), 3)
        for kind, values in scores.items()
    }
    return replace(options, scales=scales)
