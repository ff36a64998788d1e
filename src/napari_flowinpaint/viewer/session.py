"""What one viewer is working on: evented state, no Qt.

Responsible for: which stack and section are meant, resolving what the user wants into one frozen
job, deciding what a finished job means. Not responsible for running anything in a thread
(``widgets/parts/jobs.py``) and for forms.

All methods are called from the GUI thread. One session per viewer, found by :func:`session_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from psygnal import Signal, SignalGroupDescriptor

from ..core.errors import InputError
from ..core.masks.sparse_mask import SparseMask
from ..core.types import RepairOptions, RepairRequest, SectionRepair
from . import camera, layers, repair_layers
from .state.accepted import AcceptedState, UnsavedRepair
from .state.batches import BatchState
from .state.flags import FlagState, StackFlags
from .state.masks import MaskState
from .state.outlines import NoDataState
from .state.reviews import ReviewState
from .state.search_settings import SearchSettings
from .tasks.one_section import LoadedStack, SectionJob, StackHistory
from .tasks.review import Review

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from ..core.detection.flag_table import Flagged
    from ..core.io.stack import Stack
    from .tasks.many_sections import BatchChange, BatchRequest

_sessions: WeakKeyDictionary[ViewerModel, Session] = WeakKeyDictionary()


def session_of(viewer: ViewerModel) -> Session:
    """Return the session of a viewer, a new one the first time.

    Parameters
    ----------
    viewer
        The viewer, or the proxy of it that napari hands to plugins.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    session = _sessions.get(viewer)
    if session is None:
        session = _sessions[viewer] = Session(viewer)
    return session


