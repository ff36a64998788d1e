"""Adapting to a stack, as plain functions that run in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.detection.flag_table import Flagged
from ...core.disk.open_root import open_root
from ...core.errors import InputError, StoreError
from ...core.repair.neighbours import Masks, no_masks
from ...core.section_repair import SectionRepair
from ...core.types import BoolImage, Box, Progress
from .find_damage import decided_mask
from .flag_list import INTACT, intact_labels

if TYPE_CHECKING:
    from ...core.io.stack import Stack
    from ...core.masks.sparse_mask import SparseMask
    from ...core.repair.adapted import AdaptedWeights
    from ...core.training.adapt import AdaptOutcome

#: Kinds of damage that concern a whole section, not a place in it.
_WHOLE = ("missing", "blur", "misaligned", "fold")


@dataclass(frozen=True, eq=False)
class AdaptRequest:
    """What is to be learned from; it does not change while the user continues painting.

    Parameters
    ----------
    stack
        The stack.
    mask
        Its mask, frozen; None where there is none.
    rows
        Its flagged sections.
    repairs
        Accepted repairs that are not saved: the pixels there are damaged still.
    minutes
        Time, at most.
    device
        Where the network computes.
    """

    stack: Stack
    mask: SparseMask | None
    rows: tuple[Flagged, ...]
    repairs: tuple[SectionRepair, ...]
    minutes: float
    device: str


@dataclass(frozen=True)
class AdaptedFile:
    """The adapted weights beside a stack.

    Parameters
    ----------
    possible
        Whether weights can lie beside it: it is a file of this machine.
    exists
        Whether some do.
    used
        Whether they are this stack's, and its repairs use them.
    gain
        Their gain on sections held back, dB.
    note
        Why they are not used; empty otherwise.
    """

    possible: bool
    exists: bool = False
    used: bool = False
    gain: float = 0.0
    note: str = ""


def adapt(request: AdaptRequest, *, progress: Progress) -> AdaptOutcome:
    """Adapt the released weights to a stack; what is gained is kept beside it.

    Raises
    ------
    InputError
        Too few intact sections, no released weights, or the stack is not a file on this computer.
    Cancelled
        ``progress`` asked for it; nothing is kept.
    """
    progress(0.0, "starting")
    from ...core.device import resolve_device
    from ...core.training.adapt import AdaptPlan
    from ...core.training.adapt import adapt as train

    known, skip = known_damage(request.rows, request.mask)
    return train(
        request.stack,
        masks=_watched(with_repairs(known, request.repairs), progress),
        skip=skip,
        plan=AdaptPlan(minutes=request.minutes),
        resume=False,  # since then other sections may be held back
        device=resolve_device(request.device),
        progress=progress,
    )


def known_damage(rows: Iterable[Flagged], mask: SparseMask | None) -> tuple[Masks, tuple[int, ...]]:
    """Return the damage that was painted or found, and the sections to leave out as a whole.

    Parameters
    ----------
    rows
        The flagged sections; rows that were decided not to be damage do not count.
    mask
        Frozen; it is changed. None where there is none.
    """
    rows = tuple(rows)
    counted = [row for row in rows if row.decision != INTACT]
    if mask is None:
        return no_masks, tuple(sorted({row.section for row in counted}))
    decided = decided_mask(mask, intact_labels(rows))
    # where the pixels are known, only damage of a whole section costs the section
    skip = {
        row.section for row in counted if row.kind in _WHOLE or not _shows(decided, row.section)
    }
    return decided.read, tuple(sorted(skip))


def _shows(mask: SparseMask, z: int) -> bool:
    """Return whether anything is masked in a section."""
    box = mask.damaged_box(z)
    return box is not None and bool(mask.read(z, box).any())


def with_repairs(masks: Masks, repairs: Sequence[SectionRepair]) -> Masks:
    """Return damage with that of accepted repairs which the stack does not show."""

    def damage(z: int, box: Box) -> BoolImage:
        found = masks(z, box).copy()
        for patch in (patch for repair in repairs if repair.z == z for patch in repair.patches):
            common = patch.box.intersection(box)
            found[common.within(box)] |= patch.mask[common.within(patch.box)]
        return found

    return damage


def _watched(masks: Masks, progress: Progress) -> Masks:
    """Return masks that can be cancelled while places are looked for."""

    def damage(z: int, box: Box) -> BoolImage:
        progress(0.0, f"looking for intact tissue in section {z}")
        return masks(z, box)

    return damage


# ---- what lies beside the stack


def look(stack: Stack, *, progress: Progress) -> AdaptedFile:
    """Return what lies beside a stack."""
    from ...core.repair.adapted import adapted_path, adapted_weights

    progress(0.0, "looking for adapted weights")
    found: AdaptedWeights = adapted_weights(stack)
    try:
        path = adapted_path(stack)
    except StoreError:  # a link, which the note tells of
        return AdaptedFile(possible=True, note=found.note)
    if path is None:
        return AdaptedFile(possible=False)
    return AdaptedFile(True, path.is_file(), found.path is not None, found.gain, found.note)


def remove(stack: Stack, *, progress: Progress) -> AdaptedFile:
    """Remove the adapted weights that lie beside a stack; return what lies there then.

    Raises
    ------
    InputError
        If they cannot be removed.
    """
    from ...core.repair.adapted import adapted_path

    progress(0.0, "removing the adapted weights")
    path = adapted_path(stack)
    if path is not None:
        try:
            with open_root(path.parent) as parent:
                parent.remove_file(path.name)
        except OSError as error:
            raise InputError(
                f"{path} cannot be removed ({error.strerror}); check the permissions, or delete it "
                "yourself."
            ) from error
    return look(stack, progress=progress)
