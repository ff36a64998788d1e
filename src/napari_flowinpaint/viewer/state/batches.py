"""The batch of each stack in one viewer: its plan, what became of it, what is staged.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from ...core.batch import BatchPlan, SectionOutcome, SectionPlan, StagedSection
from ...core.errors import InputError
from ...core.refusal import describe_refused
from .. import layers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...core.masks.sparse_mask import SparseMask
    from ..tasks.many_sections import PlannedBatch


@dataclass(frozen=True)
class BatchRow:
    """A section of a plan, and what became of it."""

    plan: SectionPlan
    outcome: SectionOutcome | None = None

    @property
    def status(self) -> str:
        """Its state, in one word."""
        return self.plan.status if self.outcome is None else self.outcome.status

    @property
    def reason(self) -> str:
        """Why it is not repaired, or not all of it; empty where it is, or will be."""
        reason = self.plan.reason if self.outcome is None else self.outcome.message
        left = self.plan.refused if self.outcome is None else self.outcome.refused
        return reason or describe_refused(left)


class StackBatch:
    """The batch of one stack."""

    def __init__(self) -> None:
        self.plan: BatchPlan | None = None
        self.empty: tuple[int, ...] = ()
        self.outcomes: dict[int, SectionOutcome] = {}
        self.staged: tuple[StagedSection, ...] = ()
        self._versions: dict[int, int] = {}
        self._copied: dict[int, str] = {}

    @property
    def rows(self) -> tuple[BatchRow, ...]:
        """The sections of the plan, ascending."""
        if self.plan is None:
            return ()
        return tuple(BatchRow(s, self.outcomes.get(s.z)) for s in self.plan.sections)

    def find(self, z: int | None) -> StagedSection | None:
        """Return the staged repair of a section, or None."""
        return next((section for section in self.staged if section.z == z), None)

    def require_plan(self, mask: SparseMask | None) -> BatchPlan:
        """Return the plan, or say why it cannot be carried out.

        Raises
        ------
        InputError
            If there is none, nothing is planned in it, or the mask has changed since.
        """
        if self.plan is None:
            raise InputError("there is no plan; press Plan first.")
        if not self.plan.planned:
            raise InputError("nothing can be repaired; the table gives the reasons.")
        for z, version in self._versions.items():
            if mask is not None and mask.version(z) != version:
                raise InputError(f"the mask of section {z} has changed; press Plan again.")
        return self.plan

    def set_plan(self, planned: PlannedBatch, mask: SparseMask) -> None:
        """Take over a plan, made from a frozen mask."""
        self.plan, self.empty, self.outcomes = planned.plan, planned.empty, {}
        self._versions = {s.z: mask.version(s.z) for s in planned.plan.sections}

    def update(self, sections: Iterable[StagedSection]) -> None:
        """Replace staged repairs by their new state, in the same order."""
        new = {section.z: section for section in sections}
        self._copied = {z: key for z, key in self._copied.items() if z not in new}
        self.staged = tuple(new.pop(old.z, old) for old in self.staged) + tuple(new.values())

    def note_copied(self, sections: Iterable[StagedSection]) -> None:
        """Note that repairs are in a copy of the stack that was saved."""
        self._copied |= {section.z: section.key for section in sections}

    def not_copied(self, decision: str) -> tuple[StagedSection, ...]:
        """Return the staged repairs with a decision that are in no copy of the stack."""
        found = (section for section in self.staged if section.decision == decision)
        return tuple(section for section in found if self._copied.get(section.z) != section.key)


class BatchState(layers.ViewerState):
    """The batches of a viewer, one per stack.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    changed
        Signal: a plan was made, a section repaired, a decision made.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self._batches: WeakKeyDictionary[Image, StackBatch] = WeakKeyDictionary()

    def of(self, image: Image | None) -> StackBatch:
        """Return the batch of an image layer; an empty one where there is none."""
        if image is None:
            return StackBatch()
        return self._batches.setdefault(image, StackBatch())

    def set_plan(self, image: Image, planned: PlannedBatch, mask: SparseMask) -> None:
        """Take over a plan."""
        self.of(image).set_plan(planned, mask)
        self.changed.emit()

    def add_outcome(self, image: Image, outcome: SectionOutcome) -> None:
        """Note what became of a section."""
        self.of(image).outcomes[outcome.z] = outcome
        self.changed.emit()

    def set_staged(self, image: Image, staged: tuple[StagedSection, ...]) -> None:
        """Take over all that is staged, in the order in which it is shown."""
        self.of(image).staged = staged
        self.changed.emit()

    def update(self, image: Image, sections: Iterable[StagedSection]) -> None:
        """Take over what some staged repairs have become."""
        self.of(image).update(sections)
        self.changed.emit()
