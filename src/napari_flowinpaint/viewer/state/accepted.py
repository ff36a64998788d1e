"""What was accepted in one viewer: repairs in the stack's journal, and repairs not yet saved.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from ...core.section_repair import SectionRepair
from .. import layers, repair_layers
from ..tasks.review import Review
from ..tasks.stack_repairs import StackHistory

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...core.io.stack import Stack
    from ...core.writing.recovery import JournalEntry


@dataclass(frozen=True, eq=False)
class UnsavedRepair:
    """A repair accepted for a stack that cannot be written to, until it is saved elsewhere."""

    repair: SectionRepair
    layer: Image


class AcceptedState(layers.ViewerState):
    """Accepted repairs by image layer.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    changed
        Signal: something was accepted, reverted or saved.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self._written: WeakKeyDictionary[Image, tuple[JournalEntry, ...]] = WeakKeyDictionary()
        self._unsaved: WeakKeyDictionary[Image, list[UnsavedRepair]] = WeakKeyDictionary()
        self._accepted: WeakKeyDictionary[Image, dict[int, SectionRepair]] = WeakKeyDictionary()
        self._agreed: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()

    def agreed(self, image: Image) -> bool:
        """Return whether the user has agreed to this stack being written to."""
        return self._agreed.get(image, False)

    def agree(self, image: Image) -> None:
        """Note that the user agreed; asked once per stack."""
        self._agreed[image] = True

    def written(self, image: Image | None) -> tuple[JournalEntry, ...]:
        """Return the repairs in the stack behind a layer, oldest first, as far as known."""
        return () if image is None else self._written.get(image, ())

    def unsaved(self, image: Image | None) -> list[UnsavedRepair]:
        """Return the accepted repairs that are not saved, oldest first."""
        return [] if image is None else list(self._unsaved.get(image, []))

    def is_known(self, image: Image) -> bool:
        """Return whether it is known what was written to the stack behind a layer."""
        return image in self._written

    def record(
        self, image: Image, stack: Stack, history: StackHistory, repair: SectionRepair | None = None
    ) -> None:
        """Take over what is in the stack now, and show it.

        Parameters
        ----------
        image, stack
            What was written to.
        history
            The repairs in it now.
        repair
            What was written just now, where something was.
        """
        self._written[image] = history.entries
        if repair is not None:
            accepted = self._accepted.setdefault(image, {})
            accepted.update(dict.fromkeys(history.changed, repair))
        if image in self.viewer.layers:  # it may have been removed meanwhile
            if history.changed:
                layers.refresh_stack(image, stack)
            numbers = [entry.id for entry in history.entries]
            repair_layers.show_synthetic(self.viewer, image, stack, history.synthetic, numbers)
        self.changed.emit()

    def accepted_as(self, image: Image, repair_id: int) -> SectionRepair | None:
        """Return what was written under a number, if it was accepted in this viewer."""
        return self._accepted.get(image, {}).get(repair_id)

    def add_unsaved(self, image: Image, review: Review) -> UnsavedRepair:
        """Accept the chosen part of a repair of a stack that cannot be written to.

        Its layer is still hidden.
        """
        layer = repair_layers.add_unsaved(self.viewer, image, review)
        unsaved = UnsavedRepair(review.selected(), layer)
        self._unsaved.setdefault(image, []).append(unsaved)
        self.changed.emit()
        return unsaved

    @property
    def unsaved_count(self) -> int:
        """How many accepted repairs are not saved, of all stacks."""
        return sum(len(repairs) for repairs in self._unsaved.values())

    def layers_of(self, image: Image) -> list[Image]:
        """Return the layers that show accepted repairs of a stack that are not saved."""
        return [unsaved.layer for unsaved in self.unsaved(image)]

    def forget(self, layer: object) -> None:
        """Note that a layer was removed from the viewer: a repair that only it showed is gone."""
        for repairs in self._unsaved.values():
            for unsaved in [item for item in repairs if item.layer is layer]:
                repairs.remove(unsaved)
                self.changed.emit()

    def remove_unsaved(self, image: Image, unsaved: UnsavedRepair) -> None:
        """Take back a repair that is not saved, or forget it once it is."""
        repairs = self._unsaved.get(image, [])
        if unsaved in repairs:
            repairs.remove(unsaved)
        layers.remove(self.viewer, unsaved.layer)
        self.changed.emit()
