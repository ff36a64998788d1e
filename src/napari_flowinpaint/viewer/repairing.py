"""The course of a repair in one viewer: requested, reviewed, accepted, reverted. No Qt.

Called from the GUI thread. Nothing here computes: a request is frozen and runs elsewhere
(``widgets/parts/jobs.py``), and its result is then shown here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.repair_options import RepairRequest
from ..core.section_repair import SectionRepair
from . import camera
from .state.accepted import AcceptedState, UnsavedRepair
from .state.batches import BatchState
from .state.flags import FlagState, StackFlags
from .state.refusal_state import RefusalState
from .state.repair_settings import RepairSettings
from .state.reviews import ReviewState
from .targeting import Targeting
from .tasks.one_section import SectionJob
from .tasks.refusals import SectionRefused
from .tasks.review import Review
from .tasks.stack_repairs import StackHistory

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from ..core.batch import StagedSection
    from ..core.io.stack import Stack
    from .tasks.adapting import AdaptRequest
    from .tasks.batch_writing import BatchChange
    from .tasks.many_sections import BatchRequest


class Repairing(Targeting):
    """Repairs of one section and of batches, from the request to what is in the stack.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    settings, review, accepted
        What the user chose; the repair under review and those that wait; what was accepted.
    refusals
        What the last repair refused of its section.
    flags, batch
        The flagged sections, and the repair of many of them.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.settings = RepairSettings()
        self.review = ReviewState(viewer)
        self.refusals = RefusalState(viewer)
        self.accepted = AcceptedState(viewer)
        self.flags = FlagState(viewer, self.masks)
        self.batch = BatchState(viewer)
        self._last_request = 0

    def _on_section(self, event: Any = None) -> None:
        review = self.review
        if review.current is not None and not review.staged and review.image is self.image:
            if self.section == review.current.z:
                self.masks.hide(self.image)
            elif self.section is not None:  # to look at, and paint on, while the repair waits
                self.masks.show(self.image)
        super()._on_section(event)

    def require_flags(self, image: Image | None = None) -> StackFlags:
        """Return the flagged sections of a stack, by default of the one that is meant.

        Raises
        ------
        InputError
            That says what to do, where there is no stack or the list is still opening.
        """
        if image is None:
            self.require_stack()
            image = self.require_image()
        flags = self.flags.of(image)
        if flags is None:
            raise InputError(
                "the list of flagged sections is still opening; try again in a moment."
            )
        return flags

    def check_settled(self, image: Image) -> None:
        """Refuse to begin a mask while what is kept of the last one is not open: it would go.

        Raises
        ------
        InputError
            That says what to do.
        """
        if not self.flags.is_settled(image):
            raise InputError(
                f"what is kept of {image.name} is still opening, the mask included; try again in a "
                "moment."
            )

    # ---- one section

    def request_repair(self, gate: str = "refuse", z: int | None = None) -> SectionJob:
        """Resolve what the user wants into one frozen job; earlier ones become stale.

        Parameters
        ----------
        gate
            What happens where no neighbour fits, see
            :class:`~napari_flowinpaint.core.repair_options.RepairOptions`.
        z
            Section number; None for the section that is shown.

        Raises
        ------
        InputError
            If there is no stack, no section or no mask to repair.
        """
        mask = self.require_mask().data
        z, stack = self.require_section() if z is None else z, self.require_stack()
        mask.commit()
        self._last_request += 1
        settings = self.settings
        options = replace(settings.options, gate=gate)
        request = RepairRequest(z, settings.method, settings.device, options)
        return SectionJob(self._last_request, request, stack, mask.frozen())

    def request_adapt(self, minutes: float) -> AdaptRequest:
        """Resolve what is to be learned from into one frozen request.

        Parameters
        ----------
        minutes
            Time, at most.

        Raises
        ------
        InputError
            If there is no stack, or its list of flagged sections is still opening.
        """
        from .tasks.adapting import AdaptRequest

        image, stack, flags = self.require_image(), self.require_stack(), self.require_flags()
        decided = self.flags.decided(image)
        return AdaptRequest(
            stack,
            None if decided is None else decided[0],
            flags.list.rows,
            tuple(unsaved.repair for unsaved in self.accepted.unsaved(image)),
            minutes,
            self.settings.device,
        )

    def where_shown(self, job: SectionJob) -> Image | None:
        """Return the layer over which a job's result is shown; None if the user looks elsewhere."""
        image = self.image_of(job.stack)
        here = image is self.image and self.section == job.request.z
        return image if here else None

    def open_review(self, job: SectionJob, review: Review) -> Iterator[Layer]:
        """Show a repair for review; returns steps to exhaust, see :class:`ReviewState`.

        Where the user looks at another section or stack meanwhile there are no steps: the repair
        waits, see :meth:`resume_review`.

        Raises
        ------
        InputError
            If the stack is not there any more.
        """
        image = self._image_of(job, review.z)
        self.review.keep(image, review)
        if image is not self.where_shown(job):
            return iter(())
        self.masks.hide(image)  # its red would lie over the result
        return self._opened(image, review)

    def _image_of(self, job: SectionJob, z: int) -> Image:
        """Return the layer of the stack of a job, if it is still there."""
        image = self.image_of(job.stack)
        if image is None:
            raise InputError(f"the repair of section {z} was dropped; its stack was removed.")
        return image

    def _opened(self, image: Image, review: Review, *, staged: bool = False) -> Iterator[Layer]:
        """Show a repair, and then what it left."""
        self.refusals.clear()
        yield from self.review.open(image, review, staged=staged)
        if review.left and self.review.current is review:
            self.refusals.show(image, review.z, review.left)

    def show_refused(self, job: SectionJob, error: SectionRefused) -> None:
        """Outline what was refused of a section of which nothing could be repaired."""
        self.refusals.show(self._image_of(job, error.z), error.z, error.places)

    def pending(self, image: Image | None) -> tuple[Review | StagedSection, ...]:
        """Return all repairs of a stack that await a decision.

        Those that wait in the viewer, by section, and those of a batch, the worst first.
        """
        return (*self.review.waiting(image), *self.batch.of(image).staged)

    def resume_review(self, image: Image, review: Review) -> Iterator[Layer]:
        """Go to a repair that waits and show it; returns steps to exhaust."""
        self.viewer.layers.selection.active = image
        camera.go_to_section(self.viewer, image, review.z)
        self.masks.hide(image)
        return self._opened(image, review)

    def close_review(self) -> None:
        """Discard the repair under review and show the mask again; nothing is written."""
        self.review.close()
        self.refusals.clear()
        self.masks.show(self.review.image)

    def put_review_aside(self) -> None:
        """Show no repair, and no mask in its place; it waits, or stays in its batch."""
        if self.review.current is not None:
            self.review.clear()
            self.refusals.clear()
            self.review.changed.emit()

    # ---- accepted

    def request_accept(self) -> tuple[Image, Stack, SectionRepair]:
        """Return what is to be written where.

        Raises
        ------
        InputError
            If nothing is under review or every component is rejected.
        """
        review, image = self.review.current, self.review.image
        if review is None or image is None:
            raise InputError("there is no repair to accept; press Repair first.")
        if not review.accepted:
            raise InputError("every component is rejected; tick at least one, or press Discard.")
        return image, self._stacks[image], review.selected()

    def finish_accept(
        self, image: Image, stack: Stack, repair: SectionRepair, history: StackHistory
    ) -> None:
        """Take over what was written: the image shows it, the mask is cleared there."""
        stack = self._take_kept(image, stack, history)
        self.accepted.record(image, stack, history, repair)
        self._show_accepted(image, repair)

    def _take_kept(self, image: Image, stack: Stack, history: StackHistory) -> Stack:
        """Work on the stack over whose file repairs are kept now, where that is new."""
        if history.kept is None:
            return stack
        self.set_stack(image, history.kept)
        return history.kept

    # ---- many sections

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
            raise InputError("no section is marked as damaged; mark some in the list first.")
        decided = self.flags.decided(image)
        if decided is None:
            raise InputError("there is no mask; find the damage, or paint it.")
        settings = self.settings
        return BatchRequest(
            stack, *decided, sections, settings.method, settings.device, settings.options
        )

    def open_staged(self, image: Image, review: Review) -> Iterator[Layer]:
        """Show a staged repair; returns steps to exhaust, see :class:`ReviewState`."""
        camera.go_to_section(self.viewer, image, review.z)
        self.masks.hide(image, put_down=True)  # many sections are reviewed, none is painted
        return self._opened(image, review, staged=True)

    def finish_batch(self, image: Image, stack: Stack, change: BatchChange) -> None:
        """Take over what a batch has written or reverted: image, marks, mask and list show it."""
        stack = self._take_kept(image, stack, change.history)
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
        current = self.review.current
        if self.review.image is image and current is not None and current.z == repair.z:
            self.close_review()
        else:  # another one was opened meanwhile
            self.review.settle(image, repair.z)

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
