"""What was accepted in one viewer: repairs in the stack's journal, and repairs not yet saved.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from ...core.types import SectionRepair
from .. import layers as napari_layers
from ..tasks.one_section import Written
from ..tasks.review import Review

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...core.io.stack import Stack
    from ...core.writing.recovery import JournalEntry


@dataclass(frozen=True, eq=False)
class Kept:
    """A repair accepted for a stack that cannot be written to, until it is saved elsewhere."""

    repair: SectionRepair
    layer: Image


class Ledger(napari_layers.OfViewer):
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
        self._kept: WeakKeyDictionary[Image, list[Kept]] = WeakKeyDictionary()
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

    def kept(self, image: Image | None) -> list[Kept]:
        """Return the repairs accepted but not saved, oldest first."""
        return [] if image is None else list(self._kept.get(image, []))

    def knows(self, image: Image) -> bool:
        """Return whether it is known what was written to the stack behind a layer."""
        return image in self._written

    def record(
        self, image: Image, stack: Stack, written: Written, repair: SectionRepair | None = None
    ) -> None:
        """Take over what is in the stack now, and show it.

        Parameters
        ----------
        image, stack
            What was written to.
        written
            What is in it now.
        repair
            What was written just now, where something was.
        """
        self._written[image] = written.history
        if repair is not None:
            accepted = self._accepted.setdefault(image, {})
            accepted.update(dict.fromkeys(written.ids, repair))
        if written.ids:
            napari_layers.refresh_stack(image, stack)
        napari_layers.show_synthetic(self.viewer, image, stack, written.synthetic)
        self.changed.emit()

    def accepted_as(self, image: Image, repair_id: int) -> SectionRepair | None:
        """Return what was written under a number, if it was accepted in this viewer."""
        return self._accepted.get(image, {}).get(repair_id)

    def keep(self, image: Image, review: Review) -> Kept:
        """Keep the accepted part of a repair of a stack that cannot be written to.

        Its layer is still hidden.
        """
        kept = Kept(review.selected(), napari_layers.add_kept(self.viewer, image, review))
        self._kept.setdefault(image, []).append(kept)
        self.changed.emit()
        return kept

    @property
    def unsaved(self) -> int:
        """How many repairs are accepted but not saved, of all stacks."""
        return sum(len(repairs) for repairs in self._kept.values())

    def let_go(self) -> None:
        """Forget the repairs that are accepted but not saved: the viewer closes."""
        self._kept.clear()

    def drop(self, image: Image, kept: Kept) -> None:
        """Take back a repair that was kept, or forget it once it is saved."""
        repairs = self._kept.get(image, [])
        if kept in repairs:
            repairs.remove(kept)
        napari_layers.remove(self.viewer, kept.layer)
        self.changed.emit()
