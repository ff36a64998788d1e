"""Write accepted repairs into the stack, or into a copy; take them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QGridLayout, QMessageBox, QPushButton, QSizePolicy, QWidget

from ...core.batch import StagedSection
from ...core.errors import FlowInpaintError, InputError
from ...core.writing.kept import can_keep, keeps_beside
from ...viewer.tasks import batch_writing
from ...viewer.tasks.batch_writing import BatchChange
from ...viewer.tasks.flag_list import labels_of
from ...viewer.tasks.many_sections import ACCEPTED, WRITTEN
from ..parts.jobs import JobRunner
from ..parts.messages import Messages, guarded
from ..parts.questions import ask_to_write, ask_where_to_save
from ..parts.wording import counted, listed

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.io.stack import Stack
    from ...viewer.session import Session
    from ...viewer.tasks import loading


class WritePanel(QWidget):
    """Four buttons.

    Parameters
    ----------
    session, jobs, messages
        State, threads and status line of the dock.
    current
        Returns the repair that is selected, or raises ``InputError``.
    """

    def __init__(
        self,
        session: Session,
        jobs: JobRunner,
        messages: Messages,
        current: Callable[[], StagedSection],
    ) -> None:
        super().__init__()
        self.session, self.jobs, self.messages = session, jobs, messages
        self._current = current
        self.write_button = QPushButton("Write accepted")
        self.save_button = QPushButton("Save copy…")
        self.revert_button = QPushButton("Revert section")
        self.revert_all_button = QPushButton("Revert all")
        self.question: QMessageBox | None = None
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        tips = {
            self.write_button: "Write all accepted repairs into the stack; the originals are kept.",
            self.save_button: "Save the stack with the accepted repairs as a new OME-Zarr.",
            self.revert_button: "Bring back the original pixels of this section.",
            self.revert_all_button: "Bring back the original pixels of all written repairs.",
        }
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        for number, (button, tip) in enumerate(tips.items()):
            button.setToolTip(tip)
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            grid.addWidget(button, number // 2, number % 2)

    def _connect(self) -> None:
        self.write_button.clicked.connect(self.write)
        self.save_button.clicked.connect(self._choose_target)
        self.revert_button.clicked.connect(self.revert)
        self.revert_all_button.clicked.connect(self.revert_all)
        self.jobs.changed.connect(self.refresh)
        self.session.batch.changed.connect(self.refresh)
        self.session.target_changed.connect(self.refresh)

    @guarded
    def write(self) -> None:
        """Write the accepted repairs, after asking once per stack."""
        image, stack = self.session.require_image(), self.session.require_stack()
        if not stack.writable and not can_keep(stack):
            raise InputError(
                f"{stack.why_not_writable.partition(';')[0]}; press Save copy… instead."
            )
        self.session.require_flags(image)
        if keeps_beside(stack) or self.session.accepted.agreed(image):
            self._write(image, stack)
            return

        def answered(yes: bool) -> None:
            self.question = None
            if yes and image in self.session.viewer.layers:
                self.session.accepted.agree(image)
                self._write(image, stack)
            else:
                self.messages.say("nothing was written")

        self.question = ask_to_write(self, stack, answered)

    def _write(self, image: Image, stack: Stack) -> None:
        words = ("written", ", and marked as synthetic")
        self._start(image, stack, "write", batch_writing.write, words)

    @guarded
    def revert(self) -> None:
        """Bring the original pixels of the current section back."""
        self._revert([self._current().z])

    @guarded
    def revert_all(self) -> None:
        """Bring the original pixels of all written repairs of the staging folder back."""
        self._revert(None)

    def _revert(self, sections: list[int] | None) -> None:
        image, stack = self.session.require_image(), self.session.require_stack()
        labels = labels_of(self.session.require_flags().list.rows)

        def task(stack: Any, staging: Path, mask: Any, *, progress: Any) -> BatchChange:
            return batch_writing.revert(stack, staging, sections, mask, labels, progress=progress)

        words = ("reverted", ": the original pixels are back")
        self._start(image, stack, "revert", task, words)

    def _start(
        self, image: Image, stack: Stack, name: str, task: Any, words: tuple[str, str]
    ) -> None:
        """Write or revert, in a thread, and show what has changed."""
        decided = self.session.flags.decided(image)

        def done(change: BatchChange) -> None:
            self.session.finish_batch(image, stack, change)
            count = len(change.sections)
            text = f"{counted(count, 'section')} {''.join(words)}" if count else ""
            self.messages.notify(text or f"no section was {words[0]}", change.history.notes)
            self._tell_failed(change.failed, words[0])

        mask = None if decided is None else decided[0]
        self.jobs.start(
            name,
            task,
            stack,
            self.session.require_flags(image).store.staging,
            mask,
            done=done,
            failed=self.messages.fail,
            lasting=True,
            about=image,
        )

    def _tell_failed(self, failed: Mapping[int, FlowInpaintError], verb: str) -> None:
        """Say of which sections that was not done, and why; once for one reason."""
        reasons: dict[str, list[int]] = {}
        for z, error in sorted(failed.items()):
            reasons.setdefault(str(error), []).append(z)
        for reason, sections in reasons.items():
            several = len(sections) > 1
            told = f"section{'s' * several} {listed(sections)} {'were' if several else 'was'}"
            self.messages.warn(f"{told} not {verb}: {reason}", f"{told} not {verb}")

    @guarded
    def _choose_target(self) -> None:
        image, stack = self.session.require_image(), self.session.require_stack()
        path = ask_where_to_save(self, stack, "Save copy")
        if path is not None:
            self.save(path, image)

    def save(self, path: Path, image: Image | None = None) -> None:
        """Save a stack with the accepted repairs, in a thread, and open what was saved.

        Parameters
        ----------
        path
            Where.
        image
            The layer of the stack; by default the one that is meant.
        """
        shown = image or self.session.require_image()
        stack = self.session.require_stack(shown)
        batch = self.session.batch.of(shown)
        accepted = [section for section in batch.staged if section.decision == ACCEPTED]
        kept, copied = self.session.kept(shown), self.session.flags.for_copy(shown)

        def done(loaded: loading.LoadedStack) -> None:
            self.session.flags.note_copied(shown, copied)
            batch.note_copied(accepted)
            if self.session.review.image is shown:
                self.session.close_review()
            self.session.add_stack(loaded)
            shown.visible = False
            self.messages.notify(
                f"saved {loaded.stack.path}; this copy is now open and can be repaired in place",
                loaded.notes,
            )

        self.jobs.start(
            "save",
            batch_writing.save_copy,
            stack,
            self.session.require_flags(shown).store.staging,
            path,
            *kept,
            done=done,
            failed=self.messages.fail,
            lasting=True,
            about=shown,
        )

    # ---- state

    def refresh(self) -> None:
        """Enable what can be done."""
        staged = self.session.batch.of(self.session.image).staged
        busy = self.jobs.is_running("batch", "redo", "write", "revert", "save")
        decisions = {section.decision for section in staged}
        for button in (self.write_button, self.save_button):
            button.setEnabled(ACCEPTED in decisions and not busy)
        for button in (self.revert_button, self.revert_all_button):
            button.setEnabled(WRITTEN in decisions and not busy)

    def disconnect_session(self) -> None:
        """Stop listening; the dock is closing."""
        if self.question is not None:
            self.question.close()
        self.session.batch.changed.disconnect(self.refresh)
        self.session.target_changed.disconnect(self.refresh)
