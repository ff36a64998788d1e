"""Open a repair that is to be decided about, accept it, drop it: alike in all docks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QMessageBox, QWidget

from ...core.batch import StagedSection
from ...core.errors import InputError
from ...core.writing.kept import can_keep, keeps_beside
from ...viewer.tasks import many_sections, stack_repairs
from ...viewer.tasks.many_sections import ACCEPTED, WRITTEN
from .jobs import JobRunner
from .messages import Messages
from .questions import ask_to_write
from .repair_table import Pending
from .steps import Steps
from .wording import counted

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.io.stack import Stack
    from ...core.section_repair import SectionRepair
    from ...viewer.session import Session
    from ...viewer.tasks.review import Review


class Deciding(QObject):
    """What the user does with a repair, of one section or of a batch.

    Parameters
    ----------
    parent
        The panel.
    session, jobs, messages
        State, threads and status line of the dock.
    """

    def __init__(
        self, parent: QWidget, session: Session, jobs: JobRunner, messages: Messages
    ) -> None:
        super().__init__(parent)
        self.session, self.jobs, self.messages = session, jobs, messages
        self.question: QMessageBox | None = None
        self._panel = parent
        self._steps = Steps(messages.fail, self)

    # ---- looking

    def open(self, row: Pending, still: Callable[[int], bool]) -> None:
        """Show the stages of a repair; one of a batch is read in a thread.

        Parameters
        ----------
        row
            Which.
        still
            Called with the section of a repair that was read: whether it is still wanted.
        """
        image, stack = self.session.require_image(), self.session.require_stack()
        if not isinstance(row, StagedSection):
            self._steps.start(self.session.resume_review(image, row))
            return

        def done(review: Review) -> None:
            if not still(review.z) or self.session.image is not image:
                return
            self._steps.start(self.session.open_staged(image, review))
            self.messages.mention(f"section {review.z}: {review.summary()}")
            for flag in review.repair.flags:
                self.messages.warn(flag)

        staging = self.session.require_flags().store.staging
        self.jobs.start(
            "review",
            many_sections.open_review,
            stack,
            staging,
            row.z,
            done=done,
            failed=self.messages.fail,
        )

    @property
    def is_showing(self) -> bool:
        """Whether layers of a repair are still being added."""
        return self._steps.running

    def stop(self) -> None:
        """Show no more, and ask nothing any more."""
        self._steps.stop()
        if self.question is not None:
            self.question.close()

    # ---- those of a batch

    def decide(self, image: Image, section: StagedSection, decision: str) -> None:
        """Record a decision about a staged repair of the stack of ``image``, in a thread."""
        if section.decision == WRITTEN:
            raise InputError(f"the repair of section {section.z} is in the stack; revert it first.")
        self.jobs.start(
            f"decide {section.z}",
            many_sections.decide,
            self.session.require_flags(image).store.staging,
            [section.z],
            decision,
            self._ticked(image, section) if decision == ACCEPTED else None,
            done=partial(self.session.batch.update, image),
            failed=self.messages.fail,
            lasting=True,
            about=image,
        )

    def _ticked(self, image: Image, section: StagedSection) -> dict[int, tuple[int, ...]]:
        """Return which components of a repair are ticked, where it is shown and some are not."""
        state = self.session.review
        review = state.current
        if review is None or not state.staged:
            return {}
        if state.image is not image or review.z != section.z:
            return {}
        if len(review.accepted) == len(review.components):
            return {}
        return {section.z: tuple(review.accepted)}

    # ---- those of one section

    def discard(self) -> None:
        """Forget the repair under review."""
        if self.session.review.current is None:
            raise InputError("there is no repair to discard; press Repair first.")
        self.session.close_review()
        self.messages.say("the repair was discarded; nothing was written")

    def accept(self) -> None:
        """Write the ticked components, after asking once per stack; or accept them unsaved."""
        image, stack, repair = self.session.request_accept()
        if not stack.writable and not can_keep(stack):
            self.session.accept_unsaved()
            self.messages.notify(
                f"section {repair.z}: accepted, but not saved yet, because {stack.name} cannot be "
                "repaired in place; press Save as OME-Zarr…"
            )
        elif keeps_beside(stack) or self.session.accepted.agreed(image):
            self._write(image, stack, repair)
        else:
            self._ask(image, stack, repair)

    def _ask(self, image: Image, stack: Stack, repair: SectionRepair) -> None:
        """Ask whether the stack may be changed, without holding up the viewer."""

        def answered(yes: bool) -> None:
            self.question = None
            if yes and image in self.session.viewer.layers:
                self.session.accepted.agree(image)
                self._write(image, stack, repair)
            else:
                self.messages.say("nothing was written")

        self.question = ask_to_write(self._panel, stack, answered)

    def _write(self, image: Image, stack: Stack, repair: SectionRepair) -> None:
        review = self.session.review.current
        total = len(review.components) if review is not None else 0
        count = len(repair.component_ids)
        moved = any(patch.displaced is not None for patch in repair.patches)

        def done(history: stack_repairs.StackHistory) -> None:
            self.session.finish_accept(image, stack, repair, history)
            rest = f"; {total - count:,} rejected and left in the mask" if count < total else ""
            beside = keeps_beside(stack)
            verb, where = ("kept", " beside the file") if beside else ("wrote", "")
            rest += "; the file itself is unchanged" * beside
            self.messages.notify(
                f"section {repair.z}: {verb} {counted(count, 'component')} "
                f"({counted(repair.provenance.mask_pixels, 'pixel')}){where}, marked as synthetic"
                f"{' or moved' * moved}{rest}",
                history.notes,
            )

        self.jobs.start(
            "accept",
            stack_repairs.accept,
            stack,
            repair,
            done=done,
            failed=self.messages.fail,
            lasting=True,
            about=image,
        )