@dataclass
class Settings:
    """What the user chose for the next repair; ``events`` reports every change.

    Parameters
    ----------
    method
        Name of a registered method, or ``"auto"``.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    max_gap
        Largest distance, in sections, to a neighbour.
    texture
        What the result gets for looks: ``"smooth"``, ``"noise"`` or ``"natural"``.
    quality
        Whether a repair is tried on intact regions, to predict how good it is.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    method: str = "auto"
    device: str = "auto"
    max_gap: int = field(default_factory=lambda: RepairOptions().max_gap)
    texture: str = field(default_factory=lambda: RepairOptions().texture)
    quality: bool = field(default_factory=lambda: RepairOptions().quality)

    @property
    def options(self) -> RepairOptions:
        """The options of a repair, as they are chosen now."""
        return RepairOptions(max_gap=self.max_gap, texture=self.texture, quality=self.quality)


class Session(layers.ViewerState):
    """State of one viewer.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    target_changed
        Signal: another stack is meant, or it was opened.
    section_changed
        Signal: the slider moved.
    stack_removed
        Signal (image): an image layer was removed; what belongs to it ends.
    passed_over
        Signal: another layer was selected, which may be no stack.
    settings, masks, review, accepted
        What the user chose; the masks; the repair under review; what was accepted.
    flags, batch, search, no_data
        The flagged sections; the repair of many of them; what to search for; the outline of what
        was imaged.
    image
        The image layer that is worked on.
    closing
        Whether the user has agreed just now that what is unsaved is lost.
    later
        Calls something in the next iteration of the event loop; set by the docks, and without
        one :func:`never`.
    """

    target_changed = Signal()
    section_changed = Signal()
    stack_removed = Signal(object)
    passed_over = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.settings = Settings()
        self.masks = MaskState(viewer)
        self.review = ReviewState(viewer)
        self.accepted = AcceptedState(viewer)
        self.flags = FlagState(viewer, self.masks)
        self.batch = BatchState(viewer)
        self.search = SearchSettings()
        self.no_data = NoDataState(viewer)
        self.image: Image | None = None
        self._stacks: WeakKeyDictionary[Image, Stack] = WeakKeyDictionary()
        self._last_request = 0
        self.closing = False
        self.later: Callable[[Callable[[], None]], None] = never
        viewer.layers.selection.events.active.connect(self._on_active)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removing.connect(self._on_removing)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.point.connect(self._on_section)
        viewer.dims.events.ndisplay.connect(self._on_section)
        self._on_active()
        if self.image is None:
            self._fall_back()

    # ---- what is meant

    @property
    def stack(self) -> Stack | None:
        """The stack behind the image layer, or None until it was opened."""
        return None if self.image is None else self._stacks.get(self.image)

    @property
    def section(self) -> int | None:
        """The section that is shown; None in 3-D or beside the stack."""
        return None if self.image is None else camera.section_of(self.viewer, self.image)

    @property
    def mask_layer(self) -> Labels | None:
        """The layer with the mask of the stack."""
        return self.masks.layer(self.image)

    @property
    def mask(self) -> SparseMask | None:
        """The mask of the stack."""
        return self.masks.mask(self.image)

    def add_stack(self, loaded: LoadedStack) -> Image:
        """Show a stack that was opened and return its layer; it is meant from then on."""
        image = layers.stack_layer(loaded)
        self._stacks[image] = loaded.stack  # before anybody asks which stack it is
        self.viewer.add_layer(image)
        self.viewer.layers.selection.active = image
        return image

    def set_stack(self, image: Image, stack: Stack) -> None:
        """Remember the stack behind an image layer that another reader opened."""
        self._stacks[image] = stack
        if image is self.image:
            self.target_changed.emit()

    def declare_no_data(self, value: float | None) -> None:
        """Take a grey value for no data in the stack that is meant, from now on.

        Raises
        ------
        InputError
            If there is no stack, or its pixels cannot have that value.
        """
        image, stack = self.require_image(), self.require_stack()
        if value != stack.no_data:
            self.set_stack(image, stack.with_no_data(value))

    def _on_active(self, event: Any = None) -> None:
        layer = self.viewer.layers.selection.active
        image = layer if layers.is_stack(layer) else self.masks.image_of(layer)
        if image is not None:
            self._set_image(image)
        self.passed_over.emit()

    def _on_section(self, event: Any = None) -> None:
        review = self.review
        if review.current is not None and not review.staged and review.image is self.image:
            if self.section == review.current.z:
                self.masks.hide(self.image)
            else:  # to look at, and paint on, while the repair waits
                self.masks.show(self.image)
        self.section_changed.emit()

    def _on_inserted(self, event: Any) -> None:
        """Take the mask of the sample for the mask of its stack, and go to a damaged section."""
        layer = event.value
        z = layers.section_to_show(layer)
        if z is None or self.masks.image_of(layer) is not None:
            return
        shape = layers.zyx_shape(layer)
        shown = [i for i in self.viewer.layers if layers.is_stack(i)]
        image = next((i for i in reversed(shown) if layers.zyx_shape(i) == shape), None)
        if image is not None:
            self.masks.adopt(image, layer)
            camera.go_to_section(self.viewer, image, z)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self.masks.forget(layer)
        self.review.forget(layer)
        self.accepted.forget(layer)
        if layer is self.image:
            self._fall_back()
        if layers.is_stack(layer):
            self.stack_removed.emit(layer)
            self.later(partial(self._remove_orphans, layer))

    def _on_removing(self, event: Any) -> None:
        """Hide the labels that lie over a stack that is being removed.

        napari 0.9.2 may crash when it draws labels under which an image was removed just now.
        """
        image = self.viewer.layers[event.index]
        if not layers.is_stack(image):
            return
        stack = self._stacks.get(image)
        marks = None if stack is None else repair_layers.marks_of(self.viewer, stack)
        zone = self.review.fold.zone if image is self.review.image else None
        for layer in (self.masks.layer(image), marks, zone):
            if layer is not None:
                layer.visible = False

    def _remove_orphans(self, image: Image) -> None:
        """Remove what belongs to a stack that was removed.

        Not while napari removes layers, which may be all of them.
        """
        if image in self.viewer.layers:  # it was moved
            return
        orphans = [self.masks.layer(image), *self.accepted.layers_of(image)]
        orphans.append(self.no_data.forget(image))
        if self.review.image is None:
            orphans += [*self.review.layers.values(), *self.review.fold.layers]
        stack = self._stacks.get(image)
        if stack is not None:
            marks = repair_layers.marks_of(self.viewer, stack)
            shown = (other for i, other in self._stacks.items() if i in self.viewer.layers)
            if marks is not None and any(str(s.path) == str(stack.path) for s in shown):
                marks.visible = True
            else:
                orphans.append(marks)
        self._remove_in_turn([layer for layer in orphans if layer is not None])

    def _remove_in_turn(self, doomed: list[Layer]) -> None:
        """Remove layers, one per iteration of the event loop, so that napari draws in between."""
        while doomed:
            layer = doomed.pop()
            if layer in self.viewer.layers:
                layers.remove(self.viewer, layer)
                self.later(partial(self._remove_in_turn, doomed))
                return

    def _fall_back(self) -> None:
        stacks = [layer for layer in self.viewer.layers if layers.is_stack(layer)]
        self._set_image(stacks[-1] if stacks else None)

    def _set_image(self, image: Image | None) -> None:
        if image is not self.image:
            self.image = image
            self.target_changed.emit()

    def require_image(self) -> Image:
        """Return the image layer that is worked on, or say what to do."""
        if self.image is None:
            raise InputError(
                "there is no stack; load one, or select an image layer with the axes z, y, x"
            )
        return self.image

    def require_section(self) -> int:
        """Return the section that is shown, or say what to do."""
        self.require_image()
        if self.section is None:
            raise InputError("no section is shown; switch to 2-D and move the slider along z")
        return self.section

    def require_mask(self) -> Labels:
        """Return the mask layer, or say what to do."""
        self.require_image()
        if self.mask_layer is None:
            raise InputError("there is no mask; press New mask and paint the damage first")
        return self.mask_layer

    def require_stack(self) -> Stack:
        """Return the stack, or say what to do."""
        self.require_image()
        if self.stack is None:
            raise InputError("the stack is still opening; wait a moment and try again")
        return self.stack

    def require_flags(self) -> StackFlags:
        """Return the flagged sections of the stack, or say what to do."""
        self.require_stack()
        flags = self.flags.of(self.image)
        if flags is None:
            raise InputError("the list of flagged sections is still opening; try again in a moment")
        return flags

    def undo(self, *, back: bool) -> None:
        """Take back the last change of the mask, or do it again, whatever layer is selected.

        Another labels layer that is selected has its own.
        """
        from napari.layers import Labels

        active, own = self.viewer.layers.selection.active, self.mask_layer
        if isinstance(active, Labels) and self.masks.image_of(active) is None:
            (active.undo if back else active.redo)()
        elif own is not None:
            self.masks.step(own, back=back)

    # ---- repair

    def request_repair(self, gate: str = "refuse") -> SectionJob:
        """Resolve what the user wants into one frozen job; earlier ones become stale.

        Parameters
        ----------
        gate
            What happens where no neighbour fits, see
            :class:`~napari_flowinpaint.core.types.RepairOptions`.

        Raises
        ------
        InputError
            If there is no stack, no section or no mask to repair.
        """
        mask, z, stack = self.require_mask().data, self.require_section(), self.require_stack()
        mask.commit()
        self._last_request += 1
        settings = self.settings
        options = replace(settings.options, gate=gate)
        request = RepairRequest(z, settings.method, settings.device, options)
        return SectionJob(self._last_request, request, stack, mask.frozen())

    def where_shown(self, job: SectionJob) -> Image | None:
        """Return the layer over which the answer to a job is shown; None if one looks elsewhere."""
        here = self.stack is job.stack and self.section == job.request.z
        return self.image if here else None

    def open_review(self, job: SectionJob, review: Review) -> Iterator[Layer]:
        """Show a repair for review; returns steps to exhaust, see :class:`ReviewState`.

        Where the user looks at another section or stack meanwhile there are no steps: the repair
        waits, see :meth:`resume_review`.

        Raises
        ------
        InputError
            If the stack is not there any more.
        """
        image = next((i for i, stack in self._stacks.items() if stack is job.stack), None)
        if image is None or image not in self.viewer.layers:
            raise InputError(f"the repair of section {review.z} was dropped; its stack was removed")
        self.review.keep(image, review)
        if image is not self.where_shown(job):
            return iter(())
        self.masks.hide(image)  # its red would lie over the result
        return self.review.open(image, review)

    def resume_review(self, image: Image, review: Review) -> Iterator[Image]:
        """Go to a repair that waits and show it; returns steps to exhaust."""
        self.viewer.layers.selection.active = image
        camera.go_to_section(self.viewer, image, review.z)
        self.masks.hide(image)
        return self.review.open(image, review)

    def close_review(self) -> None:
        """Discard the repair under review and show the mask again; nothing is written."""
        self.review.close()
        self.masks.show(self.review.image)

    # ---- what is unsaved

    def kept(self, image: Image) -> tuple[tuple[Flagged, ...], SparseMask | None]:
        """Return the list and the mask, frozen, that follow a stack into a copy of it."""
        flags, mask = self.flags.of(image), self.masks.mask(image)
        if mask is not None:
            mask.commit()
        return (() if flags is None else flags.list.rows), None if mask is None else mask.frozen()

    def unsaved(self) -> list[str]:
        """Return in words what is lost when the viewer closes; empty where nothing is."""
        found = (
            (self.accepted.unsaved_count, "accepted repair", "accepted repairs"),
            (self.review.count, "repair waiting for review", "repairs waiting for review"),
            (
                self.flags.lost_count,
                "mask of a stack without a file",
                "masks of stacks without files",
            ),
        )
        return [f"{n} {many if n > 1 else one}" for n, one, many in found if n]

    # ---- accepting

    def request_accept(self) -> tuple[Image, Stack, SectionRepair]:
        """Return what is to be written where.

        Raises
        ------
        InputError
            If nothing is under review or every component is rejected.
        """
        review, image = self.review.current, self.review.image
        if review is None or image is None:
            raise InputError("there is no repair to accept; press Repair first")
        if not review.accepted:
            raise InputError("every component is rejected; tick at least one, or press Discard")
        return image, self._stacks[image], review.selected()

    def finish_accept(
        self, image: Image, stack: Stack, repair: SectionRepair, history: StackHistory
    ) -> None:
        """Take over what was written: the image shows it, the mask is cleared there."""
        self.accepted.record(image, stack, history, repair)
        self._show_accepted(image, repair)

    def request_batch(self, decisions: Collection[str]) -> BatchRequest:
        """Resolve which flagged sections are to be repaired, and how, into one frozen request.

        Parameters
        ----------
        decisions
            What was decided about them.

        Raises
        ------
        InputError
            If there is no such section, or no mask.
        """
        from .tasks.many_sections import BatchRequest

        image, stack, flags = self.require_image(), self.require_stack(), self.require_flags()
        sections = flags.list.sections(decisions)
        if not sections:
            raise InputError("no section is marked as damaged; mark some in the list first")
        decided = self.flags.decided(image)
        if decided is None:
            raise InputError("there is no mask; find the damage, or paint it")
        settings = self.settings
        return BatchRequest(
            stack, *decided, sections, settings.method, settings.device, settings.options
        )

    def open_staged(self, image: Image, review: Review) -> Iterator[Layer]:
        """Show a staged repair; returns steps to exhaust, see :class:`ReviewState`."""
        camera.go_to_section(self.viewer, image, review.z)
        self.masks.hide(image, put_down=True)  # many sections are reviewed, none is painted
        return self.review.open(image, review, staged=True)

    def finish_batch(self, image: Image, stack: Stack, change: BatchChange) -> None:
        """Take over what a batch has written or reverted: image, marks, mask and list show it."""
        self.accepted.record(image, stack, change.history)
        mask = self.masks.mask(image)
        if mask is not None and change.mask is not None:
            same = {
                z: tiles
                for z, tiles in change.tiles.items()
                if mask.version(z) == change.mask.version(z)  # else it was painted on meanwhile
            }
            self.masks.set_sections(image, same)
        self.batch.set_staged(image, change.staged)
        shown = self.review.current
        if self.review.image is image and shown is not None and shown.z in change.sections:
            self.close_review()

    def accept_unsaved(self) -> None:
        """Accept the repair of a stack that cannot be written to, until it is saved."""
        image, _, _ = self.request_accept()
        review = self.review.current
        assert review is not None  # request_accept has checked
        unsaved = self.accepted.add_unsaved(image, review)
        unsaved.layer.visible = True
        self._show_accepted(image, unsaved.repair)

    def _show_accepted(self, image: Image, repair: SectionRepair) -> None:
        self.masks.set_repaired(image, repair, damaged=False)
        if self.review.image is image:
            self.close_review()

    def finish_revert(
        self, image: Image, stack: Stack, repair_id: int, history: StackHistory
    ) -> None:
        """Take over what was reverted: the image shows the original, the mask is back."""
        repair = self.accepted.accepted_as(image, repair_id)
        self.accepted.record(image, stack, history)
        if repair is not None:
            self.masks.set_repaired(image, repair, damaged=True)

    def revert_unsaved(self, unsaved: UnsavedRepair) -> None:
        """Take back an accepted repair that is not saved; the mask is back."""
        image = self.require_image()
        self.accepted.remove_unsaved(image, unsaved)
        self.masks.set_repaired(image, unsaved.repair, damaged=True)


def never(what: Callable[[], None]) -> None:
    """Do not do it: no dock is open that has an event loop to wait for."""
