"""The flagged sections in one viewer: a list per stack, tied to its mask and to what is kept.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from ...core.masks.layered_mask import LayeredMask
from .. import camera
from .. import layers as napari_layers
from ..tasks.find_damage import Searched, Unsaved
from ..tasks.flag_list import FlagList, intact_labels
from .masks import MaskBoard

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...core.detection.flag_table import Flagged
    from ...core.masks.sparse_mask import SparseMask
    from ..tasks.flag_store import FlagStore, Kept


class Flags:
    """The flagged sections of one stack.

    Parameters
    ----------
    kept
        What was kept of them.

    Attributes
    ----------
    list, store
        The rows, and where they are kept.
    """

    def __init__(self, kept: Kept) -> None:
        self.list = FlagList(kept.rows)
        self.store: FlagStore = kept.store
        self._rows = self.list.rows
        self._mask: SparseMask | None = None
        self._versions: dict[int, int] = {}

    def note_saved(self, unsaved: Unsaved) -> None:
        """Note that something was kept."""
        if unsaved.rows is not None:
            self._rows = unsaved.rows
        if unsaved.begin:
            self._mask, self._versions = unsaved.of, {}
        self._versions.update(unsaved.sections)

    def note_loaded(self, mask: SparseMask) -> None:
        """Note that a mask shows what is kept."""
        self._mask = mask
        self._versions = {z: mask.version(z) for z in mask.painted_sections}

    def unsaved(self, mask: SparseMask | None) -> Unsaved | None:
        """Return what has to be kept; None where nothing has changed."""
        rows = self.list.rows
        changed = None if rows is self._rows or rows == self._rows else rows
        if mask is None:
            return None if changed is None else Unsaved(self.store, changed, None)
        known = {} if mask is not self._mask else self._versions
        sections = {
            z: mask.version(z) for z in mask.painted_sections if mask.version(z) != known.get(z)
        }
        begin = mask is not self._mask and (self._mask is not None or bool(sections))
        if changed is None and not sections and not begin:
            return None
        frozen = mask.frozen() if sections else None
        alone = not isinstance(mask.base, LayeredMask)
        return Unsaved(self.store, changed, frozen, sections, mask, begin, alone)


class FlagBoard(napari_layers.OfViewer):
    """The lists of a viewer, at most one per stack.

    Parameters
    ----------
    viewer
        The viewer.
    masks
        Its masks.

    Attributes
    ----------
    changed
        Signal: a list was opened, or a row of one came, went or changed.
    saving
        Who is keeping what has changed at the moment; None for nobody.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, masks: MaskBoard) -> None:
        super().__init__(viewer)
        self.masks = masks
        self.saving: object | None = None
        self._flags: WeakKeyDictionary[Image, Flags] = WeakKeyDictionary()

    def of(self, image: Image | None) -> Flags | None:
        """Return the flagged sections of an image layer, or None until they were opened."""
        return None if image is None else self._flags.get(image)

    def open(self, image: Image, kept: Kept) -> Flags:
        """Show what was kept for the stack of an image layer, once; return the list."""
        if image in self._flags:
            return self._flags[image]
        flags = self._flags[image] = Flags(kept)
        flags.list.changed.connect(self._on_changed)
        if self.masks.mask(image) is None and (kept.base is not None or kept.tiles):
            layer = self.masks.new(image, paint=False)
            mask: SparseMask = layer.data
            if kept.base is not None:
                mask.lay_on(kept.base, labels=True)
            for z, tiles in kept.tiles.items():
                mask.restore(z, tiles)
            flags.note_loaded(mask)
            napari_layers.name_kinds(layer)
            self.masks.show(image)
        self.changed.emit()
        return flags

    def adopt(self, image: Image, searched: Searched) -> None:
        """Take over what a search found, into the list and into the mask.

        What was painted stays; elsewhere the mask shows the last search of every section.
        """
        self._flags[image].list.merge(searched.rows, searched.sections, searched.kinds)
        layer = self.masks.layer(image)
        if layer is None:
            layer = self.masks.new(image, paint=False)
        mask: SparseMask = layer.data
        base = mask.base
        if not isinstance(base, LayeredMask):
            base = LayeredMask(mask.shape, base, labels=mask.has_labels)
        mask.lay_on(base.with_layer(searched.masks, searched.sections), labels=True)
        napari_layers.name_kinds(layer)
        self.masks.show(image)
        self.masks.refresh(image)

    def decided(self, image: Image) -> tuple[SparseMask, dict[int, tuple[int, ...]]] | None:
        """Return a frozen mask and what of it is no damage; None where there is no mask."""
        mask = self.masks.mask(image)
        if mask is None:
            return None
        mask.commit()
        rows = self._flags[image].list.rows if image in self._flags else ()
        return mask.frozen(), intact_labels(rows)

    def unsaved(self, image: Image | None) -> Unsaved | None:
        """Return what has to be kept of a stack."""
        flags = self.of(image)
        return None if flags is None else flags.unsaved(self.masks.mask(image))

    def first_unsaved(self) -> tuple[Image, Unsaved] | None:
        """Return a stack of which something has to be kept, and what; None if there is none."""
        for image in list(self._flags):
            unsaved = self.unsaved(image)
            if unsaved is not None:
                return image, unsaved
        return None

    def note_saved(self, image: Image, unsaved: Unsaved) -> None:
        """Note that something was kept."""
        self._flags[image].note_saved(unsaved)

    def show(self, image: Image, row: Flagged) -> None:
        """Move the viewer to a flagged section, its mask on top, the brush set to its kind."""
        from ...core.kinds import KINDS

        camera.go_to_section(self.viewer, image, row.section)
        self.masks.show(image)
        layer = self.masks.layer(image)
        if layer is not None:
            layer.selected_label = KINDS[row.kind].label

    def _on_changed(self) -> None:
        self.changed.emit()
