"""Whether a mask means what it says: one that covers nearly everything is rarely meant so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from ..errors import ChoiceNeeded, InputError, name_sections
from ..types import Box
from .mask_choice import class_name, describe_classes
from .stack_mask import StackMask

#: Other sections that are looked at where all that is asked for is covered.
_OTHERS = 8
#: Values of a mask that tell classes apart; a picture of a section has more.
_MOST_CLASSES = 16
#: Name of the choice in :class:`.ChoiceNeeded`.
MASK_CLASS = "mask-class"


def check_mask(mask: StackMask, sections: Iterable[int] | None = None) -> tuple[str, ...]:
    """Return what is to be said of a mask that covers much; refuse one that covers everything.

    Parameters
    ----------
    mask
        The mask.
    sections
        What is going to be repaired; None for all.

    Raises
    ------
    ChoiceNeeded
        If the mask covers more than half of every section: it is inverted, or has classes of which
        none is 0.
    InputError
        If it is not a mask at all.
    """
    depth = mask.shape[0]
    wanted = list(range(depth)) if sections is None else sorted(set(sections))
    given = wanted if mask.sections is None else [z for z in wanted if z in mask.sections]
    boxes = mask.find(given)
    area = mask.shape[1] * mask.shape[2]
    large = {
        z: _covered(mask, z, box)
        for z, box in boxes.items()
        if 2 * box.shape[0] * box.shape[1] > area
    }
    large = {z: part for z, part in large.items() if part > 0.5}
    if large and len(large) == len(given) and not mask.choice.made:
        _check_everything(mask, list(large), given)
    return tuple(_say(large))


def sample_of(mask: StackMask, shown: int | None) -> tuple[int, ...]:
    """Return some sections that tell what a mask means, without reading all of it.

    Parameters
    ----------
    mask
        The mask.
    shown
        A section that is one of them.
    """
    if mask.sections is not None:
        return mask.sections[:_OTHERS]
    last = mask.shape[0] - 1
    return tuple(sorted({round(i * last / _OTHERS) for i in range(_OTHERS + 1)} | {shown or 0}))


def _say(large: Mapping[int, float]) -> Iterator[str]:
    """Yield one note for the sections that are covered, and one for those that nearly are."""
    whole = [z for z, part in large.items() if part == 1.0]
    if whole:
        what = "a missing section" if len(whole) == 1 else "missing sections"
        yield f"the mask covers all of {name_sections(whole, _OTHERS)}: {what}?"
    mostly = {z: part for z, part in large.items() if part < 1.0}
    if mostly:
        part = min(100 * max(mostly.values()), 99.9)
        upto = "" if len(mostly) == 1 else "up to "
        yield (
            f"the mask covers {upto}{part:.3g} % of {name_sections(mostly, _OTHERS)}; if it shows "
            "what is intact, add --invert-mask (in the window: Invert)"
        )


def _covered(mask: StackMask, z: int, box: Box) -> float:
    """Return which part of a section is damaged."""
    return int(np.count_nonzero(mask.read(z, box))) / (mask.shape[1] * mask.shape[2])


def _check_everything(mask: StackMask, large: list[int], given: list[int]) -> None:
    """Refuse a mask that covers more than half of all that is asked for, unless others are free."""
    depth = mask.shape[0]
    if mask.sections is None:
        for z in sorted({round(i * (depth - 1) / _OTHERS) for i in range(_OTHERS + 1)}):
            if z not in given and _covered(mask, z, Box.whole(mask.shape[1:])) <= 0.5:
                return
        if depth == 1 and len(large) == 1:
            return  # nothing to compare with
    looked = [large[i * (len(large) - 1) // _OTHERS] for i in range(_OTHERS + 1)]
    looked = sorted(set(looked))
    counts: dict[int, int] = {}
    for z in looked:
        for value, count in zip(*np.unique(mask.values(z), return_counts=True), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(count)
    total = sum(counts.values())
    parts = sorted(((v, n / total) for v, n in counts.items()), key=lambda part: -part[1])
    which = f"section {looked[0]}" if len(given) == 1 else "every section"
    if 0 in counts:
        if mask.sections is None:
            raise _inverted(which, parts)
        return
    if len(counts) > _MOST_CLASSES:
        raise InputError(
            f"the mask of section {looked[0]} has {len(counts)} values and none is 0: it is a "
            "picture of the section rather than a mask; paint the damage white on black."
        )
    if len(counts) > 1:
        raise ChoiceNeeded(
            f"the mask of {which} has the classes {describe_classes(parts)} and no 0, so it does "
            f"not say which is the damage; choose with --mask-class {class_name(parts[-1][0])}",
            MASK_CLASS,
            [class_name(value) for value, _ in parts],
        )
    if mask.sections is None:
        raise _inverted(which, parts)


def _inverted(which: str, parts: list[tuple[int, float]]) -> ChoiceNeeded:
    values = [class_name(value) for value, _ in parts]
    if "0" not in values:
        values.append("0")
    return ChoiceNeeded(
        f"the mask covers more than half of {which}, so nothing would be left to repair from; if "
        "it shows what is intact, add --invert-mask; if it has classes, choose with --mask-class",
        MASK_CLASS,
        values,
    )
