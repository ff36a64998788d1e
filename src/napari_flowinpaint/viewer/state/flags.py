"""The flagged sections in one viewer: a list per stack, tied to its mask and to what is stored.

No Qt; called from the GUI thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from psygnal import Signal

from ...core.masks.layered_mask import LayeredMask
from .. import camera, layers
from ..tasks.find_damage import FlagChanges, SavedFlags, SearchResult, save_flags
from ..tasks.flag_list import FlagList, intact_labels
from ..tasks.flag_merging import merge_rows, merge_tiles
from .masks import MaskState

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...core.detection.flag_table import Flagged
    from ...core.masks.sparse_mask import SparseMask
    from ..tasks.flag_store import FlagStore, StoredFlags


class StackFlags:
    """The flagged sections of one stack.

    Parameters
    ----------
    stored
        What is stored of them.

    Attributes
    ----------
    list, store
        The rows, and where they are stored.
    """

    def __init__(self, stored: StoredFlags) -> None:
        self.list = FlagList(stored.rows)
        self.store: FlagStore = stored.store
        self._rows = self.list.rows
        self._mask: SparseMask | None = None
        self._versions: dict[int, int] = {}

    def note_saved(self, changes: FlagChanges, rows: tuple[Flagged, ...] | None) -> None:
        """Note that changes were saved, and which rows are stored since."""
        if rows is not None:
            self._rows = rows
        if changes.new_mask:
            self._mask, self._versions = changes.of, {}
        self._versions.update(changes.sections)

    def note_loaded(self, mask: SparseMask) -> None:
        """Note that a mask shows what is stored."""
        self._mask = mask
        self._versions = _versions(mask)

    def unsaved_changes(self, mask: SparseMask | None) -> FlagChanges | None:
        """Return what has to be saved; None where nothing has changed."""
        rows = self.list.rows
        changed = None if rows is self._rows or rows == self._rows else rows
        if mask is None:
            return None if changed is None else FlagChanges(self.store, changed, None)
        known = {} if mask is not self._mask else self._versions
        painted = {z: mask.version(z) for z in mask.painted_sections}
        sections = {z: version for z, version in painted.items() if version != known.get(z)}
        new_mask = mask is not self._mask and (self._mask is not None or bool(sections))
        if changed is None and not sections and not new_mask:
            return None
        if self.store.vanished:  # then all is saved again
            changed, sections = rows, painted
        frozen = mask.frozen() if sections else None
        alone = not isinstance(mask.base, LayeredMask)
        return FlagChanges(self.store, changed, frozen, sections, mask, new_mask, alone)


@dataclass(frozen=True, eq=False)
class InCopy:
    """What of a stack went into a copy of it that was saved: its list, and its mask as it was."""

    rows: tuple[Flagged, ...]
    mask: SparseMask | None
    versions: Mapping[int, int]

    def has(self, rows: tuple[Flagged, ...], mask: SparseMask | None) -> bool:
        """Return whether a list and a mask have not changed since."""
        return self.rows == rows and self.mask is mask and self.versions == _versions(mask)


def _versions(mask: SparseMask | None) -> dict[int, int]:
    return {} if mask is None else {z: mask.version(z) for z in mask.painted_sections}


class FlagState(layers.ViewerState):
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
        Who is saving changes at the moment; None for nobody.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, masks: MaskState) -> None:
        super().__init__(viewer)
        self.masks = masks
        self.saving: object | None = None
        self._flags: WeakKeyDictionary[Image, StackFlags] = WeakKeyDictionary()
        self._given_up: WeakSet[Image] = WeakSet()
        self._failed: WeakSet[Image] = WeakSet()
        self._held: list[tuple[Image, FlagChanges]] = []
        self._copied: WeakKeyDictionary[Image, InCopy] = WeakKeyDictionary()

    def of(self, image: Image | None) -> StackFlags | None:
        """Return the flagged sections of an image layer, or None until they were opened."""
        return None if image is None else self._flags.get(image)

    def open(self, image: Image, stored: StoredFlags) -> StackFlags:
        """Show what is stored for the stack of an image layer, once; return the list."""
        if image in self._flags:
            return self._flags[image]
        flags = self._flags[image] = StackFlags(stored)
        flags.list.changed.connect(self._on_changed)
        if self.masks.mask(image) is None and (stored.base is not None or stored.tiles):
            layer = self.masks.new(image, paint=False)
            mask: SparseMask = layer.data
            if stored.base is not None:
                mask.lay_on(stored.base, labels=True)
            for z, tiles in stored.tiles.items():
                mask.restore(z, tiles)
            flags.note_loaded(mask)
            layers.name_kinds(layer)
            self.masks.show(image)
        self.changed.emit()
        return flags

    def give_up(self, image: Image) -> None:
        """Note that what is stored of a stack cannot be opened; nothing is saved of it."""
        self._given_up.add(image)
        self.changed.emit()

    def is_settled(self, image: Image | None) -> bool:
        """Return whether it is known what is stored of a stack: a new mask hides nothing then."""
        return image is not None and (image in self._flags or image in self._given_up)

    @property
    def lost_count(self) -> int:
        """Number of stacks whose mask or list is saved nowhere: they have no file, or it failed."""
        images = {*self._flags, *self._given_up}
        return sum(self._is_lost(image) for image in images if image in self.viewer.layers)

    def _is_lost(self, image: Image) -> bool:
        mask, flags = self.masks.mask(image), self._flags.get(image)
        if flags is not None and flags.store.lasting:
            return image in self._failed and self.unsaved_changes(image) is not None
        rows, copied = self._rows(image), self._copied.get(image)
        made = bool(rows) or (mask is not None and mask.can_undo)
        return made and not (copied is not None and copied.has(rows, mask))

    def _rows(self, image: Image) -> tuple[Flagged, ...]:
        return self._flags[image].list.rows if image in self._flags else ()

    def for_copy(self, image: Image) -> InCopy:
        """Return what of a stack goes into a copy that is saved now."""
        mask = self.masks.mask(image)
        return InCopy(self._rows(image), mask, _versions(mask))

    def note_copied(self, image: Image, copied: InCopy) -> None:
        """Note that a copy was saved: what has not changed since is not lost."""
        self._copied[image] = copied

    def add_search(self, image: Image, result: SearchResult) -> None:
        """Take over what a search found, into the list and into the mask.

        What was painted stays; elsewhere the mask shows the last search of every section.
        """
        self._flags[image].list.merge(result.rows, result.sections, result.kinds)
        layer = self.masks.layer(image)
        if layer is None:
            layer = self.masks.new(image, paint=False)
        mask: SparseMask = layer.data
        base = mask.base
        if not isinstance(base, LayeredMask):
            base = LayeredMask(mask.shape, base, labels=mask.has_labels)
        mask.lay_on(base.with_layer(result.masks, result.sections), labels=True)
        layers.name_kinds(layer)
        self.masks.show(image)
        self.masks.refresh(image)

    def decided(self, image: Image) -> tuple[SparseMask, dict[int, tuple[int, ...]]] | None:
        """Return the frozen mask and, by section, labels that are not damage; None without mask."""
        mask = self.masks.mask(image)
        if mask is None:
            return None
        mask.commit()
        return mask.frozen(), intact_labels(self._rows(image))

    def unsaved_changes(self, image: Image | None) -> FlagChanges | None:
        """Return the unsaved changes of a stack."""
        flags = self.of(image)
        return None if flags is None else flags.unsaved_changes(self.masks.mask(image))

    def first_unsaved(self) -> tuple[Image, FlagChanges] | None:
        """Return a stack with unsaved changes, and these; None if there is none.

        Where saving has failed before, it is tried again after all others.
        """
        if self._held:
            return self._held[0]
        for image in sorted(self._flags, key=self._failed.__contains__):
            changes = self.unsaved_changes(image)
            if changes is not None:
                return image, changes
        return None

    def hold(self, image: Image) -> None:
        """Hold the unsaved changes of a stack: its layer or its mask is about to be removed."""
        changes = self.unsaved_changes(image)
        if changes is not None:
            mine = (image, changes.of)
            self._held = [held for held in self._held if (held[0], held[1].of) != mine]
            self._held.append((image, changes))

    def note_saved(self, image: Image, changes: FlagChanges, saved: SavedFlags) -> bool:
        """Note that changes were saved; show what another window has saved beside them.

        Returns
        -------
        bool
            Whether another one has.
        """
        self._let_go(changes)
        self._failed.discard(image)
        flags = self._flags[image]
        flags.note_saved(changes, saved.rows)
        others = saved.rows is not None and set(saved.rows) != set(changes.rows or ())
        if others:
            merged = merge_rows(changes.rows or (), flags.list.rows, saved.rows or ())
            flags.list.follow(merged)
        if saved.tiles and changes.of is not None and self.masks.mask(image) is changes.of:
            for z, tiles in saved.tiles.items():
                changes.of.restore(z, merge_tiles(changes.of.tiles(z), tiles))
            self.masks.refresh(image)
        return others or bool(saved.tiles)

    def has_failed(self, image: Image) -> bool:
        """Return whether the changes of a stack could not be saved when it was last tried."""
        return image in self._failed

    def note_failed(self, image: Image, changes: FlagChanges) -> None:
        """Note that changes could not be saved; of a stack that is shown they are tried again."""
        self._let_go(changes)
        self._failed.add(image)

    def _let_go(self, changes: FlagChanges) -> None:
        """Drop held changes: they are saved, or cannot be."""
        self._held = [held for held in self._held if held[1] is not changes]

    def save_now(self) -> Exception | None:
        """Save all that has changed, unless a thread is saving, which is followed by more.

        Returns
        -------
        Exception or None
            Why the changes of the first of the stacks that failed could not be saved.
        """
        first = None
        tried: set[Image] = set()
        while self.saving is None and (found := self.first_unsaved()) is not None:
            image, changes = found
            if image in tried:
                break  # only stacks that have failed are left
            try:
                saved = save_flags(changes)
            except Exception as error:
                self.note_failed(image, changes)
                tried.add(image)
                first = first or error
            else:
                self.note_saved(image, changes, saved)
        return first

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
